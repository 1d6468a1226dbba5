/**
 * SEGMENT ARRIVES (RFC 9293 §3.10.7.3 and .4), in the order of the RFC, with the
 * additions of RFC 7323 (timestamps), RFC 5961 (blind attacks) and RFC 2883.
 */
import { takeAck } from './acknowledgment.ts';
import type { Connection } from './connection.ts';
import { emitBare } from './emit.ts';
import { establish, takeFastOpenAnswer, takeSyn } from './handshake.ts';
import type { WorkingState } from './parking/working.ts';
import type { Segment } from './segment.ts';
import { sizeSegments } from './segment-size.ts';
import { advance, after, atOrAfter, atOrBefore, before, distance } from './sequence.ts';
import * as states from './state.ts';
import { trace } from './trace.ts';
import { FIN, RST, SYN } from './wire.ts';

/** RFC 7323 §5.5: a TS.Recent older than this many ms says nothing. */
const TIMESTAMP_LIFETIME_MS = 24 * 24 * 3600 * 1000;

/** Longer than this no path holds a packet back and delivers it. */
const HELD_BACK_MS = 1000;

/** `awake` is the connection's: asked for once per segment. */
export function receiveSegment(connection: Connection, awake: WorkingState, segment: Segment): void {
  if (connection.state === states.SYN_SENT) {
    receiveInSynSent(connection, awake, segment);
    return;
  }
  if (!isTimely(connection, awake, segment)) return;
  if (!isWithinWindow(connection, awake, segment)) return;
  if (segment.hasRst) {
    receiveReset(connection, segment);
    return;
  }
  if (segment.hasSyn) {
    // RFC 5961 §4.2: whoever really has restarted will answer the challenge with a reset.
    challenge(connection);
    return;
  }
  if (!segment.hasAck) return;
  if (!receiveAck(connection, awake, segment)) return;
  noteTimestamp(connection, awake, segment);
  receiveText(connection, awake, segment);
}

/** RFC 9293 §3.10.7.3. */
function receiveInSynSent(connection: Connection, awake: WorkingState, segment: Segment): void {
  const { sender } = awake;
  if (segment.hasAck) {
    const ack = segment.acknowledgment;
    if (atOrBefore(ack, sender.initial) || after(ack, sender.next)) {
      if (!segment.hasRst) sendReset(connection, segment);
      return;
    }
  }
  if (segment.hasRst) {
    if (segment.hasAck) connection.fail('ECONNREFUSED');
    return;
  }
  if (!segment.hasSyn) return;
  takeSyn(connection, segment, true);
  if (!segment.hasAck) {
    // Simultaneous open.
    connection.state = states.SYN_RECEIVED;
    connection.synPending = true;
    return;
  }
  // RFC 7323 §3.2: an echo that we never sent is an old duplicate's; the ACK number has vouched already.
  takeFastOpenAnswer(connection, segment);
  sender.una = segment.acknowledgment;
  connection.receiver.ackNow = true;
  establish(connection);
  connection.handler?.connected(connection);
  if (connection.isOver) return;
  receiveText(connection, awake, afterSyn(segment));
}

/** The segment without its SYN: text and FIN are one number further. */
function afterSyn(segment: Segment): Segment {
  segment.sequence = advance(segment.sequence, 1);
  return segment;
}

/** PAWS (RFC 7323 §5.3) and the rule that timestamps, once agreed on, are in every segment (§3.2). */
function isTimely(connection: Connection, awake: WorkingState, segment: Segment): boolean {
  if (!awake.timestamps || segment.hasRst) return true;
  const { host } = connection;
  const { receiver } = awake;
  const { hasTimestamps, timestampValue } = segment.options;
  if (!hasTimestamps) {
    host.counters.timestampMissing++;
    return false;
  }
  if (atOrAfter(timestampValue, receiver.timestampRecent)) return true;
  if (host.now - receiver.timestampRecentAt > TIMESTAMP_LIFETIME_MS) return true;
  if (isOvertakenAck(connection, segment) || isHeldBack(connection, segment)) return true;
  host.counters.pawsRejected++;
  answerUnacceptable(connection, segment);
  return false;
}

