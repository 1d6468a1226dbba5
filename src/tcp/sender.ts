import type { TcpConfig } from './config.ts';
import type { Congestion } from './congestion/congestion.ts';
import { Pacer } from './pacer.ts';
import type { PathProbe } from './path-probe.ts';
import { FAST, Recovery } from './recovery/recovery.ts';
import { takeSacks } from './recovery/sacks.ts';
import type { Delivery } from './recovery/scoreboard.ts';
import { NONE, type SegmentPool } from './recovery/segment-pool.ts';
import type { Segment } from './segment.ts';
import { SendQueue } from './send-queue.ts';
import { advance, after, atOrBefore, before, distance } from './sequence.ts';
import { WindowValidation } from './validation.ts';
import { ACK, FIN, PSH } from './wire.ts';

const NEVER = Number.POSITIVE_INFINITY;
/** With `auto`, shorter paths than this are not paced: the timer would be coarser than their bursts. */
const PACING_RTT_MS = 4;

/** Who puts segments on their way: the connection. */
export interface Emitter {
  /**
   * Sends one segment with `length` bytes of the send queue from `offset` on.
   * False if the device is full, and nothing was sent.
   */
  emit(flags: number, sequence: number, offset: number, length: number): boolean;
}

/** How a pass of `output` ended. */
export const DONE = 0;
/** The device is full: go on when it has room. */
export const STALLED = 1;

/**
 * The sending half of a connection: what is queued, how it is cut into
 * segments, and when each may go (RFC 9293 §3.8.6, RFC 5681).
 */
export class Sender {
  readonly queue = new SendQueue();
  readonly recovery: Recovery;
  readonly congestion: Congestion;

  /** ISS, SND.UNA, SND.NXT (RFC 9293 §3.3.1). */
  initial = 0;
  una = 0;
  next = 0;
  /** SND.WND, scaled; SND.WL1, SND.WL2. */
  window = 0;
  windowSequence = 0;
  windowAcknowledgment = 0;
  /** Largest window the peer ever offered: half of it is worth a segment (RFC 9293 §3.8.6.2.1). */
  maxWindow = 0;
  /** Snd.Wind.Shift. */
  shift = 0;
  /** Payload bytes of a full-sized segment now: path MTU and peer's MSS less headers and options. */
  segment = 536;
  /** Most payload bytes of a frame that the device cuts; 0 where it does not. */
  largeSegment = 0;

  /** Looks for the path's real MTU, where a black hole was met. */
  pathProbe: PathProbe | null = null;
  /** Payload bytes of the segment that is to probe the path next; 0 for none. */
  pathProbeLength = 0;

  noDelay: boolean;
  cork = false;
  /** The application has said that nothing follows what is queued. */
  finQueued = false;
  finSent = false;
  /** End of the last segment that was not full-sized (for Nagle, as refined by Minshall). */
  #smallEnd = 0;
  #smallOutstanding = false;
  /** The window, not the application, is what limits sending since the last ACK. */
  #limited = false;
  readonly #validation = new WindowValidation();
  lastSentAt = 0;

  /** When pacing lets the next segment go; Infinity while it does not hold one back. */
  pacedUntil = NEVER;
  readonly #pacer = new Pacer();

  /** Zero-window probing (RFC 9293 §3.8.6.1). */
  persistAt = NEVER;
  persistBackoffs = 0;
  /** Probes that nothing answered. */
  persistRetries = 0;
  /** The probe's byte is above SND.NXT; its ACK is acceptable all the same. */
  probeSent = false;

  bytesSent = 0;
  bytesAcknowledged = 0;
  segmentsSent = 0;
  readonly #config: TcpConfig;

  constructor(pool: SegmentPool, config: TcpConfig, congestion: Congestion) {
    this.#config = config;
    this.congestion = congestion;
    this.recovery = new Recovery(pool, config, congestion);
    this.noDelay = config.noDelay;
  }

  begin(initial: number): void {
    this.initial = initial;
    this.una = initial;
    this.next = initial;
  }

  get outstanding(): number {
    return distance(this.next, this.una);
  }

  get pipe(): number {
    return this.recovery.pipe(this.una, this.next);
  }

  /** Queued bytes that were never sent. */
  get unsent(): number {
    // The FIN goes after all data: once it is sent, nothing is left.
    return this.finSent ? 0 : this.queue.length - this.outstanding;
  }

  /** Highest acceptable ACK. */
  get ackLimit(): number {
    return this.probeSent ? advance(this.next, 1) : this.next;
  }

