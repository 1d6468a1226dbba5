/**
 * Records of sent segments, as columns in typed arrays: no object and no garbage
 * per segment. One pool serves all connections of a stack; a record is an index.
 *
 * A record stands in at most one doubly linked list at a time: its connection's
 * list of segments in flight (oldest transmission first) or of lost ones.
 */

/** The peer has selectively acknowledged it. */
export const SACKED = 1;
/** Taken for lost and not sent again yet. */
export const LOST = 2;
/** Sent more than once: gives no RTT sample (Karn). */
export const RETRANSMITTED = 4;
/** The application had run out of data before it was sent: a rate sample that starts with it says little. */
export const APP_LIMITED = 8;

export const NONE = -1;

/** The shortest ring of ids has 2^4, and the longest that is kept for whoever sends next 2^16. */
const LEAST_ORDER_BITS = 4;
const MOST_KEPT_ORDER_BITS = 16;
/** Ids in the spare rings of one length, all together. */
const MOST_SPARE_IDS = 1 << MOST_KEPT_ORDER_BITS;
const MOST_SPARE_ORDERS = 256;
const INITIAL_RECORDS = 256;
const NO_COLUMN = new Float64Array(0);

export class SegmentPool {
  /** Spare rings by the logarithm of their length. */
  readonly #orders: Int32Array[][] = Array.from({ length: MOST_KEPT_ORDER_BITS + 1 }, () => []);
  sequence = new Int32Array(INITIAL_RECORDS);
  end = new Int32Array(INITIAL_RECORDS);
  /** Clock time of the latest transmission, ms. */
  sentAt = new Float64Array(INITIAL_RECORDS);
  flags = new Uint8Array(INITIAL_RECORDS);
  /**
   * Of a SACKED record: every byte from it to here is known to be SACKed, so a
   * walk may jump. Path-compressed as walks pass.
   */
  sackedTo = new Int32Array(INITIAL_RECORDS);
  next = new Int32Array(INITIAL_RECORDS);
  previous = new Int32Array(INITIAL_RECORDS);
  /** The connection's delivery state as of the latest transmission (see `rate.ts`); without length until one asks for it. */
  delivered: Float64Array = NO_COLUMN;
  deliveredTime: Float64Array = NO_COLUMN;
  firstSendTime: Float64Array = NO_COLUMN;
  lost: Float64Array = NO_COLUMN;
  txInFlight: Float64Array = NO_COLUMN;
  #tracksRates = false;
  #free = NONE;
  #used = 0;
  #live = 0;

  /** Records in use. */
  get live(): number {
    return this.#live;
  }

  /** From now on there are columns for delivery rate samples. */
  trackRates(): void {
    if (this.#tracksRates) return;
    this.#tracksRates = true;
    this.#growRates();
  }

  #growRates(): void {
    const wider = (old: Float64Array): Float64Array => {
      const fresh = new Float64Array(this.sequence.length);
      fresh.set(old);
      return fresh;
    };
    this.delivered = wider(this.delivered);
    this.deliveredTime = wider(this.deliveredTime);
    this.firstSendTime = wider(this.firstSendTime);
    this.lost = wider(this.lost);
    this.txInFlight = wider(this.txInFlight);
  }

  /** `half` was the end of `id`: what was noted of the whole at its transmission holds for both. */
  splitRates(id: number, half: number): void {
    this.delivered[half] = this.delivered[id]!;
    this.deliveredTime[half] = this.deliveredTime[id]!;
    this.firstSendTime[half] = this.firstSendTime[id]!;
    this.lost[half] = this.lost[id]!;
    this.txInFlight[half] = this.txInFlight[id]!;
    this.txInFlight[id] = this.txInFlight[id]! - ((this.end[half]! - this.sequence[half]!) | 0);
  }

  /** A ring of `length` ids, a power of two, for one connection's records; what is in it is anybody's. */
  takeOrder(length = 1 << LEAST_ORDER_BITS): Int32Array {
    return this.#sparesOf(length)?.pop() ?? new Int32Array(length);
  }

  /** Takes a ring back: a connection with nothing in flight has none. */
  giveOrder(order: Int32Array): void {
    const spares = this.#sparesOf(order.length);
    if (spares === undefined) return;
    if (spares.length < Math.min(MOST_SPARE_ORDERS, MOST_SPARE_IDS / order.length)) spares.push(order);
  }

  #sparesOf(length: number): Int32Array[] | undefined {
    return this.#orders[31 - Math.clz32(length)];
  }

  /** A record of `[sequence, end)`, in no list; when it was sent is for the caller to note. */
  take(sequence: number, end: number): number {
    let id = this.#free;
    if (id !== NONE) {
      this.#free = this.next[id]!;
    } else {
      if (this.#used === this.sequence.length) this.#grow();
      id = this.#used++;
    }
    this.#live++;
    this.sequence[id] = sequence;
    this.end[id] = end;
    this.flags[id] = 0;
    this.next[id] = NONE;
    this.previous[id] = NONE;
    return id;
  }

  give(id: number): void {
    this.next[id] = this.#free;
    this.#free = id;
    this.#live--;
  }

  #grow(): void {
    const size = this.sequence.length * 2;
    const wider = <T extends Int32Array | Float64Array | Uint8Array>(old: T, fresh: T): T => {
      fresh.set(old);
      return fresh;
    };
    this.sequence = wider(this.sequence, new Int32Array(size));
    this.end = wider(this.end, new Int32Array(size));
    this.sentAt = wider(this.sentAt, new Float64Array(size));
    this.flags = wider(this.flags, new Uint8Array(size));
    this.sackedTo = wider(this.sackedTo, new Int32Array(size));
    this.next = wider(this.next, new Int32Array(size));
    this.previous = wider(this.previous, new Int32Array(size));
    if (this.#tracksRates) this.#growRates();
  }
}

/** A doubly linked list of pool records. */
export class SegmentList {
  head = NONE;
  tail = NONE;

  append(pool: SegmentPool, id: number): void {
    pool.previous[id] = this.tail;
    pool.next[id] = NONE;
    if (this.tail === NONE) this.head = id;
    else pool.next[this.tail] = id;
    this.tail = id;
  }

  prepend(pool: SegmentPool, id: number): void {
    pool.previous[id] = NONE;
    pool.next[id] = this.head;
    if (this.head === NONE) this.tail = id;
    else pool.previous[this.head] = id;
    this.head = id;
  }

  remove(pool: SegmentPool, id: number): void {
    const next = pool.next[id]!;
    const previous = pool.previous[id]!;
    if (previous === NONE) this.head = next;
    else pool.next[previous] = next;
    if (next === NONE) this.tail = previous;
    else pool.previous[next] = previous;
  }

  /** Puts `id` right after `anchor`, which is in the list. */
  insertAfter(pool: SegmentPool, anchor: number, id: number): void {
    const next = pool.next[anchor]!;
    pool.previous[id] = anchor;
    pool.next[id] = next;
    pool.next[anchor] = id;
    if (next === NONE) this.tail = id;
    else pool.previous[next] = id;
  }
}
