import type { IpAddress, Prefix } from '../address/index.ts';
import { type AddressConflict, Arp } from '../arp/index.ts';
import { NetError } from '../errors.ts';
import { Ethernet } from '../ethernet/index.ts';
import { Icmp } from '../icmp/index.ts';
import type { LoopbackHandler } from '../internet/index.ts';
import type { IpLayer, IpPacket, IpPath, IpProtocol } from '../ip.ts';
import { Ipv4, RoutingTable } from '../ipv4/index.ts';
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
  /** Another station claims our address. */
  readonly onConflict?: (conflict: AddressConflict) => void;
  /** The netif is gone; with an error unless we closed it. */
  readonly onClosed?: (error?: Error) => void;
}

/** One interface and its loopback, from Ethernet up to IP: what transports are registered with. */
export class Network implements IpLayer, NetifHandler, LoopbackHandler {
  readonly netif: Netif;
  readonly ethernet: Ethernet;
  readonly arp: Arp;
  readonly ipv4: Ipv4;
  readonly icmp: Icmp;
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
  }

  /**
   * Begins to receive and takes the address. Without `probe` that is done when
   * the call returns; with it, the promise resolves when the address may be used
   * and rejects with `EADDRNOTAVAIL` if another station has it.
   */
  start(): Promise<void> {
    this.#started = true;
    this.netif.start(this);
    const { address, gateway = null, probe = false } = this.#options;
    return address === null ? Promise.resolve() : this.setAddress(address, gateway, probe);
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
    this.ipv4.addRoute(prefix, gateway);
  }

  removeRoute(prefix: Prefix): boolean {
    return this.ipv4.removeRoute(prefix);
  }

  register(protocol: IpProtocol): void {
    this.ipv4.register(protocol);
  }

  path(destination: IpAddress, source?: IpAddress): IpPath {
    return this.ipv4.path(destination, source);
  }

  isLocal(address: IpAddress): boolean {
    return this.ipv4.isLocal(address);
  }

  isBroadcast(address: IpAddress): boolean {
    return this.ipv4.isBroadcast(address);
  }

  portUnreachable(packet: IpPacket): void {
    this.icmp.portUnreachable(packet);
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
    this.ipv4.writable();
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
    this.ipv4.writable();
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
      icmp: { ...this.icmp.counters },
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

  /** A transport or an application threw: the device's loop goes on, and the error comes out where nobody can miss it. */
  #escape(error: unknown): void {
    this.#clock.defer(() => {
      throw error;
    });
  }
}