  /** Everything, FIN included, has been acknowledged. */
  get drained(): boolean {
    return this.una === this.next && this.unsent === 0 && this.finQueued === this.finSent;
  }

  /** Sends what may go now: lost segments first, then new ones. */
  output(now: number, via: Emitter, selective: boolean): typeof DONE | typeof STALLED {
    this.#restartIfIdle(now);
    this.pacedUntil = NEVER;
    if (!this.#repair(now, via)) return STALLED;
    while (!this.#isPaced(now)) {
      const length = this.#nextLength();
      if (length < 0) break;
      if (!this.#sendNew(length, now, via, selective)) return STALLED;
    }
    this.#schedulePersist(now);
    return DONE;
  }

  /** Whether pacing holds back what could go: sets `pacedUntil` if so. */
  #isPaced(now: number): boolean {
    const until = this.#pacedTo(now);
    if (until <= now || (this.unsent <= 0 && this.recovery.scoreboard.lostBytes === 0)) return false;
    this.pacedUntil = until;
    return true;
  }

  /** When pacing lets something go. */
  #pacedTo(now: number): number {
    return this.#pacer.readyAt(now, this.pacingRate(), this.segment);
  }

  /**
   * CheckIfApplicationLimited (draft-ietf-ccwg-bbr §4.1.2.4), asked before an event
   * may have something sent: did the application leave room unused?
   */
  checkApplicationLimited(now: number): void {
    const { rate } = this.congestion;
    if (rate === null || this.unsent >= this.segment || this.recovery.scoreboard.lostBytes > 0) return;
    const { pipe } = this;
    if (pipe < this.congestion.window && this.#pacedTo(now) <= now) rate.markAppLimited(pipe);
  }

  /** Bytes per ms; 0 for no pacing. Above the window's own rate, so that pacing never is what limits. */
  pacingRate(): number {
    const { congestion, recovery } = this;
    if (congestion.pacingRate > 0) return congestion.pacingRate;
    const { pacing } = this.#config;
    if (pacing === false || !recovery.rtt.hasSample) return 0;
    // A path that has become short again must not be paced by the time when it was long.
    const rttMs = Math.min(recovery.rtt.smoothedMs, recovery.rtt.latestMs);
    if (pacing === 'auto' && rttMs < PACING_RTT_MS) return 0;
    const gain = congestion.window < congestion.threshold ? 2 : 1.2;
    return (gain * congestion.window) / rttMs;
  }

  /** RFC 5681 §4.1: a window that was not used for an RTO says nothing of the path any more. */
  #restartIfIdle(now: number): void {
    if (!this.#config.slowStartAfterIdle || this.outstanding > 0 || this.unsent <= 0) return;
    if (this.lastSentAt > 0 && now - this.lastSentAt > this.recovery.rtt.timeoutMs) {
      this.congestion.onIdle(this.#config.initialWindow * this.segment, now);
    }
  }

  #repair(now: number, via: Emitter): boolean {
    const { recovery } = this;
    if (recovery.holdsRepair && this.#mayHold()) return true;
    const { scoreboard } = recovery;
    const { pool } = scoreboard;
    for (let id = scoreboard.lost.head; id !== NONE; id = scoreboard.lost.head) {
      if (this.#isPaced(now)) return true;
      const sequence = pool.sequence[id]!;
      const { pipe } = this;
      const room = this.congestion.window - pipe;
      const length = distance(pool.end[id]!, sequence);
      // With nothing in flight one segment may go whatever the window: nothing else would ever open it.
      if (pipe > 0 && room < Math.min(this.segment, length)) {
        this.#holdBack();
        return true;
      }
      // A peer that shrank its window gets no more than it says it takes; probes go on by the timer.
      const windowRoom = distance(advance(this.una, this.window), sequence);
      if (windowRoom <= 0 && this.window > 0) return true;
      if (this.window === 0 && sequence !== this.una) return true;
      if (!this.#retransmit(id, now, via, this.#quantum(room))) return false;
    }
    return true;
  }

  /** RFC 5682 §2.1 step 2b: only if there is new data that may go; else the timeout is taken at its word. */
  #mayHold(): boolean {
    return this.unsent > 0 && this.#nextLength() > 0;
  }

  /** Sends the lost segment `id` again, at most `most` bytes of it; false if the device is full. */
  #retransmit(id: number, now: number, via: Emitter, most: number): boolean {
    const { recovery } = this;
    const { scoreboard } = recovery;
    const { pool } = scoreboard;
    const sequence = pool.sequence[id]!;
    const length = Math.min(distance(pool.end[id]!, sequence), most);
    if (!this.#emitAgain(sequence, length, now, via)) return false;
    this.pathProbe?.repeated(sequence, now);
    scoreboard.retransmitted(id, advance(sequence, length), now);
    recovery.onRetransmitted(length, now, id === scoreboard.first);
    this.#pacer.onSent(length, now, this.pacingRate());
    return true;
  }

  /** Emits sequence numbers that were sent before, our FIN among them where it is the last. */
  #emitAgain(sequence: number, length: number, now: number, via: Emitter): boolean {
    const hasFin = this.finSent && advance(sequence, length) === this.next;
    const payload = hasFin ? length - 1 : length;
    if (!via.emit(hasFin ? FIN | ACK : ACK, sequence, distance(sequence, this.una), payload)) return false;
    this.segmentsSent++;
    this.lastSentAt = now;
    return true;
  }

  /** The largest multiple of a segment that the device takes and `room` allows; at least one segment. */
  #quantum(room: number): number {
    if (this.largeSegment < 2 * this.segment) return this.segment;
    const most = Math.min(room, this.largeSegment, this.congestion.sendQuantum);
    return Math.max(this.segment, most - (most % this.segment));
  }

  /** How many bytes the next new segment takes; 0 for a bare FIN; -1 if nothing may go now. */
  #nextLength(): number {
    const unsent = this.unsent;
    const finWaits = this.finQueued && !this.finSent;
    if (unsent <= 0 && !finWaits) return -1;
    const windowRoom = this.window - this.outstanding;
    if (windowRoom <= 0) return -1;
    if (unsent <= 0) return 0;
    const { segment } = this;
    const pipe = this.pipe;
    const room = this.congestion.window - pipe;
    // A window of less than a segment (its size changes with the options) must not stop all for good.
    if (pipe > 0 && room < Math.min(segment, unsent)) {
      this.#holdBack();
      return -1;
    }
    const probe = this.pathProbeLength;
    if (probe > segment && probe <= unsent && probe <= windowRoom && probe <= room) return probe;
    let length = Math.min(unsent, windowRoom, this.#quantum(room));
    if (length >= segment) {
      // A tail that is not full-sized goes with the rest only if it could go alone.
      if (length % segment !== 0 && (length < unsent || !this.#smallMayGo())) {
        length -= length % segment;
      }
      return length;
    }
    if (length === unsent) return this.#smallMayGo() ? length : -1;
    // Only the peer's window makes it small: worth it at half of the largest window seen.
    return windowRoom >= this.maxWindow / 2 ? length : -1;
  }

  /** Nagle: at most one segment that is not full-sized is unacknowledged (RFC 9293 §3.7.4, with Minshall's refinement). */
  #smallMayGo(): boolean {
    if (this.finQueued) return true;
    if (this.cork) return false;
    return this.noDelay || !this.#smallOutstanding;
  }

  #sendNew(length: number, now: number, via: Emitter, selective: boolean): boolean {
    const sequence = this.next;
    const last = length === this.unsent;
    const windowRoom = this.window - this.outstanding;
    const withFin = last && this.finQueued && !this.finSent && windowRoom > length;
    let flags = ACK;
    if (last && length > 0) flags |= PSH;
    if (withFin) flags |= FIN;
    else if (length === 0) return true;
    if (!via.emit(flags, sequence, this.outstanding, length)) return false;
    const isProbe = this.pathProbeLength > 0 && length === this.pathProbeLength;
    if (isProbe) {
      this.pathProbe?.sent(sequence, advance(sequence, length));
      this.pathProbeLength = 0;
    }
    const taken = length + (withFin ? 1 : 0);
    this.next = advance(sequence, taken);
    if (withFin) this.finSent = true;
    // A probe of the path is larger than a segment, not smaller.
    if (length % this.segment !== 0 && !isProbe) {
      this.#smallEnd = this.next;
      this.#smallOutstanding = true;
    }
    this.probeSent = false;
    this.persistAt = NEVER;
    this.#pacer.onSent(length, now, this.pacingRate());
    this.bytesSent += length;
    this.segmentsSent++;
    this.lastSentAt = now;
    const { recovery } = this;
    recovery.scoreboard.push(sequence, this.next, now);
    recovery.onSent(taken, this.next, this.una, now, selective);
    this.#validation.sent(this.pipe);
    return true;
  }

