import type { Moment } from '../time/index.ts';
import type { Fields } from './parking/record.ts';
import { atOrAfter } from './sequence.ts';

/** RFC 7661 §4.2: the pipeACK sampling period is this many round trips, and a second at least. */
const PERIOD_ROUNDS = 3;
const LEAST_PERIOD_MS = 1000;
/** RFC 7661 §4.4.3: how long a window stands that is not used. */
const NON_VALIDATED_MS = 300_000;

/**
 * Congestion window validation (RFC 7661): whether what the application sends
 * bears the window out. A window that is not used does not grow, is no measure
 * for what a loss leaves, and is given up after five minutes.
 */
export class WindowValidation {
  /** The window, not the application, was what limited sending within the last round trip. */
  #limited = false;
  /** Most bytes in flight in this round. */
  #peak = 0;
  /** SND.NXT when the window last was what limited: true until that is acknowledged. */
  #limitedEnd = 0;
  /** Where the round ends: what was sent when it began is acknowledged. */
  #roundEnd = 0;
  #roundBytes = 0;
  #hasRound = false;
  /** The most that a round delivered, in this sampling period and the one before; -1: unknown (RFC 7661 §4.2). */
  #recent = -1;
  #previous = -1;
  #periodAt = 0;
  /** When it was first found not to be used; NaN while it is. */
  #unusedSince = Number.NaN;

  /** The window has held something back. */
  limited(next: number): void {
    this.#limited = true;
    this.#limitedEnd = next;
  }

  /** `pipe` bytes are in flight now. */
  sent(pipe: number): void {
    if (pipe > this.#peak) this.#peak = pipe;
  }

  /** pipeACK, bytes: what the path is known to carry in a round trip; Infinity while nothing is known. */
  get pipeAck(): number {
    const most = Math.max(this.#recent, this.#previous);
    return most < 0 ? Number.POSITIVE_INFINITY : most;
  }

  /** RFC 7661 §4.3: half of the window at least is used. */
  isValidated(window: number): boolean {
    const isValidated = 2 * this.pipeAck >= window;
    if (isValidated) this.#unusedSince = Number.NaN;
    return isValidated;
  }

  /** Whether the window may grow by what an ACK tells: it is used; in slow start half of it will do. */
  mayGrow(window: number, threshold: number): boolean {
    return this.#limited || (window < threshold && window < 2 * this.#peak);
  }

  /** SND.UNA has moved on by `bytes`; called after the ACK was taken. */
  acknowledged(
    bytes: number,
    una: number,
    next: number,
    pipe: number,
    time: Moment,
    rtt: { readonly smoothedMs: number },
  ): void {
    if (this.#limited && atOrAfter(una, this.#limitedEnd)) this.#limited = false;
    this.#roundBytes += bytes;
    if (this.#hasRound && !atOrAfter(una, this.#roundEnd)) return;
    if (this.#hasRound) this.#sample(time.now, rtt.smoothedMs);
    this.#hasRound = true;
    this.#roundEnd = next;
    this.#roundBytes = 0;
    this.#peak = pipe;
  }

  #sample(now: number, rttMs: number): void {
    if (now - this.#periodAt >= Math.max(PERIOD_ROUNDS * rttMs, LEAST_PERIOD_MS)) {
      this.#previous = this.#recent;
      this.#recent = -1;
      this.#periodAt = now;
    }
    if (this.#roundBytes > this.#recent) this.#recent = this.#roundBytes;
  }

  /** True once, when the window has not been used for five minutes (RFC 7661 §4.4.3). */
  isStale({ now }: Moment): boolean {
    if (Number.isNaN(this.#unusedSince)) this.#unusedSince = now;
    if (now - this.#unusedSince < NON_VALIDATED_MS) return false;
    this.#unusedSince = now;
    return true;
  }

  /** Its state, for a record or from one; `una` is SND.UNA. */
  carry(fields: Fields, una: number): void {
    this.#limited = fields.bit(this.#limited);
    this.#peak = fields.int(this.#peak);
    this.#limitedEnd = this.#limited ? fields.int(this.#limitedEnd, una) : una;
    this.#hasRound = fields.bit(this.#hasRound);
    this.#roundEnd = fields.int(this.#roundEnd, una);
    this.#roundBytes = fields.count(this.#roundBytes);
    this.#recent = fields.real(this.#recent, -1);
    this.#previous = fields.real(this.#previous, -1);
    this.#periodAt = fields.real(this.#periodAt);
    this.#unusedSince = fields.real(this.#unusedSince, Number.NaN);
  }
}
