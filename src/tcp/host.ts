import type { Moment } from '../time/clock.ts';
import type { Random } from '../time/random.ts';
import type { TimerWheel } from '../time/timers.ts';
import type { TcpConfig } from './config.ts';
import type { Connection } from './connection.ts';
import type { FastOpenCookies } from './fast-open.ts';
import type { ParkingLot } from './parking/lot.ts';
import type { PayloadKeeper } from './receive-queue.ts';
import type { Delivery } from './recovery/scoreboard.ts';
import type { SegmentPool } from './recovery/segment-pool.ts';

/** What all connections of a stack share. `TcpLayer` is it. */
export interface TcpHost extends Moment {
  /** Clock time in ms as of the present batch, timer or call. */
  readonly now: number;
  readonly timers: TimerWheel;
  readonly random: Random;
  readonly pool: SegmentPool;
  readonly keeper: PayloadKeeper;
  /** Reused for every ACK. */
  readonly delivery: Delivery;
  readonly counters: TcpCounters;
  /** Bytes held for applications, bookkeeping included, all connections together. */
  memory: number;
  readonly isShortOfMemory: boolean;
  /** Bytes that one connection may promise its peer now. */
  readonly memoryShare: number;
  /** Connections that the application has closed and that are not over. */
  orphans: number;
  readonly fastOpenCookies: FastOpenCookies;
  readonly lot: ParkingLot;
  /** Reads the clock anew. */
  touch(): void;
  /** Has `output` of the connection run at the end of this batch or turn. */
  schedule(connection: Connection): void;
  /** The device was full: has `output` run when it is writable again. */
  stall(connection: Connection): void;
  /** Whether one more challenge ACK may be sent now (RFC 5961 §7). */
  mayChallenge(): boolean;
  /** The connection leaves the table. */
  remove(connection: Connection): void;
  /** The connection is over but for TIME-WAIT. */
  enterTimeWait(connection: Connection): void;
}

/** In the terms of RFC 4022 and Linux's `nstat`. */
export interface TcpCounters {
  activeOpens: number;
  passiveOpens: number;
  attemptFails: number;
  estabResets: number;
  inSegs: number;
  outSegs: number;
  retransSegs: number;
  inErrs: number;
  inCsumErrors: number;
  outRsts: number;
  /** SYNs dropped because the accept queue or the SYN queue was full. */
  listenOverflows: number;
  /** SYN cookies sent, accepted, and ACKs that claimed to be for one and were not. */
  synCookiesSent: number;
  synCookiesReceived: number;
  synCookiesFailed: number;
  /** Fast Open: SYNs with data sent and accepted; data that the peer acknowledged with its SYN-ACK. */
  fastOpenActive: number;
  fastOpenPassive: number;
  fastOpenAcknowledged: number;
  /** Segments dropped by PAWS (RFC 7323 §5). */
  pawsRejected: number;
  /** Segments without the timestamps that were agreed on. */
  timestampMissing: number;
  challengeAcks: number;
  outOfWindow: number;
  outOfOrder: number;
  /** Segments dropped because what was held out of order cost too much. */
  pruned: number;
  timeouts: number;
  fastRecoveries: number;
  spuriousRecoveries: number;
  lossProbes: number;
  timeWaitOverflows: number;
  /** Closed connections that were reset because there were too many. */
  orphansReset: number;
  /** Segments to no connection and no listener. */
  noPort: number;
}

export function tcpCounters(): TcpCounters {
  return {
    activeOpens: 0,
    passiveOpens: 0,
    attemptFails: 0,
    estabResets: 0,
    inSegs: 0,
    outSegs: 0,
    retransSegs: 0,
    inErrs: 0,
    inCsumErrors: 0,
    outRsts: 0,
    listenOverflows: 0,
    synCookiesSent: 0,
    synCookiesReceived: 0,
    synCookiesFailed: 0,
    fastOpenActive: 0,
    fastOpenPassive: 0,
    fastOpenAcknowledged: 0,
    pawsRejected: 0,
    timestampMissing: 0,
    challengeAcks: 0,
    outOfWindow: 0,
    outOfOrder: 0,
    pruned: 0,
    timeouts: 0,
    fastRecoveries: 0,
    spuriousRecoveries: 0,
    lossProbes: 0,
    timeWaitOverflows: 0,
    orphansReset: 0,
    noPort: 0,
  };
}

export type { TcpConfig };
