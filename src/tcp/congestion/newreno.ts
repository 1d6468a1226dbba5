import type { AckSample, Congestion } from './congestion.ts';
import { HyStart } from './hystart.ts';

/** RFC 8511 §3.1: the share that is kept when a packet is marked. */
const BETA_ECN = 0.8;

/** RFC 5681 with byte counting (RFC 3465); recovery by RFC 6582 is in `recovery/`. */
export class NewReno implements Congestion {
  readonly name = 'newreno';
  window: number;
  threshold = Number.POSITIVE_INFINITY;
  segment: number;
  readonly rate = null;
  readonly controlsRecovery = false;
  readonly pacingRate = 0;
  readonly sendQuantum = Number.POSITIVE_INFINITY;
  /** Bytes acknowledged in congestion avoidance since the window last grew. */
  #acknowledged = 0;
  #savedWindow = 0;
  #savedThreshold = Number.POSITIVE_INFINITY;

  /** Until the first loss (RFC 9406 §4.2). */
  #start: HyStart | null = new HyStart();

  constructor(segment: number, initialWindow: number) {
    this.segment = segment;
    this.window = initialWindow;
  }

  onAck(sample: AckSample): void {
    let left = sample.bytes;
    if (this.window < this.threshold) {
      // Byte counting (RFC 3465), capped where congestion avoidance begins.
      const growth = this.#start === null ? left : this.#start.growth(left, sample);
      if (Number.isNaN(growth)) {
        this.threshold = this.window;
        this.#start = null;
      } else {
        const room = this.threshold - this.window;
        this.window += Math.min(growth, room);
        if (growth <= room) return;
        left -= room;
      }
    }
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
    this.#start = null;
  }

  onCongestionMark(inFlight: number): void {
    this.threshold = Math.max(inFlight * BETA_ECN, 2 * this.segment);
    this.window = this.threshold;
    this.#acknowledged = 0;
    this.#start = null;
  }

  /** RFC 6582 §3.2 step 3: the window is ssthresh. */
  onRecoveryEnd(): void {
    this.window = Math.max(this.threshold, this.segment);
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
