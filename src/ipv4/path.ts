import type { IpAddress } from '../address/index.ts';
import { EVICTED, type Neighbour } from '../arp/index.ts';
import { NetError } from '../errors.ts';
import { ETHERNET_HEADER, ETHERTYPE_IPV4 } from '../ethernet/index.ts';
import {
  HeldPacket,
  type HeldPath,
  LOOPBACK_MTU,
  LOOPBACK_OFFLOADS,
  type Outbox,
} from '../internet/index.ts';
import { type CommitOptions, type IpErrorKind, type IpPath, PROTOCOL_TCP } from '../ip.ts';
import { CHECKSUM_PARTIAL, type Frame, NO_OFFLOADS, type Offloads } from '../netif/netif.ts';
import type { Egress } from './egress.ts';
import type { Link } from './link.ts';
import { DONT_FRAGMENT, fixedSum, HEADER, MAX_PACKET, writeHeader } from './wire.ts';

/** How packets leave: to ourselves, by the link (next hop as int32, or a group's own entry), or not at all. */
export type Way =
  | { readonly kind: 'loopback' }
  | {
      readonly kind: 'link';
      readonly link: Link;
      readonly nextHop: number;
      readonly group: Neighbour | null;
      readonly mtu: number;
      readonly mayFragment: boolean;
      readonly ttl: number;
    }
  | { readonly kind: 'none' };

export interface WayFinder {
  findWay(destination: IpAddress, source: IpAddress): Way;
}

/**
 * A destination resolved. `reserve` and `commit` are the hot path: with a known
 * neighbour they take space from the device and write both headers straight
 * from the integers kept here; nothing is allocated. Everything else (an
 * unresolved neighbour, a packet to be cut, a full device's leftovers) goes
 * through a packet in memory of its own.
 */
export class Ipv4Path implements IpPath, HeldPath {
  readonly source: IpAddress;
  readonly destination: IpAddress;
  readonly headerLength = HEADER;
  readonly #egress: Egress;
  readonly #finder: WayFinder;
  readonly #sum: number;
  readonly #toGroup: boolean;
  #epoch = -1;
  #way: Way = { kind: 'none' };
  /** The link of the way, or of the last one there was. */
  #link: Link | null = null;
  #neighbour: Neighbour | null = null;
  #mtu = 0;
  #dontFragment = DONT_FRAGMENT;
  #ttl = 0;
  /** Of the packet that is reserved; and its cursor, if it is built in our own memory. */
  #protocol = 0;
  #held: Frame | null = null;

  constructor(egress: Egress, finder: WayFinder, source: IpAddress, destination: IpAddress) {
    this.#egress = egress;
    this.#finder = finder;
    this.source = source;
    this.destination = destination;
    this.#toGroup = destination.isMulticast;
    this.#sum = fixedSum(source.w3, destination.w3);
    this.#refresh();
  }