/**
 * A bare ACK that another one overtook on the way: ACKs all have the same
 * sequence number, so each that arrives makes the ones before it look old
 * (RFC 7323 §5.2 speaks of data only). Within a timeout's time it is no old
 * duplicate, and answering it would make reordering cost an ACK for each ACK.
 */
function isOvertakenAck(connection: Connection, segment: Segment): boolean {
  const { receiver, sender } = connection;
  if (segment.length > 0 || segment.sequence !== receiver.next) return false;
  const age = distance(receiver.timestampRecent, segment.options.timestampValue);
  return age <= sender.recovery.rtt.timeoutMs;
}

/**
 * Data that the path held back while the retransmission of something before it
 * made its way: within a timeout's time it is new, not an old duplicate, and
 * dropping it would cost a recovery for each packet that is reordered.
 */
function isHeldBack(connection: Connection, segment: Segment): boolean {
  const { receiver, sender } = connection;
  // Something beyond it is here already: it is a hole that this fills. Anything else has PAWS's full rigour.
  if (segment.length === 0 || !receiver.holdsBeyond(segment.sequence)) return false;
  const age = distance(receiver.timestampRecent, segment.options.timestampValue);
  return age <= Math.min(HELD_BACK_MS, sender.recovery.rtt.timeoutMs);
}

/** First check: sequence number. What lies outside the window is answered with an ACK and dropped. */
function isWithinWindow(connection: Connection, awake: WorkingState, segment: Segment): boolean {
  return awake.receiver.isAcceptable(segment) || takesUnacceptable(connection, awake, segment);
}

/** What of a segment outside the window counts all the same. */
function takesUnacceptable(connection: Connection, awake: WorkingState, segment: Segment): boolean {
  const { host } = connection;
  const { receiver, sender } = awake;
  if (segment.hasRst) {
    host.counters.outOfWindow++;
    return false;
  }
  if (connection.state === states.SYN_RECEIVED && segment.hasSyn && segment.sequence === receiver.initial) {
    // Our SYN-ACK was lost, or both ends opened at once and this is the answer.
    if (segment.hasAck && segment.acknowledgment === sender.next) {
      segment.flags &= ~SYN;
      segment.sequence = advance(segment.sequence, 1);
      // The window of a SYN is never scaled (RFC 7323 §2.2); who takes it from here will.
      segment.window >>>= sender.shift;
      receiver.ackNow = true;
      return true;
    }
    connection.synPending = true;
    return false;
  }
  if (receiver.window === 0 && segment.sequence === receiver.next) {
    // RFC 9293 §3.10.7.4: with a zero window, the ACK counts though the text cannot be taken.
    segment.end = segment.start;
    segment.flags &= ~FIN;
    receiver.ackNow = true;
    return true;
  }
  host.counters.outOfWindow++;
  const end = advance(segment.sequence, segment.payloadLength);
  if (connection.selective && segment.payloadLength > 0 && atOrBefore(end, receiver.next)) {
    // Received already: tell the peer so (RFC 2883 §4.1).
    receiver.noteDuplicate(segment.sequence, end);
    return false;
  }
  answerUnacceptable(connection, segment);
  return false;
}

/** An ACK in return; to bare ACKs only now and then, or two confused ends would answer each other for ever. */
function answerUnacceptable(connection: Connection, segment: Segment): void {
  if (segment.length > 0 || isKeepAlive(connection, segment)) connection.receiver.ackNow = true;
  else if (connection.mayAnswerBare()) challenge(connection);
}

/** RFC 9293 §3.8.4: a bare segment one number below what is expected asks for an ACK. */
function isKeepAlive(connection: Connection, segment: Segment): boolean {
  return segment.sequence === advance(connection.receiver.next, -1);
}

