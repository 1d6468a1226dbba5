import type { Arp, Waiting } from '../arp/index.ts';
import { allocate, copy, EMPTY } from '../bytes/index.ts';
import { ETHERTYPE_IPV4, type Ethernet } from '../ethernet/index.ts';
import type { IpErrorKind } from '../ip.ts';
import { CHECKSUM_PARTIAL, Frame } from '../netif/netif.ts';
import type { Clock, Random } from '../time/index.ts';
import { completeChecksum, fragmentPayload } from './fragment.ts';
import { Identification } from './identification.ts';
import type { Loopback } from './loopback.ts';
import type { Ipv4Path } from './path.ts';
import {
  fixedSum,
  getProtocol,
  getTotalLength,
  getTrafficClass,
  getTtl,
  HEADER,
  MORE_FRAGMENTS,
  writeHeader,
} from './wire.ts';

/** What may wait in our memory for a full device; then paths that would add to it answer null. */
const BACKLOG_BYTES = 256 * 1024;

export interface EgressCounters {
  ipOutRequests: number;
  /** Packets that were dropped for want of room. */
  ipOutDiscards: number;
  ipOutNoRoutes: number;
  ipOutFragReqds: number;
  ipOutFragOKs: number;
  ipOutFragCreates: number;
  /** Partial checksums finished in software. */
  checksumsCompleted: number;
}

/** A whole packet in memory of its own, header at 0: it waits for a neighbour, or for the device. */
export class HeldPacket implements Waiting {
  readonly frame: Frame;
  readonly path: Ipv4Path;

  constructor(frame: Frame, path: Ipv4Path) {
    this.path = path;
    this.frame = copyCursor(frame);
  }

  get size(): number {
    return this.frame.end;
  }

  transmit(): void {
    this.path.transmitHeld(this);
  }

  unreachable(): void {
    this.path.report(this.frame.bytes, this.frame.end, 'neighbour-unreachable');
  }
}

/** A cursor of its own over the same bytes, from 0 on. */
function copyCursor(frame: Frame): Frame {
  const own = new Frame(frame.bytes);
  own.end = frame.end;
  own.checksum = frame.checksum;
  own.checksumStart = frame.checksumStart;
  own.checksumOffset = frame.checksumOffset;
  own.segmentSize = frame.segmentSize;
  return own;
}

export interface EgressOptions {
  readonly ethernet: Ethernet;
  readonly arp: Arp;
  readonly loopback: Loopback;
  readonly clock: Clock;
  readonly random: Random;
  readonly defaultTtl: number;
  /** Tells the transport that a packet of its own could not be sent; header at `bytes[0]`. */
  readonly onUndeliverable: (bytes: Uint8Array, end: number, kind: IpErrorKind) => void;
}

/** What all paths share on the way out: the link, memory for packets that must wait, and the epoch. */
export class Egress {
  readonly ethernet: Ethernet;
  readonly arp: Arp;
  readonly loopback: Loopback;
  readonly clock: Clock;
  readonly identification: Identification;
  readonly defaultTtl: number;
  readonly mtu: number;
  /** The device finishes partial checksums. */
  readonly completesChecksums: boolean;
  readonly onUndeliverable: (bytes: Uint8Array, end: number, kind: IpErrorKind) => void;
  readonly counters: EgressCounters = {
    ipOutRequests: 0,
    ipOutDiscards: 0,
    ipOutNoRoutes: 0,
    ipOutFragReqds: 0,
    ipOutFragOKs: 0,
    ipOutFragCreates: 0,
    checksumsCompleted: 0,
  };
  /** Moves on whenever routes, addresses or path MTUs change: paths compare it and look again. */
  epoch = 0;
  /** The cursor of packets that are built in our own memory. */
  readonly held = new Frame(EMPTY);
  readonly #backlog: { readonly frame: Frame; readonly path: Ipv4Path }[] = [];
  #backlogBytes = 0;

  constructor({ ethernet, arp, loopback, clock, random, defaultTtl, onUndeliverable }: EgressOptions) {
    this.ethernet = ethernet;
    this.arp = arp;
    this.loopback = loopback;
    this.clock = clock;
    this.identification = new Identification(random);
    this.defaultTtl = defaultTtl;
    this.mtu = Math.min(ethernet.netif.mtu, 65_535);
    this.completesChecksums = ethernet.netif.transmit.checksum === 'partial';
    this.onUndeliverable = onUndeliverable;
  }

