import type { Moment } from '../../time/index.ts';
import type { TcpConfig } from '../config.ts';
import type { AckSample, Congestion } from '../congestion/congestion.ts';
import type { Fields } from '../parking/record.ts';
import { atOrAfter, before, distance } from '../sequence.ts';
import { countDuplicates, detect, markFirstLost } from './detect.ts';
import { LOSS_REPAIRED, LossProbe } from './loss-probe.ts';
import { ProportionalRate } from './prr.ts';
import { Rack } from './rack.ts';
import { RttEstimator } from './rtt.ts';
import { type Delivery, Scoreboard } from './scoreboard.ts';
import { NONE, type SegmentPool } from './segment-pool.ts';
import { judgeTimeout, takeDuplicateReports, undo } from './spurious.ts';

/** No loss is being repaired. */
export const OPEN = 0;
/** Fast recovery: loss found by what the peer has. */
export const FAST = 1;
/** After a retransmission timeout, until all that was in flight then is acknowledged. */
export const LOSS = 2;

const NEVER = Number.POSITIVE_INFINITY;

/** What `Recovery` needs to know of the sender for one ACK. */
export interface AckEvent {
  /** SND.UNA and SND.NXT after the ACK. */
  readonly una: number;
  readonly next: number;
  /** By how much SND.UNA moved. */
  acknowledged: number;
  /** A duplicate ACK in the sense of RFC 5681 §2. */
  duplicate: boolean;
  /** Bytes that the peer reported as received twice (RFC 2883). */
  duplicateBytes: number;
  /** Where what was received twice ends; meaningless without any. */
  duplicateEnd: number;
  /** The ACK echoes a timestamp that is older than our first retransmission (RFC 3522 §3.2). */
  echoIsBeforeRetransmission: boolean;
  /** RTT by the echoed timestamp (RFC 7323 §4.1), ms; negative where there is none. */
  echoRttMs: number;
  /** The peer sends SACK blocks. */
  selective: boolean;
  /** The window was what limited us since the last ACK. */
  limited: boolean;
}

/**
 * Loss recovery of one connection: finds losses (RFC 8985, RFC 6675, RFC 6582),
 * decides what the congestion window is meanwhile (RFC 6937), when to time out
 * (RFC 6298) or probe (TLP), and takes back what turns out to be wrong (RFC 3522,
 * D-SACK).
 */
export class Recovery {
  readonly scoreboard: Scoreboard;
  readonly rtt: RttEstimator;
  readonly congestion: Congestion;
  readonly rack: Rack;
  readonly #rate = new ProportionalRate();
  readonly config: TcpConfig;

  phase: typeof OPEN | typeof FAST | typeof LOSS = OPEN;
  /** RecoveryPoint: recovery ends when SND.UNA reaches it. */
  end = 0;
  /** Whether `end` says anything: a recovery has been, and SND.UNA has not passed it (after 2^31 bytes it would lie ahead again). */
  endKnown = false;
  /** Consecutive timeouts: the exponent of the back-off. */
  backoffs = 0;
  /** Timeouts since the peer was last heard of: for giving up. */
  retries = 0;
  duplicateAcks = 0;
  /** Bytes that duplicate ACKs tell of where there are no SACK blocks. */
  presumed = 0;
  /** In flight when the present row of duplicate ACKs began. */
  presumable = 0;

  /** When the first retransmission of this recovery went out (RFC 3522); Infinity before it. */
  firstRetransmitAt = NEVER;
  /** It is not decided yet whether the latest timeout was right (F-RTO). */
  isJudging = false;
  timedOutAt = 0;
  /** SND.UNA at the latest timeout. */
  #timedOutUna = 0;
  /** New data goes out before lost segments are repeated (F-RTO step 2b). */
  holdsRepair = false;
  /** The latest reduction may be taken back, also some time after its recovery. */
  canUndo = false;
  /** Bytes sent again in the latest recovery and not reported as duplicates. */
  undoBytes = 0;
  /** SND.UNA when it began: a report of what lies below is about something else. */
  undoFloor = 0;

  readonly probe = new LossProbe();

  /** When the retransmission, the loss probe, the reordering timer is due. */
  timeoutAt = NEVER;
  probeAt = NEVER;
  reorderAt = NEVER;

  retransmits = 0;
  bytesRetransmitted = 0;
  timeouts = 0;
  fastRecoveries = 0;
  spuriousRecoveries = 0;
  /** ACKs that reported a duplicate (D-SACK); reductions because of marks. */
  duplicateReports = 0;
  congestionMarks = 0;

