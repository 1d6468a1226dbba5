import type { RateSample } from '../recovery/rate.ts';

/** draft-ietf-ccwg-bbr §5.3.1.2: growth that counts, and rounds without it that mean a full pipe. */
const FULL_BW_GROWTH = 1.25;
const FULL_BW_ROUNDS = 3;
/** BBRStartupFullLossCnt (§5.3.1.3). */
const FULL_LOSS_COUNT = 6;

/** The full pipe estimator (§5.3.1.2): is sending faster still answered by faster delivery? */
export class FullBandwidth {
  /** BBR.full_bw_reached: ever; BBR.full_bw_now: since it was last asked. */
  reached = false;
  now = false;
  #baseline = 0;
  #count = 0;

  /** ResetFullBW; the growth is counted from `baseline` on. */
  reset(baseline = 0): void {
    this.#baseline = baseline;
    this.#count = 0;
    this.now = false;
  }

  /** CheckFullBWReached, on the first ACK of a round. */
  check(rs: RateSample): void {
    if (this.now || rs.isAppLimited) return;
    if (rs.deliveryRate >= this.#baseline * FULL_BW_GROWTH) {
      this.reset(rs.deliveryRate);
      return;
    }
    this.now = ++this.#count >= FULL_BW_ROUNDS;
    if (this.now) this.reached = true;
  }
}

/** CheckStartupHighLoss (§5.3.1.3): has a round of recovery shown that the losses are those of a full queue? */
export class StartupLoss {
  #ranges = 0;

  /** A sequence range, not adjacent to the one before, was found lost. */
  onRangeLost(): void {
    this.#ranges++;
  }

  /** Asked once per round: were there enough ranges in it? One will do where no more than one can be seen. */
  isHigh(hasSelectiveAcks: boolean): boolean {
    const enough = this.#ranges >= (hasSelectiveAcks ? FULL_LOSS_COUNT : 1);
    this.#ranges = 0;
    return enough;
  }
}
