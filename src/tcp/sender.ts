import type { Moment } from '../time/index.ts';
import type { TcpConfig } from './config.ts';
import type { Congestion } from './congestion/congestion.ts';
import { Pacer } from './pacer.ts';
import type { Fields } from './parking/record.ts';
import type { PathProbe } from './path-probe.ts';
import { Recovery } from './recovery/recovery.ts';
import type { SegmentPool } from './recovery/segment-pool.ts';
import { sendLost } from './repair.ts';
import { SendQueue } from './send-queue.ts';
import { advance, distance } from './sequence.ts';
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

/** What is known of the application's next write: nothing; it waits for room; it was just told that there is some. */
export const UNKNOWN = 0;
export const WAITING = 1;
export const INVITED = 2;

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
  /** Whether more data is as good as here: then a tail waits for it, and goes as part of a full-sized segment. */
  nextWrite: typeof UNKNOWN | typeof WAITING | typeof INVITED = UNKNOWN;
  /** End of the last segment that was not full-sized (for Nagle, as refined by Minshall). */
  smallEnd = 0;
  smallOutstanding = false;
  /** The window, not the application, is what limits sending since the last ACK. */
  limited = false;
  readonly validation = new WindowValidation();
  lastSentAt = 0;

  /** When pacing lets the next segment go; Infinity while it does not hold one back. */
  pacedUntil = NEVER;
  readonly pacer = new Pacer();

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
  readonly config: TcpConfig;

  constructor(pool: SegmentPool, config: TcpConfig, congestion: Congestion) {
    this.config = config;
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
  output(time: Moment, via: Emitter, selective: boolean): typeof DONE | typeof STALLED {
    this.#restartIfIdle(time);
    this.pacedUntil = NEVER;
    if (!sendLost(this, time, via)) return STALLED;
    while (!this.isPaced(time)) {
      const length = this.nextLength();
      if (length < 0) break;
      if (!this.sendNew(length, time, via, selective)) return STALLED;
    }
    this.#schedulePersist(time);
    return DONE;
  }

  /** Whether pacing holds back what could go: sets `pacedUntil` if so. */
  isPaced(time: Moment): boolean {
    if (this.unsent <= 0 && this.recovery.scoreboard.lostBytes === 0) return false;
    if (!this.#pacerHolds(time)) return false;
    this.pacedUntil = this.pacer.until;
    return true;
  }

  #pacerHolds(time: Moment): boolean {
    const { pacer } = this;
    if (pacer.isLevel) return false;
    pacer.rate = this.pacingRate();
    return pacer.holds(time, this.segment);
  }

  /** `bytes` have gone out: they count against the pacing rate. */
  pace(bytes: number, time: Moment): void {
    this.pacer.rate = this.pacingRate();
    this.pacer.onSent(bytes, time);
  }

  /**
   * CheckIfApplicationLimited (draft-ietf-ccwg-bbr §4.1.2.4), asked before an event
   * may have something sent: did the application leave room unused?
   */
  checkApplicationLimited(time: Moment): void {
    const { rate } = this.congestion;
    if (rate === null || this.unsent >= this.segment || this.recovery.scoreboard.lostBytes > 0) return;
    const { pipe } = this;
    if (pipe < this.congestion.window && !this.#pacerHolds(time)) rate.markAppLimited(pipe);
  }

  /** Bytes per ms; 0 for no pacing. Above the window's own rate, so that pacing never is what limits. */
  pacingRate(): number {
    const { congestion, recovery } = this;
    if (congestion.pacingRate > 0) return congestion.pacingRate;
    const { pacing } = this.config;
    if (pacing === false || !recovery.rtt.hasSample) return 0;
    // A path that has become short again must not be paced by the time when it was long.
    const rttMs = Math.min(recovery.rtt.smoothedMs, recovery.rtt.latestMs);
    if (pacing === 'auto' && rttMs < PACING_RTT_MS) return 0;
    const gain = congestion.window < congestion.threshold ? 2 : 1.2;
    return (gain * congestion.window) / rttMs;
  }

  /** RFC 5681 §4.1: a window that was not used for an RTO says nothing of the path any more. */
  #restartIfIdle(time: Moment): void {
    if (!this.config.slowStartAfterIdle || this.outstanding > 0 || this.unsent <= 0) return;
    if (this.lastSentAt > 0 && time.now - this.lastSentAt > this.recovery.rtt.timeoutMs) {
      this.congestion.onIdle(this.config.initialWindow * this.segment, time.now);
    }
  }

  /** The largest multiple of a segment that the device takes and `room` allows; at least one segment. */
  quantum(room: number): number {
    if (this.largeSegment < 2 * this.segment) return this.segment;
    const most = Math.min(room, this.largeSegment, this.congestion.sendQuantum);
    return Math.max(this.segment, most - (most % this.segment));
  }

  /** How many bytes the next new segment takes; 0 for a bare FIN; -1 if nothing may go now. */
  nextLength(): number {
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
      this.holdBack();
      return -1;
    }
    const probe = this.pathProbeLength;
    if (probe > segment && probe <= unsent && probe <= windowRoom && probe <= room) return probe;
    const quantum = this.quantum(room);
    let length = Math.min(unsent, windowRoom, quantum);
    if (length === unsent && length < quantum && this.#joinsNextWrite(quantum)) return -1;
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

  /** Whether a tail may wait for the application: only while so much is in flight that an ACK is sure to come soon. */
  #joinsNextWrite(quantum: number): boolean {
    return this.nextWrite !== UNKNOWN && !this.finQueued && this.outstanding >= 2 * quantum;
  }

  /** Nagle: at most one segment that is not full-sized is unacknowledged (RFC 9293 §3.7.4, with Minshall's refinement). */
  #smallMayGo(): boolean {
    if (this.finQueued) return true;
    if (this.cork) return false;
    return this.noDelay || !this.smallOutstanding;
  }

  sendNew(length: number, time: Moment, via: Emitter, selective: boolean): boolean {
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
      this.smallEnd = this.next;
      this.smallOutstanding = true;
    }
    this.probeSent = false;
    this.persistAt = NEVER;
    this.pace(length, time);
    this.bytesSent += length;
    this.segmentsSent++;
    this.lastSentAt = time.now;
    const { recovery } = this;
    recovery.scoreboard.push(sequence, this.next, time);
    recovery.onSent(taken, this.next, this.una, time, selective);
    this.validation.sent(this.pipe);
    return true;
  }

  /** With data or FIN to send, nothing in flight and no window: ask again and again (RFC 9293 §3.8.6.1). */
  #schedulePersist(time: Moment): void {
    const waiting = this.unsent > 0 || (this.finQueued && !this.finSent);
    const blocked = this.window < this.segment && this.window < this.maxWindow / 2;
    if (!waiting || this.outstanding > 0 || !(this.window === 0 || blocked)) {
      this.persistAt = NEVER;
      return;
    }
    if (this.persistAt === NEVER) {
      this.persistAt =
        time.now + Math.min(this.recovery.rtt.backedOffMs(this.persistBackoffs), this.config.maxRtoMs);
    }
  }

  /** The persist timer fired: one byte beyond the window, or what the small window takes. */
  sendWindowProbe(time: Moment, via: Emitter, selective: boolean): void {
    this.persistAt = NEVER;
    this.persistBackoffs++;
    this.persistRetries++;
    const windowRoom = this.window - this.outstanding;
    if (windowRoom > 0 && this.unsent > 0) {
      this.sendNew(Math.min(windowRoom, this.unsent, this.segment), time, via, selective);
    } else if (this.unsent > 0) {
      if (via.emit(ACK, this.next, this.outstanding, 1)) this.probeSent = true;
    } else if (this.finQueued && !this.finSent) {
      if (via.emit(ACK | FIN, this.next, 0, 0)) this.probeSent = true;
    }
    this.#schedulePersist(time);
  }

  /** The window leaves no room for what could go. */
  holdBack(): void {
    this.limited = true;
    this.validation.limited(this.next);
  }

  clear(): void {
    this.queue.clear();
    this.recovery.clear();
    this.persistAt = NEVER;
  }

  /** Nothing is queued, in flight or waited for. */
  get isQuiet(): boolean {
    const { recovery, persistAt, pacedUntil, pathProbe } = this;
    if (!this.drained || this.queue.length > 0 || this.probeSent) return false;
    return persistAt === NEVER && pacedUntil === NEVER && pathProbe === null && recovery.isQuiet;
  }

  /** Its state while it is quiet, for a record or from one; `received` is RCV.NXT. */
  carry(fields: Fields, received: number): void {
    this.una = fields.int(this.una);
    this.next = this.una;
    this.initial = fields.int(this.initial, this.una);
    this.window = fields.int(this.window);
    this.maxWindow = fields.int(this.maxWindow, this.window);
    this.windowSequence = fields.int(this.windowSequence, received);
    this.windowAcknowledgment = fields.int(this.windowAcknowledgment, this.una);
    this.shift = fields.int(this.shift);
    this.segment = fields.int(this.segment);
    this.largeSegment = fields.int(this.largeSegment);
    this.noDelay = fields.bit(this.noDelay);
    this.cork = fields.bit(this.cork);
    this.finQueued = fields.bit(this.finQueued);
    this.finSent = this.finQueued;
    this.smallEnd = fields.int(this.smallEnd, this.una);
    this.smallOutstanding = fields.bit(this.smallOutstanding);
    this.limited = fields.bit(this.limited);
    this.lastSentAt = fields.real(this.lastSentAt);
    this.persistBackoffs = fields.int(this.persistBackoffs);
    this.persistRetries = fields.int(this.persistRetries);
    this.bytesSent = fields.count(this.bytesSent);
    this.bytesAcknowledged = this.bytesSent + fields.int(this.bytesAcknowledged - this.bytesSent);
    this.segmentsSent = fields.count(this.segmentsSent);
    this.validation.carry(fields, this.una);
    this.pacer.carry(fields);
    this.recovery.carry(fields, this.una, this.segment);
  }
}
