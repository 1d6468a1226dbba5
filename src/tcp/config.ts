import type { CongestionControl } from '../stack.ts';

/** One moment of a connection's sender. Sequence numbers count from 0 at the SYN. */
export interface TraceSample {
  readonly timeMs: number;
  /** `local:port>remote:port`. */
  readonly connection: string;
  readonly event: 'send' | 'retransmit' | 'ack' | 'timeout' | 'probe';
  readonly una: number;
  readonly nxt: number;
  /** First sequence number and length of what was sent, for `send`, `retransmit` and `probe`. */
  readonly sequence: number;
  readonly length: number;
  readonly cwnd: number;
  readonly ssthresh: number;
  readonly rttMs: number;
  /** The retransmission timeout as it stands, back-off included. */
  readonly rtoMs: number;
  readonly inFlight: number;
  /** Recovery: `open`, `recovery`, `loss`. */
  readonly state: string;
}

/** What a stack's TCP can be told; per-connection settings start from these. */
export interface TcpOptions {
  /** Largest receive buffer in bytes; the advertised window never exceeds it. Default 6 MiB. */
  readonly receiveBuffer?: number;
  /** Most bytes that `write` queues before it asks the application to wait. Default 4 MiB. */
  readonly sendBuffer?: number;
  /**
   * Both buffers start small and grow to the limits above as path and
   * application prove to need it. Default true.
   */
  readonly autoTuning?: boolean;
  /**
   * Most bytes held for applications that have not read them, all connections of
   * the stack together. Above it windows shrink, and what came out of order is
   * dropped first. Default 256 MiB.
   */
  readonly memoryLimit?: number;
  /** RFC 7323 §2. Default true. */
  readonly windowScaling?: boolean;
  /** RFC 7323 §3. Default true. */
  readonly timestamps?: boolean;
  /** RFC 2018. Default true. */
  readonly sack?: boolean;
  /** `newreno` (RFC 6582), `cubic` (RFC 9438) or `bbr` (draft-ietf-ccwg-bbr, version 3). Default `cubic`. */
  readonly congestionControl?: CongestionControl;
  /**
   * Explicit congestion notification (RFC 3168): `true` asks for it and agrees to
   * it, `passive` only agrees, `false` neither. Default `passive`.
   */
  readonly ecn?: boolean | 'passive';
  /** F-RTO (RFC 5682): finds out whether a timeout was spurious before it repeats everything. Default true. */
  readonly frto?: boolean;
  /**
   * Spreads segments over the round trip instead of sending them in bursts;
   * `auto` does so where the round trip is longer than 4 ms. Default `auto`.
   */
  readonly pacing?: boolean | 'auto';
  /** TCP Fast Open (RFC 7413), as client and as server. Default false. */
  readonly fastOpen?: boolean;
  /** Most connections per listener whose data came with the SYN and whose handshake is not done (RFC 7413 §5.1). Default 128. */
  readonly fastOpenQueue?: number;
  /** Called after every ACK, transmission and timeout, where set: what TCP does, for plots. */
  readonly onTrace?: ((sample: TraceSample) => void) | null;
  /** Initial window in segments. Default 10 (RFC 6928). */
  readonly initialWindow?: number;
  /** Largest segment we announce and send, whatever the MTU allows. No limit by default. */
  readonly maxSegment?: number;
  /** Duplicate ACKs that mean loss, before reordering is seen. Default 3 (RFC 5681). */
  readonly duplicateThreshold?: number;
  /** RFC 8985 time-based loss detection. Default true. */
  readonly rack?: boolean;
  /** RFC 8985 tail loss probes. Default true. */
  readonly tailLossProbe?: boolean;
  /** Smallest retransmission timeout in ms. Default 200 (as Linux; RFC 6298 says 1000). */
  readonly minRtoMs?: number;
  /** RFC 6298 §2.5. Default 60 000. */
  readonly maxRtoMs?: number;
  /** Before the first RTT sample (RFC 6298 §2.1). Default 1000. */
  readonly initialRtoMs?: number;
  /** SYN retransmissions before `ETIMEDOUT`. Default 7, three minutes (RFC 9293 MUST-23). */
  readonly synRetries?: number;
  /** SYN-ACK retransmissions before a half-open connection is forgotten. Default 5. */
  readonly synAckRetries?: number;
  /** Retransmissions of data before the connection is given up (RFC 1122 R2). Default 15. */
  readonly dataRetries?: number;
  /** Unacknowledged data may be this old before the connection fails with `ETIMEDOUT` (RFC 5482); 0 for no limit. Default 0. */
  readonly userTimeoutMs?: number;
  /** Maximum segment lifetime; TIME-WAIT lasts twice as long. Default 30 000. */
  readonly mslMs?: number;
  /** How long a closed (not only shut down) connection waits in FIN-WAIT-2. Default 60 000. */
  readonly finTimeoutMs?: number;
  /** Longest delay of an ACK (RFC 1122: below 500). Default 40. */
  readonly delayedAckMs?: number;
  /** Nagle's algorithm off for new connections. Default false. */
  readonly noDelay?: boolean;
  /** Idle time before keep-alive probes start, where they are on. Default 7 200 000. */
  readonly keepAliveIdleMs?: number;
  readonly keepAliveIntervalMs?: number;
  readonly keepAliveProbes?: number;
  /**
   * How long a connection has had nothing to do when its state is put away until
   * it is needed again, which leaves it a fraction of its memory. `Infinity`
   * never does so. Default 2000.
   */
  readonly parkAfterMs?: number;
  /** Challenge ACKs per second, all connections together (RFC 5961 §7); 0 for no limit. Default 1000. */
  readonly challengeAckLimit?: number;
  /** Restart from the initial window after an idle RTO (RFC 5681 §4.1). Default true. */
  readonly slowStartAfterIdle?: boolean;
  /** Most half-open connections per listener. Default 1024. */
  readonly synQueue?: number;
  /** Answers further SYNs with cookies when that many are half-open (RFC 4987 §3.6). Default true. */
  readonly synCookies?: boolean;
  /** Most connections in TIME-WAIT; the oldest go first. Default 16 384. */
  readonly maxTimeWait?: number;
  /**
   * Most connections whose application has closed them and that still have to
   * deliver or to end; one more is reset, as by Linux's tcp_max_orphans. Default 8192.
   */
  readonly maxOrphans?: number;
  /** First and last ephemeral port (RFC 6056 §3.2). Default 32 768..65 535. */
  readonly ephemeralPorts?: readonly [first: number, last: number];
}

