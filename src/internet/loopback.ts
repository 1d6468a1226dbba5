import { allocate, copy, EMPTY } from '../bytes/index.ts';
import { Frame, netifCounters, type Offloads } from '../netif/netif.ts';
import type { Alarm, Clock } from '../time/index.ts';

/** Nothing is damaged on the way, so nobody needs to sum (RFC 1122 has no word against it). */
export const LOOPBACK_OFFLOADS: Offloads = { checksum: 'partial', segmentation: 0 };
/** Any packet fits. */
export const LOOPBACK_MTU = 65_535;

/** What may wait; then `reserve` answers null, as a full device does. */
const PACKETS = 256;
const BYTES = 2 << 20;
const SLAB = 256 << 10;
/** Batches that may follow each other in microtasks before the event loop gets a turn. */
const BATCHES_PER_TURN = 16;

/** Where looped packets go. */
export interface LoopbackHandler {
  /** A packet from our own transports; `start` at its IP header. Must not throw. */
  receiveLooped(frame: Frame): void;
  /** The end of a batch. Must not throw. */
  flushLooped(): void;
  /** `reserve` answered null and has room again. Must not throw. */
  writableLooped(): void;
}

/**
 * `lo`, the interface of packets of both families to ourselves: a bounded queue in slabs of memory,
 * emptied after the code that sent has returned, so no transport is entered
 * while it is sending.
 */
export class Loopback {
  readonly name = 'lo';
  readonly counters = netifCounters();
  readonly #clock: Clock;
  readonly #handler: LoopbackHandler;
  readonly #nextTurn: Alarm;
  readonly #deliverTask = (): void => this.#deliver();
  readonly #ring = Array.from({ length: PACKETS }, () => new Frame(EMPTY));
  #head = 0;
  #count = 0;
  #bytes = 0;
  #slab = EMPTY;
  /** Bytes of the slab that views of packets may still show. */
  #kept = 0;
  #used = 0;
  #scheduled = false;
  #batches = 0;
  #stalled = false;
  #closed = false;

  constructor(clock: Clock, handler: LoopbackHandler) {
    this.#clock = clock;
    this.#handler = handler;
    this.#nextTurn = clock.alarm(this.#deliverTask);
  }

  /** Space for a packet of `size` bytes, IP header included; null if too much waits. */
  reserve(size: number): Frame | null {
    if (this.#closed) return null;
    if (this.#count === PACKETS || this.#bytes + size > BYTES) {
      this.#stalled = true;
      this.counters.txStalls++;
      return null;
    }
    if (this.#used + size > this.#slab.length) {
      this.#slab = allocate(SLAB);
      this.#used = 0;
      this.#kept = 0;
    }
    return this.#ring[(this.#head + this.#count) % PACKETS]!.reset(this.#slab, this.#used, this.#used + size);
  }

  /** Queues the reserved packet, whose IP header begins at `header`. */
  commit(frame: Frame, header: number): void {
    const size = frame.end - header;
    frame.start = header;
    this.#count++;
    this.#bytes += size;
    this.#used += size;
    this.counters.txFrames++;
    this.counters.txBytes += size;
    this.#schedule();
  }

  /** Queues a copy of a packet that goes elsewhere too; lost if too much waits, as on any link. */
  copy(packet: Frame, header: number): void {
    const size = packet.end - header;
    const frame = this.reserve(size);
    if (frame === null) return;
    const at = frame.start;
    copy(frame.bytes, at, packet.bytes, header, packet.end);
    frame.checksum = packet.checksum;
    frame.checksumStart = at + packet.checksumStart - header;
    frame.checksumOffset = packet.checksumOffset;
    this.commit(frame, at);
  }

  close(): void {
    this.#closed = true;
    this.#count = 0;
    this.#nextTurn.clear();
  }

  #schedule(): void {
    if (this.#scheduled) return;
    this.#scheduled = true;
    if (++this.#batches < BATCHES_PER_TURN) {
      this.#clock.defer(this.#deliverTask);
    } else {
      this.#batches = 0;
      this.#nextTurn.set(this.#clock.now());
    }
  }

  #deliver(): void {
    for (let left = this.#count; left > 0 && !this.#closed; left--) {
      const frame = this.#ring[this.#head]!;
      const size = frame.end - frame.start;
      const slab = frame.bytes;
      this.counters.rxFrames++;
      this.counters.rxBytes += size;
      this.#handler.receiveLooped(frame);
      if (frame.retained && slab === this.#slab) this.#kept = this.#used;
      this.#head = (this.#head + 1) % PACKETS;
      this.#count--;
      this.#bytes -= size;
    }
    if (this.#closed) return;
    this.#scheduled = false;
    if (this.#count === 0) this.#used = this.#kept;
    else this.#schedule();
    this.#handler.flushLooped();
    if (this.#stalled) {
      this.#stalled = false;
      this.#handler.writableLooped();
    }
  }
}
