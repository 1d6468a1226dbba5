import type { Moment } from '../../time/index.ts';
import { advance, after, atOrAfter, atOrBefore, before, distance } from '../sequence.ts';
import type { RateEstimator } from './rate.ts';
import { LOST, NONE, RETRANSMITTED, SACKED, SegmentList, type SegmentPool } from './segment-pool.ts';

/**
 * What one ACK told about sent segments. One per stack, reused; `begin` clears
 * it before each ACK.
 */
export class Delivery {
  /** Bytes newly acknowledged, cumulatively or selectively. */
  delivered = 0;
  /** Those among them that waited to be sent again: they had arrived long before. */
  arrivedBefore = 0;
  /** Latest transmission time among what was delivered, and the end of that segment (RFC 8985 §6.2 step 2). -1: none. */
  latestSentAt = -1;
  latestEnd = 0;
  latestRetransmitted = false;
  /** Latest transmission time among segments that were sent only once: an RTT sample. -1: none. */
  sampleSentAt = -1;
  /** Something sent more than once was among it: which copy it was, and since when the rest has been there, nobody can tell (Karn). */
  isAmbiguous = false;
  /** Earliest transmission time among segments that were sent only once. -1: none. */
  oldestOriginalSentAt = -1;
  /** A segment sent only once was delivered although a later one had been SACKed before it: the path reorders. */
  reorderedBytes = 0;
  /** RACK.fack: the highest sequence number that was SACKed before this ACK, if any was. */
  hadSacks = false;
  highestBefore = 0;

  /** Clears it for an ACK; `scoreboard` is as the ACK finds it. */
  begin(scoreboard: Scoreboard): void {
    this.hadSacks = scoreboard.sackedBytes > 0;
    this.highestBefore = scoreboard.highestSacked;
    this.delivered = 0;
    this.arrivedBefore = 0;
    this.latestSentAt = -1;
    this.latestEnd = 0;
    this.latestRetransmitted = false;
    this.sampleSentAt = -1;
    this.isAmbiguous = false;
    this.oldestOriginalSentAt = -1;
    this.reorderedBytes = 0;
  }
}

/**
 * The segments in flight of one connection and what is known of each (RFC 6675
 * §3, RFC 8985 §5.1), in three orders: by sequence (a ring of record ids,
 * searched by halving), by time of transmission (`inFlight`), and in the order
 * in which they were found lost (`lost`). Every operation costs what it
 * changes, plus a search: nothing walks all that is in flight.
 */
export class Scoreboard {
  readonly pool: SegmentPool;
  /** Told of every segment sent, delivered and lost, where the algorithm wants to know the rate of delivery. */
  readonly rate: RateEstimator | null;
  /** Null while nothing is in flight. */
  #order: Int32Array | null = null;
  #head = 0;
  #count = 0;
  readonly inFlight = new SegmentList();
  readonly lost = new SegmentList();
  /** Bytes SACKed and not yet cumulatively acknowledged. */
  sackedBytes = 0;
  /** How many segments those are. */
  sackedCount = 0;
  /** Bytes taken for lost that wait to be sent again. */
  lostBytes = 0;
  /** Bytes sent again that are neither acknowledged nor taken for lost once more. */
  repeatedBytes = 0;
  /** Right edge of the highest SACKed byte; meaningless while `sackedBytes` is 0. */
  highestSacked = 0;

  constructor(pool: SegmentPool, rate: RateEstimator | null = null) {
    this.pool = pool;
    this.rate = rate;
    if (rate !== null) pool.trackRates();
  }

  get count(): number {
    return this.#count;
  }

  /** Record of the oldest outstanding segment, or NONE. */
  get first(): number {
    return this.#count === 0 ? NONE : this.#at(0);
  }

  get last(): number {
    return this.#count === 0 ? NONE : this.#at(this.#count - 1);
  }

