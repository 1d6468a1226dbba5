import { WindowedMax } from './bbr-filter.ts';

/** A queue is worth notice from an eighth of the round trip on, within bounds (RFC 9406 §4.3). */
const DIVISOR = 8;
const LEAST_MS = 4;
const MOST_MS = 16;
/** How long others are presumed once their queue was seen, and the round trip of a full queue is remembered. */
const PRESUMED_MS = 30_000;
const FULL_QUEUE_MS = 60_000;
/** The mean round trip beside Reno, whose window goes from half of its share to all of it, if shares are equal. */
const SHARED_SPAN = 7 / 8;

/**
 * Beyond the draft: what BBR leaves to flows that take losses for their measure.
 *
 * Twice the bandwidth-delay product in flight is a bound only where the queue
 * holds more than one product. In a shallower one BBR would keep whatever rate it
 * has: its losses are few, BBR.inflight_longterm is all that the queue holds, and
 * every probe, some seconds after the last, fills it to the brim again, so that
 * Reno or CUBIC, which need longer than that without a loss where the product is
 * some hundred segments (§5.3.3.8.2), never grow.
 *
 * Where a queue stands although BBR has drained its part of it, somebody else
 * keeps it. Then BBR has no more in flight than its rate fills in 7/8 of the
 * longest round trip at which it saw losses: it keeps its rate as long as round
 * trips are that long on average, and loses some of it while they are longer,
 * that is while the others have less than their share. The square root of that, in
 * segments, is added: it matters the more the smaller the flow, so that of two
 * that do the same the smaller one gains. Alone, whatever is lost at random, BBR's
 * queue is empty between probes, and nothing changes.
 */
export class Coexistence {
  #sharedUntil = Number.NEGATIVE_INFINITY;
  /** Least RTT of the present round, and of the one before; ms. */
  #least = Number.POSITIVE_INFINITY;
  #leastBefore = Number.POSITIVE_INFINITY;
  #isLossInRound = false;
  /** Longest RTT that all of a round with losses had, ms; 0: none. */
  readonly #fullQueueRtt = new WindowedMax();

  /** `rttMs`: negative where there is no sample. */
  onRtt(rttMs: number, isRoundStart: boolean, now: number): void {
    if (isRoundStart) {
      this.#leastBefore = this.#least;
      this.#least = Number.POSITIVE_INFINITY;
      if (this.#isLossInRound && Number.isFinite(this.#leastBefore)) {
        this.#fullQueueRtt.update(this.#leastBefore, now, FULL_QUEUE_MS);
      }
      this.#isLossInRound = false;
    }
    if (rttMs >= 0) this.#least = Math.min(this.#least, rttMs);
  }

  onLoss(): void {
    this.#isLossInRound = true;
  }

  /** A probe begins after a time without: the queue of the last round trip is not of BBR's making. */
  onProbe(minRttMs: number, now: number): void {
    const threshold = Math.max(LEAST_MS, Math.min(minRttMs / DIVISOR, MOST_MS));
    const least = Math.min(this.#least, this.#leastBefore);
    if (Number.isFinite(least) && least > minRttMs + threshold) this.#sharedUntil = now + PRESUMED_MS;
  }

  /** How many bytes may be in flight at `bw` bytes per ms; Infinity where nobody asks for it. */
  share(bw: number, segment: number, now: number): number {
    const longest = this.#fullQueueRtt.best;
    if (now > this.#sharedUntil || longest === 0) return Number.POSITIVE_INFINITY;
    const segments = (bw * SHARED_SPAN * longest) / segment;
    return (segments + Math.sqrt(segments)) * segment;
  }
}
