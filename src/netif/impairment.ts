import { type Clock, type Random, randomBelow, randomFraction } from '../time/index.ts';

/** What happens to the frames of one direction; what is not given does not happen. */
export interface Impairments {
  /** Share of frames lost, each on its own: 0..1. 1 is a black hole. */
  readonly loss?: number;
  /**
   * Gilbert–Elliott losses in bursts, besides `loss`: per frame, the chance to
   * `enter` the bad state and to `exit` it (so bursts last 1/exit frames on
   * average), and the share of frames lost in it (1 unless given).
   */
  readonly burst?: { readonly enter: number; readonly exit: number; readonly loss?: number };
  /** Added to every frame's way. */
  readonly delayMs?: number;
  /** The delay differs by up to this much either way, uniformly distributed (never below 0). */
  readonly jitterMs?: number;
  /** With jitter: no frame overtakes an earlier one. False unless given. */
  readonly keepOrder?: boolean;
  /** Share of frames held back by `delayMs` more, so that later ones overtake them; a negative one lets them jump ahead. */
  readonly reorder?: { readonly probability: number; readonly delayMs: number };
  /** Share of frames that come twice. */
  readonly duplicate?: number;
  /** Share of frames with flipped bits. Their checksum is complete before, so it tells. */
  readonly corrupt?: number;
  /** Between one and this many different bits of a corrupted frame are flipped; 1 unless given, which every checksum notices. */
  readonly corruptBits?: number;
  /** Bits per second of a link that sends one frame after the other (a frame of several segments is one). */
  readonly rateBps?: number;
  /** With a rate: bytes that wait for the link at most, the frame being sent included; 262,144 unless given. What comes to a full queue is dropped. An idle link takes any frame. */
  readonly queueBytes?: number;
}

/** How many frames met which fate, in one direction. */
export interface ImpairmentCounters {
  /** Frames that came to be impaired. */
  frames: number;
  /** Lost by `loss` or `burst`. */
  lost: number;
  duplicated: number;
  corrupted: number;
  reordered: number;
  /** Dropped at the full queue of a link with a rate. */
  overflowed: number;
}

const QUEUE_BYTES = 256 * 1024;

/** Decides what happens to the frames of one direction. Pure: clock and dice are handed in. */
export class Fate {
  readonly counters: ImpairmentCounters = {
    frames: 0,
    lost: 0,
    duplicated: 0,
    corrupted: 0,
    reordered: 0,
    overflowed: 0,
  };
  /** False if nothing is to happen to any frame. */
  active = false;
  readonly #clock: Clock;
  readonly #random: Random;
  #impairments: Impairments = {};
  /** Of the Gilbert–Elliott model. */
  #bad = false;
  /** When the link will have sent all it was given. */
  #busyUntil = -Infinity;
  /** The latest time that a frame is due, for `keepOrder`. */
  #latest = -Infinity;

  constructor(clock: Clock, random: Random) {
    this.#clock = clock;
    this.#random = random;
  }

  /** Throws `RangeError` naming the value that is out of range. */
  set(impairments: Impairments): void {
    check(impairments);
    this.#impairments = impairments;
    const {
      loss = 0,
      burst,
      delayMs = 0,
      jitterMs = 0,
      reorder,
      duplicate = 0,
      corrupt = 0,
      rateBps,
    } = impairments;
    this.active =
      loss > 0 ||
      burst !== undefined ||
      delayMs > 0 ||
      jitterMs > 0 ||
      reorder !== undefined ||
      duplicate > 0 ||
      corrupt > 0 ||
      rateBps !== undefined;
    if (burst === undefined) this.#bad = false;
    if (rateBps === undefined) this.#busyUntil = -Infinity;
  }

