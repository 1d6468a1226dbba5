/** How a connection begins (RFC 9293 §3.5, §3.10.1, §3.10.7.2): SYNs, what they agree on, and the first window. */
import type { Connection } from './connection.ts';
import { emitSyn } from './emit.ts';
import type { Segment } from './segment.ts';
import { advance } from './sequence.ts';
import * as states from './state.ts';

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
  const sent = emitSyn(
    path,
    connection.localPort,
    connection.remotePort,
    sender.initial,
    answering ? receiver.next : 0,
    connection.ecn.synFlags(answering, config, recovery.backoffs),
    window,
    {
      mss: connection.announcedMss,
      sackPermitted: connection.selective,
      timestamps: connection.timestamps,
      timestampValue: connection.timestampNow,
      timestampEcho: answering ? receiver.timestampRecent : 0,
      windowScale: connection.scaling ? receiver.shift : -1,
    },
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
  if (!connection.synRepeated) sender.next = advance(sender.initial, 1);
  recovery.timeoutAt = host.now + recovery.rtt.backedOffMs(recovery.backoffs);
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
  recovery.timeoutAt = NEVER;
  recovery.backoffs = 0;
  recovery.retries = 0;
  connection.updateSegment();
  // RFC 5681 §3.1: a lost SYN says that the path is bad; RFC 6928 §2 otherwise.
  congestion.window = (lostSyn ? 1 : config.initialWindow) * sender.segment;
  congestion.segment = sender.segment;
  connection.waitingSince = host.now;
  connection.keepAlive.restart(host.now, true);
  host.schedule(connection);
}
