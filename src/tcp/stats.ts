import type { FlowStats } from '../stack.ts';
import type { Connection } from './connection.ts';
import type { TcpCounters } from './host.ts';
import { isSynchronized } from './state.ts';

/** A snapshot of a connection in the terms of Linux's `tcp_info`. */
export function statsOf(connection: Connection): FlowStats {
  const { sender, receiver } = connection;
  const { recovery, congestion } = sender;
  const { rtt } = recovery;
  return {
    state: connection.stateName,
    rttMs: rtt.smoothedMs,
    rttVarMs: rtt.varianceMs,
    minRttMs: rtt.hasSample ? rtt.minimumMs : 0,
    rtoMs: rtt.backedOffMs(recovery.backoffs),
    mss: sender.segment,
    cwnd: congestion.window,
    ssthresh: congestion.threshold,
    sendWindow: sender.window,
    receiveWindow: receiver.window,
    bytesInFlight: isSynchronized(connection.state) ? sender.pipe : 0,
    bytesSent: sender.bytesSent,
    bytesAcked: sender.bytesAcknowledged,
    bytesReceived: receiver.bytesReceived,
    bytesRetransmitted: recovery.bytesRetransmitted,
    segmentsSent: sender.segmentsSent,
    segmentsReceived: receiver.segmentsReceived,
    retransmits: recovery.retransmits,
    timeouts: recovery.timeouts,
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
