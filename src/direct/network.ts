import { IpAddress, type Prefix } from '../address/index.ts';
import type { AddressConflict, Arp } from '../arp/index.ts';
import { NetError } from '../errors.ts';
import type { Ethernet } from '../ethernet/index.ts';
import { Ipv4Router, Ipv6Router, Napt, type NaptOptions } from '../forward/index.ts';
import { Icmp, Icmpv6 } from '../icmp/index.ts';
import { type GroupSubscription, Loopback, type LoopbackHandler } from '../internet/index.ts';
import type { GroupLayer, IpPacket, IpPath, IpProtocol, PacketObserver } from '../ip.ts';
import { type HostModel, Ipv4 } from '../ipv4/index.ts';
import { Ipv6, Ipv6Packet, isLinkLocal } from '../ipv6/index.ts';
import type { Frame, Netif } from '../netif/netif.ts';
import type { StackStatistics } from '../stack.ts';
import type { Clock, Random, TimerWheel } from '../time/index.ts';
import { Interface, type InterfaceConfiguration, type InterfaceHost } from './interface.ts';
import type { Zone } from './ipv6.ts';
import { type NeighbourEntry, neighbourEntries, type RouteEntry, routeEntries } from './tables.ts';

/** The first interface, those besides it, and what they share. */
export interface NetworkOptions extends InterfaceConfiguration {
  readonly others?: readonly InterfaceConfiguration[];
  readonly clock: Clock;
  readonly timers: TimerWheel;
  readonly random: Random;
  /** RFC 1122 §3.2.1.7; 64 by default (IANA's recommendation). */
  readonly defaultTtl?: number;
  /** RFC 1122 §3.3.4.2; by default `strong`, and `weak` for a router. */
  readonly hostModel?: HostModel;
  /** Passes packets on between the interfaces. Null, the default, for a host. */
  readonly forwarding?: ForwardingOptions | null;
  /** Whether a transport of the stack uses a port, so that the translation of others' may not. */
  readonly isPortInUse?: (protocol: number, port: number) => boolean;
  /** Another station claims an address of ours. */
  readonly onConflict?: (conflict: AddressConflict, by: Interface) => void;
  /** A netif is gone; with an error unless we closed it. The other interfaces go on. */
  readonly onInterfaceDown?: (name: string, error?: Error) => void;
  /** The last netif is gone. */
  readonly onClosed?: (error?: Error) => void;
}

export interface ForwardingOptions {
  /** Gives what leaves by one interface that interface's IPv4 address (RFC 4787, RFC 5382, RFC 5508). */
  readonly napt?: NaptOptions;
}

export interface RouteOptions {
  /** The interface that it leaves by. By default the one that has the gateway on its link, else the first. */
  readonly interface?: string;
  /** Of several routes for one prefix, the lowest is taken; by default the interface's. */
  readonly metric?: number;
}

/** The interfaces of a host and its loopback, from Ethernet up to IP: what transports are registered with. */
export class Network implements GroupLayer, InterfaceHost, LoopbackHandler {
  readonly clock: Clock;
  readonly timers: TimerWheel;
  readonly random: Random;
  readonly interfaces: readonly Interface[];
  readonly loopback: Loopback;
  readonly ipv4: Ipv4;
  readonly icmp: Icmp;
  /** Null where no interface has IPv6. */
  readonly ipv6: Ipv6 | null;
  readonly icmpv6: Icmpv6 | null;
  readonly #options: NetworkOptions;
  #router: Ipv4Router | null = null;
  #router6: Ipv6Router | null = null;
  #napt: Napt | null = null;
  #closed = false;