  constructor(pool: SegmentPool, config: TcpConfig, congestion: Congestion) {
    this.scoreboard = new Scoreboard(pool, congestion.rate);
    this.rtt = new RttEstimator(config.initialRtoMs, config.minRtoMs, config.maxRtoMs);
    this.congestion = congestion;
    this.rack = new Rack(pool);
    this.config = config;
  }

  /** Bytes believed to be in the network (RFC 6675 "pipe"). */
  pipe(una: number, next: number): number {
    const { sackedBytes, lostBytes } = this.scoreboard;
    return Math.max(0, distance(next, una) - sackedBytes - lostBytes - this.presumed);
  }

  /** A report may come of what was sent again (RFC 8985 §7.4, RFC 2883), also with nothing in flight. */
  get awaitsReport(): boolean {
    return this.probe.isOutstanding || (this.canUndo && this.undoBytes > 0);
  }

  get reorderingSeen(): boolean {
    return this.rack.reorderingSeen;
  }

  get probes(): number {
    return this.probe.sent;
  }

  onAck(event: AckEvent, delivery: Delivery, time: Moment): void {
    const { una, next } = event;
    // RFC 3465 §2.3: after a timeout, without SACK, an ACK may cover what had arrived long before. It is
    // known what was not sent again, so that the rest need not be limited to one segment.
    const wasLoss = this.phase === LOSS && !event.selective;
    const { spuriousRecoveries } = this;
    // A repaired hole acknowledges what lay above it for long: no sample from such an ACK (RFC 6298 §3).
    if (event.acknowledged > 0 && delivery.isAmbiguous) delivery.sampleSentAt = -1;
    if (delivery.sampleSentAt >= 0) {
      this.rtt.latestMs = time.now - delivery.sampleSentAt;
      this.rtt.takeLatest();
    }
    // Retransmitted segments tell nothing by themselves (Karn); an echoed timestamp does.
    // But not where the peer had it twice: the echo may be the first one's.
    else if (event.acknowledged > 0 && event.echoRttMs >= 0 && event.duplicateBytes === 0) {
      this.rtt.sampleCoarse(event.echoRttMs);
    }
    if (event.acknowledged > 0) {
      this.retries = 0;
      // Only a sample says that the backed-off timeout is no longer needed (RFC 6298 §5, note to 5.7).
      if (delivery.sampleSentAt >= 0 || event.echoRttMs >= 0) this.backoffs = 0;
    }
    if (delivery.delivered > 0) this.probe.onDelivered();
    if (event.selective && this.config.rack) this.rack.update(delivery, time, this.rtt, una);
    // No retransmission is under way any more whose echo could be mistaken.
    if (this.phase === OPEN && this.scoreboard.repeatedBytes === 0) this.firstRetransmitAt = NEVER;
    takeDuplicateReports(this, event);
    countDuplicates(this, event, delivery);

    if (this.phase === LOSS && this.isJudging) judgeTimeout(this, event, delivery);
    if (this.phase !== OPEN) this.#progress(event, delivery);
    const lostBefore = this.scoreboard.lostBytes;
    detect(this, event, time);
    const foundLoss = this.scoreboard.lostBytes > lostBefore;
    // Also what was found lost above the recovery point while a recovery was on.
    if (this.phase === OPEN && this.scoreboard.lostBytes > 0) this.#enterFast(una, next, time);
    this.#endProbe(event, time);

    const { congestion } = this;
    if (congestion.controlsRecovery) {
      if (delivery.delivered > 0) congestion.onAck(this.#sample(event, delivery, time, 0));
    } else if (this.phase === FAST) {
      const safe = event.acknowledged > 0 && !foundLoss;
      congestion.window = this.#rate.windowAfter(
        delivery.delivered,
        this.pipe(una, next),
        congestion.threshold,
        congestion.segment,
        safe,
      );
    } else if (this.#mayGrow(event, delivery) && (event.limited || this.phase === LOSS)) {
      const wasRight = wasLoss && spuriousRecoveries === this.spuriousRecoveries;
      congestion.onAck(this.#sample(event, delivery, time, wasRight ? delivery.arrivedBefore : 0));
    }
    this.#restartTimers(event, delivery.delivered > 0, time);
  }

  /**
   * Duplicate ACKs do not grow the window (RFC 5681 §3.2 step 1, RFC 3042 §2), but
   * on a path that is known to reorder what they tell of was delivered like any other.
   */
  #mayGrow(event: AckEvent, delivery: Delivery): boolean {
    return event.acknowledged > 0 || (delivery.delivered > 0 && this.rack.reorderingSeen);
  }

