/**
 * Delivery rate samples (draft-ietf-ccwg-bbr §4.1): how fast the network
 * delivered, measured per ACK from what was noted with each segment when it was
 * sent. Only connections whose algorithm asks for samples have an estimator; the
 * notes are columns of the segment pool. Bytes, ms, and bytes per ms.
 */
import { after, distance } from '../sequence.ts';
import { APP_LIMITED, RETRANSMITTED, type SegmentPool } from './segment-pool.ts';

/** RS: what one ACK told of the rate of delivery. Reused for every ACK. */
export class RateSample {
  /** The ACK delivered something that had been sent. */
  hasData = false;
  /** C.delivered and C.delivered_time when the most recently sent of the delivered segments was sent. */
  priorDelivered = 0;
  priorTime = 0;
  isAppLimited = false;
  /** It starts with a segment that was sent more than once, and the ACK does not tell which one it is for. */
  isUnreliable = false;
  sendElapsed = 0;
  ackElapsed = 0;
  /** The longer of the two. */
  interval = 0;
  /** Bytes delivered over the interval; 0 without data. */
  delivered = 0;
  /** Bytes per ms; 0 if the interval is implausibly short or nothing was delivered. */
  deliveryRate = 0;
  /** Bytes in flight when that segment was sent, itself included. */
  txInFlight = 0;
  /** Bytes found lost between its transmission and now. */
  lost = 0;
  /** The window held something back since the last ACK that moved SND.UNA. */
  isCwndLimited = false;
}

/** A segment that was just taken for lost. Reused. */
export class LostPacket {
  size = 0;
  /** Bytes in flight when it was sent, itself included. */
  txInFlight = 0;
  /** Bytes found lost since it was sent, itself included. */
  lost = 0;
  isAppLimited = false;
  /** It does not follow on what was found lost just before. */
  startsRange = false;
}

/** Who works with the samples, and is told what happens besides. */
export interface RateListener {
  /** Something is sent with nothing in flight after the application had run out of data. */
  onRestartFromIdle(now: number): void;
  onPacketLost(packet: LostPacket): void;
}

/** The connection's state (C) of the sampling (§4.1.2.1.1). */
export class RateEstimator {
  /** C.delivered, C.lost: bytes over the life of the connection. */
  delivered = 0;
  lost = 0;
  /** C.app_limited: what `delivered` must pass for samples to be the network's again; 0 if they are. */
  appLimited = 0;
  /** C.has_selective_acks. */
  hasSelectiveAcks = false;
  readonly sample = new RateSample();
  /** C.delivered_time. */
  #deliveredTime = 0;
  /** C.first_send_time: when the most recently sent of the delivered segments was sent. */
  #firstSendTime = 0;
  /** RS.last_acked_packet_id: where that segment ends. */
  #lastEnd = 0;
  /** Bytes counted as delivered that duplicate ACKs stood for. */
  #presumed = 0;
  #now = 0;
  readonly #lost = new LostPacket();
  #lostEnd = 0;
  readonly #listener: RateListener;

  constructor(listener: RateListener) {
    this.#listener = listener;
  }

  /** OnPacketSent (§4.1.2.2): `id` is sent, first or again; `inFlight` counts it in. */
  onSent(pool: SegmentPool, id: number, inFlight: number, now: number): void {
    if (inFlight <= distance(pool.end[id]!, pool.sequence[id]!)) {
      if (this.appLimited > 0) this.#listener.onRestartFromIdle(now);
      this.#firstSendTime = now;
      this.#deliveredTime = now;
      this.#presumed = 0;
    }
    pool.firstSendTime[id] = this.#firstSendTime;
    pool.deliveredTime[id] = this.#deliveredTime;
    pool.delivered[id] = this.delivered;
    pool.lost[id] = this.lost;
    pool.txInFlight[id] = inFlight;
    const flags = pool.flags[id]!;
    pool.flags[id] = this.appLimited > 0 ? flags | APP_LIMITED : flags & ~APP_LIMITED;
  }