/** RFC 7323 §4.3; after the ACK was found good, or a forged segment could make PAWS drop the genuine ones. */
function noteTimestamp(connection: Connection, awake: WorkingState, segment: Segment): void {
  if (!awake.timestamps || !segment.options.hasTimestamps) return;
  const { host } = connection;
  const { receiver } = awake;
  const value = segment.options.timestampValue;
  if (before(value, receiver.timestampRecent)) {
    if (host.now - receiver.timestampRecentAt <= TIMESTAMP_LIFETIME_MS) return;
    // Let through because TS.Recent is out of date: start over from here.
    receiver.timestampRecent = value;
    receiver.timestampRecentAt = host.now;
    return;
  }
  if (after(segment.sequence, receiver.lastAckSent)) return;
  receiver.timestampRecent = value;
  receiver.timestampRecentAt = host.now;
}

/** Second check, with RFC 5961 §3.2: only a reset at exactly RCV.NXT is believed. */
function receiveReset(connection: Connection, segment: Segment): void {
  const { receiver, sender } = connection;
  if (segment.sequence !== receiver.next) {
    challenge(connection);
    return;
  }
  switch (connection.state) {
    case states.SYN_RECEIVED:
      connection.fail('ECONNREFUSED');
      return;
    case states.CLOSING:
    case states.LAST_ACK:
      // Both sides have said all they had to; only what the peer never acknowledged is lost.
      if (sender.queue.length === 0) connection.finish();
      else connection.fail('ECONNRESET');
      return;
    default:
      connection.fail('ECONNRESET');
  }
}

/** Fifth check: the acknowledgment. False if the segment goes no further. */
function receiveAck(connection: Connection, awake: WorkingState, segment: Segment): boolean {
  const { host } = connection;
  const { sender } = awake;
  const ack = segment.acknowledgment;
  if (connection.state === states.SYN_RECEIVED) {
    // With an early answer on its way (Fast Open), the ACK may be for some of that too.
    const isEarly = sender.una !== sender.initial;
    if (!completeHandshake(connection, segment, isEarly)) return false;
    if (!isEarly) return true;
  }
  // RFC 5961 §5.2: an ACK far below what was ever in flight, or of what was never sent, is a guess.
  if (distance(sender.una, ack) > sender.maxWindow || after(ack, sender.ackLimit)) {
    challengeGuess(connection, segment);
    return false;
  }
  if (after(sender.una, ack)) {
    // An old duplicate: its text may be new all the same.
    return true;
  }
  const previous = sender.una;
  connection.takeMarks(awake, segment);
  const echoOld = echoesOlder(awake, segment);
  const moved = takeAck(
    sender,
    segment,
    host.delivery,
    awake.selective,
    echoOld,
    echoRtt(connection, awake, segment),
    host,
  );
  if (sender.una !== previous) {
    awake.waitingSince = host.now;
    connection.path.confirm();
    if (sender.pathProbe?.acknowledged(sender.una, host.now)) sizeSegments(connection);
  }
  trace(connection, 'ack');
  if (moved > 0) connection.handler?.writable(connection);
  if (connection.isOver) return false;
  if (sender.finSent && sender.una === sender.next) onFinAcknowledged(connection);
  return !connection.isOver;
}

/** RFC 9293 §3.10.7.4, SYN-RECEIVED: the ACK that opens the connection. False if the segment goes no further. */
function completeHandshake(connection: Connection, segment: Segment, isEarly: boolean): boolean {
  const { sender, listener, host } = connection;
  const ack = segment.acknowledgment;
  const first = advance(sender.initial, 1);
  if (before(ack, first) || after(ack, sender.next)) {
    sendReset(connection, segment);
    return false;
  }
  // No room to hand it over: the ACK did not come; the peer will repeat it with its data.
  if (!isEarly && listener !== null && !listener.hasRoom) {
    host.counters.listenOverflows++;
    return false;
  }
  if (!isEarly) {
    sender.una = first;
    // A simultaneous open takes no data with the SYN: it goes again.
    sender.next = first;
  }
  sender.window = segment.window << sender.shift;
  sender.maxWindow = Math.max(sender.maxWindow, sender.window);
  sender.windowSequence = segment.sequence;
  sender.windowAcknowledgment = ack;
  establish(connection);
  if (!isEarly && listener !== null) listener.completed(connection);
  connection.handler?.connected(connection);
  return !connection.isOver;
}

