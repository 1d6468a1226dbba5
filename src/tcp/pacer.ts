import type { Moment } from '../time/index.ts';

/** The timer's granule: what may be sent ahead of the pacing rate, ms. */
const CREDIT_MS = 1;
/** Segments that go without pacing: the initial window (RFC 6928 §4). */
const BURST = 10;

/**
 * Spreads segments over the round trip: a bucket of bytes that were sent ahead
 * of the line, which empties at the pacing rate. The rate is told anew each
 * time, so a path that has become faster is not held to what it was.
 */
export class Pacer {
  /** Bytes ahead of the line, as of `#at` (ms). */
  #ahead = 0;
  #at = 0;

  /** When something may go, at `rate` bytes per ms (0: unpaced); `now` or earlier if it may at once. */
  readyAt({ now }: Moment, rate: number, segment: number): number {
    if (this.#ahead === 0 || rate === 0) return now;
    // A short burst goes at once: what an application writes now and then is never held back.
    const held = this.#left(now, rate) - BURST * segment;
    return now + held / rate - CREDIT_MS;
  }

  onSent(bytes: number, { now }: Moment, rate: number): void {
    this.#ahead = rate > 0 ? this.#left(now, rate) + bytes : 0;
    this.#at = now;
  }

  #left(now: number, rate: number): number {
    return Math.max(0, this.#ahead - (now - this.#at) * rate);
  }
}
