import { type Congestion, slowStartGrowth } from './congestion.ts';

/** RFC 5681 with byte counting (RFC 3465); recovery by RFC 6582 is in `recovery/`. */
export class NewReno implements Congestion {
  readonly name = 'newreno';
  window: number;
  threshold = Number.POSITIVE_INFINITY;
  segment: number;
  /** Bytes acknowledged in congestion avoidance since the window last grew. */
  #acknowledged = 0;
  #savedWindow = 0;
  #savedThreshold = Number.POSITIVE_INFINITY;

  constructor(segment: number, initialWindow: number) {
    this.segment = segment;
    this.window = initialWindow;
  }

  onAck(bytes: number): void {
    let left = bytes;
    if (this.window < this.threshold) {
      const growth = slowStartGrowth(bytes, this.window, this.threshold);
      this.window += growth;
      left -= growth;
    }
    if (left <= 0) return;
    // One segment per window of data (RFC 5681 §3.1, by bytes).
    this.#acknowledged += left;
    while (this.#acknowledged >= this.window) {
      this.#acknowledged -= this.window;
      this.window += this.segment;
    }
  }

  onLoss(inFlight: number): void {
    // RFC 5681 equation 4.
    this.threshold = Math.max(inFlight / 2, 2 * this.segment);
    this.#acknowledged = 0;
  }

  onTimeout(inFlight: number): void {
    this.onLoss(inFlight);
    this.window = this.segment;
  }

  save(): void {
    this.#savedWindow = this.window;
    this.#savedThreshold = this.threshold;
  }

  undo(): void {
    this.window = Math.max(this.window, this.#savedWindow);
    this.threshold = Math.max(this.threshold, this.#savedThreshold);
  }

  onIdle(initialWindow: number): void {
    this.window = Math.min(this.window, initialWindow);
  }
}
