import { IpAddress, Prefix } from '../address/index.ts';
import type { Resolver } from '../dns/index.ts';
import { OWN_EPHEMERAL_PORTS } from '../forward/index.ts';
import { PROTOCOL_TCP } from '../ip.ts';
import type { HostModel } from '../ipv4/index.ts';
import { Mdns, type MdnsOptions } from '../mdns/index.ts';
import type { Netif } from '../netif/netif.ts';
import { RawFrames, RawIp } from '../raw/index.ts';
import type { Stack, StackStatistics } from '../stack.ts';
import { DirectTcp, TcpLayer, type TcpOptions } from '../tcp/index.ts';
import { type Clock, CryptoRandom, type Random, RealClock, TimerWheel } from '../time/index.ts';
import { DirectUdp, UdpLayer } from '../udp/index.ts';
import { DhcpInterface, type DhcpOptions } from './dhcp.ts';
import { Dhcp6Interface } from './dhcp6.ts';
import type { Interface, InterfaceConfiguration } from './interface.ts';
import { type DirectIpv6Options, parseIpv6Options } from './ipv6.ts';
import { type NameOptions, Names } from './names.ts';
import { type ForwardingOptions, Network } from './network.ts';

/** How long `close` waits for the peers to acknowledge what is left, before it resets them. */
const CLOSE_GRACE_MS = 2000;

/** One interface of a stack. */
export interface InterfaceOptions extends DirectIpv6Options {
  /** Started and, at the end, closed by the stack. */
  readonly netif: Netif;
  /** What routes, zones (`fe80::1%name`) and statistics call it; the netif's name by default. */
  readonly name?: string;
  /** Our address and prefix length: `10.0.0.2/24`; or `dhcp`, to ask the network for one. None by default. */
  readonly ipv4?: 'dhcp' | (string & {});
  /** With `ipv4: 'dhcp'`. */
  readonly dhcp?: DhcpOptions;
  /** IPv4 address of the default router. */
  readonly gateway?: string;
  /** With `forwarding`: tells hosts on this link that we are a router, and of our /64 prefixes there (RFC 4861 §6.2). Default false. */
  readonly advertise?: boolean;
  /** Of its routes: among those of equal prefixes, the lowest is taken. 0 by default, so that the first interface wins. */
  readonly metric?: number;
  /**
   * Asks the network whether our addresses are free before they are used: five to
   * eight seconds for IPv4 (RFC 5227; default false, but true for one from DHCP, as RFC
   * 2131 §4.4.1 wants), one to two for IPv6 (RFC 4862 §5.4, which demands it; default true).
   */
  readonly probeAddress?: boolean;
}

/** What a stack's interfaces share. */
export interface HostOptions extends NameOptions {
  /**
   * RFC 1122 §3.3.4.2, where there are several interfaces. `strong`, the default: packets
   * to an address are taken only from the interface that has it, and leave only by the
   * interface of their source. `weak`, as in Linux: any interface takes them, and the
   * route alone decides where they leave.
   */
  readonly hostModel?: HostModel;
  /**
   * Passes packets on between the interfaces, of both families; with `napt`, hosts behind
   * the stack share its IPv4 address toward the outside. Default false. A router's host
   * model is `weak` unless told, and with `napt` its own connections use ports from 61,000 on.
   */
  readonly forwarding?: ForwardingOptions | boolean;
  /** Told when another station uses our address. */
  readonly onConflict?: (conflict: { readonly address: string; readonly mac: string }) => void;
  /** Told when a netif goes away by itself, by the interface's name. The others go on. */
  readonly onInterfaceDown?: (name: string, error: Error | undefined) => void;
  /** Told when the last netif goes away by itself. */
  readonly onDown?: (error: Error | undefined) => void;
  /**
   * Multicast DNS on the first interface (RFC 6762): our name in `.local` is told, and
   * names in `.local` are asked of the link. True for all defaults. Default false.
   */
  readonly mdns?: MdnsOptions | boolean;
  readonly defaultTtl?: number;
  readonly tcp?: TcpOptions;
  /** First and last of the ports that TCP and UDP choose from (RFC 6056 §3.2). Default 32,768 to 65,535. */
  readonly ephemeralPorts?: readonly [first: number, last: number];
  /** Real time by default. */
  readonly clock?: Clock;
  /** The host's secure random bits by default. */
  readonly random?: Random;
}

/** A stack with one interface. */
export interface DirectStackOptions extends HostOptions, InterfaceOptions {
  readonly ipv4: 'dhcp' | (string & {});
}

/** A stack with several interfaces, of different names. The first is the one that is meant where none is named. */
export interface MultihomedStackOptions extends HostOptions {
  readonly interfaces: readonly InterfaceOptions[];
}

/**
 * The whole stack over its netifs: every packet in and out is ours. `ready()`
 * starts it.
 */
