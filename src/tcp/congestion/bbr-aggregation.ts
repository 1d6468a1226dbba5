import { WindowedMax } from './bbr-filter.ts';

/** BBR.ExtraAckedFilterLen, in round trips (draft-ietf-ccwg-bbr §2.12); one in Startup. */
const FILTER_ROUNDS = 10;

/** BBR.extra_acked (§5.5.9): how much more than expected comes acknowledged at once. */
export class AckAggregation {
  /** BBR.extra_acked, bytes. */
  extraAcked = 0;
  readonly #filter = new WindowedMax();
  #intervalStart = 0;
  #delivered = 0;

  /** A new interval begins. */
  restart(now: number): void {
    this.#intervalStart = now;
  }

  /** UpdateACKAggregation: `newlyAcked` bytes, where `bw` bytes per ms were expected; at most `cwnd` is extra. */
  update(
    newlyAcked: number,
    bw: number,
    cwnd: number,
    round: number,
    fullBwReached: boolean,
    now: number,
  ): void {
    let expected = bw * (now - this.#intervalStart);
    if (this.#delivered <= expected) {
      this.#delivered = 0;
      this.#intervalStart = now;
      expected = 0;
    }
    this.#delivered += newlyAcked;
    const extra = Math.min(this.#delivered - expected, cwnd);
    this.extraAcked = this.#filter.update(extra, round, fullBwReached ? FILTER_ROUNDS : 1);
  }
}