export type TcpConfig = Required<TcpOptions>;

export const TCP_DEFAULTS: TcpConfig = {
  receiveBuffer: 6 << 20,
  sendBuffer: 4 << 20,
  autoTuning: true,
  memoryLimit: 256 << 20,
  windowScaling: true,
  timestamps: true,
  sack: true,
  congestionControl: 'cubic',
  ecn: 'passive',
  frto: true,
  pacing: 'auto',
  fastOpen: false,
  fastOpenQueue: 128,
  onTrace: null,
  initialWindow: 10,
  maxSegment: 65_535,
  duplicateThreshold: 3,
  rack: true,
  tailLossProbe: true,
  minRtoMs: 200,
  maxRtoMs: 60_000,
  initialRtoMs: 1000,
  synRetries: 7,
  synAckRetries: 5,
  dataRetries: 15,
  userTimeoutMs: 0,
  mslMs: 30_000,
  finTimeoutMs: 60_000,
  delayedAckMs: 40,
  noDelay: false,
  keepAliveIdleMs: 7_200_000,
  keepAliveIntervalMs: 75_000,
  keepAliveProbes: 9,
  parkAfterMs: 2000,
  challengeAckLimit: 1000,
  slowStartAfterIdle: true,
  synQueue: 1024,
  synCookies: true,
  maxTimeWait: 16_384,
  maxOrphans: 8192,
  ephemeralPorts: [32_768, 65_535],
};

/** `base` with what `options` say. */
export function resolveConfig(base: TcpConfig, options: TcpOptions): TcpConfig {
  const given = Object.entries(options).filter(([, value]) => value !== undefined);
  return given.length === 0 ? base : { ...base, ...Object.fromEntries(given) };
}