/** Eifel detection (RFC 3522 §3.2 step 5): the ACK is for a segment that left before our first retransmission. */
function echoesOlder(awake: WorkingState, segment: Segment): boolean {
  const { recovery } = awake.sender;
  if (!awake.timestamps || recovery.firstRetransmitAt === Number.POSITIVE_INFINITY) return false;
  const stamp = (Math.trunc(recovery.firstRetransmitAt) + awake.timestampOffset) | 0;
  return before(segment.options.timestampEcho, stamp);
}

/** RTT by the echoed timestamp, whose granule is 1 ms; -1 if the segment has none. */
function echoRtt(connection: Connection, awake: WorkingState, segment: Segment): number {
  if (!awake.timestamps || !segment.options.hasTimestamps) return -1;
  const ageMs = distance(connection.timestampNow, segment.options.timestampEcho);
  // What is older than any timeout is no echo of ours.
  return ageMs <= connection.config.maxRtoMs ? ageMs : -1;
}

function onFinAcknowledged(connection: Connection): void {
  const { state } = connection;
  if (state === states.FIN_WAIT_1) {
    connection.state = states.FIN_WAIT_2;
    if (connection.detached) connection.startFinTimeout();
    connection.handler?.finished(connection);
  } else if (state === states.CLOSING) {
    connection.handler?.finished(connection);
    connection.finishInTimeWait();
  } else if (state === states.LAST_ACK) {
    connection.handler?.finished(connection);
    connection.finish();
  }
}

/** Seventh and eighth check: text and FIN. */
function receiveText(connection: Connection, awake: WorkingState, segment: Segment): void {
  if (!states.receiveIsOpen(connection.state)) return;
  if (segment.payloadLength === 0 && !segment.hasFin) return;
  const { host } = connection;
  const { receiver } = awake;
  const end = advance(segment.sequence, segment.payloadLength);
  if (awake.detached && after(end, receiver.next)) {
    connection.refuseData();
    return;
  }
  const { borrower } = connection;
  if (borrower !== null && receiver.pass(segment)) {
    receiver.taken(segment.payloadLength, host, awake.sender.recovery.rtt);
    borrower.lend(host.keeper.lend(segment.frame, segment.start, segment.end));
    return;
  }
  const heldBefore = receiver.queue.length;
  connection.noteMemory();
  receiver.accept(segment, host.keeper, !awake.selective);
  connection.accountMemory();
  if (receiver.finished) onFin(connection);
  if (connection.isOver) return;
  if (receiver.queue.length > heldBefore || receiver.finished) connection.handler?.readable(connection);
}

/** Eighth check: the peer's FIN is in order now. */
function onFin(connection: Connection): void {
  switch (connection.state) {
    case states.ESTABLISHED:
      connection.state = states.CLOSE_WAIT;
      return;
    case states.FIN_WAIT_1:
      // Had our FIN been acknowledged, the state would be FIN-WAIT-2 already.
      connection.state = states.CLOSING;
      connection.receiver.ackNow = true;
      return;
    case states.FIN_WAIT_2: {
      // The ACK of this FIN is sent by what stays in TIME-WAIT.
      const { handler, receiver } = connection;
      receiver.ackNow = true;
      handler?.readable(connection);
      connection.finishInTimeWait();
      return;
    }
    default:
  }
}

/** Of bare ACKs the path may hold back hundreds and let them go at once: they are answered now and then. */
function challengeGuess(connection: Connection, segment: Segment): void {
  if (segment.length > 0 || connection.mayAnswerBare()) challenge(connection);
}

/** RFC 5961: an ACK that tells the truth, to whoever it is. */
function challenge(connection: Connection): void {
  if (!connection.host.mayChallenge()) return;
  connection.host.counters.challengeAcks++;
  connection.receiver.ackNow = true;
}

/** RFC 9293 §3.10.7.3: `<SEQ=SEG.ACK><CTL=RST>`. */
function sendReset(connection: Connection, segment: Segment): void {
  emitBare(connection.path, connection.localPort, connection.remotePort, segment.acknowledgment, 0, RST);
  connection.host.counters.outRsts++;
}
