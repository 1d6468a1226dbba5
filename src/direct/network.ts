import { IpAddress, type Prefix } from '../address/index.ts';
import { type AddressConflict, Arp } from '../arp/index.ts';
import { NetError } from '../errors.ts';
import { Ethernet } from '../ethernet/index.ts';
import { Icmp, Icmpv6 } from '../icmp/index.ts';
import type { GroupSubscription, LoopbackHandler } from '../internet/index.ts';
import type { GroupLayer, IpPacket, IpPath, IpProtocol } from '../ip.ts';
import { Ipv4, RoutingTable } from '../ipv4/index.ts';
import { Ipv6, type Ipv6Configuration, Ipv6Packet } from '../ipv6/index.ts';
import type { Frame, Netif, NetifHandler } from '../netif/netif.ts';
import type { StackStatistics } from '../stack.ts';
import type { Clock, Random, TimerWheel } from '../time/index.ts';

export interface NetworkOptions {
  readonly netif: Netif;
  readonly clock: Clock;
  readonly timers: TimerWheel;
  readonly random: Random;
  /** Our address and the prefix on the link; null (as before DHCP) for none yet. */
  readonly address: Prefix | null;
  /** The default route's next hop. */
  readonly gateway?: IpAddress | null;
  /** RFC 1122 §3.2.1.7; 64 by default (IANA's recommendation). */
  readonly defaultTtl?: number;
  /** Asks for five to eight seconds whether the address is free before it is used (RFC 5227 §2.1). Default false. */
  readonly probe?: boolean;
  /** How this interface has IPv6; null, the default, for not at all. */
  readonly ipv6?: Ipv6Configuration | null;
  /** Another station claims an address of ours. */
  readonly onConflict?: (conflict: AddressConflict) => void;
  /** The netif is gone; with an error unless we closed it. */
  readonly onClosed?: (error?: Error) => void;
}

/** One interface and its loopback, from Ethernet up to IP: what transports are registered with. */
export class Network implements GroupLayer, NetifHandler, LoopbackHandler {
  readonly netif: Netif;
  readonly ethernet: Ethernet;
  readonly arp: Arp;
  readonly ipv4: Ipv4;
  readonly icmp: Icmp;
  /** Null where the interface has no IPv6. */
  readonly ipv6: Ipv6 | null;
  readonly icmpv6: Icmpv6 | null;
  readonly #clock: Clock;
  readonly #options: NetworkOptions;
  #started = false;
  #closed = false;
  #claiming: { readonly gateway: IpAddress | null; settle(error?: NetError): void } | null = null;

  constructor(options: NetworkOptions) {
    const { netif, clock, timers, random, defaultTtl = 64 } = options;
    this.netif = netif;
    this.#clock = clock;
    this.#options = options;
    this.ethernet = new Ethernet(netif, clock);
    this.arp = new Arp({
      ethernet: this.ethernet,
      clock,
      timers,
      random,
      onClaimed: (address) => this.#configure(address),
      onConflict: (conflict) => this.#conflict(conflict),
    });
    this.ipv4 = new Ipv4({
      ethernet: this.ethernet,
      arp: this.arp,
      clock,
      timers,
      random,
      defaultTtl,
      loopback: this,
      onException: (error) => this.#escape(error),
    });
    this.icmp = new Icmp(this.ipv4, clock, random);
    const { ipv6: configuration = null } = options;
    if (configuration === null) {
      this.ipv6 = null;
      this.icmpv6 = null;
      return;
    }
    this.ipv6 = new Ipv6({
      ethernet: this.ethernet,
      clock,
      timers,
      random,
      hopLimit: defaultTtl,
      configuration,
      loopback: {
        receiveLooped: (frame) => this.#receiveLooped6(frame),
        flushLooped: () => this.flushLooped(),
        writableLooped: () => this.writable(),
      },
      onConflict: (conflict) => options.onConflict?.(conflict),
    });
    this.icmpv6 = new Icmpv6(this.ipv6, clock, random);
  }

