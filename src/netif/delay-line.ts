import { EMPTY } from '../bytes/index.ts';
import { type Alarm, type Clock, EventHeap, type HeapItem } from '../time/index.ts';
import { CHECKSUM_NONE, type Frame } from './netif.ts';
import type { Slab } from './slab.ts';

const MOST_SPARE = 256;

/** A frame that waits for its time. */
export class DelayedFrame implements HeapItem {
  at = 0;
  order = 0;
  index = -1;
  bytes: Uint8Array;
  start = 0;
  end = 0;
  checksum: Frame['checksum'] = CHECKSUM_NONE;
  checksumStart = 0;
  checksumOffset = 0;
  segmentSize = 0;
  /** Where its bytes are in flight, null if nobody waits for them. */
  slab: Slab | null = null;

  constructor(bytes: Uint8Array) {
    this.bytes = bytes;
  }
}

/** Frames by the time they are due; those of one time in the order in which they came. */
export class DelayLine {
  readonly #heap = new EventHeap<DelayedFrame>();
  readonly #spare: DelayedFrame[] = [];
  readonly #clock: Clock;
  readonly #alarm: Alarm;

  /** `onDue` is called when the first frame is due. */
  constructor(clock: Clock, onDue: () => void) {
    this.#clock = clock;
    this.#alarm = clock.alarm(onDue);
  }

  get length(): number {
    return this.#heap.size;
  }

  /** Keeps the frame under the cursor, whose bytes nobody changes until it is taken out. */
  add(atMs: number, frame: Frame, slab: Slab | null): void {
    const entry = this.#spare.pop() ?? new DelayedFrame(frame.bytes);
    entry.bytes = frame.bytes;
    entry.start = frame.start;
    entry.end = frame.end;
    entry.checksum = frame.checksum;
    entry.checksumStart = frame.checksumStart;
    entry.checksumOffset = frame.checksumOffset;
    entry.segmentSize = frame.segmentSize;
    entry.slab = slab;
    this.#heap.schedule(entry, atMs);
    if (this.#heap.peek() === entry) this.#alarm.set(atMs);
  }

  /** The first frame if it is due; it stays in line. */
  due(): DelayedFrame | null {
    const first = this.#heap.peek();
    return first !== undefined && first.at <= this.#clock.now() ? first : null;
  }

  /** Takes `entry`, the first, out; what it shows has been dealt with or is kept for good. */
  remove(entry: DelayedFrame): void {
    this.#heap.remove(entry);
    entry.slab?.release(entry.end, false);
    entry.slab = null;
    // A spare entry must not keep memory alive.
    entry.bytes = EMPTY;
    if (this.#spare.length < MOST_SPARE) this.#spare.push(entry);
  }

  /** Sets the alarm for the first frame that waits. */
  wait(): void {
    const first = this.#heap.peek();
    if (first === undefined) this.#alarm.clear();
    else this.#alarm.set(first.at);
  }

  /** Forgets all frames. */
  clear(): void {
    this.#heap.clear();
    this.#alarm.clear();
  }
}
