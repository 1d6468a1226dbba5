import type { Alarm, Clock } from '../time/index.ts';
import {
  CHECKSUM_NONE,
  CHECKSUM_VERIFIED,
  type Frame,
  type NetifCounters,
  type NetifHandler,
} from './netif.ts';
import type { Slab } from './slab.ts';

/** Batches delivered in a row by deferred tasks before the event loop gets a turn. */
const BATCHES_PER_TURN = 16;

/** One frame on its way: where it is, and its offload state. */
class Entry {
  slab: Slab | null = null;
  start = 0;
  end = 0;
  checksum: Frame['checksum'] = CHECKSUM_NONE;
  checksumStart = 0;
  checksumOffset = 0;
  segmentSize = 0;
}

export interface DeliveryOptions {
  readonly clock: Clock;
  /** Most frames that wait. */
  readonly queueFrames: number;
  /** When so many bytes wait, or more, the queue is full too; no such bound unless given. */
  readonly queueBytes?: number;
  /** Most frames handed over before a `flush`. */
  readonly batch: number;
  /** The receiving end's reused cursor. */
  readonly cursor: Frame;
  /** Of the receiving end. */
  readonly counters: NetifCounters;
  /** Whether the receiver takes the word of a device that a checksum is right. */
  readonly trustsChecksums: boolean;
  /** Called after a batch, when the queue has become half empty or less. */
  readonly onRoom?: () => void;
}

/**
 * The frames on their way to one receiver: a bounded ring of preallocated
 * entries, and the task that hands them over. It never runs within the sender's
 * call, so no layer is re-entered.
 */
export class DeliveryQueue {
  readonly #entries: Entry[];
  readonly #mostBytes: number;
  #head = 0;
  #length = 0;
  #bytes = 0;
  #scheduled = false;
  #batchesInTurn = 0;
  #handler: NetifHandler | null = null;
  #closed = false;
  readonly #clock: Clock;
  readonly #batch: number;
  readonly #cursor: Frame;
  readonly #counters: NetifCounters;
  readonly #trustsChecksums: boolean;
  readonly #onRoom: (() => void) | undefined;
  readonly #alarm: Alarm;
  readonly #task = (): void => this.#deliver();

  constructor(options: DeliveryOptions) {
    const { queueFrames, batch } = options;
    if (!(Number.isInteger(queueFrames) && queueFrames > 0 && Number.isInteger(batch) && batch > 0)) {
      throw new RangeError(`queueFrames ${queueFrames} and batch ${batch} must be positive integers`);
    }
    this.#entries = Array.from({ length: queueFrames }, () => new Entry());
    this.#mostBytes = options.queueBytes ?? Number.MAX_SAFE_INTEGER;
    this.#clock = options.clock;
    this.#batch = batch;
    this.#cursor = options.cursor;
    this.#counters = options.counters;
    this.#trustsChecksums = options.trustsChecksums;
    this.#onRoom = options.onRoom;
    this.#alarm = options.clock.alarm(() => {
      this.#batchesInTurn = 0;
      this.#deliver();
    });
  }

  get full(): boolean {
    return this.#length === this.#entries.length || this.#bytes >= this.#mostBytes;
  }

  get closed(): boolean {
    return this.#closed;
  }

  /** Begins handing over to `handler`; what came before has waited. */
  start(handler: NetifHandler): void {
    this.#handler = handler;
    this.#schedule();
  }

  /**
   * Queues `slab.bytes[start..end)` with `frame`'s offload state. Not to be
   * called when `full` or `closed`. The caller has counted it as in flight.
   */
  push(slab: Slab, start: number, end: number, frame: Frame): void {
    let index = this.#head + this.#length;
    if (index >= this.#entries.length) index -= this.#entries.length;
    const entry = this.#entries[index]!;
    entry.slab = slab;
    entry.start = start;
    entry.end = end;
    entry.checksum = frame.checksum;
    entry.checksumStart = frame.checksumStart;
    entry.checksumOffset = frame.checksumOffset;
    entry.segmentSize = frame.segmentSize;
    this.#length++;
    this.#bytes += end - start;
    this.#schedule();
  }

  /** Drops what waits and takes nothing more. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#handler = null;
    this.#alarm.clear();
    this.#counters.rxDropped += this.#length;
    while (this.#length > 0) {
      const entry = this.#entries[this.#head]!;
      const slab = entry.slab!;
      this.#shift(entry);
      slab.release(entry.end, false);
    }
    if (this.#onRoom !== undefined) this.#clock.defer(this.#onRoom);
  }

  #schedule(): void {
    if (this.#scheduled || this.#handler === null || this.#length === 0) return;
    this.#scheduled = true;
    if (this.#batchesInTurn < BATCHES_PER_TURN) {
      this.#batchesInTurn++;
      this.#clock.defer(this.#task);
    } else {
      // Two ends that answer each other in microtasks would starve the event loop.
      this.#alarm.set(this.#clock.now());
    }
  }

  #deliver(): void {
    const frame = this.#cursor;
    const counters = this.#counters;
    for (let n = 0; n < this.#batch && this.#length > 0 && this.#handler !== null; n++) {
      const entry = this.#entries[this.#head]!;
      const { start, end } = entry;
      const slab = entry.slab!;
      frame.reset(slab.bytes, start, end);
      if (entry.checksum !== CHECKSUM_VERIFIED || this.#trustsChecksums) frame.checksum = entry.checksum;
      frame.checksumStart = entry.checksumStart;
      frame.checksumOffset = entry.checksumOffset;
      frame.segmentSize = entry.segmentSize;
      // Out of the ring before the call, which may close this queue; in flight until after it.
      this.#shift(entry);
      counters.rxFrames++;
      counters.rxBytes += end - start;
      this.#handler.receive(frame);
      slab.release(end, frame.retained);
    }
    this.#handler?.flush();
    this.#scheduled = false;
    this.#schedule();
    if (this.#length * 2 <= this.#entries.length && this.#bytes * 2 <= this.#mostBytes) this.#onRoom?.();
  }

  #shift(entry: Entry): void {
    entry.slab = null;
    this.#head = this.#head + 1 === this.#entries.length ? 0 : this.#head + 1;
    this.#length--;
    this.#bytes -= entry.end - entry.start;
  }
}
