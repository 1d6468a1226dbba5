import type { AckSample, Congestion } from './congestion.ts';
import { HyStart } from './hystart.ts';

/** RFC 9438 §4.1: C in segments per second cubed, and the multiplicative decrease factor. */
const SCALE = 0.4;
const BETA = 0.7;
/** RFC 8511 §3.1: the share that is kept when a packet is marked rather than dropped. */
const BETA_ECN = 0.85;
/** RFC 9438 §4.3: the additive increase that is as fast as Reno's at this beta. */
const RENO_ALPHA = (3 * (1 - BETA)) / (1 + BETA);

/** CUBIC (RFC 9438). Windows in bytes; the cubic function itself is in segments and seconds. */
export class Cubic implements Congestion {
  readonly name = 'cubic';
  window: number;
  threshold = Number.POSITIVE_INFINITY;
  segment: number;
  readonly rate = null;
  readonly controlsRecovery = false;
  readonly pacingRate = 0;
  readonly sendQuantum = Number.POSITIVE_INFINITY;
  /** Window before the latest reduction, segments. */
  #maximum = 0;
  /** Start of the present congestion avoidance stage, ms; NaN before it. */
  #epoch = Number.NaN;
  /** Time from the epoch to the plateau, s. */
  #plateau = 0;
  /** What Reno would have by now (W_est), segments. */
  #reno = 0;
  #savedWindow = 0;
  #savedThreshold = Number.POSITIVE_INFINITY;
  #savedMaximum = 0;
  #savedEpoch = Number.NaN;
  #savedPlateau = 0;
  #savedReno = 0;
  #savedStart: HyStart | null = null;

  /** Until the first loss (RFC 9406 §4.2). */
  #start: HyStart | null = new HyStart();

  constructor(segment: number, initialWindow: number) {
    this.segment = segment;
    this.window = initialWindow;
  }

  onAck(sample: AckSample): void {
    const { now, smoothedRttMs } = sample;
    let left = sample.bytes;
    if (this.window < this.threshold) {
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
    const cwnd = this.window / this.segment;
    if (Number.isNaN(this.#epoch)) this.#beginEpoch(now, cwnd);
    const acknowledged = left / this.segment;
    // RFC 9438 §4.3: Reno's pace once W_est has passed the old maximum, CUBIC-friendly alpha before.
    this.#reno += (this.#reno >= this.#maximum ? 1 : RENO_ALPHA) * (acknowledged / cwnd);

    const t = (now - this.#epoch) / 1000;
    const atNow = this.#cubic(t);
    if (atNow < this.#reno) {
      this.window = Math.max(this.window, this.#reno * this.segment);
      return;
    }
    // RFC 9438 §4.2: aim at the value one RTT ahead, at most half as much again as now.
    const target = Math.min(Math.max(this.#cubic(t + smoothedRttMs / 1000), cwnd), 1.5 * cwnd);
    this.window += ((target - cwnd) / cwnd) * left;
  }

  #cubic(seconds: number): number {
    return SCALE * (seconds - this.#plateau) ** 3 + this.#maximum;
  }

  #beginEpoch(now: number, cwnd: number): void {
    this.#epoch = now;
    if (this.#maximum < cwnd) this.#maximum = cwnd;
    this.#plateau = Math.cbrt((this.#maximum - cwnd) / SCALE);
    this.#reno = cwnd;
  }

  onLoss(inFlight: number): void {
    this.#reduce(inFlight, BETA);
  }

  onCongestionMark(inFlight: number): void {
    this.#reduce(inFlight, BETA_ECN);
    this.window = this.threshold;
  }

  #reduce(inFlight: number, beta: number): void {
    const cwnd = this.window / this.segment;
    // RFC 9438 §4.7, fast convergence: a flow that never got back to its old maximum makes room.
    this.#maximum = cwnd < this.#maximum ? (cwnd * (1 + BETA)) / 2 : cwnd;
    // RFC 9438 §4.6 allows cwnd here: what is not used is kept from growing by validation.
    this.threshold = Math.max(Math.max(inFlight, 0.5 * this.window) * beta, 2 * this.segment);
    this.#epoch = Number.NaN;
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
    this.#savedMaximum = this.#maximum;
    this.#savedEpoch = this.#epoch;
    this.#savedPlateau = this.#plateau;
    this.#savedReno = this.#reno;
    this.#savedStart = this.#start;
  }

  undo(): void {
    this.window = Math.max(this.window, this.#savedWindow);
    this.threshold = Math.max(this.threshold, this.#savedThreshold);
    // RFC 9438 §4.9: as if there had been no congestion event.
    this.#maximum = this.#savedMaximum;
    this.#epoch = this.#savedEpoch;
    this.#plateau = this.#savedPlateau;
    this.#reno = this.#savedReno;
    this.#start = this.#savedStart;
  }

  onIdle(initialWindow: number): void {
    this.window = Math.min(this.window, initialWindow);
    // RFC 9438 §5.8: time that passed idle must not count as time of growth.
    this.#epoch = Number.NaN;
  }
}
