import type { TraceSample } from './config.ts';
import type { Connection } from './connection.ts';
import { FAST, OPEN } from './recovery/recovery.ts';
import { distance } from './sequence.ts';

/** Tells `onTrace`, where one is set, of one event of a connection's sender. */
export function trace(
  connection: Connection,
  event: TraceSample['event'],
  sequence = connection.sender.next,
  length = 0,
): void {
  const { onTrace } = connection.config;
  if (onTrace === null) return;
  const { sender } = connection;
  const { recovery, congestion, initial } = sender;
  onTrace({
    timeMs: connection.host.now,
    connection: `${connection.local}:${connection.localPort}>${connection.remote}:${connection.remotePort}`,
    event,
    una: distance(sender.una, initial),
    nxt: distance(sender.next, initial),
    sequence: distance(sequence, initial),
    length,
    cwnd: congestion.window,
    ssthresh: congestion.threshold,
    rttMs: recovery.rtt.smoothedMs,
    rtoMs: recovery.rtt.backedOffMs(recovery.backoffs),
    inFlight: sender.pipe,
    state: recovery.phase === OPEN ? 'open' : recovery.phase === FAST ? 'recovery' : 'loss',
  });
}
