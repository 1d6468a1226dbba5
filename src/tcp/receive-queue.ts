import { allocate, copy, EMPTY, ViewCache } from '../bytes/index.ts';
import type { Frame } from '../netif/netif.ts';

/**
 * Payloads below this are copied: a view would pin the device's whole slab for a
 * few bytes.
 */
export const SMALL_PAYLOAD = 512;
const FILL_SIZE = 2048;
/** Room for pieces that is kept when nothing is held: arrays that are emptied would be made anew for the next. */
const KEPT_ROOM = 32;
/** Bookkeeping bytes per piece. */
const PIECE_COST = 32;

/**
 * Where received bytes are kept: a large payload stays where the device put it
 * (and the frame is retained), small ones are gathered in a buffer of our own,
 * so that a peer that sends single bytes cannot make us hold an object for each.
 */
export class PayloadKeeper {
  bytes: Uint8Array;
  start = 0;
  end = 0;
  #fill: Uint8Array | null = null;
  #used = 0;
  readonly #views = new ViewCache(8);

  constructor() {
    this.bytes = allocate(0);
  }

  /** A view of `frame.bytes[start..end)` that is good until the frame is. */
  lend(frame: Frame, start: number, end: number): Uint8Array {
    return this.#views.view(frame.bytes, start, end);
  }

  /** Keeps `frame.bytes[start..end)`; afterwards `bytes`, `start`, `end` of this object say where. */
  keep(frame: Frame, start: number, end: number): void {
    const length = end - start;
    if (length >= SMALL_PAYLOAD) {
      frame.retain();
      this.bytes = frame.bytes;
      this.start = start;
      this.end = end;
      return;
    }
    if (this.#fill === null || this.#used + length > FILL_SIZE) {
      this.#fill = allocate(FILL_SIZE);
      this.#used = 0;
    }
    copy(this.#fill, this.#used, frame.bytes, start, end);
    this.bytes = this.#fill;
    this.start = this.#used;
    this.end = this.#used + length;
    this.#used += length;
  }
}

/** Bytes in order that the application has not read: pieces of kept memory in a ring. */
export class ReceiveQueue {
  #bytes: Uint8Array[] = [];
  #starts: number[] = [];
  #ends: number[] = [];
  /** The live ones are `#first .. #end`; the rest is room. */
  #first = 0;
  #end = 0;
  #length = 0;

  /** Bytes held. */
  get length(): number {
    return this.#length;
  }

  /** Bytes held and the bookkeeping of the pieces they are in: what counts against the buffer. */
  get cost(): number {
    return this.#length + (this.#end - this.#first) * PIECE_COST;
  }

  push(bytes: Uint8Array, start: number, end: number): void {
    const last = this.#end - 1;
    this.#length += end - start;
    // Small payloads stand side by side in the keeper's buffer: they become one piece.
    if (last >= this.#first && this.#ends[last] === start && this.#bytes[last] === bytes) {
      this.#ends[last] = end;
      return;
    }
    const at = this.#end++;
    this.#bytes[at] = bytes;
    this.#starts[at] = start;
    this.#ends[at] = end;
  }

  /** The next piece, at most `max` bytes of it; null if nothing is held. */
  take(max: number): Uint8Array | null {
    if (this.#length === 0) return null;
    const first = this.#first;
    const bytes = this.#bytes[first]!;
    const start = this.#starts[first]!;
    let end = this.#ends[first]!;
    if (end - start > max) {
      end = start + max;
      this.#starts[first] = end;
    } else {
      this.#drop();
    }
    this.#length -= end - start;
    return bytes.subarray(start, end);
  }

  #drop(): void {
    // Nothing that was taken is held on to.
    this.#bytes[this.#first] = EMPTY;
    this.#first++;
    if (this.#first === this.#end) {
      if (this.#bytes.length > KEPT_ROOM) {
        this.#bytes = [];
        this.#starts = [];
        this.#ends = [];
      }
      this.#first = 0;
      this.#end = 0;
    } else if (this.#first >= 64 && this.#first * 2 >= this.#end) {
      this.#bytes.splice(0, this.#first);
      this.#starts.splice(0, this.#first);
      this.#ends.splice(0, this.#first);
      this.#end -= this.#first;
      this.#first = 0;
    }
  }

  clear(): void {
    this.#bytes = [];
    this.#starts = [];
    this.#ends = [];
    this.#first = 0;
    this.#end = 0;
    this.#length = 0;
  }
}