  /** Throws `EINVAL` where two interfaces have one name, or IPv6 has too narrow a link. */
  constructor(options: NetworkOptions) {
    const { clock, timers, random, defaultTtl = 64, others = [], forwarding = null } = options;
    const hostModel = options.hostModel ?? (forwarding === null ? 'strong' : 'weak');
    this.clock = clock;
    this.timers = timers;
    this.random = random;
    this.#options = options;
    this.loopback = new Loopback(clock, this);
    const { loopback } = this;
    this.ipv4 = new Ipv4({
      clock,
      timers,
      random,
      defaultTtl,
      loopback,
      hostModel,
      onException: (error) => this.escaped(error),
    });
    this.icmp = new Icmp(this.ipv4, clock, random);
    const configurations = [options, ...others];
    checkNames(configurations);
    const hasIpv6 = configurations.some(({ ipv6 = null }) => ipv6 !== null);
    this.ipv6 = hasIpv6
      ? new Ipv6({
          clock,
          timers,
          random,
          hopLimit: defaultTtl,
          loopback,
          strong: hostModel === 'strong',
          onConflict: (conflict, { index }) => this.conflict(conflict, this.interfaces[index]!),
        })
      : null;
    this.icmpv6 = this.ipv6 === null ? null : new Icmpv6(this.ipv6, clock, random);
    this.interfaces = configurations.map((configuration, index) => new Interface(this, configuration, index));
    if (forwarding !== null) this.#forward(forwarding);
  }

  /** Null on a host that forwards nothing. */
  get router(): Ipv4Router | null {
    return this.#router;
  }

  get napt(): Napt | null {
    return this.#napt;
  }

  /** The first interface's. */
  get netif(): Netif {
    return this.#first.netif;
  }

  get ethernet(): Ethernet {
    return this.#first.ethernet;
  }

  get arp(): Arp {
    return this.#first.arp;
  }

  /**
   * Begins to receive and takes the addresses. An IPv4 address without `probe` may
   * be used when the call returns; the promise resolves when all may be used, and
   * rejects with `EADDRNOTAVAIL` if another station has one.
   */
  async start(): Promise<void> {
    await Promise.all(this.interfaces.map((one) => one.start()));
  }

  /** The interface called `name`. Throws `ENODEV`. */
  interface(name: string): Interface {
    const found = this.interfaces.find((one) => one.name === name);
    if (found !== undefined) return found;
    const names = this.interfaces.map((one) => one.name).join(', ');
    throw new NetError('ENODEV', { reason: `no interface ${name}, only ${names}` });
  }

  /** {@link Interface.setAddress} of the first interface. */
  setAddress(address: Prefix | null, gateway: IpAddress | null = null, probe = false): Promise<void> {
    return this.#first.setAddress(address, gateway, probe);
  }

  addRoute(prefix: Prefix, gateway: IpAddress | null, options: RouteOptions = {}): void {
    const { interface: name, metric } = options;
    const by = name === undefined ? this.#interfaceToward(gateway) : this.interface(name);
    by.addRoute(prefix, gateway, metric);
  }

  /** Of every interface. Whether there was one. */
  removeRoute(prefix: Prefix): boolean {
    if (prefix.address.isIpv4) return this.ipv4.removeRoute(prefix);
    return this.ipv6?.removeRoute(prefix) ?? false;
  }

  /** The ARP and neighbour discovery caches of every interface. */
  neighbours(): NeighbourEntry[] {
    return neighbourEntries(this);
  }

  /** The routes of every interface, of both families. */
  routes(): RouteEntry[] {
    return routeEntries(this);
  }

  /** Shows `observer` what is delivered, of both families; null for nobody. */
  observe(observer: PacketObserver | null): void {
    this.ipv4.observer = observer;
    if (this.ipv6 !== null) this.ipv6.receiver.observer = observer;
  }

  /** A transport serves both families. */
  register(protocol: IpProtocol): void {
    this.ipv4.register(protocol);
    this.ipv6?.register(protocol);
  }

  path(destination: IpAddress, source?: IpAddress, device?: number): IpPath {
    const by = device === undefined ? null : this.interfaces[device]!;
    if (destination.isIpv4) {
      return by === null
        ? this.ipv4.path(destination, source)
        : this.ipv4.pathBy(by.ipv4, destination, source);
    }
    if (this.ipv6 !== null && by === null) return this.ipv6.path(destination, source);
    if (by === null || this.ipv6 === null || by.ipv6 === null) {
      throw new NetError('ENETUNREACH', {
        syscall: 'connect',
        address: `${destination}`,
        reason: by === null ? 'IPv6 is off' : `no IPv6 on ${by.name}`,
      });
    }
    return this.ipv6.pathBy(by.ipv6, destination, source);
  }

