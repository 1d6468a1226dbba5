import type { Fields } from '../parking/record.ts';
import type { AckSample } from './congestion.ts';
import { LossBased } from './loss-based.ts';

/** RFC 9438 §4.1: C in segments per second cubed, and the multiplicative decrease factor. */
const SCALE = 0.4;
const BETA = 0.7;
/** RFC 8511 §3.1: the share that is kept when a packet is marked rather than dropped. */
const BETA_ECN = 0.85;
/** RFC 9438 §4.3: the additive increase that is as fast as Reno's at this beta. */
const RENO_ALPHA = (3 * (1 - BETA)) / (1 + BETA);

/** CUBIC (RFC 9438). Windows in bytes; the cubic function itself is in segments and seconds. */
export class Cubic extends LossBased {
  readonly name = 'cubic';
  /** Window before the latest reduction, segments. */
  #maximum = 0;
  /** Start of the present congestion avoidance stage, ms; NaN before it. */
  #epoch = Number.NaN;
  /** Time from the epoch to the plateau, s. */
  #plateau = 0;
  /** What Reno would have by now (W_est), segments. */
  #reno = 0;
  #savedMaximum = 0;
  #savedEpoch = Number.NaN;
  #savedPlateau = 0;
  #savedReno = 0;

  protected avoid(bytes: number, { now, smoothedRttMs }: AckSample): void {
    const cwnd = this.window / this.segment;
    if (Number.isNaN(this.#epoch)) this.#beginEpoch(now, cwnd);
    const acknowledged = bytes / this.segment;
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
    this.window += ((target - cwnd) / cwnd) * bytes;
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

  protected keep(used: number, isMark: boolean): number {
    const cwnd = used / this.segment;
    // RFC 9438 §4.7, fast convergence: a flow that never got back to its old maximum makes room.
    this.#maximum = cwnd < this.#maximum ? (cwnd * (1 + BETA)) / 2 : cwnd;
    this.#epoch = Number.NaN;
    return used * (isMark ? BETA_ECN : BETA);
  }

  /** RFC 9438 §4.6 allows cwnd here, since what is not used is kept from counting. */
  protected basis(): number {
    return this.window;
  }

  override save(): void {
    super.save();
    this.#savedMaximum = this.#maximum;
    this.#savedEpoch = this.#epoch;
    this.#savedPlateau = this.#plateau;
    this.#savedReno = this.#reno;
  }

  override undo(): void {
    super.undo();
    // RFC 9438 §4.9: as if there had been no congestion event.
    this.#maximum = this.#savedMaximum;
    this.#epoch = this.#savedEpoch;
    this.#plateau = this.#savedPlateau;
    this.#reno = this.#savedReno;
  }

  override onIdle(initialWindow: number): void {
    super.onIdle(initialWindow);
    // RFC 9438 §5.8: time that passed idle must not count as time of growth.
    this.#epoch = Number.NaN;
  }

  override onUnused(initialWindow: number): void {
    super.onUnused(initialWindow);
    this.#epoch = Number.NaN;
  }

  override carry(fields: Fields, una: number, segment: number): void {
    super.carry(fields, una, segment);
    this.#maximum = fields.real(this.#maximum);
    this.#epoch = fields.real(this.#epoch, Number.NaN);
    this.#plateau = fields.real(this.#plateau);
    this.#reno = fields.real(this.#reno);
    this.#savedMaximum = fields.real(this.#savedMaximum);
    this.#savedEpoch = fields.real(this.#savedEpoch, Number.NaN);
    this.#savedPlateau = fields.real(this.#savedPlateau);
    this.#savedReno = fields.real(this.#savedReno);
  }
}