  /** Whether this frame is lost on its way. */
  loses(): boolean {
    const { loss = 0, burst } = this.#impairments;
    this.counters.frames++;
    let lost = this.#happens(loss);
    if (burst !== undefined) {
      this.#bad = this.#bad ? !this.#happens(burst.exit) : this.#happens(burst.enter);
      if (this.#bad && this.#happens(burst.loss ?? 1)) lost = true;
    }
    if (lost) this.counters.lost++;
    return lost;
  }

  duplicates(): boolean {
    if (!this.#happens(this.#impairments.duplicate ?? 0)) return false;
    this.counters.duplicated++;
    return true;
  }

  corrupts(): boolean {
    if (!this.#happens(this.#impairments.corrupt ?? 0)) return false;
    this.counters.corrupted++;
    return true;
  }

  /** Flips bits of `bytes[start..end)`. */
  flip(bytes: Uint8Array, start: number, end: number): void {
    const bits = (end - start) * 8;
    const most = Math.min(this.#impairments.corruptBits ?? 1, bits);
    const flipped = new Set<number>();
    const count = most > 1 ? 1 + randomBelow(this.#random, most) : most;
    while (flipped.size < count) {
      const bit = randomBelow(this.#random, bits);
      if (flipped.has(bit)) continue;
      flipped.add(bit);
      bytes[start + (bit >>> 3)]! ^= 0x80 >>> (bit & 7);
    }
  }

  /** When a frame of `size` bytes that comes now is to arrive; -1 if the link's queue is full. */
  arrival(size: number): number {
    const {
      delayMs = 0,
      jitterMs = 0,
      keepOrder = false,
      reorder,
      rateBps,
      queueBytes = QUEUE_BYTES,
    } = this.#impairments;
    const now = this.#clock.now();
    let sent = now;
    if (rateBps !== undefined) {
      const bytesPerMs = rateBps / 8000;
      const waiting = (this.#busyUntil - now) * bytesPerMs;
      if (waiting > 0) {
        if (waiting + size > queueBytes) {
          this.counters.overflowed++;
          return -1;
        }
        sent = this.#busyUntil;
      }
      sent += size / bytesPerMs;
      this.#busyUntil = sent;
    }
    let delay = delayMs;
    if (jitterMs > 0) delay += (2 * randomFraction(this.#random) - 1) * jitterMs;
    let due = sent + Math.max(delay, 0);
    if (reorder !== undefined && this.#happens(reorder.probability)) {
      this.counters.reordered++;
      // The order of the others does not depend on this one.
      return Math.max(due + reorder.delayMs, now);
    }
    if (keepOrder && due < this.#latest) due = this.#latest;
    this.#latest = due;
    return due;
  }

  /** Draws only where there is a choice, so impairments that are off do not change the others' luck. */
  #happens(probability: number): boolean {
    return probability > 0 && (probability >= 1 || randomFraction(this.#random) < probability);
  }
}

function check(impairments: Impairments): void {
  const { loss, burst, delayMs, jitterMs, reorder, duplicate, corrupt, corruptBits, rateBps, queueBytes } =
    impairments;
  const shares = { loss, duplicate, corrupt, enter: burst?.enter, exit: burst?.exit, burstLoss: burst?.loss };
  for (const [name, value] of Object.entries({ ...shares, reorder: reorder?.probability })) {
    if (value !== undefined && !(value >= 0 && value <= 1)) {
      throw new RangeError(`${name} ${value} is not within 0..1`);
    }
  }
  for (const [name, value] of Object.entries({ delayMs, jitterMs, queueBytes })) {
    if (value !== undefined && !(value >= 0 && value < Infinity))
      throw new RangeError(`${name} ${value} is not a time or size`);
  }
  if (reorder !== undefined && !Number.isFinite(reorder.delayMs)) {
    throw new RangeError(`reorder.delayMs ${reorder.delayMs} is not a time`);
  }
  if (rateBps !== undefined && !(rateBps > 0)) throw new RangeError(`rateBps ${rateBps} is not positive`);
  if (corruptBits !== undefined && !(Number.isInteger(corruptBits) && corruptBits > 0)) {
    throw new RangeError(`corruptBits ${corruptBits} is not a positive integer`);
  }
}
