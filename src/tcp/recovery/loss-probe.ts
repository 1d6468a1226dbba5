import type { Moment } from '../../time/index.ts';
import type { Fields } from '../parking/record.ts';
import { after, before } from '../sequence.ts';
import type { RttEstimator } from './rtt.ts';

/** Before the first RTT sample. */
const INITIAL_MS = 1000;
/** RFC 8985 §7.2: the worst delayed ACK to expect when one segment is in flight. */
const DELAYED_ACK_MS = 200;
const FLOOR_MS = 2;

/** What the answer to a probe says. */
export const NOTHING = 0;
/** The probe repaired a loss that nothing else would have shown. */
export const LOSS_REPAIRED = 1;

/**
 * Tail loss probes (RFC 8985 §7): when to send one, and what its answer means.
 *
 * Beyond the RFC, a probe that nothing answers is repeated after twice the time
 * as long as the timeout is further away, and so is the first hole in fast
 * recovery, whose receiver acknowledges at once: on a short path the timeout's
 * floor is many round trips, and a loss of the last thing in flight would cost
 * all of them.
 */
export class LossProbe {
  /** Probes since anything was last delivered. */
  #unanswered = 0;
  #outstanding = false;
  #repeated = false;
  #end = 0;
  sent = 0;

  /** One is out of which nothing has been heard: its answer may come with nothing in flight. */
  get isOutstanding(): boolean {
    return this.#outstanding;
  }

  /** None has been sent since anything was delivered. */
  get isFirst(): boolean {
    return this.#unanswered === 0;
  }

  /** Sets when the next probe is due. `isAlone`: one segment is in flight, whose ACK may be delayed. */
  schedule(due: { probeAt: number }, time: Moment, rtt: RttEstimator, isAlone: boolean): void {
    const delay = rtt.hasSample ? 2 * rtt.smoothedMs + FLOOR_MS + (isAlone ? DELAYED_ACK_MS : 0) : INITIAL_MS;
    due.probeAt = time.now + (this.#unanswered === 0 ? delay : delay * 2 ** this.#unanswered);
  }

  /** The last segment went again (`repeated`) or a new one, up to `end`. True for the first of a row. */
  onSent(end: number, repeated: boolean): boolean {
    this.sent++;
    this.#unanswered++;
    this.#outstanding = true;
    this.#repeated = repeated;
    this.#end = end;
    return this.#unanswered === 1;
  }

  /** The first hole was repeated in fast recovery because nothing came back. */
  onHoleRepeated(): void {
    this.sent++;
    this.#unanswered++;
  }

  onDelivered(): void {
    this.#unanswered = 0;
  }

  /** A duplicate was reported: true if it is the probe's copy, so that nothing had been lost (RFC 8985 §7.4.2). */
  takesDuplicate(): boolean {
    if (!this.#outstanding || !this.#repeated) return false;
    this.#outstanding = false;
    return true;
  }

  /** RFC 8985 §7.4: the probe itself may have hidden a loss by repairing it. */
  onAck(una: number, duplicate: boolean): typeof NOTHING | typeof LOSS_REPAIRED {
    if (!this.#outstanding || before(una, this.#end)) return NOTHING;
    if (!this.#repeated) {
      this.#outstanding = false;
    } else if (after(una, this.#end)) {
      // The repeated segment was needed: it would have been reported as a duplicate otherwise.
      this.#outstanding = false;
      return LOSS_REPAIRED;
    } else if (duplicate) {
      // Original and probe both arrived, at a peer that reports no duplicates.
      this.#outstanding = false;
    }
    return NOTHING;
  }

  /** Another recovery has taken over. */
  forget(): void {
    this.#outstanding = false;
  }

  /** Its state, for a record or from one; `una` is SND.UNA. */
  carry(fields: Fields, una: number): void {
    this.#unanswered = fields.int(this.#unanswered);
    this.#outstanding = fields.bit(this.#outstanding);
    this.#repeated = fields.bit(this.#repeated);
    // Without a probe the number says nothing.
    this.#end = this.#outstanding ? fields.int(this.#end, una) : una;
    this.sent = fields.count(this.sent);
  }
}
