import type { RateEstimator, RateSample } from '../recovery/rate.ts';
import { TwoCycleMax } from './bbr-filter.ts';

const UNLIMITED = Number.POSITIVE_INFINITY;
/** BBR.Beta (draft-ietf-ccwg-bbr §2.8). */
export const BETA = 0.7;
/** BBR.PacingMarginPercent (§2.5): so much of `bw` is paced at. */
export const PACING_MARGIN = 0.99;

/**
 * BBR's model of the path (§2.9, §2.10): how fast and with how much in flight it
 * may be used, at two time scales. The long-term bounds stand until a probe shows
 * better; the short-term ones follow losses, and are forgotten before each probe.
 * Bytes and bytes per ms.
 */
export class PathModel {
  /** BBR.max_bw, and BBR.bw: what of it losses let us use. */
  readonly #maxBw = new TwoCycleMax();
  bw = 0;
  bwShortterm = UNLIMITED;
  inflightShortterm = UNLIMITED;
  inflightLongterm = UNLIMITED;
  /** Maxima over the present round of losses, of rate and of volume. */
  #bwLatest = 0;
  inflightLatest = 0;

  /** BBR.round_count, BBR.round_start: packet-timed round trips (§5.5.1). */
  roundCount = 0;
  roundStart = false;
  #nextRoundDelivered = 0;

  /** The ACK ends a round trip that began with a loss, or with such an end. */
  lossRoundStart = false;
  #lossRoundDelivered = 0;
  isLossInRound = false;
  /** What was sent until `rate.delivered` is more than this was held back by ProbeRTT. */
  #heldBackUntil = -1;

  #undoBwShortterm = 0;
  #undoInflightShortterm = 0;
  #undoInflightLongterm = 0;

  readonly #rate: RateEstimator;

  constructor(rate: RateEstimator) {
    this.#rate = rate;
  }

  get maxBw(): number {
    return this.#maxBw.best;
  }

  /** StartRound (§5.5.1): the round ends when something sent from now on is acknowledged. */
  startRound(): void {
    this.#nextRoundDelivered = this.#rate.delivered;
  }

  /** UpdateLatestDeliverySignals (§5.5.10.3). */
  updateLatestDeliverySignals(rs: RateSample): void {
    this.lossRoundStart = false;
    this.#bwLatest = Math.max(this.#bwLatest, rs.deliveryRate);
    this.inflightLatest = Math.max(this.inflightLatest, rs.delivered);
    if (rs.hasData && rs.priorDelivered >= this.#lossRoundDelivered) {
      this.#lossRoundDelivered = this.#rate.delivered;
      this.lossRoundStart = true;
    }
  }

  /** AdvanceLatestDeliverySignals (§5.5.10.3). */
  advanceLatestDeliverySignals(rs: RateSample): void {
    if (!this.lossRoundStart) return;
    this.#bwLatest = rs.deliveryRate;
    this.inflightLatest = rs.delivered;
  }

  /** UpdateMaxBw (§5.5.5) with UpdateRound (§5.5.1). */
  updateMaxBw(rs: RateSample): void {
    this.roundStart = rs.hasData && rs.priorDelivered >= this.#nextRoundDelivered;
    if (this.roundStart) {
      this.startRound();
      this.roundCount++;
    }
    if (rs.deliveryRate > 0 && (rs.deliveryRate >= this.maxBw || !rs.isAppLimited)) {
      this.#maxBw.update(rs.deliveryRate);
    }
  }

  /** UpdateCongestionSignals (§5.5.10.3), after `updateMaxBw`: once per round with losses, unless they come of probing. */
  adaptLowerBounds(rs: RateSample, isProbingBw: boolean, cwnd: number): void {
    if (!this.lossRoundStart) return;
    const isOurChoice = rs.priorDelivered <= this.#heldBackUntil;
    if (this.isLossInRound && !isProbingBw && !isOurChoice) {
      if (this.bwShortterm === UNLIMITED) this.bwShortterm = this.maxBw;
      if (this.inflightShortterm === UNLIMITED) this.inflightShortterm = cwnd;
      // Beyond the draft: no more can be delivered than is paced, and the margin would add up round by round.
      this.bwShortterm = Math.max(this.#bwLatest / PACING_MARGIN, BETA * this.bwShortterm);
      this.inflightShortterm = Math.max(this.inflightLatest, BETA * this.inflightShortterm);
    }
    this.isLossInRound = false;
  }

  /** NoteLoss (§5.5.10.2), without the saving of state. */
  noteLoss(): void {
    if (!this.isLossInRound) this.#lossRoundDelivered = this.#rate.delivered;
    this.isLossInRound = true;
  }

  /** BoundBWForModel (§5.5.10.3). */
  boundBw(): void {
    this.bw = Math.min(this.maxBw, this.bwShortterm);
  }

  advanceMaxBwFilter(): void {
    this.#maxBw.advance();
  }

  resetCongestionSignals(): void {
    this.isLossInRound = false;
    this.#bwLatest = 0;
    this.inflightLatest = 0;
  }

  /**
   * ProbeRTT is over (§5.3.4.4). Beyond the draft: losses of the next two round
   * trips do not lower the short-term bounds, since what is delivered meanwhile
   * shows the rate of ProbeRTT, and the bounds would keep it for the whole cycle.
   */
  onProbeRttEnd(): void {
    this.#heldBackUntil = this.#rate.appLimited;
    this.resetShortTermModel();
  }

  resetShortTermModel(): void {
    this.bwShortterm = UNLIMITED;
    this.inflightShortterm = UNLIMITED;
  }

  /** Of SaveStateUponLoss (§5.5.11.1). */
  save(): void {
    this.#undoBwShortterm = this.bwShortterm;
    this.#undoInflightShortterm = this.inflightShortterm;
    this.#undoInflightLongterm = this.inflightLongterm;
  }

  /** Of HandleSpuriousLossDetection (§5.5.11.2). */
  undo(): void {
    this.isLossInRound = false;
    this.bwShortterm = Math.max(this.bwShortterm, this.#undoBwShortterm);
    this.inflightShortterm = Math.max(this.inflightShortterm, this.#undoInflightShortterm);
    this.inflightLongterm = Math.max(this.inflightLongterm, this.#undoInflightLongterm);
  }
}