  /** InitRateSample (§4.1.2.3): an ACK came. */
  begin(isCwndLimited: boolean, hasSelectiveAcks: boolean, now: number): void {
    const { sample } = this;
    this.#now = now;
    this.hasSelectiveAcks = hasSelectiveAcks;
    sample.hasData = false;
    sample.isAppLimited = false;
    sample.priorTime = 0;
    sample.interval = 0;
    sample.delivered = 0;
    sample.deliveryRate = 0;
    sample.lost = 0;
    sample.isCwndLimited = isCwndLimited;
  }

  /** UpdateRateSample (§4.1.2.3): `length` bytes of `id`, up to `end`, have reached the peer. */
  onDelivered(pool: SegmentPool, id: number, end: number, length: number): void {
    const { sample } = this;
    const sentAt = pool.sentAt[id]!;
    const counted = Math.min(this.#presumed, length);
    this.#presumed -= counted;
    this.delivered += length - counted;
    this.#deliveredTime = this.#now;
    const isNewest =
      sentAt > this.#firstSendTime || (sentAt === this.#firstSendTime && after(end, this.#lastEnd));
    if (sample.hasData && !isNewest) return;
    sample.hasData = true;
    sample.priorDelivered = pool.delivered[id]!;
    sample.priorTime = pool.deliveredTime[id]!;
    sample.isAppLimited = (pool.flags[id]! & APP_LIMITED) !== 0;
    sample.sendElapsed = sentAt - pool.firstSendTime[id]!;
    sample.ackElapsed = this.#now - sample.priorTime;
    sample.txInFlight = pool.txInFlight[id]!;
    // Becomes what was lost since when the sample is made.
    sample.lost = pool.lost[id]!;
    // Without SACK, what a retransmission lets be acknowledged came long before (§4.1.3.5, 2).
    sample.isUnreliable = !this.hasSelectiveAcks && (pool.flags[id]! & RETRANSMITTED) !== 0;
    this.#lastEnd = end;
    this.#firstSendTime = sentAt;
  }

  /**
   * Without SACK, a duplicate ACK stands for a segment that reached the peer
   * (§4.1.3.5.1); it does not count again when it is acknowledged.
   */
  onPresumed(bytes: number): void {
    this.delivered += bytes;
    this.#presumed += bytes;
    this.#deliveredTime = this.#now;
  }

  /** `id` is taken for lost. */
  onLost(pool: SegmentPool, id: number): void {
    const lost = this.#lost;
    const sequence = pool.sequence[id]!;
    const end = pool.end[id]!;
    lost.size = distance(end, sequence);
    this.lost += lost.size;
    lost.txInFlight = pool.txInFlight[id]!;
    lost.lost = this.lost - pool.lost[id]!;
    lost.isAppLimited = (pool.flags[id]! & APP_LIMITED) !== 0;
    lost.startsRange = sequence !== this.#lostEnd;
    this.#lostEnd = end;
    this.#listener.onPacketLost(lost);
  }

  /** GenerateRateSample (§4.1.2.3), once all that the ACK tells was taken. */
  generate(minimumRttMs: number): RateSample {
    const { sample } = this;
    if (this.appLimited > 0 && this.delivered > this.appLimited) this.appLimited = 0;
    if (!sample.hasData) return sample;
    sample.lost = this.lost - sample.lost;
    sample.interval = Math.max(sample.sendElapsed, sample.ackElapsed);
    sample.delivered = this.delivered - sample.priorDelivered;
    // Shorter than any round trip: what was delivered is the original, not its retransmission.
    if (sample.interval >= minimumRttMs && sample.interval > 0 && !sample.isUnreliable) {
      sample.deliveryRate = sample.delivered / sample.interval;
    }
    return sample;
  }

  /** MarkConnectionAppLimited (§4.1.2.4): samples of what is sent until `inFlight` has left the network are the application's. */
  markAppLimited(inFlight: number): void {
    this.appLimited = Math.max(this.delivered + inFlight, 1);
  }
}