  /** With data or FIN to send, nothing in flight and no window: ask again and again (RFC 9293 §3.8.6.1). */
  #schedulePersist(now: number): void {
    const waiting = this.unsent > 0 || (this.finQueued && !this.finSent);
    const blocked = this.window < this.segment && this.window < this.maxWindow / 2;
    if (!waiting || this.outstanding > 0 || !(this.window === 0 || blocked)) {
      this.persistAt = NEVER;
      return;
    }
    if (this.persistAt === NEVER) {
      this.persistAt =
        now + Math.min(this.recovery.rtt.backedOffMs(this.persistBackoffs), this.#config.maxRtoMs);
    }
  }

  /** The persist timer fired: one byte beyond the window, or what the small window takes. */
  sendWindowProbe(now: number, via: Emitter, selective: boolean): void {
    this.persistAt = NEVER;
    this.persistBackoffs++;
    this.persistRetries++;
    const windowRoom = this.window - this.outstanding;
    if (windowRoom > 0 && this.unsent > 0) {
      this.#sendNew(Math.min(windowRoom, this.unsent, this.segment), now, via, selective);
    } else if (this.unsent > 0) {
      if (via.emit(ACK, this.next, this.outstanding, 1)) this.probeSent = true;
    } else if (this.finQueued && !this.finSent) {
      if (via.emit(ACK | FIN, this.next, 0, 0)) this.probeSent = true;
    }
    this.#schedulePersist(now);
  }

