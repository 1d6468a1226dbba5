import type { Fields } from '../parking/record.ts';

/** Round-trip time and the retransmission timeout (RFC 6298). Times in ms. */
export class RttEstimator {
  /** Smoothed RTT; 0 before the first sample. */
  smoothedMs = 0;
  varianceMs = 0;
  /** The latest sample. */
  latestMs = 0;
  /** The least sample of this connection: what RACK takes as the RTT without queues. */
  minimumMs = Number.POSITIVE_INFINITY;
  /** Without back-off. */
  #timeoutMs = 0;
  readonly #floorMs: number;
  readonly #ceilingMs: number;

  constructor(initialMs: number, floorMs: number, ceilingMs: number) {
    this.#timeoutMs = Math.min(initialMs, ceilingMs);
    this.#floorMs = floorMs;
    this.#ceilingMs = ceilingMs;
  }

  get hasSample(): boolean {
    return this.smoothedMs > 0;
  }

  /** RTO before exponential back-off. */
  get timeoutMs(): number {
    return this.#timeoutMs;
  }

  /** RTO after `backoffs` doublings (RFC 6298 §5.5), within the ceiling. */
  backedOffMs(backoffs: number): number {
    return backoffs === 0 ? this.#timeoutMs : Math.min(this.#timeoutMs * 2 ** backoffs, this.#ceilingMs);
  }

  /** RFC 6298 §5.7: after a lost SYN nothing is known; start from 3 s. */
  restartAfterLostSyn(): void {
    if (!this.hasSample) this.#timeoutMs = Math.min(3000, this.#ceilingMs);
  }

  /** Takes a sample of a segment that was sent once only (Karn's rule is the caller's). */
  sample(rttMs: number): void {
    this.latestMs = rttMs;
    this.takeLatest();
  }

  /** As {@link sample}, of what `latestMs` has been set to: nothing is handed over, which would cost an object. */
  takeLatest(): void {
    // A clock of 1 ms on the other side of a fast link may measure 0; RFC 6298 wants a granule.
    if (this.latestMs < 0.001) this.latestMs = 0.001;
    if (this.latestMs < this.minimumMs) this.minimumMs = this.latestMs;
    this.#smooth();
  }

  /** Takes a sample measured by timestamps, whose granule is 1 ms: good for the timeout, too coarse for the minimum. */
  sampleCoarse(rttMs: number): void {
    this.latestMs = Math.max(rttMs, 1);
    this.#smooth();
  }

  #smooth(): void {
    const r = this.latestMs;
    if (this.smoothedMs === 0) {
      this.smoothedMs = r;
      this.varianceMs = r / 2;
    } else {
      this.varianceMs += (Math.abs(this.smoothedMs - r) - this.varianceMs) / 4;
      this.smoothedMs += (r - this.smoothedMs) / 8;
    }
    this.#deriveTimeout();
  }

  /** Sets it, and returns nothing: a fraction that is returned is an object wherever V8 does not inline the call. */
  #deriveTimeout(): void {
    // The floor is put under the variance term, not under the sum: on a long path with little
    // variance the peer's delayed ACK must not be taken for a loss (RFC 6298 §2.4 allows any floor).
    const timeout = this.smoothedMs + Math.max(this.#floorMs, 4 * this.varianceMs);
    this.#timeoutMs = Math.min(timeout, this.#ceilingMs);
  }

  /** Its state, for a record or from one. */
  carry(fields: Fields): void {
    this.smoothedMs = fields.real(this.smoothedMs);
    this.varianceMs = fields.real(this.varianceMs);
    this.latestMs = fields.real(this.latestMs, this.smoothedMs);
    this.minimumMs = fields.real(this.minimumMs, Number.POSITIVE_INFINITY);
    const timeoutMs = this.#timeoutMs;
    this.#deriveTimeout();
    this.#timeoutMs = fields.real(timeoutMs, this.#timeoutMs);
  }
}