  get mtu(): number {
    if (this.#epoch !== this.#egress.epoch) this.#refresh();
    return this.#mtu;
  }

  get interfaceMtu(): number {
    if (this.#epoch !== this.#egress.epoch) this.#refresh();
    return this.#way.kind === 'loopback' ? LOOPBACK_MTU : (this.#link?.mtu ?? 0);
  }

  get transmit(): Offloads {
    if (this.#epoch !== this.#egress.epoch) this.#refresh();
    return this.#way.kind === 'loopback'
      ? LOOPBACK_OFFLOADS
      : (this.#link?.ethernet.netif.transmit ?? NO_OFFLOADS);
  }

  /** Whether packets have a way to go at present. */
  get routed(): boolean {
    if (this.#epoch !== this.#egress.epoch) this.#refresh();
    return this.#way.kind !== 'none';
  }

  /** Where packets wait for the device that they leave by. */
  get outbox(): Outbox | null {
    return this.#resolve() === null ? null : this.#link!.outbox;
  }

  /** The next hop's address on the link; null while it is unknown. */
  get mac(): Neighbour['mac'] {
    return this.#resolve()?.mac ?? null;
  }

  reserve(protocol: number, length: number): Frame | null {
    const total = HEADER + length;
    if (total > MAX_PACKET) {
      throw new NetError('EMSGSIZE', {
        syscall: 'send',
        address: `${this.destination}`,
        reason: `${total} bytes do not fit an IPv4 packet`,
      });
    }
    this.#protocol = protocol;
    const neighbour = this.#resolve();
    if (neighbour !== null && neighbour.mac !== null && this.#fitsDevice(protocol, total)) {
      const frame = this.#link!.ethernet.reserve(total);
      if (frame !== null) frame.start += HEADER;
      return frame;
    }
    if (this.#way.kind === 'loopback') {
      const frame = this.#egress.loopback.reserve(total);
      if (frame !== null) frame.start += HEADER;
      return frame;
    }
    const link = this.#link;
    // Without a way it is built all the same: `commit` tells the transport that there is none.
    this.#held = link === null ? this.#egress.hold(total) : link.outbox.reserve(total);
    return this.#held;
  }

  commit(frame: Frame, options?: CommitOptions): void {
    const egress = this.#egress;
    const header = frame.start - HEADER;
    const total = frame.end - header;
    const protocol = this.#protocol;
    const cut = total > this.#mtu && frame.segmentSize === 0;
    let flags = options?.dontFragment === false ? 0 : this.#dontFragment;
    // What has to be cut has no DF, as whoever reserved more than the MTU knows.
    if (cut) flags = 0;
    // RFC 6864 §4.1: the identification of a packet that nobody may cut means nothing.
    const identification =
      flags === 0 ? egress.identification.next(this.source.w3, this.destination.w3, protocol) : 0;
    writeHeader(
      frame.bytes,
      header,
      this.source.w3,
      this.destination.w3,
      this.#sum,
      options?.trafficClass ?? 0,
      total,
      identification,
      flags,
      options?.hopLimit ?? this.#ttl,
      protocol,
    );
    egress.counters.ipOutRequests++;
    if (this.#toGroup && this.#staysInside(frame, header, options)) return;
    if (frame === this.#held) {
      this.#commitHeld(frame);
    } else if (this.#way.kind === 'loopback') {
      egress.loopback.commit(frame, header);
    } else if (cut) {
      this.#commitHeld(this.#link!.outbox.adopt(frame, header, total));
    } else {
      const link = this.#link!;
      if (frame.checksum === CHECKSUM_PARTIAL) link.outbox.finish(frame);
      const neighbour = this.#neighbour!;
      neighbour.use();
      link.ethernet.commit(frame, header, neighbour.mac!, ETHERTYPE_IPV4);
    }
  }

  /** A group's packet comes back to us if we are in it (RFC 1112 §7.1); one that may go no hop does nothing else. */
  #staysInside(frame: Frame, header: number, options: CommitOptions | undefined): boolean {
    if (options?.loopGroup !== false && this.#link?.igmp.groups.has(this.destination.unscoped()) === true) {
      this.#egress.loopback.copy(frame, header);
    }
    return (options?.hopLimit ?? this.#ttl) === 0;
  }

  confirm(): void {
    this.#neighbour?.confirm();
  }

  /** A packet that waited for the neighbour goes out. */
  transmitHeld(packet: HeldPacket): void {
    const neighbour = this.#resolve();
    if (neighbour === null) this.report(packet.frame.bytes, packet.frame.end, 'net-unreachable');
    else if (neighbour.mac === null) neighbour.enqueue(packet);
    else {
      neighbour.use();
      this.#egress.send(packet.frame, this, this.#link!, this.#mtu);
    }
  }

  /** Tells the transport that its packet (header at `bytes[0]`) could not be sent. */
  report(bytes: Uint8Array, end: number, kind: IpErrorKind): void {
    this.#egress.onUndeliverable(bytes, end, kind);
  }

  #commitHeld(frame: Frame): void {
    const neighbour = this.#resolve();
    if (neighbour !== null) {
      if (neighbour.mac === null) {
        neighbour.enqueue(new HeldPacket(frame, this));
      } else {
        neighbour.use();
        this.#egress.send(frame, this, this.#link!, this.#mtu);
      }
      return;
    }
    this.#egress.counters.ipOutNoRoutes++;
    const { bytes, end } = frame;
    // Not from within the call that sends.
    this.#egress.clock.defer(() => this.report(bytes, end, 'net-unreachable'));
  }

  /** Whether a packet is built in the device's memory; a large one is unless it is sure to be cut. */
  #fitsDevice(protocol: number, total: number): boolean {
    if (total <= this.#mtu) return true;
    const most = this.#link!.ethernet.netif.transmit.segmentation;
    return protocol === PROTOCOL_TCP && total + ETHERNET_HEADER <= most;
  }

  /** The neighbour that packets go to, known or not; null off the link. */
  #resolve(): Neighbour | null {
    if (this.#epoch !== this.#egress.epoch) this.#refresh();
    const neighbour = this.#neighbour;
    if (neighbour !== null && neighbour.state !== EVICTED) return neighbour;
    const way = this.#way;
    if (way.kind !== 'link') return null;
    this.#neighbour = way.group ?? way.link.arp.cache.obtain(way.nextHop);
    return this.#neighbour;
  }

  #refresh(): void {
    this.#epoch = this.#egress.epoch;
    const way = this.#finder.findWay(this.destination, this.source);
    this.#way = way;
    this.#neighbour = null;
    if (way.kind === 'link') this.#link = way.link;
    this.#mtu = way.kind === 'link' ? way.mtu : way.kind === 'loopback' ? LOOPBACK_MTU : this.interfaceMtu;
    this.#dontFragment = way.kind === 'link' && way.mayFragment ? 0 : DONT_FRAGMENT;
    this.#ttl = way.kind === 'link' ? way.ttl : this.#egress.defaultTtl;
  }
}
