/** draft-ietf-ccwg-bbr §2.16: BBR.MinRTTFilterLen, BBR.ProbeRTTInterval. */
const MIN_RTT_FILTER_MS = 10_000;
const PROBE_RTT_INTERVAL_MS = 5000;

/** BBR.min_rtt, and when it is time to probe for it (§5.3.4.3, UpdateMinRTT). */
export class MinRtt {
  /** BBR.min_rtt; Infinity before the first sample. */
  minRttMs = Number.POSITIVE_INFINITY;
  #stamp = 0;
  /** BBR.probe_rtt_min_delay, BBR.probe_rtt_min_stamp: the same over the shorter interval. */
  #probeDelayMs = Number.POSITIVE_INFINITY;
  #probeStamp = 0;
  /** BBR.probe_rtt_expired: no sample as low for so long that the queue must be drained to get one. */
  isProbeDue = false;

  /** `rttMs`: of the most recently sent segment that the ACK delivered; negative where there is none. */
  update(rttMs: number, now: number): void {
    this.isProbeDue = Number.isFinite(this.minRttMs) && now > this.#probeStamp + PROBE_RTT_INTERVAL_MS;
    if (rttMs >= 0 && (rttMs < this.#probeDelayMs || this.isProbeDue)) {
      this.#probeDelayMs = rttMs;
      this.#probeStamp = now;
    }
    if (this.#probeDelayMs < this.minRttMs || now > this.#stamp + MIN_RTT_FILTER_MS) {
      this.minRttMs = this.#probeDelayMs;
      this.#stamp = this.#probeStamp;
    }
  }

  /** The queue was drained just now: the next probe is an interval away. */
  onProbed(now: number): void {
    this.#probeStamp = now;
  }
}
