import type { Fields } from '../parking/record.ts';
import type { RateEstimator } from '../recovery/rate.ts';

/** What one ACK told, for the algorithm. One per stack, reused. */
export interface AckSample {
  /** Bytes newly delivered, cumulatively or selectively. */
  readonly bytes: number;
  readonly now: number;
  /** RTT measured by this ACK, ms; negative if it measured none. */
  readonly rttMs: number;
  readonly smoothedRttMs: number;
  readonly minimumRttMs: number;
  /** SND.UNA and SND.NXT after the ACK. */
  readonly una: number;
  readonly next: number;
  /** Bytes in flight after the ACK. */
  readonly inFlight: number;
}

/**
 * How much may be in flight. An algorithm keeps `window` and `threshold`; when
 * to reduce and how to send during recovery is decided by `recovery/`.
 */
export interface Congestion {
  readonly name: string;
  /** cwnd, bytes. */
  window: number;
  /** ssthresh, bytes; Infinity until the first loss. */
  threshold: number;
  /** Where the algorithm works with delivery rates: their estimator, which recovery feeds; null where it does not. */
  readonly rate: RateEstimator | null;
  /**
   * The algorithm decides on the window in recovery too, is told of every ACK that
   * delivers anything, and proportional rate reduction stays out.
   */
  readonly controlsRecovery: boolean;
  /** Bytes per ms to send at, where the algorithm sets a rate; 0 where the window alone decides. */
  readonly pacingRate: number;
  /** Most bytes to send as one frame that the device cuts; Infinity where the algorithm has no say. */
  readonly sendQuantum: number;
  /** Sender maximum segment size, bytes; the layer above keeps it current. */
  segment: number;
  /**
   * RFC 7661's pipeACK, bytes, while it says that less than half of the window is
   * used; Infinity while the window is borne out. The layer above keeps it current.
   */
  pipeAck: number;
  /** Something was newly acknowledged while the window was what limited sending, outside fast recovery. */
  onAck(sample: AckSample): void;
  /** Loss was found by fast retransmit: lowers `threshold`. The window follows by proportional rate reduction. */
  onLoss(inFlight: number, now: number): void;
  /** All that `onLoss` was called for is repaired; where the algorithm controls recovery, also after a timeout. */
  onRecoveryEnd(): void;
  /** The retransmission timer fired for new data: lowers `threshold`; the window restarts at one segment. */
  onTimeout(inFlight: number, now: number): void;
  /** The path has marked a packet (RFC 3168): lowers threshold and window, by less than for a loss (RFC 8511). */
  onCongestionMark(inFlight: number, now: number): void;
  /** The reduction was wrong: back to what `save` saw. */
  undo(): void;
  /** Remembers window and threshold before a reduction. */
  save(): void;
  /** Nothing was sent for longer than the retransmission timeout (RFC 5681 §4.1). */
  onIdle(initialWindow: number, now: number): void;
  /** Less than half of the window was used for five minutes (RFC 7661 §4.4.3). */
  onUnused(initialWindow: number): void;
  /** Puts its state into a record, and takes it out again; null where there is more than a record could hold. */
  readonly parkable: ParkableCongestion | null;
}

export interface ParkableCongestion {
  /** For a record or from one; `una` is SND.UNA, `segment` SMSS. */
  carry(fields: Fields, una: number, segment: number): void;
}
