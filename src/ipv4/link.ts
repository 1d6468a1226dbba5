import { type IpAddress, MacAddress, type Prefix } from '../address/index.ts';
import type { Arp, Neighbour } from '../arp/index.ts';
import { ETHERTYPE_IPV4, type Ethernet, type EtherProtocol } from '../ethernet/index.ts';
import { Outbox } from '../internet/index.ts';
import type { Frame } from '../netif/netif.ts';
import type { Clock, Random, TimerWheel } from '../time/index.ts';
import { Igmp } from './igmp.ts';
import { HEADER } from './wire.ts';

/** Who takes what a link received. */
export interface LinkReceiver {
  receiveFrom(link: Link, frame: Frame, toLinkGroup: boolean): void;
}

export interface LinkOptions {
  readonly index: number;
  readonly ethernet: Ethernet;
  readonly arp: Arp;
  readonly metric: number;
  readonly clock: Clock;
  readonly timers: TimerWheel;
  readonly random: Random;
}

/** All that IPv4 knows of one Ethernet: our address there, and the way out. */
export class Link implements EtherProtocol {
  readonly ethertype = ETHERTYPE_IPV4;
  /** Of the interface: what `IpAddress.scope` of broadcast and multicast destinations names. */
  readonly index: number;
  readonly ethernet: Ethernet;
  readonly arp: Arp;
  /** Of its routes, unless they have their own; of equal prefixes, the route of the lowest is taken. */
  readonly metric: number;
  /** The device's, or less if we were told so. */
  mtu: number;
  readonly outbox: Outbox;
  /** The multicast groups that we listen to here. */
  readonly igmp: Igmp;
  /** Who hears broadcasts. */
  readonly everybody: Neighbour;
  readonly #receiver: LinkReceiver;
  #address: Prefix | null = null;
  #directedBroadcast: IpAddress | null = null;

  constructor(options: LinkOptions, receiver: LinkReceiver) {
    const { index, ethernet, arp, metric } = options;
    this.index = index;
    this.ethernet = ethernet;
    this.arp = arp;
    this.metric = metric;
    this.mtu = Math.min(ethernet.netif.mtu, 65_535);
    this.outbox = new Outbox(ethernet, ETHERTYPE_IPV4, HEADER);
    this.everybody = arp.permanent(-1, MacAddress.BROADCAST);
    this.igmp = new Igmp({ ...options, source: () => this.#address?.address ?? null });
    this.#receiver = receiver;
    ethernet.register(this);
  }

  /** Our address and the prefix on the link; null for none. */
  get address(): Prefix | null {
    return this.#address;
  }

  set address(address: Prefix | null) {
    this.#address = address;
    this.#directedBroadcast = address?.broadcast ?? null;
  }

  has(address: IpAddress): boolean {
    return this.#address?.address.equals(address) === true;
  }

  /** Whether everybody on this link is meant: the limited broadcast, or the prefix's own. */
  isBroadcast(address: IpAddress): boolean {
    return address.isLimitedBroadcast || this.isDirectedBroadcast(address);
  }

  isDirectedBroadcast(address: IpAddress): boolean {
    return this.#directedBroadcast?.equals(address) === true;
  }

  receive(frame: Frame, toGroup: boolean): void {
    this.#receiver.receiveFrom(this, frame, toGroup);
  }
}