  /** Space in our own memory for a packet of `total` bytes; null while too much waits for the device. */
  reserveHeld(total: number): Frame | null {
    // The backlog is there because the device is full, so its `writable` will come.
    if (this.#backlogBytes > 0 && this.#backlogBytes + total > BACKLOG_BYTES) return null;
    return this.hold(total);
  }

  /** As {@link reserveHeld}, for what cannot be refused any more. */
  hold(total: number): Frame {
    const frame = this.held.reset(allocate(total), 0, total);
    frame.start = HEADER;
    return frame;
  }

  /** Sends a whole packet, header at `frame.bytes[0]`, to `path`'s neighbour, which is known; in fragments of `mtu` if it must. */
  send(frame: Frame, path: Ipv4Path, mtu: number): void {
    if (frame.end > mtu && frame.segmentSize === 0) this.#sendFragments(frame, path, mtu);
    else this.#sendWhole(frame, path);
  }

  /** The device has room: what waited goes first. False if it is full again. */
  drain(): boolean {
    while (this.#backlog.length > 0) {
      const next = this.#backlog[0]!;
      if (next.path.mac === null) this.counters.ipOutDiscards++;
      else if (!this.#copyOut(next.frame, next.path)) return false;
      this.#backlogBytes -= next.frame.end;
      this.#backlog.shift();
    }
    return true;
  }

  #sendWhole(frame: Frame, path: Ipv4Path): void {
    if (this.#backlog.length === 0 && this.#copyOut(frame, path)) return;
    if (this.#backlogBytes > 0 && this.#backlogBytes + frame.end > BACKLOG_BYTES * 2) {
      this.counters.ipOutDiscards++;
      return;
    }
    this.#backlog.push({ frame: copyCursor(frame), path });
    this.#backlogBytes += frame.end;
  }

  /** Copies a packet to the device; false if it is full. */
  #copyOut(source: Frame, path: Ipv4Path): boolean {
    const frame = this.ethernet.reserve(source.end);
    if (frame === null) return false;
    const packet = frame.start;
    copy(frame.bytes, packet, source.bytes, 0, source.end);
    frame.segmentSize = source.segmentSize;
    if (source.checksum === CHECKSUM_PARTIAL) {
      frame.checksum = CHECKSUM_PARTIAL;
      frame.checksumStart = packet + source.checksumStart;
      frame.checksumOffset = source.checksumOffset;
      this.finish(frame);
    }
    this.ethernet.commit(frame, packet, path.mac!, ETHERTYPE_IPV4);
    return true;
  }

  /** Finishes a partial checksum if the device does not. */
  finish(frame: Frame): void {
    if (this.completesChecksums) return;
    completeChecksum(frame);
    this.counters.checksumsCompleted++;
  }

  /** RFC 791 §3.2's fragmentation procedure. */
  #sendFragments(packet: Frame, path: Ipv4Path, mtu: number): void {
    this.counters.ipOutFragReqds++;
    if (packet.checksum === CHECKSUM_PARTIAL) {
      completeChecksum(packet);
      this.counters.checksumsCompleted++;
    }
    const { bytes } = packet;
    const total = getTotalLength(bytes, 0);
    const payload = fragmentPayload(mtu);
    const source = path.source.w3;
    const destination = path.destination.w3;
    const protocol = getProtocol(bytes, 0);
    const identification = this.identification.next(source, destination, protocol);
    const sum = fixedSum(source, destination);
    for (let at = HEADER; at < total; at += payload) {
      const end = Math.min(at + payload, total);
      const length = HEADER + end - at;
      const fragment = new Frame(allocate(length));
      fragment.end = length;
      const flags = (end < total ? MORE_FRAGMENTS : 0) | ((at - HEADER) >> 3);
      const { bytes: out } = fragment;
      writeHeader(
        out,
        0,
        source,
        destination,
        sum,
        getTrafficClass(bytes, 0),
        length,
        identification,
        flags,
        getTtl(bytes, 0),
        protocol,
      );
      copy(out, HEADER, bytes, at, end);
      this.#sendWhole(fragment, path);
      this.counters.ipOutFragCreates++;
    }
    this.counters.ipOutFragOKs++;
  }
}