  /** The peer echoes a mark of the path (RFC 3168 §6.1.2); during a recovery the window is reduced already. */
  onCongestionMark(una: number, next: number, time: Moment): void {
    if (this.phase !== OPEN) return;
    this.congestionMarks++;
    this.canUndo = false;
    this.congestion.save();
    this.congestion.onCongestionMark(this.pipe(una, next), time.now);
  }

  #sample(event: AckEvent, delivery: Delivery, time: Moment, stale: number): AckSample {
    SAMPLE.bytes = Math.max(0, delivery.delivered - stale);
    SAMPLE.now = time.now;
    SAMPLE.rttMs = delivery.sampleSentAt >= 0 ? time.now - delivery.sampleSentAt : -1;
    SAMPLE.smoothedRttMs = this.rtt.smoothedMs;
    SAMPLE.minimumRttMs = this.rtt.minimumMs;
    SAMPLE.una = event.una;
    SAMPLE.next = event.next;
    SAMPLE.inFlight = this.pipe(event.una, event.next);
    return SAMPLE;
  }

  /** A recovery is on and an ACK came: is it over, was it needless, what is the next hole? */
  #progress(event: AckEvent, delivery: Delivery): void {
    // The ACK must be for what this recovery sent again: one for an earlier recovery's says nothing.
    const isForOurs = delivery.latestRetransmitted && delivery.latestSentAt >= this.firstRetransmitAt;
    // And nothing else that was sent again is unaccounted for: it may have been lost indeed.
    const isSettled = this.scoreboard.repeatedBytes === 0;
    const isOld = event.echoIsBeforeRetransmission;
    if (event.acknowledged > 0 && this.canUndo && isOld && isForOurs && isSettled) {
      undo(this);
      return;
    }
    // What was taken for lost came before any of it was sent again, as where several ACKs are read at once.
    const isUntouched = this.firstRetransmitAt === NEVER && this.scoreboard.lostBytes === 0;
    if (this.phase === FAST && this.canUndo && event.selective && isUntouched) {
      undo(this);
      return;
    }
    if (event.acknowledged > 0 && atOrAfter(event.una, this.end)) {
      const { congestion } = this;
      if (this.phase === FAST || congestion.controlsRecovery) congestion.onRecoveryEnd();
      this.leave();
      return;
    }
    if (this.phase === FAST && !event.selective && event.acknowledged > 0) {
      // RFC 6582 §3.2 step 3: a partial ACK shows the next hole.
      markFirstLost(this);
    } else if (this.phase === LOSS && !event.selective && event.acknowledged > 0) {
      // All that was in flight was taken for lost at the timeout; nothing to find.
      this.presumed = 0;
    }
  }

  #enterFast(una: number, next: number, time: Moment): void {
    this.#begin(una, next);
    this.phase = FAST;
    this.fastRecoveries++;
    this.congestion.save();
    const flight = distance(next, una);
    // FlightSize is all that is not cumulatively acknowledged, SACKed or not (RFC 5681 §2), but not
    // what limited transmit sent beyond the window (RFC 5681 §3.2 step 2).
    const { window, segment } = this.congestion;
    this.congestion.onLoss(Math.min(flight, Math.max(window, segment)), time.now);
    this.#rate.begin(flight - this.scoreboard.sackedBytes);
    this.probe.forget();
  }

  #begin(una: number, next: number): void {
    this.end = next;
    this.endKnown = true;
    this.canUndo = true;
    this.undoFloor = una;
    // What an earlier recovery sent again and nobody has answered may be reported as a duplicate yet.
    this.undoBytes = this.scoreboard.repeatedBytes;
    if (this.undoBytes === 0) this.firstRetransmitAt = NEVER;
  }

  leave(): void {
    this.rack.onRecoveryEnd();
    this.phase = OPEN;
    this.isJudging = false;
    this.holdsRepair = false;
    if (this.scoreboard.repeatedBytes === 0) this.firstRetransmitAt = NEVER;
    this.presumed = 0;
    this.duplicateAcks = 0;
  }

  /** The retransmission timer fired: everything unaccounted for is lost (RFC 6298 §5.4–5.6, RFC 8985 §6.3). */
  onTimeout(una: number, next: number, time: Moment): void {
    this.timeouts++;
    const { scoreboard } = this;
    // Once something got through, another timeout is another loss (RFC 5681 §3.1).
    if (this.phase !== LOSS || una !== this.#timedOutUna) {
      if (this.phase === OPEN) this.congestion.save();
      this.congestion.onTimeout(Math.max(this.pipe(una, next) + scoreboard.lostBytes, 0), time.now);
      // RFC 5682 §2.1 step 1: not when a recovery was on, whose retransmissions would be taken for proof.
      this.isJudging = this.config.frto && this.phase === OPEN;
      this.timedOutAt = time.now;
      this.#begin(una, next);
      this.phase = LOSS;
    } else {
      this.isJudging = false;
      // The same loss again: ssthresh stays (RFC 5681 §3.1), the window starts over.
      this.congestion.window = this.congestion.segment;
      this.end = next;
      this.canUndo = false;
    }
    // Above a head that is SACKed, the peer has gone back on its word (RFC 2018 §8).
    if (scoreboard.headIsSacked) scoreboard.forgetSacks();
    scoreboard.markAllLost();
    this.holdsRepair = false;
    this.presumed = 0;
    this.duplicateAcks = 0;
    this.probe.forget();
    this.#timedOutUna = una;
    this.backoffs++;
    this.retries++;
    this.probeAt = NEVER;
    this.reorderAt = NEVER;
    this.#restartTimeout(time);
  }

  /** The reordering timer fired (RFC 8985 §6.2 step 5). */
  onReorderingTimeout(una: number, next: number, time: Moment): void {
    this.reorderAt = NEVER;
    const before_ = this.scoreboard.lostBytes;
    const remaining = this.rack.detect(this.scoreboard, time, this.rtt, true);
    if (remaining > 0) this.reorderAt = time.now + remaining;
    if (this.scoreboard.lostBytes > before_ && this.phase === OPEN) {
      this.#enterFast(una, next, time);
      if (this.congestion.controlsRecovery) return;
      this.congestion.window = this.#rate.windowAfter(
        0,
        this.pipe(una, next),
        this.congestion.threshold,
        this.congestion.segment,
        false,
      );
    }
  }

  /** A segment that was lost goes out again. */
  onRetransmitted(bytes: number, time: Moment, isFirst: boolean): void {
    // The timer is the oldest segment's, which has only just left (RFC 6298 §5.1).
    if (isFirst) this.#restartTimeout(time);
    if (this.firstRetransmitAt === NEVER) this.firstRetransmitAt = time.now;
    this.retransmits++;
    this.bytesRetransmitted += bytes;
    this.undoBytes += bytes;
    if (this.phase === FAST) this.#rate.onSent(bytes);
  }

  /** New data has gone out, up to `next`. */
  onSent(bytes: number, next: number, una: number, time: Moment, selective: boolean): void {
    if (this.phase === FAST) this.#rate.onSent(bytes);
    if (this.timeoutAt === NEVER) this.#restartTimeout(time);
    this.#scheduleProbe(una, next, time, selective);
  }

  #restartTimers(event: AckEvent, delivered: boolean, time: Moment): void {
    if (!before(event.una, event.next)) {
      this.timeoutAt = NEVER;
      this.probeAt = NEVER;
      this.reorderAt = NEVER;
      return;
    }
    if (event.acknowledged > 0) {
      // RFC 6298 §5.3.
      this.#restartTimeout(time);
      this.#scheduleProbe(event.una, event.next, time, event.selective);
    } else if (delivered) {
      this.#extendTimeout();
      this.#scheduleProbe(event.una, event.next, time, event.selective);
    }
  }

  #restartTimeout(time: Moment): void {
    const { rtt, backoffs } = this;
    this.timeoutAt = time.now + (backoffs === 0 ? rtt.timeoutMs : rtt.backedOffMs(backoffs));
  }

  /**
   * The timer is the oldest segment's, from when it was sent last. Where what is SACKed meanwhile shows that
   * round trips have grown, as behind a queue that slow start has filled, its answer takes as long.
   */
  #extendTimeout(): void {
    const { first, pool } = this.scoreboard;
    if (first === NONE || this.timeoutAt === NEVER) return;
    const dueAt = pool.sentAt[first]! + this.rtt.backedOffMs(this.backoffs);
    if (dueAt > this.timeoutAt) this.timeoutAt = dueAt;
  }

  /** RFC 8985 §7.2. */
  #scheduleProbe(una: number, next: number, time: Moment, selective: boolean): void {
    this.probeAt = NEVER;
    if (!selective || !this.config.tailLossProbe || !this.config.rack || this.phase === LOSS) return;
    const isOpen = this.phase === OPEN;
    if (isOpen && this.scoreboard.sackedBytes > 0) return;
    const isAlone = isOpen && distance(next, una) <= this.congestion.segment;
    this.probe.schedule(this, time, this.rtt, isAlone);
    // The first probe comes no later than the timeout would, and in its place.
    if (this.probeAt >= this.timeoutAt) this.probeAt = isOpen && this.probe.isFirst ? this.timeoutAt : NEVER;
  }

  /** A loss probe has gone out (RFC 8985 §7.3): the last segment again, or a new one. */
  onProbeSent(una: number, next: number, repeated: boolean, bytes: number, time: Moment): void {
    if (repeated) {
      this.retransmits++;
      this.bytesRetransmitted += bytes;
    }
    // RFC 8985 §7.3: the timeout counts from the first probe; later ones do not put it off again.
    if (this.probe.onSent(next, repeated)) this.#restartTimeout(time);
    this.#scheduleProbe(una, next, time, true);
  }

  /** The first hole was repeated in fast recovery because nothing came back. */
  onRecoveryProbeSent(una: number, next: number, time: Moment): void {
    this.probe.onHoleRepeated();
    this.#scheduleProbe(una, next, time, true);
  }

  /** What a probe repaired was a loss like any other (RFC 8985 §7.4). */
  #endProbe(event: AckEvent, time: Moment): void {
    if (this.probe.onAck(event.una, event.duplicate) !== LOSS_REPAIRED || this.phase !== OPEN) return;
    this.canUndo = false;
    this.congestion.save();
    this.congestion.onLoss(distance(event.next, event.una) + event.acknowledged, time.now);
    this.congestion.onRecoveryEnd();
  }

  clear(): void {
    this.scoreboard.clear();
    this.timeoutAt = NEVER;
    this.probeAt = NEVER;
    this.reorderAt = NEVER;
  }

  /** Nothing is in flight, lost or awaited, and the algorithm can be put into a record. */
  get isQuiet(): boolean {
    if (this.phase !== OPEN || this.scoreboard.count > 0 || this.congestion.parkable === null) return false;
    return this.timeoutAt === NEVER && this.probeAt === NEVER && this.reorderAt === NEVER;
  }

  /**
   * Its state while it is quiet, for a record or from one; `una` is SND.UNA, `segment`
   * SMSS. What only a recovery looks at begins with the next one.
   */
  carry(fields: Fields, una: number, segment: number): void {
    this.end = fields.int(this.end, una);
    this.endKnown = fields.bit(this.endKnown);
    this.backoffs = fields.int(this.backoffs);
    this.retries = fields.int(this.retries);
    this.duplicateAcks = fields.count(this.duplicateAcks);
    this.presumed = fields.count(this.presumed);
    this.presumable = fields.count(this.presumable);
    this.firstRetransmitAt = fields.real(this.firstRetransmitAt, NEVER);
    this.canUndo = fields.bit(this.canUndo);
    this.undoBytes = fields.real(this.undoBytes);
    this.undoFloor = fields.int(this.undoFloor, una);
    this.retransmits = fields.count(this.retransmits);
    this.bytesRetransmitted = fields.count(this.bytesRetransmitted);
    this.timeouts = fields.count(this.timeouts);
    this.fastRecoveries = fields.count(this.fastRecoveries);
    this.spuriousRecoveries = fields.count(this.spuriousRecoveries);
    this.duplicateReports = fields.count(this.duplicateReports);
    this.congestionMarks = fields.count(this.congestionMarks);
    this.rtt.carry(fields);
    this.rack.carry(fields, una);
    this.probe.carry(fields, una);
    this.congestion.parkable!.carry(fields, una, segment);
  }
}

/** One ACK is handled at a time: one sample for all connections. */
const SAMPLE = {
  bytes: 0,
  now: 0,
  rttMs: -1,
  smoothedRttMs: 0,
  minimumRttMs: 0,
  una: 0,
  next: 0,
  inFlight: 0,
};
