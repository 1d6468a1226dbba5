import type { Frame } from '../netif/netif.ts';
import type { PayloadKeeper, ReceiveQueue } from './receive-queue.ts';
import { after, atOrAfter, atOrBefore, before, distance, earlier, later } from './sequence.ts';

interface Piece {
  readonly bytes: Uint8Array;
  readonly start: number;
  readonly end: number;
  next: Piece | null;
}

/** A contiguous run of bytes that came ahead of a hole. */
export interface Run {
  left: number;
  right: number;
  first: Piece;
  last: Piece;
}

/** What a piece costs beside its bytes, so that tiny segments cannot cost more than they count for. */
const PIECE_COST = 192;

/**
 * Segments that came out of order: disjoint runs in sequence order, each a
 * linked list of pieces, so joining two runs costs nothing and only the number
 * of holes is ever searched or shifted.
 */
export class Reassembly {
  readonly runs: Run[] = [];
  /** Most recently changed first: the order of SACK blocks (RFC 2018 §4). */
  readonly recent: Run[] = [];
  /** Bytes held. */
  bytes = 0;
  #pieces = 0;

  /** Bytes held and the objects that hold them. */
  get cost(): number {
    return this.bytes + this.#pieces * PIECE_COST;
  }

  /**
   * Takes what is new of `[left, right)`, whose bytes are `frame.bytes[start..]`.
   * Bytes that are held already stay as they came first. Returns how many bytes were new.
   */
  insert(left: number, right: number, frame: Frame, start: number, keeper: PayloadKeeper): number {
    const runs = this.runs;
    const index = this.#firstTouching(left);
    let stop = index;
    while (stop < runs.length && atOrBefore(runs[stop]!.left, right)) stop++;
    const before_ = this.bytes;
    let merged: Run | null = null;
    let position = left;
    for (let i = index; i < stop; i++) {
      const run = runs[i]!;
      if (before(position, run.left)) {
        merged = this.#join(merged, this.#piece(position, run.left, left, frame, start, keeper));
      }
      merged = this.#join(merged, run);
      position = later(position, run.right);
    }
    if (before(position, right)) {
      merged = this.#join(merged, this.#piece(position, right, left, frame, start, keeper));
    }
    if (merged === null) return 0;
    if (stop - index !== 1 || runs[index] !== merged) runs.splice(index, stop - index, merged);
    this.#touch(merged);
    return this.bytes - before_;
  }

  #piece(from: number, to: number, left: number, frame: Frame, start: number, keeper: PayloadKeeper): Run {
    const offset = start + distance(from, left);
    keeper.keep(frame, offset, offset + distance(to, from));
    const piece: Piece = { bytes: keeper.bytes, start: keeper.start, end: keeper.end, next: null };
    this.bytes += distance(to, from);
    this.#pieces++;
    return { left: from, right: to, first: piece, last: piece };
  }

  /** Appends `run` to `onto`; the older object lives on, so that its place in `recent` does. */
  #join(onto: Run | null, run: Run): Run {
    if (onto === null) return run;
    onto.last.next = run.first;
    onto.last = run.last;
    onto.right = run.right;
    const at = this.recent.indexOf(run);
    if (at >= 0) this.recent.splice(at, 1);
    return onto;
  }

  #touch(run: Run): void {
    const recent = this.recent;
    const at = recent.indexOf(run);
    if (at === 0) return;
    if (at > 0) recent.splice(at, 1);
    recent.unshift(run);
    // More than four never fit into an option; a few more are remembered for when those are filled.
    if (recent.length > 8) recent.pop();
  }

  /** Index of the first run that ends at or after `left`. */
  #firstTouching(left: number): number {
    const runs = this.runs;
    let low = 0;
    let high = runs.length;
    // New data mostly extends the last run.
    if (high > 0 && before(runs[high - 1]!.right, left)) return high;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (before(runs[middle]!.right, left)) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  /** Moves what follows `next` without a hole to `queue`; returns the new next sequence number. */
  drain(next: number, queue: ReceiveQueue): number {
    let position = next;
    while (this.runs.length > 0 && atOrBefore(this.runs[0]!.left, position)) {
      const run = this.runs.shift()!;
      this.#forget(run);
      let at = run.left;
      for (let piece: Piece | null = run.first; piece !== null; piece = piece.next) {
        const length = piece.end - piece.start;
        this.bytes -= length;
        this.#pieces--;
        const skip = distance(position, at);
        if (skip < length) {
          queue.push(piece.bytes, piece.start + Math.max(skip, 0), piece.end);
        }
        at = (at + length) | 0;
      }
      position = later(position, run.right);
    }
    return position;
  }

  #forget(run: Run): void {
    const at = this.recent.indexOf(run);
    if (at >= 0) this.recent.splice(at, 1);
  }

  /** Whether `[left, right)` is held; sets `holder` to the run that has it (for D-SACK, RFC 2883 §4.2). */
  holding(left: number, right: number): Run | null {
    const index = this.#firstTouching(left);
    const run = this.runs[index];
    if (run === undefined || after(run.left, left)) return null;
    return atOrAfter(run.right, right) ? run : null;
  }

  /** The part of `[left, right)` that is held already, as the first overlapping stretch; null if none is. */
  overlap(left: number, right: number): { left: number; right: number } | null {
    for (let i = this.#firstTouching(left); i < this.runs.length; i++) {
      const run = this.runs[i]!;
      if (atOrAfter(run.left, right)) return null;
      if (atOrBefore(run.right, left)) continue;
      return { left: later(run.left, left), right: earlier(run.right, right) };
    }
    return null;
  }

  clear(): void {
    this.runs.length = 0;
    this.recent.length = 0;
    this.bytes = 0;
    this.#pieces = 0;
  }
}
