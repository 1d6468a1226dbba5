import { set32 } from '../bytes/index.ts';
import type { TcpConfig } from './config.ts';
import { sackLength, writeSackHeader } from './options.ts';
import type { Fields } from './parking/record.ts';
import { Reassembly, type Run } from './reassembly.ts';
import { type PayloadKeeper, ReceiveQueue } from './receive-queue.ts';
import type { Segment } from './segment.ts';
import { advance, after, atOrAfter, atOrBefore, before, distance, earlier, later } from './sequence.ts';

/** ACKs sent at once when a connection is young or has lost something, so that the peer's window can open. */
const QUICK_ACKS = 16;
/** The receive buffer before anything is known of path and application. */
const INITIAL_LIMIT = 1 << 20;
/** Most SACK blocks beside a timestamps option (RFC 2018 §3). */
const MAX_BLOCKS = 3;
const MAX_BLOCKS_WITHOUT_TIMESTAMPS = 4;

/**
 * The receiving half of a connection: what came, what is missing, what window
 * to offer, and when to acknowledge.
 */
export class Receiver {
  /** IRS, RCV.NXT (RFC 9293 §3.3.1). */
  initial = 0;
  next = 0;
  /** Right edge of the window as the peer knows it: RCV.NXT + RCV.WND. Never moves left. */
  edge = 0;
  /** Rcv.Wind.Shift (RFC 7323 §2.2). */
  shift = 0;
  /** Most bytes held for the application now; grows to `maximum` as the application keeps up. */
  limit: number;
  readonly maximum: number;
  /** Bytes taken by the application: in all, and when the present measurement began. */
  #taken = 0;
  #measuredTaken = 0;
  #measuredAt = -1;
  /** What the application took in the busiest round trip. */
  #space: number;
  /** Largest segment payload seen: what "full-sized" means for delayed ACKs. */
  peerSegment = 536;
  /** Sequence number of the peer's FIN where it came ahead of data. */
  finSequence = 0;
  finKnown = false;
  /** FIN taken in order: nothing more will come. */
  finished = false;
  readonly queue = new ReceiveQueue();
  #reassembly: Reassembly | null = null;

  /** TS.Recent and when it was set (RFC 7323 §4.3). */
  timestampRecent = 0;
  timestampRecentAt = 0;
  /** Last.ACK.sent. */
  lastAckSent = 0;

  /** An ACK must go out with this batch. */
  ackNow = false;
  /** Bytes taken in since the last ACK. */
  unacknowledgedBytes = 0;
  /** Duplicate ACKs owed, one for each segment out of order, where the peer counts them (no SACK). */
  duplicatesOwed = 0;
  #quickAcks = QUICK_ACKS;
  /** The application answers what it receives: its data will carry the ACK. */
  interactive = false;
  /** When the delayed ACK is due; Infinity if none is. */
  ackDeadline = Number.POSITIVE_INFINITY;

  /** The stack is short of memory: nothing is held out of order, and no window is opened beyond the least. */
  frugal = false;
  /** Most bytes that the peer may be promised now, for what memory the stack has left. */
  share = Number.POSITIVE_INFINITY;

  /** A duplicate to report first (RFC 2883). */
  #duplicateKnown = false;
  #duplicateLeft = 0;
  #duplicateRight = 0;

  bytesReceived = 0;
  segmentsReceived = 0;
  duplicateBytes = 0;
  outOfOrderSegments = 0;
  /** Segments dropped because what is held out of order costs too much. */
  pruned = 0;

  constructor(config: TcpConfig) {
    this.maximum = config.receiveBuffer;
    this.limit = config.autoTuning ? Math.min(config.receiveBuffer, INITIAL_LIMIT) : config.receiveBuffer;
    this.#space = this.limit / 2;
  }

