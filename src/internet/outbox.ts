import type { MacAddress } from '../address/index.ts';
import { allocate, copy, EMPTY } from '../bytes/index.ts';
import type { Ethernet } from '../ethernet/index.ts';
import type { IpErrorKind } from '../ip.ts';
import { completeChecksum } from '../netif/index.ts';
import { CHECKSUM_PARTIAL, Frame } from '../netif/netif.ts';

/** What may wait in our memory for a full device; then paths that would add to it answer null. */
const BACKLOG_BYTES = 256 * 1024;

/** The path of a packet that waits. */
export interface HeldPath {
  /** The next hop's address on the link; null while it is unknown. */
  readonly mac: MacAddress | null;
  /** Where its packets wait for the device; null if they have no way any more. */
  readonly outbox: Outbox | null;
  /** A packet that waited for the neighbour goes out. */
  transmitHeld(packet: HeldPacket): void;
  /** Tells the transport that its packet (header at `bytes[0]`) could not be sent. */
  report(bytes: Uint8Array, end: number, kind: IpErrorKind): void;
}

/** A whole packet in memory of its own, header at 0: it waits for a neighbour, or for the device. */
export class HeldPacket {
  readonly frame: Frame;
  readonly path: HeldPath;

  constructor(frame: Frame, path: HeldPath) {
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

/** Packets of one IP family that are built in our own memory, on their way to a device that may be full. */
export class Outbox {
  readonly ethernet: Ethernet;
  /** The cursor of packets that are built in our own memory. */
  readonly held = new Frame(EMPTY);
  /** The device finishes partial checksums. */
  readonly completesChecksums: boolean;
  /** Packets dropped for want of room. */
  discards = 0;
  /** Partial checksums finished in software. */
  checksumsCompleted = 0;
  readonly #ethertype: number;
  readonly #header: number;
  readonly #backlog: { readonly frame: Frame; readonly path: HeldPath }[] = [];
  #backlogBytes = 0;

  /** `header` is the length of the family's header, which transports leave room for. */
  constructor(ethernet: Ethernet, ethertype: number, header: number) {
    this.ethernet = ethernet;
    this.#ethertype = ethertype;
    this.#header = header;
    this.completesChecksums = ethernet.netif.transmit.checksum === 'partial';
  }

  /** Whether nothing waits for the device. */
  get isEmpty(): boolean {
    return this.#backlog.length === 0;
  }

  /** Space in our own memory for a packet of `total` bytes; null while too much waits for the device. */
  reserve(total: number): Frame | null {
    // The backlog is there because the device is full, so its `writable` will come.
    if (this.#backlogBytes > 0 && this.#backlogBytes + total > BACKLOG_BYTES) return null;
    return this.hold(total);
  }

  /** As {@link reserve}, for what cannot be refused any more. */
  hold(total: number): Frame {
    const frame = this.held.reset(allocate(total), 0, total);
    frame.start = this.#header;
    return frame;
  }

  /** A packet of the device's memory (header at `header`) moved to ours. */
  adopt(frame: Frame, header: number, total: number): Frame {
    const held = this.hold(total);
    copy(held.bytes, 0, frame.bytes, header, frame.end);
    held.checksum = frame.checksum;
    held.checksumStart = frame.checksumStart - header;
    held.checksumOffset = frame.checksumOffset;
    return held;
  }

  /** Sends a packet that fits the link, header at `frame.bytes[0]`, to `path`'s neighbour, which is known. */
  send(frame: Frame, path: HeldPath): void {
    if (this.#backlog.length === 0 && this.#copyOut(frame, path)) return;
    if (this.#backlogBytes > 0 && this.#backlogBytes + frame.end > BACKLOG_BYTES * 2) {
      this.discards++;
      return;
    }
    this.#backlog.push({ frame: copyCursor(frame), path });
    this.#backlogBytes += frame.end;
  }

  /** The device has room: what waited goes first. False if it is full again. */
  drain(): boolean {
    while (this.#backlog.length > 0) {
      const next = this.#backlog[0]!;
      // A route may have changed meanwhile.
      if (next.path.outbox !== this || next.path.mac === null) this.discards++;
      else if (!this.#copyOut(next.frame, next.path)) return false;
      this.#backlogBytes -= next.frame.end;
      this.#backlog.shift();
    }
    return true;
  }

  /** Finishes a partial checksum if the device does not. */
  finish(frame: Frame): void {
    if (!this.completesChecksums) this.complete(frame);
  }

  /** Finishes a partial checksum, whatever the device does. */
  complete(frame: Frame): void {
    if (frame.checksum !== CHECKSUM_PARTIAL) return;
    completeChecksum(frame, frame.end);
    this.checksumsCompleted++;
  }

  /** Copies a packet to the device; false if it is full. */
  #copyOut(source: Frame, path: HeldPath): boolean {
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
    this.ethernet.commit(frame, packet, path.mac!, this.#ethertype);
    return true;
  }
}
