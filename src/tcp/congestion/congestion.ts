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
  /** Sender maximum segment size, bytes; the layer above keeps it current. */
  segment: number;
  /** `bytes` were newly acknowledged while the window was what limited sending, outside fast recovery. */
  onAck(bytes: number, now: number, smoothedRttMs: number): void;
  /** Loss was found by fast retransmit: lowers `threshold`. The window follows by proportional rate reduction. */
  onLoss(inFlight: number, now: number): void;
  /** The retransmission timer fired for new data: lowers `threshold`; the window restarts at one segment. */
  onTimeout(inFlight: number, now: number): void;
  /** The reduction was wrong: back to what `save` saw. */
  undo(): void;
  /** Remembers window and threshold before a reduction. */
  save(): void;
  /** Nothing was sent for longer than the retransmission timeout (RFC 5681 §4.1). */
  onIdle(initialWindow: number, now: number): void;
}

/** cwnd growth in slow start: by what was acknowledged, at most two segments per ACK of ordinary size (RFC 5681 §3.1, RFC 3465 §2.3). */
export function slowStartGrowth(bytes: number, window: number, threshold: number): number {
  return Math.min(bytes, threshold - window);
}