  /**
   * Dynamic right-sizing (Fisk and Feng, 2001; as Linux does it): a window that
   * the application empties once per round trip must be twice what it took, or
   * it would be what limits the sender.
   */
  taken(bytes: number, time: { readonly now: number }, rtt: { readonly smoothedMs: number }): void {
    this.#taken += bytes;
    if (this.limit === this.maximum) return;
    const { now } = time;
    if (this.#measuredAt < 0) this.#measuredAt = now;
    if (now - this.#measuredAt < rtt.smoothedMs) return;
    const copied = this.#taken - this.#measuredTaken;
    if (copied > this.#space) {
      // The sender may double its rate in the next round trip already.
      const wanted = 2 * copied + 2 * (copied - this.#space) + 16 * this.peerSegment;
      if (wanted > this.limit) this.limit = Math.min(this.maximum, Math.ceil(wanted));
      this.#space = copied;
    }
    this.#measuredTaken = this.#taken;
    this.#measuredAt = now;
  }

  /** The smallest shift that lets a 16-bit field tell of the whole buffer (RFC 7323 §2.3). */
  static shiftFor(limit: number): number {
    let shift = 0;
    while (shift < 14 && 0xffff << shift < limit) shift++;
    return shift;
  }

  /** The peer's SYN came; `offered` is the window that a SYN of ours has told it, 0 if none was sent. */
  begin(initial: number, offered: number): void {
    this.initial = initial;
    this.next = advance(initial, 1);
    this.lastAckSent = this.next;
    this.edge = advance(this.next, offered);
  }

  /** RCV.WND as the peer knows it. */
  get window(): number {
    const window = distance(this.edge, this.next);
    return Math.max(window, 0);
  }

  /** Whether something above `sequence` has come out of order. */
  holdsBeyond(sequence: number): boolean {
    const last = this.#reassembly?.runs.at(-1);
    return last !== undefined && before(sequence, last.left);
  }

  /** What is held, bookkeeping included. */
  get held(): number {
    return this.queue.cost + (this.#reassembly === null ? 0 : this.#reassembly.cost);
  }

  /** RFC 9293 §3.10.7.4, first check: whether any of the segment is within the window. */
  isAcceptable(segment: Segment): boolean {
    const window = this.window;
    const length = segment.length;
    const first = segment.sequence;
    if (length === 0) {
      if (window === 0) return first === this.next;
      // The right edge itself is let in: a peer that has filled the window acknowledges from there, and RFC
      // 9293's table would have us deaf to it until the first hole is filled.
      return atOrAfter(first, this.next) && atOrBefore(first, this.edge);
    }
    if (window === 0) return false;
    const last = advance(first, length - 1);
    return (
      (atOrAfter(first, this.next) && before(first, this.edge)) ||
      (atOrAfter(last, this.next) && before(last, this.edge)) ||
      (before(first, this.next) && atOrAfter(last, this.edge))
    );
  }

  /** Notes that the peer sent again what we have (D-SACK), and answers at once. */
  noteDuplicate(left: number, right: number): void {
    this.#duplicateKnown = true;
    this.#duplicateLeft = left;
    this.#duplicateRight = right;
    this.ackNow = true;
  }

  /**
   * Takes the payload and FIN of an acceptable segment. Returns whether anything
   * came in order, FIN included.
   */
  accept(segment: Segment, keeper: PayloadKeeper, countDuplicates: boolean): boolean {
    const length = segment.payloadLength;
    let left = segment.sequence;
    let right = advance(left, length);
    let start = segment.start;
    const size = segment.frame.segmentSize || length;
    if (size > this.peerSegment) this.peerSegment = size;

    if (segment.hasFin && !this.finKnown && atOrBefore(right, this.edge)) {
      this.finKnown = true;
      this.finSequence = right;
    }
    if (after(right, this.edge)) right = this.edge;
    if (this.finKnown && after(right, this.finSequence)) right = this.finSequence;
    if (before(left, this.next)) {
      const duplicateEnd = before(right, this.next) ? right : this.next;
      if (after(duplicateEnd, left)) {
        this.duplicateBytes += distance(duplicateEnd, left);
        this.noteDuplicate(left, duplicateEnd);
      }
      start += distance(this.next, left);
      left = this.next;
    }

    const previous = this.next;
    if (after(right, left)) {
      if (left === this.next) this.#takeInOrder(segment, left, right, start, keeper);
      else this.#takeOutOfOrder(segment, left, right, start, keeper, countDuplicates);
    }
    if (this.finKnown && !this.finished && this.next === this.finSequence) {
      this.next = advance(this.next, 1);
      this.finished = true;
      this.edge = later(this.edge, this.next);
    } else if (segment.hasFin && !this.finished) {
      this.ackNow = true;
    }
    const progress = distance(this.next, previous);
    this.unacknowledgedBytes += progress;
    return progress > 0;
  }

  /**
   * Takes the text of a segment that is just what comes next, for a reader who is
   * shown it where it is. False if it is not as simple as that; nothing has
   * changed then.
   */
  pass(segment: Segment): boolean {
    const length = segment.payloadLength;
    if (length === 0 || segment.sequence !== this.next || length > this.window) return false;
    if (segment.hasFin || this.finKnown || this.queue.length > 0) return false;
    if (this.#reassembly !== null && this.#reassembly.runs.length > 0) return false;
    const size = segment.frame.segmentSize || length;
    if (size > this.peerSegment) this.peerSegment = size;
    this.next = advance(this.next, length);
    this.bytesReceived += length;
    this.unacknowledgedBytes += length;
    return true;
  }

  #takeInOrder(segment: Segment, left: number, right: number, start: number, keeper: PayloadKeeper): void {
    const reassembly = this.#reassembly;
    const length = distance(right, left);
    if (reassembly !== null && reassembly.runs.length > 0) {
      const known = reassembly.overlap(left, right);
      if (known !== null) this.noteDuplicate(known.left, known.right);
    }
    keeper.keep(segment.frame, start, start + length);
    this.queue.push(keeper.bytes, keeper.start, keeper.end);
    this.bytesReceived += length;
    this.next = right;
    if (reassembly !== null && reassembly.runs.length > 0) {
      // A filled hole is told at once (RFC 5681 §4.2).
      this.ackNow = true;
      const next = reassembly.drain(right, this.queue);
      this.bytesReceived += distance(next, right);
      this.next = next;
    }
  }

  #takeOutOfOrder(
    segment: Segment,
    left: number,
    right: number,
    start: number,
    keeper: PayloadKeeper,
    countDuplicates: boolean,
  ): void {
    this.#reassembly ??= new Reassembly();
    const reassembly = this.#reassembly;
    this.outOfOrderSegments++;
    this.ackNow = true;
    this.#quickAcks = QUICK_ACKS;
    if (countDuplicates) this.duplicatesOwed++;
    const known = reassembly.overlap(left, right);
    if (known !== null) {
      this.duplicateBytes += distance(known.right, known.left);
      this.noteDuplicate(known.left, known.right);
    }
    if (this.frugal || reassembly.cost > this.limit * 2) {
      this.pruned++;
      return;
    }
    reassembly.insert(left, right, segment.frame, start, keeper);
  }

  /**
   * The window field for a segment that goes out now, and with it the new edge.
   * The edge moves right only in steps that are worth a segment (RFC 9293
   * §3.8.6.2.2, silly window avoidance), and never left.
   */
  advertise(scaled: boolean): number {
    const shift = scaled ? this.shift : 0;
    const reachable = earlier(this.#reachableEdge(), advance(this.next, 0xffff << shift));
    const growth = distance(reachable, this.edge);
    if (growth > 0 && this.#isWorthwhile(growth)) this.edge = reachable;
    const window = Math.min(this.window, 0xffff << shift);
    // Rounded up, or the edge would move left by the bits that the shift drops (RFC 7323 §2.4).
    const field = Math.min(0xffff, (window + (1 << shift) - 1) >>> shift);
    const told = advance(this.next, field << shift);
    if (!after(told, this.edge)) return field;
    // Unless that happens for every few bytes: the window would never close to a peer that sends tiny segments.
    const excess = (field << shift) + this.queue.cost - this.limit;
    if (excess > (this.limit >>> 3) + (1 << shift)) return window >>> shift;
    this.edge = told;
    return field;
  }

  #reachableEdge(): number {
    // As memory runs short, the window closes as far as what the peer was promised allows.
    const limit = Math.min(this.limit, this.#affordable());
    // Room that the field cannot tell of is nothing to write home about: without scaling, a large buffer
    // would make every ACK call for a window update, and two such ends answer each other for ever.
    const free = Math.min(limit - this.queue.cost, 0xffff << this.shift);
    return advance(this.next, Math.max(free, 0));
  }

  /** What may be held, memory being what it is: what is held already, and a share of the rest. */
  #affordable(): number {
    return Math.max(4 * this.peerSegment, this.frugal ? 0 : this.queue.cost + this.share);
  }

  #isWorthwhile(growth: number): boolean {
    return growth >= Math.min(this.limit >>> 1, this.peerSegment) || this.finished;
  }

  /**
   * Whether reading has made so much room that the peer should hear of it
   * without waiting for the next ACK.
   */
  wantsWindowUpdate(): boolean {
    // Before the first byte the SYN's window is enough: the next ACK tells the rest.
    if (this.finished || this.bytesReceived === 0) return false;
    const growth = distance(this.#reachableEdge(), this.edge);
    if (growth <= 0 || !this.#isWorthwhile(growth)) return false;
    // A lot of room, or a peer that may be stuck: any window that is not silly helps it.
    return growth >= Math.min(this.limit, this.#affordable()) / 4 || this.window < 2 * this.peerSegment;
  }

  /** At the end of a batch: whether an ACK goes out now; otherwise one is put off until `ackDeadline`. */
  mustAcknowledge(now: number, delayMs: number): boolean {
    if (this.ackNow) return true;
    if (this.unacknowledgedBytes === 0) return false;
    // RFC 1122 §4.2.3.2: at least every second full-sized segment.
    if (this.unacknowledgedBytes >= 2 * this.peerSegment) return true;
    if (this.finished) {
      // The application's own FIN may follow at once, and carries the ACK then.
      if (now < this.ackDeadline) this.ackDeadline = now;
      return false;
    }
    if (this.#quickAcks > 0 && !this.interactive) return true;
    if (this.ackDeadline === Number.POSITIVE_INFINITY) this.ackDeadline = now + delayMs;
    return false;
  }

  /** An ACK of everything has gone out. */
  acknowledged(withData: boolean): void {
    if (this.unacknowledgedBytes > 0) {
      if (withData) this.interactive = true;
      else if (this.#quickAcks > 0) this.#quickAcks--;
    }
    this.ackNow = false;
    this.unacknowledgedBytes = 0;
    this.ackDeadline = Number.POSITIVE_INFINITY;
    this.lastAckSent = this.next;
    this.#duplicateKnown = false;
  }

  /** SACK blocks to send now (D-SACK included), at most what fits. */
  sackBlocks(timestamps: boolean): number {
    const runs = this.#reassembly === null ? 0 : this.#reassembly.recent.length;
    const most = timestamps ? MAX_BLOCKS : MAX_BLOCKS_WITHOUT_TIMESTAMPS;
    return Math.min(most, runs + (this.#duplicateKnown ? 1 : 0));
  }

  /** Writes the SACK option with `blocks` blocks: the duplicate first, then the runs, latest change first. */
  writeSack(bytes: Uint8Array, at: number, blocks: number): number {
    let to = writeSackHeader(bytes, at, blocks);
    let left = blocks;
    let holder: Run | null = null;
    if (this.#duplicateKnown && left > 0) {
      to = writeBlock(bytes, to, this.#duplicateLeft, this.#duplicateRight);
      left--;
      // RFC 2883 §4.2: the run that holds the duplicate comes next, whatever came since.
      holder = this.#reassembly?.holding(this.#duplicateLeft, this.#duplicateRight) ?? null;
      if (holder !== null && left > 0) {
        to = writeBlock(bytes, to, holder.left, holder.right);
        left--;
      }
    }
    for (let i = 0; left > 0; i++) {
      const run = this.#reassembly!.recent[i]!;
      if (run === holder) continue;
      to = writeBlock(bytes, to, run.left, run.right);
      left--;
    }
    return at + sackLength(blocks);
  }

  /** Nothing waits to be read, to be filled in or to be acknowledged. */
  get isQuiet(): boolean {
    if (this.queue.length > 0 || this.ackNow || this.unacknowledgedBytes > 0 || this.duplicatesOwed > 0) {
      return false;
    }
    if (this.#reassembly !== null && this.#reassembly.runs.length > 0) return false;
    return this.ackDeadline === Number.POSITIVE_INFINITY && this.finKnown === this.finished;
  }

  /** Its state while it is quiet, for a record or from one. */
  carry(fields: Fields): void {
    this.next = fields.int(this.next);
    this.initial = fields.int(this.initial, this.next);
    this.edge = fields.int(this.edge, this.next);
    this.shift = fields.int(this.shift);
    this.limit = fields.count(this.limit);
    this.#taken = fields.count(this.#taken - this.#measuredTaken);
    this.#measuredTaken = 0;
    this.#measuredAt = fields.real(this.#measuredAt, -1);
    this.#space = fields.real(this.#space, this.limit / 2);
    this.peerSegment = fields.int(this.peerSegment, 536);
    this.finished = fields.bit(this.finished);
    this.finKnown = this.finished;
    this.finSequence = this.finished ? fields.int(this.finSequence, this.next) : 0;
    this.#reassembly = null;
    this.timestampRecent = fields.int(this.timestampRecent);
    this.timestampRecentAt = fields.real(this.timestampRecentAt);
    this.lastAckSent = fields.int(this.lastAckSent, this.next);
    this.#quickAcks = fields.int(this.#quickAcks, QUICK_ACKS);
    this.interactive = fields.bit(this.interactive);
    this.frugal = fields.bit(this.frugal);
    this.share = fields.real(this.share, Number.POSITIVE_INFINITY);
    this.#duplicateKnown = fields.bit(this.#duplicateKnown);
    if (this.#duplicateKnown) {
      this.#duplicateLeft = fields.int(this.#duplicateLeft, this.next);
      this.#duplicateRight = fields.int(this.#duplicateRight, this.next);
    }
    this.bytesReceived = fields.count(this.bytesReceived);
    this.segmentsReceived = fields.count(this.segmentsReceived);
    this.duplicateBytes = fields.count(this.duplicateBytes);
    this.outOfOrderSegments = fields.count(this.outOfOrderSegments);
    this.pruned = fields.count(this.pruned);
  }

  /** Nothing more will come. What came in order can still be taken, unless nobody will. */
  end(discard: boolean): void {
    this.#reassembly = null;
    this.ackDeadline = Number.POSITIVE_INFINITY;
    if (discard) this.queue.clear();
  }
}

function writeBlock(bytes: Uint8Array, at: number, left: number, right: number): number {
  set32(bytes, at, left);
  set32(bytes, at + 4, right);
  return at + 8;
}
