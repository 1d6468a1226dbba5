/** What time does to a connection (RFC 9293 §3.10.8, RFC 6298 §5, RFC 8985, RFC 5482). */
import type { Connection } from './connection.ts';
import { GIVE_UP, type KeepAlive, PROBE } from './keepalive.ts';
import { PathProbe } from './path-probe.ts';
import { sendLossProbe } from './repair.ts';
import { sizeSegments } from './segment-size.ts';
import type { Sender } from './sender.ts';
import { advance, distance } from './sequence.ts';
import * as states from './state.ts';
import { trace } from './trace.ts';
import { ACK } from './wire.ts';

const NEVER = Number.POSITIVE_INFINITY;

/** Arms the connection's timer for the nearest of its deadlines; cancels it if there is none. */
export function armNearest(connection: Connection): void {
  const { awake, keepAlive } = connection;
  const { sender, receiver, userTimeoutMs } = awake;
  const { timeoutAt, probeAt, reorderAt } = sender.recovery;
  // Compared one by one: a function that takes or returns a fraction costs an object for each.
  let at = timeoutAt;
  if (probeAt < at) at = probeAt;
  if (reorderAt < at) at = reorderAt;
  if (sender.persistAt < at) at = sender.persistAt;
  if (sender.pacedUntil < at) at = sender.pacedUntil;
  if (receiver.ackDeadline < at) at = receiver.ackDeadline;
  if (awake.finTimeoutAt < at) at = awake.finTimeoutAt;
  if (keepAlive !== null && keepAlive.at < at) at = keepAlive.at;
  if (userTimeoutMs > 0 && !sender.drained) at = Math.min(at, awake.waitingSince + userTimeoutMs);
  if (at === NEVER) connection.disarm();
  else connection.timer.arm(at);
  // Nothing is under way, as far as time has to do with it.
  if (at === (keepAlive === null ? NEVER : keepAlive.at)) connection.watch();
}

/** The connection's timer has fired: does whatever is due, then sends what may go. */
export function onDeadline(connection: Connection): void {
  const { host, sender, receiver, userTimeoutMs } = connection;
  host.touch();
  const { now } = host;
  const { recovery } = sender;
  sender.checkApplicationLimited(host);
  if (now >= connection.finTimeoutAt) {
    connection.finish();
    return;
  }
  if (userTimeoutMs > 0 && !sender.drained && now >= connection.waitingSince + userTimeoutMs) {
    connection.giveUp();
    return;
  }
  if (now >= receiver.ackDeadline) {
    // The application did not answer in time: what it receives is acknowledged promptly for a while.
    receiver.ackNow = true;
    receiver.ackDeadline = NEVER;
    receiver.interactive = false;
  }
  if (now >= recovery.reorderAt) recovery.onReorderingTimeout(sender.una, sender.next, host);
  if (now >= recovery.probeAt && recovery.probeAt <= recovery.timeoutAt) {
    trace(connection, 'probe');
    sendLossProbe(sender, host, connection, connection.selective);
  } else if (now >= recovery.timeoutAt) {
    onRetransmissionTimeout(connection, now);
  }
  if (connection.isOver) return;
  if (now >= sender.persistAt) onPersistTimeout(connection);
  if (connection.isOver) return;
  const { keepAlive } = connection;
  if (keepAlive !== null && now >= keepAlive.at) onKeepAlive(connection, keepAlive, now);
  if (!connection.isOver) connection.output();
}

function onRetransmissionTimeout(connection: Connection, now: number): void {
  const { sender, host, config } = connection;
  const { recovery } = sender;
  host.counters.timeouts++;
  if (connection.state === states.SYN_SENT || connection.state === states.SYN_RECEIVED) {
    onSynTimeout(connection, now);
    return;
  }
  if (recovery.retries >= config.dataRetries) {
    connection.giveUp();
    return;
  }
  suspectPath(connection, now);
  recovery.onTimeout(sender.una, sender.next, host);
  trace(connection, 'timeout');
}

function onSynTimeout(connection: Connection, now: number): void {
  const { config, host } = connection;
  const { recovery } = connection.sender;
  const most = connection.state === states.SYN_SENT ? config.synRetries : config.synAckRetries;
  if (recovery.retries >= most) {
    connection.fail(connection.softError ?? 'ETIMEDOUT');
    return;
  }
  if (recovery.scoreboard.count > 0) {
    // An early answer (Fast Open) waits for the same ACK.
    recovery.onTimeout(connection.sender.una, connection.sender.next, host);
  } else {
    recovery.retries++;
    recovery.backoffs++;
    // Also where the device has no room for it now.
    recovery.timeoutAt = now + recovery.rtt.backedOffMs(recovery.backoffs);
  }
  connection.synPending = true;
  host.counters.retransSegs++;
}

/** A path that drops every full-sized segment in silence is a black hole (RFC 4821 §7.7). */
function suspectPath(connection: Connection, now: number): void {
  const { sender, path } = connection;
  const { recovery } = sender;
  const { first, pool } = recovery.scoreboard;
  // The head timed out `retries` times before this one; a back-off may be left from an earlier loss (Karn).
  if (first < 0 || distance(pool.end[first]!, pool.sequence[first]!) < sender.segment) return;
  if (sender.pathProbe === null) {
    sender.pathProbe = PathProbe.suspect(recovery.retries + 1, path.mtu, hasCarriedFull(sender), now);
    if (sender.pathProbe === null) return;
  } else if (recovery.retries === 0 || !sender.pathProbe.lower(now)) {
    return;
  }
  sizeSegments(connection);
}

/**
 * Whether segments of full size got through before. There is no count of them; what was sent was mostly that
 * large, and some of it is acknowledged.
 */
function hasCarriedFull({ segment, segmentsSent, bytesSent, bytesAcknowledged }: Sender): boolean {
  return bytesAcknowledged > 10 * segment && bytesSent > 0.5 * segmentsSent * segment;
}

function onPersistTimeout(connection: Connection): void {
  const { sender, config, host } = connection;
  if (sender.persistRetries >= config.dataRetries) connection.giveUp();
  else sender.sendWindowProbe(host, connection, connection.selective);
}

function onKeepAlive(connection: Connection, keepAlive: KeepAlive, now: number): void {
  const { sender, lastReceivedAt } = connection;
  const decision = keepAlive.decide(now, lastReceivedAt, sender.outstanding > 0);
  // A segment of no bytes, one number below what the peer expects: it answers with an ACK.
  if (decision === PROBE) connection.emit(ACK, advance(sender.next, -1), 0, 0);
  else if (decision === GIVE_UP) connection.giveUp();
}
