/** How a connection begins (RFC 9293 §3.5, §3.10.1, §3.10.7.2): SYNs, what they agree on, and the first window. */

import { EMPTY } from '../bytes/index.ts';
import type { Connection } from './connection.ts';
import { emitSyn, type SynData, type SynOptions, synLength } from './emit.ts';
import type { Segment } from './segment.ts';
import { sizeSegments } from './segment-size.ts';
import { advance, distance } from './sequence.ts';
import * as states from './state.ts';
import { FIN, HEADER, SYN } from './wire.ts';

const NEVER = Number.POSITIVE_INFINITY;
/** Below this a peer's announcement is an attack on our efficiency, not a need. */
const LEAST_MSS = 88;

/** Active open: a SYN goes out with the next output. */
export function open(connection: Connection, initial: number, timestampOffset: number): void {
  begin(connection, initial, timestampOffset);
  connection.state = states.SYN_SENT;
  connection.synPending = true;
  connection.host.schedule(connection);
}

/** Passive open: `syn` is the peer's SYN; a SYN-ACK goes out with the next output. */
export function answer(connection: Connection, syn: Segment, initial: number, timestampOffset: number): void {
  begin(connection, initial, timestampOffset);
  takeSyn(connection, syn, false);
  connection.state = states.SYN_RECEIVED;
  connection.synPending = true;
  connection.host.schedule(connection);
}

/**
 * Passive open by a SYN that carries a good Fast Open cookie and data (RFC 7413
 * §4.2.2): the data is the application's at once, and so is the right to answer.
 */
export function answerWithData(
  connection: Connection,
  syn: Segment,
  initial: number,
  timestampOffset: number,
): void {
  answer(connection, syn, initial, timestampOffset);
  const { receiver, sender, host, config, listener } = connection;
  sizeSegments(connection);
  sender.congestion.window = config.initialWindow * sender.segment;
  receiver.advertise(false);
  syn.sequence = advance(syn.sequence, 1);
  // A FIN here is left to be repeated: it means nothing before the handshake is done.
  syn.flags &= ~(SYN | FIN);
  receiver.accept(syn, host.keeper, false);
  connection.accountMemory();
  host.counters.fastOpenPassive++;
  connection.fastOpenListener = listener;
  listener?.opened(connection);
}

/**
 * The ACK of a SYN cookie has come: `syn` is the SYN as the cookie remembers
 * it. What follows is as if our SYN-ACK had been sent by this connection.
 */
export function revive(connection: Connection, syn: Segment, initial: number, timestampOffset: number): void {
  begin(connection, initial, timestampOffset);
  connection.sender.next = advance(initial, 1);
  takeSyn(connection, syn, false);
  connection.state = states.SYN_RECEIVED;
  connection.receiver.advertise(false);
  connection.synRepeated = true;
}

function begin(connection: Connection, initial: number, timestampOffset: number): void {
  connection.timestampOffset = timestampOffset;
  connection.sender.begin(initial);
  connection.ecn.begin(initial);
  connection.waitingSince = connection.host.now;
}

/** Takes sequence number and options of the peer's SYN. `synWasSent`: ours has told it a window already. */
export function takeSyn(connection: Connection, syn: Segment, synWasSent: boolean): void {
  const { receiver, sender, host, config } = connection;
  const { mss, windowScale, sackPermitted, hasTimestamps, timestampValue } = syn.options;
  receiver.begin(syn.sequence, synWasSent ? Math.min(receiver.limit, 0xffff) : 0);
  if (mss >= 0) connection.peerMss = Math.max(mss, LEAST_MSS);
  // RFC 7323 §2.2: scaling only if both ends ask for it.
  if (windowScale >= 0 && connection.scaling) {
    sender.shift = windowScale;
  } else {
    connection.scaling = false;
    receiver.shift = 0;
  }
  connection.ecn.takeSyn(syn.flags, config);
  connection.selective &&= sackPermitted;
  connection.timestamps &&= hasTimestamps;
  if (connection.timestamps) {
    receiver.timestampRecent = timestampValue;
    receiver.timestampRecentAt = host.now;
  }
  // The window in a SYN is never scaled.
  sender.window = syn.window;
  sender.maxWindow = syn.window;
  sender.windowSequence = syn.sequence;
  sender.windowAcknowledgment = syn.hasAck ? syn.acknowledgment : sender.initial;
}