  #at(index: number): number {
    const order = this.#order!;
    return order[(this.#head + index) & (order.length - 1)]!;
  }

  /** A segment `[sequence, end)` was sent for the first time, above all others. */
  push(sequence: number, end: number, time: Moment): void {
    const id = this.pool.take(sequence, end);
    this.pool.sentAt[id] = time.now;
    this.#reserveOrder();
    const order = this.#order!;
    order[(this.#head + this.#count) & (order.length - 1)] = id;
    this.#count++;
    this.inFlight.append(this.pool, id);
    if (this.rate !== null) this.#noteSent(this.rate, id);
  }

  #noteSent(rate: RateEstimator, id: number): void {
    const { pool } = this;
    const outstanding = distance(pool.end[this.last]!, pool.sequence[this.first]!);
    rate.onSent(pool, id, outstanding - this.sackedBytes - this.lostBytes, pool.sentAt[id]!);
  }

  #dropOrder(): void {
    if (this.#order === null) return;
    this.pool.giveOrder(this.#order);
    this.#order = null;
    this.#head = 0;
  }

  #reserveOrder(): void {
    const order = this.#order;
    if (order === null) {
      this.#order = this.pool.takeOrder();
    } else if (this.#count === order.length) {
      const wider = this.pool.takeOrder(order.length * 2);
      for (let i = 0; i < this.#count; i++) wider[i] = this.#at(i);
      this.#order = wider;
      this.#head = 0;
      this.pool.giveOrder(order);
    }
  }

  /** The lost segment `id` was sent again, but only up to `end`: the rest stays lost. */
  retransmitted(id: number, end: number, now: number): void {
    const pool = this.pool;
    if (before(end, pool.end[id]!)) this.#split(id, end);
    this.lost.remove(pool, id);
    this.lostBytes -= distance(pool.end[id]!, pool.sequence[id]!);
    pool.flags[id] = (pool.flags[id]! & ~LOST) | RETRANSMITTED;
    this.repeatedBytes += distance(pool.end[id]!, pool.sequence[id]!);
    pool.sentAt[id] = now;
    this.inFlight.append(pool, id);
    if (this.rate !== null) this.#noteSent(this.rate, id);
  }

  /** The segment `id`, in flight, was sent again as a probe (TLP). */
  probed(id: number, now: number): void {
    const pool = this.pool;
    if (pool.flags[id]! & LOST) {
      this.retransmitted(id, pool.end[id]!, now);
      return;
    }
    if ((pool.flags[id]! & RETRANSMITTED) === 0) {
      this.repeatedBytes += distance(pool.end[id]!, pool.sequence[id]!);
    }
    pool.flags[id] = pool.flags[id]! | RETRANSMITTED;
    pool.sentAt[id] = now;
    this.inFlight.remove(pool, id);
    this.inFlight.append(pool, id);
    if (this.rate !== null) this.#noteSent(this.rate, id);
  }

  /** Takes the segment `id`, in flight, for lost. */
  markLost(id: number): void {
    const pool = this.pool;
    this.inFlight.remove(pool, id);
    const length = distance(pool.end[id]!, pool.sequence[id]!);
    if ((pool.flags[id]! & RETRANSMITTED) !== 0) this.repeatedBytes -= length;
    pool.flags[id] = pool.flags[id]! | LOST;
    this.lost.append(pool, id);
    this.lostBytes += length;
    if (this.rate !== null) this.rate.onLost(pool, id);
  }

  /** Takes everything that is neither SACKed nor lost already for lost, lowest first (after a timeout). */
  markAllLost(): void {
    // In sequence order, which is the order in which they are to be sent again.
    for (let i = 0; i < this.#count; i++) {
      const id = this.#at(i);
      const flags = this.pool.flags[id]!;
      if ((flags & SACKED) !== 0) continue;
      if ((flags & LOST) !== 0) {
        this.lost.remove(this.pool, id);
        this.lost.append(this.pool, id);
      } else {
        this.markLost(id);
      }
    }
  }

  /** The guess was wrong: what waits to be sent again is in flight after all (undo). */
  unmarkLost(): void {
    const pool = this.pool;
    // What was taken for lost was sent before what is in flight: it goes to the front, in its order.
    for (let id = this.lost.tail; id !== NONE; id = this.lost.tail) {
      this.lost.remove(pool, id);
      pool.flags[id] = pool.flags[id]! & ~LOST;
      this.#countRepeated(id);
      this.inFlight.prepend(pool, id);
    }
    this.lostBytes = 0;
  }

  /** A record is in flight again: it counts as repeated if it was ever sent twice. */
  #countRepeated(id: number): void {
    const { pool } = this;
    if ((pool.flags[id]! & RETRANSMITTED) === 0) return;
    this.repeatedBytes += distance(pool.end[id]!, pool.sequence[id]!);
  }

  /** The peer has dropped what it SACKed (RFC 2018 §8): nothing is known of it any more. */
  forgetSacks(): void {
    const pool = this.pool;
    for (let i = 0; i < this.#count; i++) {
      const id = this.#at(i);
      if ((pool.flags[id]! & SACKED) === 0) continue;
      pool.flags[id] = pool.flags[id]! & ~SACKED;
      this.#countRepeated(id);
      this.inFlight.append(pool, id);
    }
    this.sackedBytes = 0;
    this.sackedCount = 0;
  }

  /** Everything below `una` is acknowledged. */
  acknowledge(una: number, into: Delivery): void {
    const pool = this.pool;
    while (this.#count > 0) {
      const id = this.#at(0);
      const sequence = pool.sequence[id]!;
      if (atOrAfter(sequence, una)) break;
      if (after(pool.end[id]!, una)) {
        this.#trim(id, una, into);
        break;
      }
      const length = distance(pool.end[id]!, sequence);
      const flags = pool.flags[id]!;
      if ((flags & SACKED) !== 0) {
        this.sackedBytes -= length;
        this.sackedCount--;
      } else {
        this.#deliver(id, flags, length, into);
      }
      this.#head = (this.#head + 1) & (this.#order!.length - 1);
      this.#count--;
      pool.give(id);
    }
    if (this.#count === 0) this.#dropOrder();
  }

  /** The front part of a segment is acknowledged: it is a shorter segment now. */
  #trim(id: number, una: number, into: Delivery): void {
    const pool = this.pool;
    const length = distance(una, pool.sequence[id]!);
    pool.sequence[id] = una;
    const flags = pool.flags[id]!;
    if ((flags & SACKED) !== 0) {
      this.sackedBytes -= length;
    } else {
      into.delivered += length;
      if ((flags & LOST) !== 0) {
        this.lostBytes -= length;
        into.arrivedBefore += length;
      } else if ((flags & RETRANSMITTED) !== 0) this.repeatedBytes -= length;
      this.#note(flags, pool.sentAt[id]!, una, length, into);
      if (this.rate !== null) this.rate.onDelivered(pool, id, una, length);
    }
  }

  /**
   * The peer holds `[left, right)`; the range is within what is in flight.
   * Segments that the range covers in part are split at its edges.
   */
  sack(left: number, right: number, into: Delivery): void {
    const pool = this.pool;
    let index = this.#search(left);
    if (index === this.#count) return;
    const first = this.#at(index);
    if (before(pool.sequence[first]!, left) && (pool.flags[first]! & SACKED) === 0) {
      this.#split(first, left);
      index++;
    }
    // A block that grows covers what it covered before: records already SACKed are jumped over, and
    // every record that the walk lands on learns how far the next walk may jump.
    while (index < this.#count) {
      const id = this.#at(index);
      if (atOrAfter(pool.sequence[id]!, right)) break;
      if ((pool.flags[id]! & SACKED) !== 0) {
        const known = pool.sackedTo[id]!;
        if (before(known, right)) pool.sackedTo[id] = right;
        index = after(known, pool.end[id]!) ? this.#search(known) : index + 1;
        continue;
      }
      if (after(pool.end[id]!, right)) this.#split(id, right);
      const flags = pool.flags[id]!;
      const length = distance(pool.end[id]!, pool.sequence[id]!);
      this.#deliver(id, flags, length, into);
      pool.flags[id] = (flags & ~LOST) | SACKED;
      pool.sackedTo[id] = right;
      if (this.sackedBytes === 0 || after(pool.end[id]!, this.highestSacked)) {
        this.highestSacked = pool.end[id]!;
      }
      this.sackedBytes += length;
      this.sackedCount++;
      index++;
    }
  }

  /** Accounts a segment that has reached the peer just now, and takes it off its list. */
  #deliver(id: number, flags: number, length: number, into: Delivery): void {
    const pool = this.pool;
    into.delivered += length;
    if ((flags & LOST) !== 0) {
      this.lost.remove(pool, id);
      pool.flags[id] = flags & ~LOST;
      this.lostBytes -= length;
      into.arrivedBefore += length;
    } else {
      this.inFlight.remove(pool, id);
      if ((flags & RETRANSMITTED) !== 0) this.repeatedBytes -= length;
    }
    this.#note(flags, pool.sentAt[id]!, pool.end[id]!, length, into);
    if (this.rate !== null) this.rate.onDelivered(pool, id, pool.end[id]!, length);
  }

  /** What the arrival of a segment that ends at `end` tells of round trips and of the order of arrival. */
  #note(flags: number, sentAt: number, end: number, length: number, into: Delivery): void {
    const retransmitted = (flags & RETRANSMITTED) !== 0;
    if (retransmitted) {
      into.isAmbiguous = true;
    } else {
      if (sentAt > into.sampleSentAt) into.sampleSentAt = sentAt;
      if (into.oldestOriginalSentAt < 0 || sentAt < into.oldestOriginalSentAt) {
        into.oldestOriginalSentAt = sentAt;
      }
      // Against what was known before this ACK: one ACK may tell of several segments at once (RFC 8985 §6.2 step 3).
      if (into.hadSacks && before(end, into.highestBefore)) into.reorderedBytes += length;
    }
    if (sentAt > into.latestSentAt || (sentAt === into.latestSentAt && after(end, into.latestEnd))) {
      into.latestSentAt = sentAt;
      into.latestEnd = end;
      into.latestRetransmitted = retransmitted;
    }
  }

  /** Index of the first record whose end is above `sequence`; `count` if there is none. */
  #search(sequence: number): number {
    const pool = this.pool;
    let low = 0;
    let high = this.#count;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (atOrBefore(pool.end[this.#at(middle)]!, sequence)) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  /** Cuts `id` in two at `at`; the second half follows it in all orders. */
  #split(id: number, at: number): void {
    const pool = this.pool;
    const half = pool.take(at, pool.end[id]!);
    pool.sentAt[half] = pool.sentAt[id]!;
    const flags = pool.flags[id]!;
    pool.flags[half] = flags;
    pool.sackedTo[half] = pool.sackedTo[id]!;
    pool.end[id] = at;
    if (this.rate !== null) pool.splitRates(id, half);
    if ((flags & SACKED) !== 0) {
      this.sackedCount++;
    } else {
      const list = (flags & LOST) !== 0 ? this.lost : this.inFlight;
      list.insertAfter(pool, id, half);
    }
    this.#reserveOrder();
    const order = this.#order!;
    const index = this.#search(advance(at, -1)) + 1;
    for (let i = this.#count; i > index; i--) {
      order[(this.#head + i) & (order.length - 1)] = this.#at(i - 1);
    }
    order[(this.#head + index) & (order.length - 1)] = half;
    this.#count++;
  }

  /** Neither SACKed nor lost. */
  isInFlight(id: number): boolean {
    return (this.pool.flags[id]! & (SACKED | LOST)) === 0;
  }

  get headIsSacked(): boolean {
    return this.#count > 0 && (this.pool.flags[this.#at(0)]! & SACKED) !== 0;
  }

  /** Makes the segment `id` at most `bytes` long; what it had more becomes a segment of its own. */
  trimTo(id: number, bytes: number): void {
    const end = advance(this.pool.sequence[id]!, bytes);
    if (before(end, this.pool.end[id]!)) this.#split(id, end);
  }

  /** Gives all records back. */
  clear(): void {
    while (this.#count > 0) {
      this.pool.give(this.#at(0));
      this.#head = (this.#head + 1) & (this.#order!.length - 1);
      this.#count--;
    }
    this.#dropOrder();
    this.#head = 0;
    this.inFlight.head = this.inFlight.tail = NONE;
    this.lost.head = this.lost.tail = NONE;
    this.sackedBytes = 0;
    this.sackedCount = 0;
    this.lostBytes = 0;
    this.repeatedBytes = 0;
  }
}
