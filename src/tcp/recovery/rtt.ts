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
  #timeoutMs: number;
  readonly #floorMs: number;
  readonly #ceilingMs: number;

  constructor(initialMs: number, floorMs: number, ceilingMs: number) {
    this.#timeoutMs = initialMs;
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
    return Math.min(this.#timeoutMs * 2 ** backoffs, this.#ceilingMs);
  }

  /** RFC 6298 §5.7: after a lost SYN nothing is known; start from 3 s. */
  restartAfterLostSyn(): void {
    if (!this.hasSample) this.#timeoutMs = Math.min(3000, this.#ceilingMs);
  }

  /** Takes a sample of a segment that was sent once only (Karn's rule is the caller's). */
  sample(rttMs: number): void {
    // A clock of 1 ms on the other side of a fast link may measure 0; RFC 6298 wants a granule.
    const r = Math.max(rttMs, 0.001);
    this.latestMs = r;
    if (r < this.minimumMs) this.minimumMs = r;
    this.#smooth(r);
  }

  /** Takes a sample measured by timestamps, whose granule is 1 ms: good for the timeout, too coarse for the minimum. */
  sampleCoarse(rttMs: number): void {
    const r = Math.max(rttMs, 1);
    this.latestMs = r;
    this.#smooth(r);
  }

  #smooth(r: number): void {
    if (this.smoothedMs === 0) {
      this.smoothedMs = r;
      this.varianceMs = r / 2;
    } else {
      this.varianceMs += (Math.abs(this.smoothedMs - r) - this.varianceMs) / 4;
      this.smoothedMs += (r - this.smoothedMs) / 8;
    }
    // The floor is put under the variance term, not under the sum: on a long path with little
    // variance the peer's delayed ACK must not be taken for a loss (RFC 6298 §2.4 allows any floor).
    const timeout = this.smoothedMs + Math.max(this.#floorMs, 4 * this.varianceMs);
    this.#timeoutMs = Math.min(timeout, this.#ceilingMs);
  }
}