export class DirectStack implements Stack {
  readonly kind = 'direct';
  readonly tcp: DirectTcp;
  readonly udp: DirectUdp;
  /** Raw IP sockets. */
  readonly ip: RawIp;
  /** Frames as they come and go, whomever they are for. */
  readonly frames: RawFrames;
  readonly network: Network;
  readonly #tcp: TcpLayer;
  readonly #udp: UdpLayer;
  readonly #timers: TimerWheel;
  readonly #clock: Clock;
  readonly #dhcp: ReadonlyMap<Interface, DhcpInterface>;
  /** Of the interfaces that listen to routers. */
  readonly #dhcp6: ReadonlyMap<Interface, Dhcp6Interface>;
  readonly #names: Names;
  /** Null without the option. */
  readonly mdns: Mdns | null;
  #ready: Promise<void> | null = null;
  #closing: Promise<void> | null = null;

  /** Throws `TypeError` or `RangeError` for an address that is none, `EINVAL` for interfaces of one name. */
  constructor(options: DirectStackOptions | MultihomedStackOptions) {
    const { clock = new RealClock(), random = new CryptoRandom(), onConflict, onDown } = options;
    const forwarding = options.forwarding === true ? {} : options.forwarding || null;
    const { ephemeralPorts = forwarding?.napt === undefined ? undefined : OWN_EPHEMERAL_PORTS } = options;
    this.#clock = clock;
    this.#timers = new TimerWheel(clock);
    const interfaces = 'interfaces' in options ? options.interfaces : [options];
    const [first, ...others] = interfaces.map(configurationOf);
    if (first === undefined) throw new TypeError('a stack needs an interface');
    this.network = new Network({
      ...first,
      others,
      clock,
      timers: this.#timers,
      random,
      ...(options.defaultTtl === undefined ? {} : { defaultTtl: options.defaultTtl }),
      ...(options.hostModel === undefined ? {} : { hostModel: options.hostModel }),
      forwarding,
      isPortInUse: (protocol, port) =>
        protocol === PROTOCOL_TCP ? this.#tcp.isListening(port) : this.#udp.isBound(port),
      onConflict: ({ address: contested, mac, outcome }, by) => {
        if (outcome === 'contested' && !contested.includes(':')) this.#dhcp.get(by)?.contested();
        onConflict?.({ address: contested, mac: mac.toString() });
      },
      onInterfaceDown: (name, error) => {
        if (this.#closing === null) options.onInterfaceDown?.(name, error);
      },
      onClosed: (error) => {
        if (this.#closing !== null) return;
        this.#tcp.linkDown();
        onDown?.(error);
      },
    });
    const resolve = (name: string): Promise<string[]> => this.resolve(name);
    this.#tcp = new TcpLayer({
      ip: this.network,
      clock,
      timers: this.#timers,
      random,
      options: { ...(ephemeralPorts !== undefined && { ephemeralPorts }), ...options.tcp },
    });
    this.tcp = new DirectTcp(this.#tcp, clock, resolve);
    this.#udp = new UdpLayer({
      ip: this.network,
      random,
      ...(ephemeralPorts !== undefined && { ephemeralPorts }),
    });
    this.udp = new DirectUdp(this.#udp, resolve);
    this.ip = new RawIp({
      ip: this.network,
      resolve,
      observe: (observer) => this.network.observe(observer),
    });
    this.frames = new RawFrames(this.network.interfaces);
    const { network, tcp, udp } = this;
    this.#dhcp = new Map(
      interfaces.flatMap(({ ipv4, dhcp, gateway, probeAddress }, index) => {
        if (ipv4 !== 'dhcp') return [];
        const by = network.interfaces[index]!;
        const client = new DhcpInterface({
          ...dhcp,
          network: by,
          udp: this.#udp,
          clock,
          timers: this.#timers,
          random,
          gateway: gateway === undefined ? null : IpAddress.parse(gateway),
          probe: probeAddress ?? true,
        });
        return [[by, client] as const];
      }),
    );
    const shared = { udp: this.#udp, clock, timers: this.#timers, random };
    this.#dhcp6 = new Map(
      network.interfaces
        .filter(({ ipv6 }) => ipv6?.autoconf)
        .map((by) => [by, new Dhcp6Interface({ ...shared, network: by })]),
    );
    const dhcp = [...this.#dhcp.values()];
    const dhcp6 = [...this.#dhcp6.values()];
    const { mdns = false } = options;
    this.mdns = mdns === false ? null : this.#createMdns(mdns === true ? {} : mdns, random);
    this.#names = new Names({
      names: options,
      network,
      dhcp,
      dhcp6,
      tcp,
      udp,
      clock,
      random,
      mdns: this.mdns,
    });
  }

  /** Asks the DNS for more than addresses: `SRV`, `TXT`, `PTR`. */
  get dns(): Resolver {
    return this.#names.resolver;
  }

  /**
   * Starts the stack; resolves when its address may be used. Rejects with
   * `EADDRNOTAVAIL` if it is taken, `ETIMEDOUT` if no DHCP server gives one.
   */
  ready(): Promise<void> {
    this.#ready ??= this.#start();
    return this.#ready;
  }

  resolve(hostname: string): Promise<string[]> {
    return this.#names.resolve(hostname);
  }

  statistics(): StackStatistics {
    return {
      ...this.network.statistics(),
      tcp: this.#tcp.statistics(),
      udp: this.#udp.statistics(),
      ...statisticsOf('dhcp', this.#dhcp),
      ...statisticsOf('dhcp6', this.#dhcp6),
      dns: this.#names.resolver.statistics(),
      ...(this.mdns === null ? {} : { mdns: this.mdns.statistics() }),
      timers: this.#timers.pending,
    };
  }

  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  /**
   * For a process that ends now: each peer is told, with FIN where everything
   * has been sent, else with RST. Waits for nothing and releases nothing.
   */
  abandon(): void {
    this.#tcp.abandon();
    for (const { ethernet } of this.network.interfaces) ethernet.flush();
  }

  async #close(): Promise<void> {
    await this.#drain();
    await this.mdns?.close();
    await Promise.all([...this.#dhcp.values(), ...this.#dhcp6.values()].map((dhcp) => dhcp.stop()));
    this.#tcp.close();
    this.#udp.close();
    this.ip.close();
    this.frames.close();
    await this.network.close();
    this.#timers.close();
  }

  async #start(): Promise<void> {
    const starts = [this.network.start(), ...[...this.#dhcp.values()].map((dhcp) => dhcp.start())];
    this.mdns?.start();
    await Promise.all(starts);
  }

  #createMdns(options: MdnsOptions, random: Random): Mdns {
    const { network } = this;
    const first = network.interfaces[0]!;
    const mdns = new Mdns(
      {
        clock: this.#clock,
        timers: this.#timers,
        random,
        interfaceName: first.name,
        families: first.ipv6 === null ? ['IPv4'] : ['IPv4', 'IPv6'],
        bind: (port) => this.#udp.bind({ port, interface: first.name, reuseAddress: true }),
        addresses: () => [
          ...(first.ipv4.address === null ? [] : [first.ipv4.address]),
          ...(first.ipv6?.addresses.all ?? [])
            .filter(({ state }) => state === 'preferred')
            .map(({ address, prefixLength }) => new Prefix(address.unscoped(), prefixLength)),
        ],
        defaultName: `mirage-${first.netif.mac.toString().replaceAll(':', '')}`,
      },
      options,
    );
    network.ipv4.onAddress = () => mdns.addressesChanged();
    if (network.ipv6 !== null) network.ipv6.onChange = () => mdns.addressesChanged();
    return mdns;
  }

  /** Closes every connection in order, and waits a while for the peers to agree. */
  #drain(): Promise<void> {
    const connections = this.#tcp.connections();
    if (connections.length === 0) return Promise.resolve();
    return new Promise((resolve) => {
      const deadline = this.#clock.now() + CLOSE_GRACE_MS;
      const check = (): void => {
        const waiting = this.#tcp.connections().some((connection) => !connection.drained);
        if (waiting && this.#clock.now() < deadline) alarm.set(this.#clock.now() + 5);
        else resolve();
      };
      const alarm = this.#clock.alarm(check);
      this.#tcp.stopListening();
      for (const connection of connections) connection.close();
      alarm.set(this.#clock.now() + 1);
    });
  }
}

/** Of the only client there is, or of each by its interface's name. */
function statisticsOf(
  section: string,
  clients: ReadonlyMap<Interface, { statistics(): StackStatistics }>,
): StackStatistics {
  const [only, ...more] = [...clients].map(([{ name }, client]) => [name, client.statistics()] as const);
  if (only === undefined) return {};
  return { [section]: more.length === 0 ? only[1] : Object.fromEntries([only, ...more]) };
}

function configurationOf(options: InterfaceOptions): InterfaceConfiguration {
  const { netif, name, ipv4, gateway, metric, probeAddress = false, advertise = false } = options;
  const address = ipv4 === undefined || ipv4 === 'dhcp' ? null : Prefix.parse(ipv4);
  if (address?.address.isIpv4 === false) throw new TypeError(`not an IPv4 address: ${ipv4}`);
  return {
    netif,
    ...(name === undefined ? {} : { name }),
    address,
    gateway: gateway === undefined ? null : IpAddress.parse(gateway),
    probe: probeAddress,
    ipv6: parseIpv6Options(options),
    advertise,
    ...(metric === undefined ? {} : { metric }),
  };
}