  /** The interfaces with IPv6, as the zones of link-local addresses. */
  zones(): Zone[] {
    return this.interfaces.filter(({ ipv6 }) => ipv6 !== null);
  }

  interfaceIndex(name: string): number {
    return this.interface(name).index;
  }

  isLocal(address: IpAddress): boolean {
    return this.ipv4.isLocal(address) || this.ipv6?.isLocal(address) === true;
  }

  isBroadcast(address: IpAddress): boolean {
    return this.ipv4.isBroadcast(address);
  }

  subscribe(group: IpAddress, on?: string): GroupSubscription {
    const index = on === undefined ? 0 : this.findInterface(on);
    if (index === null) {
      throw new NetError('ENODEV', {
        syscall: 'addMembership',
        address: `${group}`,
        reason: `no interface ${on}`,
      });
    }
    const by = this.interfaces[index]!;
    if (group.isIpv4) return by.ipv4.igmp.groups.subscribe(group);
    if (by.ipv6 !== null) return by.ipv6.groups.subscribe(group);
    throw new NetError('ENODEV', { syscall: 'addMembership', address: `${group}`, reason: 'IPv6 is off' });
  }

  findInterface(on: string): number | null {
    const zone = on.slice(on.indexOf('%') + 1);
    const named = this.interfaces.findIndex(({ name, index }) => name === zone || `${index + 1}` === zone);
    if (named >= 0) return named;
    const address = IpAddress.tryParse(on);
    if (address === null) return null;
    if (address.isUnspecified) return 0;
    const link = address.isIpv4 ? this.ipv4.linkOf(address) : (this.ipv6?.linkOf(address) ?? null);
    return link?.index ?? (this.isLocal(address) ? 0 : null);
  }

  portUnreachable(packet: IpPacket): void {
    if (packet instanceof Ipv6Packet) this.icmpv6?.portUnreachable(packet);
    else this.icmp.portUnreachable(packet);
  }

  /** Addresses of one host in the order in which to try them (RFC 6724 §6). */
  sort(destinations: readonly IpAddress[]): IpAddress[] {
    if (this.ipv6 === null) return [...destinations];
    return this.ipv6.sort(destinations, (destination) => this.ipv4.sourceOf(destination));
  }

  receiveLooped(frame: Frame): void {
    try {
      if (frame.bytes[frame.start]! >>> 4 === 4) this.ipv4.receiveLooped(frame);
      else this.ipv6!.receiveLooped(frame);
    } catch (error) {
      this.escaped(error);
    }
  }

  flushLooped(): void {
    this.flushed();
  }

  writableLooped(): void {
    this.writable();
  }

  flushed(): void {
    this.ipv4.flush();
  }

  writable(): void {
    // What waits below the transports goes first, whichever family it is of.
    if (this.ipv6?.drain() !== false) this.ipv4.writable();
  }

  conflict(conflict: AddressConflict, by: Interface): void {
    this.#options.onConflict?.(conflict, by);
  }

  down(from: Interface, error?: Error): void {
    this.#options.onInterfaceDown?.(from.name, error);
    if (!this.interfaces.some((one) => one.isUp)) this.#options.onClosed?.(error);
  }

  /** A transport or an application threw: the device's loop goes on, and the error comes out where nobody can miss it. */
  escaped(error: unknown): void {
    this.clock.defer(() => {
      throw error;
    });
  }