  /** In recovery, nothing has come back for two round trips: the retransmission itself is gone. */
  #repeatFirst(now: number, via: Emitter): void {
    const { recovery } = this;
    const { scoreboard } = recovery;
    const first = scoreboard.first;
    if (first === NONE || scoreboard.headIsSacked) return;
    scoreboard.trimTo(first, this.segment);
    if (scoreboard.isInFlight(first)) scoreboard.markLost(first);
    if (!this.#retransmit(first, now, via, this.segment)) return;
    recovery.onRecoveryProbeSent(this.una, this.next, now);
  }

  /** A tail loss probe is due (RFC 8985 §7.3). */
  sendLossProbe(now: number, via: Emitter, selective: boolean): void {
    const { recovery } = this;
    const { scoreboard } = recovery;
    recovery.probeAt = NEVER;
    if (recovery.phase === FAST) {
      this.#repeatFirst(now, via);
      return;
    }
    const windowRoom = this.window - this.outstanding;
    if (this.unsent > 0 && windowRoom >= Math.min(this.unsent, this.segment)) {
      if (this.#sendNew(Math.min(this.unsent, this.segment), now, via, selective)) {
        recovery.onProbeSent(this.una, this.next, false, 0, now);
      }
      return;
    }
    let last = scoreboard.last;
    if (last === NONE || !scoreboard.isInFlight(last)) return;
    const { pool } = scoreboard;
    const excess = distance(pool.end[last]!, pool.sequence[last]!) - this.segment;
    if (excess > 0) {
      scoreboard.trimTo(last, excess);
      last = scoreboard.last;
    }
    const sequence = pool.sequence[last]!;
    const length = distance(pool.end[last]!, sequence);
    if (!this.#emitAgain(sequence, length, now, via)) return;
    scoreboard.probed(last, now);
    recovery.onProbeSent(this.una, this.next, true, length, now);
  }

  /**
   * Takes the acknowledgment, window and SACK blocks of an acceptable ACK
   * (RFC 9293 §3.10.7.4, fifth check). Returns by how many bytes of the queue the
   * peer has moved on.
   */
  onAck(
    segment: Segment,
    delivery: Delivery,
    selective: boolean,
    echoOld: boolean,
    echoRttMs: number,
    now: number,
  ): number {
    const { recovery } = this;
    const { scoreboard } = recovery;
    const ack = segment.acknowledgment;
    const before_ = this.una;
    const wasOutstanding = this.outstanding;
    const window = segment.window << this.shift;
    const sameWindow = window === this.window;
    // RFC 5681 §2: what makes an ACK a duplicate.
    const duplicate = ack === before_ && segment.length === 0 && sameWindow;
    if (after(ack, this.next)) this.#acceptProbe(ack);

    this.#updateWindow(segment, ack, window);
    this.checkApplicationLimited(now);
    delivery.begin(scoreboard);
    scoreboard.rate?.begin(this.#limited, selective, now);
    const reach = Math.max(this.maxWindow, 0xffff);
    const duplicateBytes = selective
      ? takeSacks(segment.options, ack, this.una, this.next, reach, scoreboard, delivery)
      : 0;
    let moved = 0;
    if (after(ack, before_)) {
      scoreboard.acknowledge(ack, delivery);
      moved = this.#release(ack);
    }
    const event = ACK_EVENT;
    event.una = this.una;
    event.next = this.next;
    event.acknowledged = distance(this.una, before_);
    event.duplicate = duplicate;
    event.duplicateBytes = duplicateBytes;
    event.duplicateEnd = segment.options.sackRight[0]!;
    event.echoIsBeforeRetransmission = echoOld;
    event.echoRttMs = echoRttMs;
    event.selective = selective;
    event.limited = this.#validation.mayGrow(this.congestion.window, this.congestion.threshold);
    if (event.acknowledged > 0) {
      this.#limited = false;
      this.#validate(event.acknowledged, now);
    }
    this.congestion.segment = this.segment;
    if (wasOutstanding > 0 || recovery.awaitsReport) recovery.onAck(event, delivery, now);
    if (this.window === 0 || this.persistRetries > 0) {
      // Someone is there: whatever the window, the connection is not given up.
      this.persistRetries = 0;
      recovery.retries = 0;
    }
    return moved;
  }

  /** RFC 7661, after SND.UNA has moved on by `acknowledged` bytes. */
  #validate(acknowledged: number, now: number): void {
    const validation = this.#validation;
    const { congestion, recovery, una, next } = this;
    validation.acknowledged(acknowledged, una, next, this.pipe, recovery.rtt.smoothedMs, now);
    const isValidated = validation.isValidated(congestion.window);
    congestion.pipeAck = isValidated ? Number.POSITIVE_INFINITY : validation.pipeAck;
    if (!isValidated && validation.isStale(now)) {
      congestion.onUnused(this.#config.initialWindow * this.segment);
    }
  }

  /** The window leaves no room for what could go. */
  #holdBack(): void {
    this.#limited = true;
    this.#validation.limited(this.next);
  }

  /** The byte of a window probe was taken. */
  #acceptProbe(ack: number): void {
    if (this.finQueued && !this.finSent && this.unsent === 0) this.finSent = true;
    this.next = ack;
    this.probeSent = false;
  }

