import { copy } from '../bytes/index.ts';
import type { Pieces } from '../netif/netif.ts';

/** Room for chunks that is kept when nothing is held: arrays that are emptied would be made anew for the next write. */
const KEPT_ROOM = 32;

/**
 * Bytes that the application has written and the peer has not acknowledged:
 * the application's own buffers, by reference, in order. Offsets are counted
 * from the first unacknowledged byte.
 */
export class SendQueue {
  /** The live ones are `#first .. #end`; the rest is room. */
  #chunks: (Uint8Array | null)[] = [];
  /** Stream position (since the connection began) of each chunk's first byte. */
  #positions: number[] = [];
  #first = 0;
  #end = 0;
  /** Stream position of the first unacknowledged byte; of one past the last. */
  #head = 0;
  #tail = 0;
  /** Where the latest read ended: sending goes on there most of the time. */
  #cursor = 0;

  /** Bytes held. */
  get length(): number {
    return this.#tail - this.#head;
  }

  push(chunk: Uint8Array): void {
    if (chunk.length === 0) return;
    const end = this.#end++;
    this.#chunks[end] = chunk;
    this.#positions[end] = this.#tail;
    this.#tail += chunk.length;
  }

  /** Lets go of the first `bytes` bytes. */
  release(bytes: number): void {
    this.#head += bytes;
    const chunks = this.#chunks;
    const positions = this.#positions;
    const end = this.#end;
    let first = this.#first;
    while (first < end && positions[first]! + chunks[first]!.length <= this.#head) {
      chunks[first] = null;
      first++;
    }
    this.#first = first;
    if (first === end) {
      if (chunks.length > KEPT_ROOM) {
        this.#chunks = [];
        this.#positions = [];
      }
      this.#first = 0;
      this.#end = 0;
      this.#cursor = 0;
    } else if (first >= 64 && first * 2 >= end) {
      // Compact when half is dead: each chunk is moved at most once on average.
      chunks.splice(0, first);
      positions.splice(0, first);
      this.#cursor = Math.max(0, this.#cursor - first);
      this.#first = 0;
      this.#end = end - first;
    }
  }

  /** Copies `length` bytes from `offset` on (both within what is held) to `target` at `at`. */
  copyTo(target: Uint8Array, at: number, offset: number, length: number): void {
    let position = this.#head + offset;
    let index = this.#locate(position);
    let to = at;
    let left = length;
    while (left > 0) {
      const chunk = this.#chunks[index]!;
      const from = position - this.#positions[index]!;
      const part = Math.min(left, chunk.length - from);
      copy(target, to, chunk, from, from + part);
      position += part;
      to += part;
      left -= part;
      if (from + part === chunk.length) index++;
    }
    this.#cursor = index;
  }

  /** As {@link copyTo}, without a copy; false if there are too many pieces, or too short ones, and nothing is in `pieces`. */
  gatherTo(pieces: Pieces, at: number, offset: number, length: number): boolean {
    let position = this.#head + offset;
    let index = this.#locate(position);
    let left = length;
    while (left > 0) {
      const chunk = this.#chunks[index]!;
      const from = position - this.#positions[index]!;
      const part = Math.min(left, chunk.length - from);
      if (!pieces.add(chunk, from, from + part)) {
        pieces.clear();
        return false;
      }
      position += part;
      left -= part;
      if (from + part === chunk.length) index++;
    }
    pieces.at = at;
    this.#cursor = index;
    return true;
  }

  #locate(position: number): number {
    const positions = this.#positions;
    const cursor = this.#cursor;
    if (cursor >= this.#first && cursor < this.#end) {
      const start = positions[cursor]!;
      if (position >= start && position < start + this.#chunks[cursor]!.length) return cursor;
    }
    let low = this.#first;
    let high = this.#end - 1;
    while (low < high) {
      const middle = (low + high + 1) >>> 1;
      if (positions[middle]! <= position) low = middle;
      else high = middle - 1;
    }
    return low;
  }

  clear(): void {
    this.#chunks = [];
    this.#positions = [];
    this.#first = 0;
    this.#end = 0;
    this.#head = this.#tail;
    this.#cursor = 0;
  }
}
