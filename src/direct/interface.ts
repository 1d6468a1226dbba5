import type { IpAddress, Prefix } from '../address/index.ts';
import { type AddressConflict, Arp } from '../arp/index.ts';
import { NetError } from '../errors.ts';
import { Ethernet } from '../ethernet/index.ts';
import { type Ipv4, type Ipv4Link, RoutingTable } from '../ipv4/index.ts';
import type { Ipv6, Ipv6Configuration, Ipv6Link } from '../ipv6/index.ts';
import type { Frame, Netif, NetifHandler } from '../netif/netif.ts';
import type { StackStatistics } from '../stack.ts';
import type { Clock, Random, TimerWheel } from '../time/index.ts';

/** One interface, as it is configured. */
export interface InterfaceConfiguration {
  readonly netif: Netif;
  /** What routes, zones (`fe80::1%name`) and statistics call it; the netif's name by default. */
  readonly name?: string;
  /** Our address and the prefix on the link; null (as before DHCP) for none yet. */
  readonly address: Prefix | null;
  /** The default route's next hop. */
  readonly gateway?: IpAddress | null;
  /** Asks for five to eight seconds whether the address is free before it is used (RFC 5227 §2.1). Default false. */
  readonly probe?: boolean;
  /** How this interface has IPv6; null, the default, for not at all. */
  readonly ipv6?: Ipv6Configuration | null;
  /** A router tells hosts on this link that it is one, and of our /64 prefixes there (RFC 4861 §6.2). Default false. */
  readonly advertise?: boolean;
  /** Of its routes: among those of equal prefixes, the lowest is taken. By default 0, so that the first interface wins. */
  readonly metric?: number;
}

/** What an interface is part of. */
export interface InterfaceHost {
  readonly clock: Clock;
  readonly timers: TimerWheel;
  readonly random: Random;
  readonly ipv4: Ipv4;
  readonly ipv6: Ipv6 | null;
  /** A batch of received frames is over. */
  flushed(): void;
  writable(): void;
  escaped(error: unknown): void;
  conflict(conflict: AddressConflict, by: Interface): void;
  /** The netif is gone; with an error unless we closed it. */
  down(from: Interface, error?: Error): void;
}

/** One Ethernet of a host: a netif, who its neighbours are, and our addresses on it. */
export class Interface implements NetifHandler {
  readonly name: string;
  readonly index: number;
  readonly netif: Netif;
  readonly ethernet: Ethernet;
  readonly arp: Arp;
  readonly ipv4: Ipv4Link;
  /** Null where the interface has no IPv6. */
  readonly ipv6: Ipv6Link | null;
  readonly #host: InterfaceHost;
  readonly #configuration: InterfaceConfiguration;
  #state: 'new' | 'up' | 'down' = 'new';
  #claiming: { readonly gateway: IpAddress | null; settle(error?: NetError): void } | null = null;

  constructor(host: InterfaceHost, configuration: InterfaceConfiguration, index: number) {
    const { netif, name = netif.name, metric = 0, ipv6 = null } = configuration;
    const { clock, timers, random } = host;
    this.#host = host;
    this.#configuration = configuration;
    this.name = name;
    this.index = index;
    this.netif = netif;
    this.ethernet = new Ethernet(netif, clock);
    this.arp = new Arp({
      ethernet: this.ethernet,
      clock,
      timers,
      random,
      onClaimed: (address) => this.#configure(address),
      onConflict: (conflict) => this.#conflict(conflict),
    });
    const { ethernet, arp } = this;
    this.ipv4 = host.ipv4.addLink({ index, ethernet, arp, metric, clock, timers, random });
    this.ipv6 =
      ipv6 === null ? null : (host.ipv6?.addLink({ index, ethernet, metric, configuration: ipv6 }) ?? null);
  }

  get isUp(): boolean {
    return this.#state === 'up';
  }

  /** Tells hosts on the link of it; before {@link start}. */
  becomeRouter(): void {
    this.ipv6?.becomeRouter(this.#configuration.advertise ?? false);
  }

  /** As `Network.start`, for this interface. */
  async start(): Promise<void> {
    this.#state = 'up';
    this.netif.start(this);
    this.ipv4.igmp.start();
    const { address, gateway = null, probe = false } = this.#configuration;
    const starts: (Promise<void> | undefined)[] = [
      address === null ? undefined : this.setAddress(address, gateway, probe),
      this.ipv6?.start(),
    ];
    await Promise.all(starts);
  }

  /** Takes another IPv4 address in place of the present one (as DHCP does); null gives it up. The promise is that of {@link start}. */
  setAddress(address: Prefix | null, gateway: IpAddress | null = null, probe = false): Promise<void> {
    const { ipv4 } = this.#host;
    this.#abandon(
      new NetError('EADDRNOTAVAIL', { syscall: 'bind', reason: 'another address was set meanwhile' }),
    );
    this.arp.release();
    ipv4.setAddress(this.ipv4, null);
    ipv4.removeRoute(RoutingTable.DEFAULT, this.ipv4);
    if (address === null) return Promise.resolve();
    return new Promise((resolve, reject) => {
      this.#claiming = { gateway, settle: (error) => (error === undefined ? resolve() : reject(error)) };
      this.arp.claim(address, probe);
    });
  }

