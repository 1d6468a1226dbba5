import type { Moment } from '../time/index.ts';
import type { Fields } from './parking/record.ts';

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
  /** Bytes per ms; 0: unpaced. A field, like what is answered: a fraction that is handed over costs an object. */
  rate = 0;
  /** Where something has to wait: until when. */
  until = 0;

  /** Whether nothing was sent ahead of the line, whatever the rate is now. */
  get isLevel(): boolean {
    return this.#ahead === 0;
  }

  /** Whether something has to wait, at `rate`; until when is in `until`. */
  holds(time: Moment, segment: number): boolean {
    const { rate } = this;
    if (this.#ahead === 0 || rate === 0) return false;
    const { now } = time;
    // A short burst goes at once: what an application writes now and then is never held back.
    const held = Math.max(0, this.#ahead - (now - this.#at) * rate) - BURST * segment;
    this.until = now + held / rate - CREDIT_MS;
    return this.until > now;
  }

  onSent(bytes: number, time: Moment): void {
    const { rate } = this;
    const { now } = time;
    this.#ahead = rate > 0 ? Math.max(0, this.#ahead - (now - this.#at) * rate) + bytes : 0;
    this.#at = now;
  }

  /** Its state, for a record or from one. */
  carry(fields: Fields): void {
    this.#ahead = fields.real(this.#ahead);
    // An empty bucket has been empty at any time.
    this.#at = this.#ahead === 0 ? 0 : fields.real(this.#at);
  }
}
