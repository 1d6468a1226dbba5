import { IpAddress, Prefix } from '../address/index.ts';
import type { Resolver } from '../dns/index.ts';
import type { Netif } from '../netif/netif.ts';
import type { Stack, StackStatistics } from '../stack.ts';
import { DirectTcp, TcpLayer, type TcpOptions } from '../tcp/index.ts';
import { type Clock, CryptoRandom, type Random, RealClock, TimerWheel } from '../time/index.ts';
import { DirectUdp, UdpLayer } from '../udp/index.ts';
import { DhcpInterface, type DhcpOptions } from './dhcp.ts';
import { type DirectIpv6Options, parseIpv6Options } from './ipv6.ts';
import { type NameOptions, Names } from './names.ts';
import { Network } from './network.ts';

/** How long `close` waits for the peers to acknowledge what is left, before it resets them. */
const CLOSE_GRACE_MS = 2000;

export interface DirectStackOptions extends DirectIpv6Options, NameOptions {
  /** Started and, at the end, closed by the stack. */
  readonly netif: Netif;
  /** Our address and prefix length: `10.0.0.2/24`; or `dhcp`, to ask the network for one. */
  readonly ipv4: 'dhcp' | (string & {});
  /** With `ipv4: 'dhcp'`. */
  readonly dhcp?: DhcpOptions;
  /** IPv4 address of the default router. */
  readonly gateway?: string;
  /**
   * Asks the network whether our addresses are free before they are used: five to
   * eight seconds for IPv4 (RFC 5227; default false, but true for one from DHCP, as RFC
   * 2131 §4.4.1 wants), one to two for IPv6 (RFC 4862 §5.4, which demands it; default true).
   */
  readonly probeAddress?: boolean;
  /** Told when another station uses our address. */
  readonly onConflict?: (conflict: { readonly address: string; readonly mac: string }) => void;
  /** Told when the netif goes away by itself. */
  readonly onDown?: (error: Error | undefined) => void;
  readonly defaultTtl?: number;
  readonly tcp?: TcpOptions;
  /** First and last of the ports that TCP and UDP choose from (RFC 6056 §3.2). Default 32,768 to 65,535. */
  readonly ephemeralPorts?: readonly [first: number, last: number];
  /** Real time by default. */
  readonly clock?: Clock;
  /** The host's secure random bits by default. */
  readonly random?: Random;
}

/**
 * The whole stack over one netif: every packet in and out is ours. `ready()`
 * starts it.
 */
export class DirectStack implements Stack {
  readonly kind = 'direct';
  readonly tcp: DirectTcp;
  readonly udp: DirectUdp;
  readonly network: Network;
  readonly #tcp: TcpLayer;
  readonly #udp: UdpLayer;
  readonly #timers: TimerWheel;
  readonly #clock: Clock;
  readonly #dhcp: DhcpInterface | null;
  readonly #names: Names;
  #ready: Promise<void> | null = null;
  #closing: Promise<void> | null = null;

  /** Throws `TypeError` or `RangeError` for an address that is none. */
  constructor(options: DirectStackOptions) {
    const { netif, clock = new RealClock(), random = new CryptoRandom(), onConflict, onDown } = options;
    const { ephemeralPorts } = options;
    this.#clock = clock;
    this.#timers = new TimerWheel(clock);
    const address = options.ipv4 === 'dhcp' ? null : Prefix.parse(options.ipv4);
    if (address?.address.isIpv4 === false) throw new TypeError(`not an IPv4 address: ${options.ipv4}`);
    const gateway = options.gateway === undefined ? null : IpAddress.parse(options.gateway);
    this.network = new Network({
      netif,
      clock,
      timers: this.#timers,
      random,
      address,
      gateway,
      probe: options.probeAddress ?? false,
      ipv6: parseIpv6Options(options),
      ...(options.defaultTtl === undefined ? {} : { defaultTtl: options.defaultTtl }),
      onConflict: ({ address: contested, mac, outcome }) => {
        if (outcome === 'contested' && !contested.includes(':')) this.#dhcp?.contested();
        onConflict?.({ address: contested, mac: mac.toString() });
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
    const { network, tcp, udp } = this;
    this.#dhcp =
      address === null
        ? new DhcpInterface({
            ...options.dhcp,
            network,
            udp: this.#udp,
            clock,
            timers: this.#timers,
            random,
            gateway,
            probe: options.probeAddress ?? true,
          })
        : null;
    this.#names = new Names({ names: options, network, dhcp: this.#dhcp, tcp, udp, clock, random });
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
    this.#ready ??= Promise.all([this.network.start(), this.#dhcp?.start()]).then(() => {});
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
      ...(this.#dhcp === null ? {} : { dhcp: this.#dhcp.statistics() }),
      dns: this.#names.resolver.statistics(),
      timers: this.#timers.pending,
    };
  }

  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    await this.#drain();
    await this.#dhcp?.stop();
    this.#tcp.close();
    this.#udp.close();
    await this.network.close();
    this.#timers.close();
  }

  /** Closes every connection in order, and waits a while for the peers to agree. */
  #drain(): Promise<void> {
    const connections = this.#tcp.connections();
    if (connections.length === 0) return Promise.resolve();
    return new Promise((resolve) => {
      const deadline = this.#clock.now() + CLOSE_GRACE_MS;
      const check = (): void => {
        const waiting = this.#tcp.connections().some((connection) => !connection.sender.drained);
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