  /**
   * Begins to receive and takes the addresses. An IPv4 address without `probe` may
   * be used when the call returns; the promise resolves when all may be used, and
   * rejects with `EADDRNOTAVAIL` if another station has one.
   */
  async start(): Promise<void> {
    this.#started = true;
    this.netif.start(this);
    this.ipv4.igmp.start();
    const { address, gateway = null, probe = false } = this.#options;
    const starts: (Promise<void> | undefined)[] = [
      address === null ? undefined : this.setAddress(address, gateway, probe),
      this.ipv6?.link.start(),
    ];
    await Promise.all(starts);
  }

  /** Takes another address in place of the present one (as DHCP does); null gives it up. As for the promise, see {@link start}. */
  setAddress(address: Prefix | null, gateway: IpAddress | null = null, probe = false): Promise<void> {
    this.#claiming?.settle(
      new NetError('EADDRNOTAVAIL', { syscall: 'bind', reason: 'another address was set meanwhile' }),
    );
    this.#claiming = null;
    this.arp.release();
    this.ipv4.setAddress(null);
    this.ipv4.removeRoute(RoutingTable.DEFAULT);
    if (address === null) return Promise.resolve();
    return new Promise((resolve, reject) => {
      this.#claiming = { gateway, settle: (error) => (error === undefined ? resolve() : reject(error)) };
      this.arp.claim(address, probe);
    });
  }

  addRoute(prefix: Prefix, gateway: IpAddress | null): void {
    if (prefix.address.isIpv4) {
      this.ipv4.addRoute(prefix, gateway);
    } else if (this.ipv6 === null) {
      throw new NetError('ENETUNREACH', { syscall: 'addRoute', address: `${prefix}`, reason: 'IPv6 is off' });
    } else {
      this.ipv6.addRoute(prefix, gateway);
    }
  }

  removeRoute(prefix: Prefix): boolean {
    if (prefix.address.isIpv4) return this.ipv4.removeRoute(prefix);
    return this.ipv6?.removeRoute(prefix) ?? false;
  }

  /** A transport serves both families. */
  register(protocol: IpProtocol): void {
    this.ipv4.register(protocol);
    this.ipv6?.register(protocol);
  }

  path(destination: IpAddress, source?: IpAddress): IpPath {
    const family = destination.isIpv4 ? this.ipv4 : (this.ipv6 ?? this.ipv4);
    return family.path(destination, source);
  }

  isLocal(address: IpAddress): boolean {
    return this.ipv4.isLocal(address) || this.ipv6?.isLocal(address) === true;
  }

  isBroadcast(address: IpAddress): boolean {
    return this.ipv4.isBroadcast(address);
  }

  subscribe(group: IpAddress, on?: string): GroupSubscription {
    if (on !== undefined && !this.hasInterface(on)) {
      throw new NetError('ENODEV', {
        syscall: 'addMembership',
        address: `${group}`,
        reason: `no interface ${on}`,
      });
    }
    if (group.isIpv4) return this.ipv4.igmp.groups.subscribe(group);
    if (this.ipv6 !== null) return this.ipv6.link.groups.subscribe(group);
    throw new NetError('ENODEV', { syscall: 'addMembership', address: `${group}`, reason: 'IPv6 is off' });
  }

  hasInterface(on: string): boolean {
    const zone = on.slice(on.indexOf('%') + 1);
    if (zone === this.netif.name || zone === '1') return true;
    const address = IpAddress.tryParse(on);
    return address !== null && (address.isUnspecified || this.isLocal(address));
  }

  portUnreachable(packet: IpPacket): void {
    if (packet instanceof Ipv6Packet) this.icmpv6?.portUnreachable(packet);
    else this.icmp.portUnreachable(packet);
  }

  /** Addresses of one host in the order in which to try them (RFC 6724 §6). */
  sort(destinations: readonly IpAddress[]): IpAddress[] {
    if (this.ipv6 === null) return [...destinations];
    return this.ipv6.sort(destinations, (destination) => {
      const source = destination.isLoopback ? destination : (this.ipv4.address?.address ?? null);
      return source !== null && this.ipv4.hasWay(destination, source) ? source : null;
    });
  }

  receive(frame: Frame): void {
    try {
      this.ethernet.receive(frame);
    } catch (error) {
      this.#escape(error);
    }
  }

  flush(): void {
    this.ipv4.flush();
    this.ethernet.flush();
  }

  writable(): void {
    // What waits below the transports goes first, whichever family it is of.
    if (this.ipv6?.drain() !== false) this.ipv4.writable();
  }

  closed(error?: Error): void {
    this.#options.onClosed?.(error);
  }

  receiveLooped(frame: Frame): void {
    try {
      this.ipv4.receiveLooped(frame);
    } catch (error) {
      this.#escape(error);
    }
  }

  flushLooped(): void {
    this.ipv4.flush();
  }

  writableLooped(): void {
    this.writable();
  }

  /** Counters of this interface, in SNMP's words where there are such (RFC 4293, RFC 2011). */
  statistics(): StackStatistics {
    const { ipv4, arp } = this;
    return {
      interface: { ...this.netif.counters },
      ethernet: { ...this.ethernet.counters },
      arp: { ...arp.counters, entries: arp.cache.size, evictions: arp.cache.evictions },
      ip: {
        ...ipv4.counters,
        ...ipv4.egress.counters,
        ipOutDiscards: ipv4.egress.outbox.discards,
        checksumsCompleted: ipv4.egress.outbox.checksumsCompleted,
        ...ipv4.reassembly.counters,
        ipReasmPending: ipv4.reassembly.size,
        ipReasmPendingBytes: ipv4.reassembly.bytes,
        loopbackStalls: ipv4.loopbackStalls,
        pathMtus: ipv4.pathMtu.size,
      },
      igmp: { ...ipv4.igmp.counters, groups: ipv4.igmp.groups.size },
      icmp: { ...this.icmp.counters },
      ...this.#statisticsOfIpv6(),
    };
  }

  #statisticsOfIpv6(): StackStatistics {
    const { ipv6, icmpv6 } = this;
    if (ipv6 === null || icmpv6 === null) return {};
    const { egress, link, receiver } = ipv6;
    const { reassembly } = receiver;
    return {
      ndp: {
        ...link.ndp.counters,
        ...link.autoconf?.counters,
        ...link.groups.counters,
        outStalled: link.output.stalled,
        conflicts: link.addresses.conflicts,
        entries: link.ndp.cache.size,
        evictions: link.ndp.cache.evictions,
        addresses: link.addresses.all.length,
        groups: link.groups.size,
        routes: link.routes.routes.length,
        routeRefusals: link.routes.refusals,
      },
      ip6: {
        ...receiver.counters,
        ...egress.counters,
        ip6OutDiscards: egress.outbox.discards,
        checksumsCompleted: egress.outbox.checksumsCompleted,
        ...reassembly.counters,
        ip6ReasmPending: reassembly.size,
        ip6ReasmPendingBytes: reassembly.bytes,
        loopbackStalls: ipv6.loopbackStalls,
        pathMtus: ipv6.pathMtu.size,
      },
      icmp6: { ...icmpv6.counters },
    };
  }

  /** Stops, and releases the netif. Idempotent. */
  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    this.#claiming?.settle(new NetError('ENETDOWN', { syscall: 'bind', reason: 'closed' }));
    this.#claiming = null;
    this.arp.release();
    this.ipv4.setAddress(null);
    this.ipv4.close();
    this.ipv6?.close();
    if (this.#started) await this.netif.close();
  }

  #configure(address: Prefix): void {
    const claiming = this.#claiming;
    this.#claiming = null;
    this.ipv4.setAddress(address);
    if (claiming?.gateway) this.ipv4.addRoute(RoutingTable.DEFAULT, claiming.gateway);
    claiming?.settle();
  }

  #conflict(conflict: AddressConflict): void {
    if (conflict.outcome === 'probe') {
      const { address, mac } = conflict;
      this.#claiming?.settle(
        new NetError('EADDRNOTAVAIL', { syscall: 'bind', address, reason: `${mac} has this address` }),
      );
      this.#claiming = null;
    }
    this.#options.onConflict?.(conflict);
  }

  #receiveLooped6(frame: Frame): void {
    try {
      this.ipv6!.receiveLooped(frame);
    } catch (error) {
      this.#escape(error);
    }
  }

  /** A transport or an application threw: the device's loop goes on, and the error comes out where nobody can miss it. */
  #escape(error: unknown): void {
    this.#clock.defer(() => {
      throw error;
    });
  }
}