  /** As `Ipv4.limitMtu`. */
  limitMtu(mtu: number | null): void {
    this.#host.ipv4.limitMtu(this.ipv4, mtu);
  }

  /** A route that leaves by this interface; null as `gateway` for what is on the link itself. */
  addRoute(prefix: Prefix, gateway: IpAddress | null, metric?: number): void {
    if (prefix.address.isIpv4) {
      this.#host.ipv4.addRoute(prefix, gateway, this.ipv4, metric);
    } else if (this.ipv6 === null) {
      throw new NetError('ENETUNREACH', { syscall: 'addRoute', address: `${prefix}`, reason: 'IPv6 is off' });
    } else {
      this.#host.ipv6?.addRoute(prefix, gateway, this.ipv6, metric);
    }
  }

  removeRoute(prefix: Prefix): boolean {
    if (prefix.address.isIpv4) return this.#host.ipv4.removeRoute(prefix, this.ipv4);
    return this.ipv6 !== null && this.#host.ipv6?.removeRoute(prefix, this.ipv6) === true;
  }

  receive(frame: Frame): void {
    try {
      this.ethernet.receive(frame);
    } catch (error) {
      this.#host.escaped(error);
    }
  }

  flush(): void {
    this.#host.flushed();
    this.ethernet.flush();
  }

  writable(): void {
    this.#host.writable();
  }

  closed(error?: Error): void {
    this.#stop();
    this.#host.down(this, error);
  }

  /** Stops, and releases the netif. */
  async close(): Promise<void> {
    const { isUp } = this;
    this.#stop();
    if (isUp) await this.netif.close();
  }

  statistics(): StackStatistics {
    const { arp, ipv4, ipv6 } = this;
    return {
      interface: { ...this.netif.counters },
      ethernet: { ...this.ethernet.counters },
      arp: { ...arp.counters, entries: arp.cache.size, evictions: arp.cache.evictions },
      igmp: { ...ipv4.igmp.counters, groups: ipv4.igmp.groups.size },
      ...(ipv6 === null ? {} : { ndp: ndpStatistics(ipv6) }),
    };
  }

  #stop(): void {
    if (this.#state === 'down') return;
    this.#state = 'down';
    this.#abandon(new NetError('ENETDOWN', { syscall: 'bind', reason: 'closed' }));
    this.arp.release();
    this.#host.ipv4.removeLink(this.ipv4);
    if (this.ipv6 !== null) this.#host.ipv6?.removeLink(this.ipv6);
  }

  #abandon(error: NetError): void {
    this.#claiming?.settle(error);
    this.#claiming = null;
  }

  #configure(address: Prefix): void {
    const claiming = this.#claiming;
    this.#claiming = null;
    const { ipv4 } = this.#host;
    ipv4.setAddress(this.ipv4, address);
    if (claiming?.gateway) ipv4.addRoute(RoutingTable.DEFAULT, claiming.gateway, this.ipv4);
    claiming?.settle();
  }

  #conflict(conflict: AddressConflict): void {
    if (conflict.outcome === 'probe') {
      const { address, mac } = conflict;
      this.#abandon(
        new NetError('EADDRNOTAVAIL', { syscall: 'bind', address, reason: `${mac} has this address` }),
      );
    }
    this.#host.conflict(conflict, this);
  }
}

function ndpStatistics({
  ndp,
  autoconf,
  router,
  groups,
  output,
  addresses,
  routes,
}: Ipv6Link): StackStatistics {
  return {
    ...ndp.counters,
    ...autoconf?.counters,
    ...router?.counters,
    ...groups.counters,
    outStalled: output.stalled,
    conflicts: addresses.conflicts,
    entries: ndp.cache.size,
    evictions: ndp.cache.evictions,
    addresses: addresses.all.length,
    groups: groups.size,
    routes: routes.routes.length,
    routeRefusals: routes.refusals,
  };
}
