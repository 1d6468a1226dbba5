import type { IpAddress } from '../address/index.ts';
import { EVICTED, type Neighbour } from '../arp/index.ts';
import { NetError } from '../errors.ts';
import { ETHERNET_HEADER, ETHERTYPE_IPV6 } from '../ethernet/index.ts';
import {
  HeldPacket,
  type HeldPath,
  LOOPBACK_MTU,
  LOOPBACK_OFFLOADS,
  type Outbox,
} from '../internet/index.ts';
import { type CommitOptions, type IpErrorKind, type IpPath, PROTOCOL_TCP, PROTOCOL_UDP } from '../ip.ts';
import { CHECKSUM_PARTIAL, type Frame, NO_OFFLOADS, type Offloads } from '../netif/netif.ts';
import { type Egress, flowLabel } from './egress.ts';
import type { Link } from './link.ts';
import { SCOPE_INTERFACE, scopeOf } from './scope.ts';
import { HEADER, MAX_PACKET, writeHeader } from './wire.ts';

/** How packets leave: to ourselves, by the link (next hop, or a group's own entry), or not at all. */
export type Way =
  | { readonly kind: 'loopback' }
  | {
      readonly kind: 'link';
      readonly link: Link;
      readonly nextHop: IpAddress;
      /** The next hop is a router, and there may be another. */
      readonly gateway: boolean;
      readonly group: Neighbour<IpAddress> | null;
      readonly mtu: number;
      readonly hopLimit: number;
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
export class Ipv6Path implements IpPath, HeldPath {
  readonly source: IpAddress;
  readonly destination: IpAddress;
  readonly headerLength = HEADER;
  readonly #egress: Egress;
  readonly #finder: WayFinder;
  readonly #flowKey: number;
  readonly #toGroup: boolean;
  #epoch = -1;
  #way: Way = { kind: 'none' };
  /** The link of the way, or of the last one there was. */
  #link: Link | null = null;
  #neighbour: Neighbour<IpAddress> | null = null;
  #mtu = 0;
  #hopLimit = 0;
  /** Of the packet that is reserved; and its cursor, if it is built in our own memory. */
  #protocol = 0;
  #held: Frame | null = null;

  constructor(egress: Egress, finder: WayFinder, source: IpAddress, destination: IpAddress) {
    this.#egress = egress;
    this.#finder = finder;
    this.source = source;
    this.destination = destination;
    this.#toGroup = destination.isMulticast;
    this.#flowKey = egress.flowKey ^ Math.imul(destination.hash() ^ (source.hash() >>> 1), 0x85ebca6b);
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
        reason: `${total} bytes do not fit an IPv6 packet`,
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
    const { bytes, start } = frame;
    const header = start - HEADER;
    const protocol = this.#protocol;
    writeHeader(
      bytes,
      header,
      this.source,
      this.destination,
      options?.trafficClass ?? 0,
      flowLabel(this.#flowKey, bytes, start, protocol === PROTOCOL_TCP || protocol === PROTOCOL_UDP),
      frame.end - start,
      protocol,
      options?.hopLimit ?? this.#hopLimit,
    );
    egress.counters.ip6OutRequests++;
    if (this.#toGroup && this.#staysInside(frame, header, options)) return;
    if (frame === this.#held) {
      this.#commitHeld(frame);
    } else if (this.#way.kind === 'loopback') {
      egress.loopback.commit(frame, header);
    } else if (frame.end - header > this.#mtu && frame.segmentSize === 0) {
      // RFC 8200 §4.5: only the source cuts, whatever the transport would have routers do.
      this.#commitHeld(this.#link!.outbox.adopt(frame, header, frame.end - header));
    } else {
      const link = this.#link!;
      if (frame.checksum === CHECKSUM_PARTIAL) link.outbox.finish(frame);
      const neighbour = this.#neighbour!;
      neighbour.use();
      link.ethernet.commit(frame, header, neighbour.mac!, ETHERTYPE_IPV6);
    }
  }

  /** A group's packet comes back to us if we are in it (RFC 3493 §5.2); one that may go no hop does nothing else. */
  #staysInside(frame: Frame, header: number, options: CommitOptions | undefined): boolean {
    if (options?.loopGroup !== false && this.#link?.groups.has(this.destination.unscoped()) === true) {
      this.#egress.loopback.copy(frame, header);
    }
    const hopLimit = options?.hopLimit ?? this.#hopLimit;
    // RFC 4291 §2.7: a group of this interface has members nowhere else.
    return hopLimit === 0 || scopeOf(this.destination) <= SCOPE_INTERFACE;
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
    this.#egress.counters.ip6OutNoRoutes++;
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
  #resolve(): Neighbour<IpAddress> | null {
    if (this.#epoch !== this.#egress.epoch) this.#refresh();
    const neighbour = this.#neighbour;
    if (neighbour !== null && neighbour.state !== EVICTED) {
      if (neighbour.mac !== null || !this.#isByGateway()) return neighbour;
      // RFC 4861 §6.3.6: a router that does not answer is left for one that does.
      this.#refresh();
    }
    const way = this.#way;
    if (way.kind !== 'link') return null;
    this.#neighbour = way.group ?? way.link.ndp.cache.obtain(way.nextHop);
    return this.#neighbour;
  }

  #isByGateway(): boolean {
    return this.#way.kind === 'link' && this.#way.gateway;
  }

  #refresh(): void {
    this.#epoch = this.#egress.epoch;
    const way = this.#finder.findWay(this.destination, this.source);
    this.#way = way;
    this.#neighbour = null;
    if (way.kind === 'link') this.#link = way.link;
    this.#mtu = way.kind === 'link' ? way.mtu : way.kind === 'loopback' ? LOOPBACK_MTU : this.interfaceMtu;
    this.#hopLimit = way.kind === 'link' ? way.hopLimit : this.#egress.hopLimit;
  }
}