  /**
   * Counters in SNMP's words where there are such (RFC 4293, RFC 2011): of the
   * host; of the first interface (`interface`, `ethernet`, `arp`, `ndp`); and
   * of every interface by its name.
   */
  statistics(): StackStatistics {
    const { ipv4 } = this;
    const outboxes = ipv4.links.map(({ outbox }) => outbox);
    return {
      ...this.#first.statistics(),
      ip: {
        ...ipv4.counters,
        ...ipv4.egress.counters,
        ipOutDiscards: total(outboxes.map(({ discards }) => discards)),
        checksumsCompleted: total(outboxes.map(({ checksumsCompleted }) => checksumsCompleted)),
        ...ipv4.reassembly.counters,
        ipReasmPending: ipv4.reassembly.size,
        ipReasmPendingBytes: ipv4.reassembly.bytes,
        pathMtus: ipv4.pathMtu.size,
      },
      icmp: { ...this.icmp.counters },
      ...this.#statisticsOfIpv6(),
      ...this.#statisticsOfRouter(),
      interfaces: {
        [this.loopback.name]: { interface: { ...this.loopback.counters } },
        ...Object.fromEntries(this.interfaces.map((one) => [one.name, one.statistics()])),
      },
    };
  }

  #statisticsOfIpv6(): StackStatistics {
    const { ipv6, icmpv6 } = this;
    if (ipv6 === null || icmpv6 === null) return {};
    const { egress, receiver } = ipv6;
    const { reassembly } = receiver;
    const outboxes = ipv6.links.map(({ outbox }) => outbox);
    return {
      ip6: {
        ...receiver.counters,
        ...egress.counters,
        ip6OutDiscards: total(outboxes.map(({ discards }) => discards)),
        checksumsCompleted: total(outboxes.map(({ checksumsCompleted }) => checksumsCompleted)),
        ...reassembly.counters,
        ip6ReasmPending: reassembly.size,
        ip6ReasmPendingBytes: reassembly.bytes,
        pathMtus: ipv6.pathMtu.size,
      },
      icmp6: { ...icmpv6.counters },
    };
  }

  #statisticsOfRouter(): StackStatistics {
    const napt = this.#napt;
    return {
      ...(this.#router === null ? {} : { forward: { ...this.#router.counters } }),
      ...(this.#router6 === null ? {} : { forward6: { ...this.#router6.counters } }),
      ...(napt === null
        ? {}
        : {
            napt: {
              ...napt.counters,
              mappings: napt.mappings.size,
              created: napt.mappings.created,
              expired: napt.mappings.expired,
            },
          }),
    };
  }

  /** Stops, and releases the netifs. Idempotent. */
  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    const closing = this.interfaces.map((one) => one.close());
    this.#napt?.mappings.clear();
    this.loopback.close();
    this.ipv4.close();
    this.ipv6?.close();
    await Promise.all(closing);
  }

  #forward({ napt }: ForwardingOptions): void {
    const { ipv4, icmp, ipv6, icmpv6, clock, timers, random } = this;
    const { isPortInUse = () => false } = this.#options;
    if (napt !== undefined) {
      const outside = this.interface(napt.outside).ipv4;
      this.#napt = new Napt(napt, { outside, clock, timers, random, isPortInUse });
    }
    this.#router = new Ipv4Router({ ipv4, icmp, clock, napt: this.#napt });
    ipv4.forwarder = this.#router;
    if (ipv6 === null || icmpv6 === null) return;
    this.#router6 = new Ipv6Router({ ipv6, icmpv6, random });
    ipv6.receiver.forwarder = this.#router6;
    for (const one of this.interfaces) one.becomeRouter();
  }

  get #first(): Interface {
    return this.interfaces[0]!;
  }

  #interfaceToward(gateway: IpAddress | null): Interface {
    const onLink = (one: Interface): boolean => {
      if (gateway === null) return false;
      if (gateway.isIpv4) return one.ipv4.address?.contains(gateway) === true;
      if (one.ipv6 === null) return false;
      if (isLinkLocal(gateway)) return one.ipv6.index === gateway.scope;
      return one.ipv6.routes.lookup(gateway)?.gateway === null;
    };
    return this.interfaces.find(onLink) ?? this.#first;
  }
}

function total(numbers: readonly number[]): number {
  return numbers.reduce((sum, one) => sum + one, 0);
}

function checkNames(configurations: readonly InterfaceConfiguration[]): void {
  const names = new Set(['lo']);
  for (const { netif, name = netif.name } of configurations) {
    if (names.has(name)) throw new NetError('EINVAL', { reason: `two interfaces are called ${name}` });
    names.add(name);
  }
}
