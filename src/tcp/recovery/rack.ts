import type { Moment } from '../../time/index.ts';
import type { Fields } from '../parking/record.ts';
import { after } from '../sequence.ts';
import type { RttEstimator } from './rtt.ts';
import type { Delivery, Scoreboard } from './scoreboard.ts';
import { NONE, type SegmentPool } from './segment-pool.ts';

/** RFC 8985 §6.2 step 4: recoveries without a D-SACK until the window shrinks again. */
const PERSISTENCE = 16;

/**
 * RACK (RFC 8985 §6): a segment is lost if one sent later was delivered, and a
 * reordering window has passed since.
 */
export class Rack {
  readonly #pool: SegmentPool;
  /** RACK.xmit_ts and RACK.end_seq: the most recently sent segment known to be delivered. -1: none. */
  #sentAt = -1;
  #end = 0;
  /** RACK.rtt, ms. */
  #rttMs = 0;
  reorderingSeen = false;
  /** RACK.reo_wnd_mult. */
  #multiplier = 1;
  #persist = 0;
  /** RACK.dsack_round: SND.NXT at the last D-SACK that widened the window. */
  #dsackRound = 0;
  #dsackRoundOpen = false;

  constructor(pool: SegmentPool) {
    this.#pool = pool;
  }

  /** RFC 8985 §6.2 steps 1–3. */
  update(delivery: Delivery, time: Moment, rtt: RttEstimator, una: number): void {
    if (!after(this.#dsackRound, una)) this.#dsackRoundOpen = false;
    if (delivery.reorderedBytes > 0) this.reorderingSeen = true;
    if (delivery.latestSentAt < 0) return;
    const sample = time.now - delivery.latestSentAt;
    // An answer faster than any before is to the original, not to its retransmission.
    if (delivery.latestRetransmitted && sample < rtt.minimumMs) return;
    this.#rttMs = sample;
    if (
      delivery.latestSentAt > this.#sentAt ||
      (delivery.latestSentAt === this.#sentAt && after(delivery.latestEnd, this.#end))
    ) {
      this.#sentAt = delivery.latestSentAt;
      this.#end = delivery.latestEnd;
    }
  }

  /** RFC 8985 §6.2 step 4: a D-SACK says that a retransmission was not needed: wait longer next time. */
  onDuplicateReported(next: number): void {
    // What was sent again and came twice had been overtaken, even if the repetition came first.
    this.reorderingSeen = true;
    if (this.#dsackRoundOpen) return;
    this.#dsackRoundOpen = true;
    this.#dsackRound = next;
    this.#multiplier++;
    this.#persist = PERSISTENCE;
  }

  /** A recovery, fast or by timeout, is over. */
  onRecoveryEnd(): void {
    if (this.#persist > 0 && --this.#persist === 0) this.#multiplier = 1;
  }

  /**
   * RFC 8985 §6.2 step 5: marks what is lost by now. `urgent` says that enough
   * was delivered out of order (or a recovery is on) to do without a window
   * while no reordering was seen. Returns in how many ms the next segment will
   * be found lost unless it is delivered; 0 if none is in question.
   */
  detect(scoreboard: Scoreboard, time: Moment, rtt: RttEstimator, urgent: boolean): number {
    if (this.#sentAt < 0) return 0;
    const pool = this.#pool;
    let waitMs = this.#rttMs;
    // RACK_update_reo_wnd; not in a function of its own, whose fraction would be an object where V8 does not inline it.
    if (this.reorderingSeen || !urgent) {
      waitMs += Math.min((this.#multiplier * rtt.minimumMs) / 4, rtt.smoothedMs);
    }
    let id = scoreboard.inFlight.head;
    // The list is in order of transmission: the walk ends at the first that is not in question, so it
    // costs what it marks.
    while (id !== NONE) {
      const sentAt = pool.sentAt[id]!;
      const sentBefore =
        sentAt < this.#sentAt || (sentAt === this.#sentAt && after(this.#end, pool.end[id]!));
      if (!sentBefore) return 0;
      const remaining = sentAt + waitMs - time.now;
      if (remaining > 0) return remaining;
      const next = pool.next[id]!;
      scoreboard.markLost(id);
      id = next;
    }
    return 0;
  }

  /** Its state, for a record or from one; `una` is SND.UNA. */
  carry(fields: Fields, una: number): void {
    this.#sentAt = fields.real(this.#sentAt, -1);
    this.#end = fields.int(this.#end, una);
    this.#rttMs = fields.real(this.#rttMs);
    this.reorderingSeen = fields.bit(this.reorderingSeen);
    this.#multiplier = fields.int(this.#multiplier, 1);
    this.#persist = fields.int(this.#persist);
    this.#dsackRound = fields.int(this.#dsackRound);
    this.#dsackRoundOpen = fields.bit(this.#dsackRoundOpen);
  }
}
