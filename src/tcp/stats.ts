import type { FlowStats } from '../stack.ts';
import type { Connection } from './connection.ts';
import type { TcpCounters } from './host.ts';
import { FAST, OPEN } from './recovery/recovery.ts';
import { isSynchronized } from './state.ts';

/** A snapshot of a connection in the terms of Linux's `tcp_info`. */
export function statsOf(connection: Connection): FlowStats {
  const { sender, receiver } = connection;
  const { recovery, congestion } = sender;
  const { rtt } = recovery;
  connection.host.touch();
  const { now } = connection.host;
  return {
    state: connection.stateName,
    congestionControl: congestion.name,
    recovery: recovery.phase === OPEN ? 'open' : recovery.phase === FAST ? 'fast' : 'loss',
    timestamps: connection.timestamps,
    sack: connection.selective,
    ecn: connection.ecn.agreed,
    sendScale: sender.shift,
    receiveScale: connection.scaling ? receiver.shift : 0,
    rttMs: rtt.smoothedMs,
    rttVarMs: rtt.varianceMs,
    minRttMs: rtt.hasSample ? rtt.minimumMs : 0,
    rtoMs: rtt.backedOffMs(recovery.backoffs),
    backoffs: recovery.backoffs,
    mss: sender.segment,
    peerMss: connection.peerMss,
    announcedMss: connection.announcedMss,
    pathMtu: connection.pathMtu,
    cwnd: congestion.window,
    ssthresh: congestion.threshold,
    sendWindow: sender.window,
    receiveWindow: receiver.window,
    bytesInFlight: isSynchronized(connection.state) ? sender.pipe : 0,
    bytesSacked: recovery.scoreboard.sackedBytes,
    bytesLost: recovery.scoreboard.lostBytes,
    pacingRateBps: sender.pacingRate() * 8000,
    bytesSent: sender.bytesSent,
    bytesAcked: sender.bytesAcknowledged,
    bytesReceived: receiver.bytesReceived,
    bytesRetransmitted: recovery.bytesRetransmitted,
    segmentsSent: sender.segmentsSent,
    segmentsReceived: receiver.segmentsReceived,
    retransmits: recovery.retransmits,
    timeouts: recovery.timeouts,
    fastRecoveries: recovery.fastRecoveries,
    spuriousRecoveries: recovery.spuriousRecoveries,
    lossProbes: recovery.probes,
    duplicateReports: recovery.duplicateReports,
    reorderingSeen: recovery.reorderingSeen,
    congestionMarks: recovery.congestionMarks,
    segmentsOutOfOrder: receiver.outOfOrderSegments,
    bytesDuplicate: receiver.duplicateBytes,
    sinceSentMs: sender.lastSentAt > 0 ? now - sender.lastSentAt : 0,
    sinceReceivedMs: connection.lastReceivedAt > 0 ? now - connection.lastReceivedAt : 0,
    bytesUnsent: Math.max(0, sender.unsent),
    sendQueue: sender.queue.length,
    receiveQueue: receiver.queue.length,
  };
}

/** Adds what a connection that ends has counted to the stack's counters. */
export function countEnded(connection: Connection, counters: TcpCounters): void {
  const { receiver } = connection;
  const { recovery } = connection.sender;
  counters.retransSegs += recovery.retransmits;
  counters.fastRecoveries += recovery.fastRecoveries;
  counters.spuriousRecoveries += recovery.spuriousRecoveries;
  counters.lossProbes += recovery.probes;
  counters.outOfOrder += receiver.outOfOrderSegments;
  counters.pruned += receiver.pruned;
}