  #updateWindow(segment: Segment, ack: number, window: number): void {
    const sequence = segment.sequence;
    // The first clause goes beyond RFC 9293 §3.10.7.4: an ACK that moves SND.UNA is news whatever its
    // sequence number (a retransmission's is low), and the old window above it would overrun the peer.
    if (
      after(ack, this.una) ||
      before(this.windowSequence, sequence) ||
      (this.windowSequence === sequence && atOrBefore(this.windowAcknowledgment, ack))
    ) {
      if (window > 0 && (this.window === 0 || this.persistBackoffs > 0)) {
        this.persistBackoffs = 0;
        this.persistAt = NEVER;
      }
      this.window = window;
      this.windowSequence = sequence;
      this.windowAcknowledgment = ack;
      if (window > this.maxWindow) this.maxWindow = window;
    }
  }

  /** Everything below `ack` is done with. Returns the bytes of data among it. */
  #release(ack: number): number {
    let bytes = distance(ack, this.una);
    // Our FIN took a sequence number and no byte of the queue.
    if (this.finSent && ack === this.next) bytes--;
    this.una = ack;
    if (atOrBefore(this.#smallEnd, ack)) this.#smallOutstanding = false;
    if (bytes > 0) {
      this.queue.release(bytes);
      this.bytesAcknowledged += bytes;
    }
    return bytes;
  }

  /** The path takes less than it did: what is in flight above that size is gone (RFC 1191 §6.4). */
  onPathShrunk(): void {
    const { scoreboard } = this.recovery;
    const { pool } = scoreboard;
    for (let id = scoreboard.inFlight.head; id !== NONE; ) {
      const following = pool.next[id]!;
      if (distance(pool.end[id]!, pool.sequence[id]!) > this.segment) scoreboard.markLost(id);
      id = following;
    }
  }

  clear(): void {
    this.queue.clear();
    this.recovery.clear();
    this.persistAt = NEVER;
  }
}

/** One ACK is handled at a time: one event for all connections. */
const ACK_EVENT = {
  una: 0,
  next: 0,
  acknowledged: 0,
  duplicate: false,
  duplicateBytes: 0,
  duplicateEnd: 0,
  echoIsBeforeRetransmission: false,
  echoRttMs: -1,
  selective: false,
  limited: false,
};