/** Sends our SYN or SYN-ACK, and times it. */
export function sendSyn(connection: Connection): void {
  const { receiver, sender, path, host, config } = connection;
  const { recovery } = sender;
  const answering = connection.state === states.SYN_RECEIVED;
  const window = answering ? receiver.advertise(false) : Math.min(receiver.limit, 0xffff);
  const options: SynOptions = {
    mss: connection.announcedMss,
    sackPermitted: connection.selective,
    timestamps: connection.timestamps,
    timestampValue: connection.timestampNow,
    timestampEcho: answering ? receiver.timestampRecent : 0,
    windowScale: connection.scaling ? receiver.shift : -1,
    fastOpenCookie: fastOpenCookie(connection, answering),
  };
  const data = answering ? null : fastOpenData(connection, options);
  const sent = emitSyn(
    path,
    connection.localPort,
    connection.remotePort,
    sender.initial,
    answering ? receiver.next : 0,
    connection.ecn.synFlags(answering, config, recovery.backoffs),
    window,
    options,
    data,
  );
  if (!sent) {
    host.stall(connection);
    return;
  }
  host.counters.outSegs++;
  if (answering) receiver.acknowledged(false);
  connection.synPending = false;
  connection.synSentAt = host.now;
  connection.synRepeated = sender.next !== sender.initial;
  if (!connection.synRepeated) {
    sender.next = advance(sender.initial, 1);
    // Data that answers an early request is counted from behind the SYN.
    if (answering && connection.fastOpen === 'accepted') sender.una = sender.next;
  }
  if (data !== null) {
    sender.next = advance(sender.next, data.length);
    sender.bytesSent += data.length;
    connection.fastOpen = 'accepted';
    host.counters.fastOpenActive++;
  }
  recovery.timeoutAt = host.now + recovery.rtt.backedOffMs(recovery.backoffs);
}

/** What our SYN or SYN-ACK says of Fast Open: null for nothing, no bytes to ask for a cookie. */
function fastOpenCookie(connection: Connection, answering: boolean): Uint8Array | null {
  const { host, config, remote, fastOpen } = connection;
  if (answering) return fastOpen === 'cookie' ? host.fastOpenCookies.make(remote) : null;
  if (!config.fastOpen) return null;
  if (connection.sender.recovery.backoffs > 0) {
    // RFC 7413 §4.2.1: whatever lost it, the next SYN is an ordinary one.
    if (fastOpen === 'accepted') host.fastOpenCookies.forget(remote);
    return null;
  }
  return host.fastOpenCookies.recall(remote)?.cookie ?? EMPTY;
}

/** The data that goes with our SYN (RFC 7413 §4.2.1), or null. */
function fastOpenData(connection: Connection, options: SynOptions): SynData | null {
  const { host, remote, sender } = connection;
  if (options.fastOpenCookie === null || options.fastOpenCookie.length === 0) return null;
  const peer = host.fastOpenCookies.recall(remote);
  if (peer === null || sender.queue.length === 0) return null;
  const room = Math.min(peer.mss, options.mss) - (synLength(options) - HEADER);
  return { queue: sender.queue, length: Math.min(sender.queue.length, room) };
}

/** What the SYN-ACK tells a client of Fast Open: a cookie for next time, and whether its data was taken. */
export function takeFastOpenAnswer(connection: Connection, synAck: Segment): void {
  const { host, remote, sender, peerMss, config } = connection;
  const { fastOpenStart, fastOpenEnd } = synAck.options;
  if (config.fastOpen && fastOpenEnd > fastOpenStart && fastOpenStart >= 0) {
    const cookie = Uint8Array.from(synAck.frame.bytes.subarray(fastOpenStart, fastOpenEnd));
    host.fastOpenCookies.remember(remote, cookie, peerMss);
  }
  const taken = distance(synAck.acknowledgment, advance(sender.initial, 1));
  if (taken > 0) {
    sender.queue.release(taken);
    sender.bytesAcknowledged += taken;
    host.counters.fastOpenAcknowledged++;
  }
  // What was not taken goes again, as if it had never been sent.
  sender.next = synAck.acknowledgment;
}

/** The handshake is done. */
export function establish(connection: Connection): void {
  const { sender, host, config } = connection;
  const { recovery, congestion } = sender;
  // A SYN of ours had to be sent again because nothing came back.
  const lostSyn = recovery.backoffs > 0;
  connection.state = sender.finQueued ? states.FIN_WAIT_1 : states.ESTABLISHED;
  if (lostSyn) recovery.rtt.restartAfterLostSyn();
  // A SYN-ACK that answered two SYNs tells no time (Karn).
  else if (!connection.synRepeated) recovery.rtt.sample(host.now - connection.synSentAt);
  connection.fastOpenListener?.settled(connection);
  connection.fastOpenListener = null;
  connection.waitingSince = host.now;
  connection.keepAlive?.restart(host.now, true);
  host.schedule(connection);
  // An early answer is on its way already (Fast Open): its timers and window are running.
  if (sender.una !== sender.initial && sender.outstanding > 0) return;
  recovery.timeoutAt = NEVER;
  recovery.backoffs = 0;
  recovery.retries = 0;
  sizeSegments(connection);
  // RFC 5681 §3.1: a lost SYN says that the path is bad; RFC 6928 §2 otherwise.
  congestion.window = (lostSyn ? 1 : config.initialWindow) * sender.segment;
  congestion.segment = sender.segment;
}
