import type { IpAddress } from '../address/index.ts';
import { NetError, type NetErrorCode } from '../errors.ts';
import { type IpErrorKind, type IpPath, PROTOCOL_TCP } from '../ip.ts';
import { ETHERNET_HEADER } from '../netif/netif.ts';
import type { FlowStats } from '../stack.ts';
import { Timer } from '../time/timers.ts';
import type { TcpConfig } from './config.ts';
import { Cubic } from './congestion/cubic.ts';
import { NewReno } from './congestion/newreno.ts';
import type { Endpoint } from './demux.ts';
import { emitBare, emitBareTimestamped, emitSyn, finish, writeHeader } from './emit.ts';
import type { TcpHost } from './host.ts';
import { receiveSegment } from './input.ts';
import type { ListenSocket } from './listener.ts';
import * as options from './options.ts';
import { PathProbe } from './path-probe.ts';
import { Receiver } from './receiver.ts';
import type { Segment } from './segment.ts';
import { type Emitter, Sender, STALLED } from './sender.ts';
import { advance, before } from './sequence.ts';
import type { State } from './state.ts';
import * as states from './state.ts';
import { trace } from './trace.ts';
import { ACK, CWR, ECE, HEADER, RST, SYN } from './wire.ts';

const NEVER = Number.POSITIVE_INFINITY;
/** RFC 9293 §3.7.1: what a peer that announces nothing takes, IPv4 . */
const DEFAULT_MSS_IPV4 = 536;
const DEFAULT_MSS_IPV6 = 1220;
/** Below this a peer's announcement is an attack on our efficiency, not a need. */
const LEAST_MSS = 88;
/** What `write` queues at least before it asks to wait. */
const LEAST_SEND_BUFFER = 256 << 10;
/** ECT(0) (RFC 3168 §5). */
const ECN_CAPABLE = { trafficClass: 2 } as const;

/** Who is told of a connection's events: a `Flow`, or a test. */
export interface ConnectionHandler {
  connected(connection: Connection): void;
  /** Bytes, or the end of the stream, can be taken. */
  readable(connection: Connection): void;
  /** The peer has acknowledged data: there may be room again. */
  writable(connection: Connection): void;
  /** The peer has acknowledged our FIN, and so everything. */
  finished(connection: Connection): void;
  /** The connection is over; what was received can still be taken. */
  closed(connection: Connection, error: NetError | null): void;
}

export interface ConnectionTuple {
  readonly path: IpPath;
  readonly local: IpAddress;
  readonly localPort: number;
  readonly remote: IpAddress;
  readonly remotePort: number;
}

/**
 * The transmission control block (RFC 9293 §3.3.1) with what the user and the
 * timers do to it. What segments do to it is in `input.ts`; the halves that send
 * and receive are `Sender` and `Receiver`.
 */
export class Connection implements Endpoint, Emitter {
  readonly host: TcpHost;
  readonly config: TcpConfig;
  readonly path: IpPath;
  readonly local: IpAddress;
  readonly localPort: number;
  readonly remote: IpAddress;
  readonly remotePort: number;
  tableNext: Endpoint | null = null;
  handler: ConnectionHandler | null = null;
  /** Where a connection that a SYN opened waits to be accepted. */
  listener: ListenSocket | null = null;

  state: State = states.CLOSED;
  error: NetError | null = null;
  /** What ICMP told, in case nothing better comes (RFC 1122 §4.2.3.9). */
  softError: NetErrorCode | null = null;
  readonly sender: Sender;
  readonly receiver: Receiver;
  /** In `TcpHost`'s list of connections whose `output` is due; waiting for the device. */
  scheduled = false;
  stalled = false;

  /** Agreed on in the SYNs. */
  scaling: boolean;
  timestamps: boolean;
  selective: boolean;
  timestampOffset = 0;
  /** SYN or SYN-ACK is to be sent at the next output. */
  synPending = false;
  synSentAt = 0;
  #synRepeated = false;
  /** Explicit congestion notification was agreed on (RFC 3168). */
  ecn = false;
  /** The peer's packets were marked, and it has not answered that yet: every ACK says so. */
  #echoMark = false;
  /** We have reduced because of a mark, and the next new data says so. */
  #reducedPending = false;
  /** Marks in ACKs up to here belong to the reduction that was made. */
  #reducedUntil = 0;
  #accounted = 0;
  /** What the peer's SYN announced. */
  peerMss: number;
  #pathMtu = 0;
  #optionBytes = -1;

  /** The user has closed: nobody will read. */
  detached = false;
  /** -1: close is orderly; 0: close resets. */
  lingerMs = -1;
  userTimeoutMs: number;
  /** When the oldest unacknowledged byte began to wait. */
  waitingSince = 0;
  finTimeoutAt = NEVER;

  #keepAliveIdleMs = 0;
  #keepAliveIntervalMs: number;
  #keepAliveProbes: number;
  #keepAliveSent = 0;
  #keepAliveAt = NEVER;
  lastReceivedAt = 0;

  readonly #timer: Timer;

  constructor(host: TcpHost, config: TcpConfig, tuple: ConnectionTuple) {
    this.host = host;
    this.config = config;
    this.path = tuple.path;
    this.local = tuple.local;
    this.localPort = tuple.localPort;
    this.remote = tuple.remote;
    this.remotePort = tuple.remotePort;
    this.scaling = config.windowScaling;
    this.timestamps = config.timestamps;
    this.selective = config.sack;
    this.userTimeoutMs = config.userTimeoutMs;
    this.#keepAliveIntervalMs = config.keepAliveIntervalMs;
    this.#keepAliveProbes = config.keepAliveProbes;
    this.peerMss = tuple.path.headerLength === 40 ? DEFAULT_MSS_IPV6 : DEFAULT_MSS_IPV4;
    const Algorithm = config.congestionControl === 'newreno' ? NewReno : Cubic;
    this.sender = new Sender(
      host.pool,
      config,
      new Algorithm(this.peerMss, config.initialWindow * this.peerMss),
    );
    this.receiver = new Receiver(config);
    if (config.windowScaling) this.receiver.shift = Receiver.shiftFor(config.receiveBuffer);
    this.#timer = new Timer(host.timers, this);
  }

  get stateName(): string {
    return states.stateName(this.state);
  }

  /** SND.MSS that we announce (RFC 9293 §3.7.1): what our interface takes, whatever the path. */
  get announcedMss(): number {
    return Math.min(this.config.maxSegment, this.path.interfaceMtu - this.path.headerLength - HEADER);
  }

  // ---------------------------------------------------------------- opening

  /** Active open: a SYN goes out with the next output. */
  open(initial: number, timestampOffset: number): void {
    this.timestampOffset = timestampOffset;
    this.sender.begin(initial);
    this.#reducedUntil = initial;
    this.state = states.SYN_SENT;
    this.synPending = true;
    this.waitingSince = this.host.now;
    this.host.schedule(this);
  }

  /** Passive open: `segment` is the SYN. */
  answer(segment: Segment, initial: number, timestampOffset: number): void {
    this.timestampOffset = timestampOffset;
    this.sender.begin(initial);
    this.#reducedUntil = initial;
    this.takeSyn(segment, false);
    this.state = states.SYN_RECEIVED;
    this.synPending = true;
    this.waitingSince = this.host.now;
    this.host.schedule(this);
  }

  /**
   * The ACK of a SYN cookie has come: `syn` is the SYN as the cookie remembers
   * it. What follows is as if our SYN-ACK had been sent by this connection.
   */
  revive(syn: Segment, initial: number, timestampOffset: number): void {
    this.timestampOffset = timestampOffset;
    this.sender.begin(initial);
    this.sender.next = advance(initial, 1);
    this.#reducedUntil = initial;
    this.takeSyn(syn, false);
    this.state = states.SYN_RECEIVED;
    this.receiver.advertise(false);
    this.#synRepeated = true;
    this.waitingSince = this.host.now;
  }

  /** Takes sequence number and options of the peer's SYN. */
  takeSyn(segment: Segment, synWasSent: boolean): void {
    const { receiver, sender, host } = this;
    const { mss, windowScale, sackPermitted, hasTimestamps, timestampValue } = segment.options;
    receiver.begin(segment.sequence, synWasSent ? Math.min(receiver.limit, 0xffff) : 0);
    if (mss >= 0) this.peerMss = Math.max(mss, LEAST_MSS);
    // RFC 7323 §2.2: scaling only if both ends ask for it.
    if (windowScale >= 0 && this.scaling) {
      sender.shift = windowScale;
    } else {
      this.scaling = false;
      receiver.shift = 0;
    }
    // RFC 3168 §6.1.1: a SYN asks with both flags, a SYN-ACK agrees with one.
    const mark = segment.flags & (ECE | CWR);
    if (segment.hasAck) this.ecn = this.config.ecn === true && mark === ECE;
    else this.ecn = this.config.ecn !== false && mark === (ECE | CWR);
    this.selective &&= sackPermitted;
    this.timestamps &&= hasTimestamps;
    if (this.timestamps) {
      receiver.timestampRecent = timestampValue;
      receiver.timestampRecentAt = host.now;
    }
    // The window in a SYN is never scaled.
    sender.window = segment.window;
    sender.maxWindow = segment.window;
    sender.windowSequence = segment.sequence;
    sender.windowAcknowledgment = segment.hasAck ? segment.acknowledgment : sender.initial;
  }

  /** The handshake is done. `lostSyn`: a SYN of ours had to be sent again. */
  establish(): void {
    const { sender } = this;
    const { recovery, congestion } = sender;
    const lostSyn = recovery.backoffs > 0;
    this.state = sender.finQueued ? states.FIN_WAIT_1 : states.ESTABLISHED;
    if (lostSyn) recovery.rtt.restartAfterLostSyn();
    // A SYN-ACK that answered two SYNs tells no time (Karn).
    else if (!this.#synRepeated) recovery.rtt.sample(this.host.now - this.synSentAt);
    recovery.timeoutAt = NEVER;
    recovery.backoffs = 0;
    recovery.retries = 0;
    this.updateSegment();
    // RFC 5681 §3.1: a lost SYN says that the path is bad; RFC 6928 §2 otherwise.
    congestion.window = (lostSyn ? 1 : this.config.initialWindow) * sender.segment;
    congestion.segment = sender.segment;
    this.waitingSince = this.host.now;
    this.#touchKeepAlive();
    this.host.schedule(this);
  }

  // ---------------------------------------------------------------- the user's calls

  get readableBytes(): number {
    return this.receiver.queue.length;
  }

  /** The peer's FIN has come and everything before it has been taken. */
  get endOfStream(): boolean {
    return this.receiver.finished && this.receiver.queue.length === 0;
  }

  /** The next bytes in order, at most `maxBytes`; null if there are none now. */
  take(maxBytes = 0x7fffffff): Uint8Array | null {
    const { receiver, host } = this;
    const chunk = receiver.queue.take(maxBytes);
    if (chunk === null) return null;
    this.accountMemory();
    if (states.receiveIsOpen(this.state)) {
      receiver.taken(chunk.length, host.now, this.sender.recovery.rtt.smoothedMs);
      if (receiver.wantsWindowUpdate()) host.schedule(this);
    }
    return chunk;
  }

  /** Bytes that may be queued before the application should wait. */
  get sendSpace(): number {
    const { sendBuffer, autoTuning } = this.config;
    const { congestion, queue } = this.sender;
    // Two windows keep the network busy while the application is told and answers.
    const wanted = autoTuning ? Math.max(LEAST_SEND_BUFFER, 2 * congestion.window) : sendBuffer;
    return Math.max(0, Math.min(sendBuffer, wanted) - queue.length);
  }

  /** Tells the stack how much is held for our reader. */
  accountMemory(): void {
    const { held } = this.receiver;
    this.host.memory += held - this.#accounted;
    this.#accounted = held;
  }

  /** Queues `data` by reference. Throws `EPIPE` once sending is over, or what ended the connection. */
  send(data: Uint8Array): void {
    if (this.error !== null) throw this.error;
    if (this.sender.finQueued || this.state === states.CLOSED) throw this.#failure('EPIPE', 'write');
    if (this.sender.drained) this.#beginWaiting();
    this.sender.queue.push(data);
    this.host.schedule(this);
  }

  /** The first that is to be acknowledged after a time without: the user timeout counts from now. */
  #beginWaiting(): void {
    // A call of the user's comes at any time after the latest batch.
    this.host.touch();
    this.waitingSince = this.host.now;
  }

  /** CLOSE of RFC 9293 §3.10.4 for the sending half: FIN after what is queued. */
  shutdown(): void {
    if (this.sender.finQueued || this.state === states.CLOSED) return;
    if (this.state === states.SYN_SENT) {
      this.#end(null);
      return;
    }
    if (this.sender.drained) this.#beginWaiting();
    this.sender.finQueued = true;
    if (this.state === states.ESTABLISHED) this.state = states.FIN_WAIT_1;
    else if (this.state === states.CLOSE_WAIT) this.state = states.LAST_ACK;
    this.host.schedule(this);
  }

  /** Closes both ways; nobody will read any more. Resets if data was not read (RFC 2525 §2.17) or by linger. */
  close(): void {
    if (this.state === states.CLOSED || this.detached) return;
    this.detached = true;
    if (this.lingerMs === 0 || this.receiver.queue.length > 0) {
      this.abort();
      return;
    }
    this.shutdown();
    if (this.state === states.FIN_WAIT_2) this.startFinTimeout();
  }

  /** ABORT (RFC 9293 §3.10.5). */
  abort(): void {
    this.#reset();
    this.#end(this.#failure('ECONNABORTED', 'abort'));
  }

  setKeepAlive(
    enable: boolean,
    idleMs = this.config.keepAliveIdleMs,
    intervalMs = this.config.keepAliveIntervalMs,
    probes = this.config.keepAliveProbes,
  ): void {
    this.#keepAliveIdleMs = enable ? idleMs : 0;
    this.#keepAliveIntervalMs = intervalMs;
    this.#keepAliveProbes = probes;
    this.#touchKeepAlive();
    this.#rearm();
  }

  get noDelay(): boolean {
    return this.sender.noDelay;
  }

  set noDelay(noDelay: boolean) {
    this.sender.noDelay = noDelay;
    if (states.isSynchronized(this.state)) this.host.schedule(this);
  }

  get cork(): boolean {
    return this.sender.cork;
  }

  set cork(cork: boolean) {
    this.sender.cork = cork;
    if (states.isSynchronized(this.state)) this.host.schedule(this);
  }

  // ---------------------------------------------------------------- segments

  receive(segment: Segment): void {
    this.lastReceivedAt = this.host.now;
    this.#keepAliveSent = 0;
    this.receiver.segmentsReceived++;
    receiveSegment(this, segment);
    if (this.state !== states.CLOSED) this.host.schedule(this);
  }

  /** An error report about a segment of ours (RFC 5461, RFC 5927): true if it fits what is in flight. */
  onIpError(kind: IpErrorKind, sequence: number): boolean {
    const { sender } = this;
    // RFC 5927 §4.1: SND.UNA =< SEG.SEQ < SND.NXT.
    if (before(sequence, sender.una) || !before(sequence, sender.next)) return false;
    const opening = this.state === states.SYN_SENT || this.state === states.SYN_RECEIVED;
    switch (kind) {
      case 'packet-too-big':
        // The path has the new MTU when this turn is over.
        this.host.schedule(this);
        return true;
      case 'port-unreachable':
      case 'protocol-unreachable':
        // Hard by RFC 1122 §4.2.3.9, but only while nobody has answered (RFC 5927 §5.2).
        if (opening) this.fail('ECONNREFUSED');
        return true;
      case 'neighbour-unreachable':
        // Whoever connects is told; a half-open connection of a listener waits for its SYN-ACK's retries.
        if (this.state === states.SYN_SENT) this.fail('EHOSTUNREACH');
        else this.softError = 'EHOSTUNREACH';
        return true;
      case 'net-unreachable':
        this.softError = 'ENETUNREACH';
        return true;
      case 'host-unreachable':
      case 'source-route-failed':
      case 'prohibited':
      case 'time-exceeded':
        this.softError = 'EHOSTUNREACH';
        return true;
      default:
        return true;
    }
  }

  // ---------------------------------------------------------------- sending

  /** Sends all that may go now. */
  output(): void {
    if (this.state === states.CLOSED) return;
    if (this.state === states.SYN_SENT || this.state === states.SYN_RECEIVED) {
      if (this.synPending) this.#sendSyn();
      // Where the SYN-ACK is out already, a challenge or duplicate is answered by itself.
      else if (this.receiver.ackNow && this.state === states.SYN_RECEIVED) this.#sendAck();
    } else {
      this.updateSegment();
      if (this.sender.output(this.host.now, this, this.selective) === STALLED) this.host.stall(this);
      this.#acknowledge();
    }
    this.#rearm();
  }

  #sendSyn(): void {
    const { receiver, sender, path, host } = this;
    const answering = this.state === states.SYN_RECEIVED;
    const window = answering ? receiver.advertise(false) : Math.min(receiver.limit, 0xffff);
    const sent = emitSyn(
      path,
      this.localPort,
      this.remotePort,
      sender.initial,
      answering ? receiver.next : 0,
      this.#synFlags(answering),
      window,
      {
        mss: this.announcedMss,
        sackPermitted: this.selective,
        timestamps: this.timestamps,
        timestampValue: this.timestampNow,
        timestampEcho: answering ? receiver.timestampRecent : 0,
        windowScale: this.scaling ? receiver.shift : -1,
      },
    );
    if (!sent) {
      host.stall(this);
      return;
    }
    host.counters.outSegs++;
    if (answering) receiver.acknowledged(false);
    this.synPending = false;
    this.synSentAt = host.now;
    this.#synRepeated = sender.next !== sender.initial;
    if (!this.#synRepeated) sender.next = advance(sender.initial, 1);
    const { recovery } = sender;
    recovery.timeoutAt = host.now + recovery.rtt.backedOffMs(recovery.backoffs);
  }

  #synFlags(answering: boolean): number {
    if (answering) return SYN | ACK | (this.ecn ? ECE : 0);
    // A SYN that got lost may have been dropped for its flags (RFC 3168 §6.1.1.1).
    return this.config.ecn === true && this.sender.recovery.backoffs < 2 ? SYN | ECE | CWR : SYN;
  }

  get timestampNow(): number {
    return (Math.trunc(this.host.now) + this.timestampOffset) | 0;
  }

  #acknowledge(): void {
    const { receiver, host } = this;
    if (
      !receiver.mustAcknowledge(host.now, this.config.delayedAckMs) &&
      !(states.receiveIsOpen(this.state) && receiver.wantsWindowUpdate())
    ) {
      return;
    }
    let count = Math.max(1, receiver.duplicatesOwed);
    receiver.duplicatesOwed = 0;
    for (; count > 0; count--) {
      if (!this.#sendAck()) {
        receiver.ackNow = true;
        host.stall(this);
        return;
      }
    }
  }

  #sendAck(): boolean {
    return this.emit(ACK, this.sender.next, 0, 0);
  }

  emit(flags: number, sequence: number, offset: number, length: number): boolean {
    const { receiver, path } = this;
    const { timestamps } = this;
    const blocks = this.selective ? receiver.sackBlocks(timestamps) : 0;
    const header = HEADER + (timestamps ? options.TIMESTAMPS_LENGTH : 0) + options.sackLength(blocks);
    const frame = path.reserve(PROTOCOL_TCP, header + length);
    if (frame === null) return false;
    const window = receiver.advertise(this.scaling);
    // Only data that is new carries ECT (RFC 3168 §6.1.5).
    // Not the byte of a window probe, which is beyond the window (RFC 3168 §6.1.6).
    const isNew =
      length > 0 && sequence === this.sender.next && length <= this.sender.window - this.sender.outstanding;
    const marked = this.ecn ? flags | this.#ecnFlags(isNew) : flags;
    writeHeader(frame, this.localPort, this.remotePort, sequence, receiver.next, header, marked, window);
    let at = frame.start + HEADER;
    if (timestamps)
      at = options.writeTimestamps(frame.bytes, at, this.timestampNow, receiver.timestampRecent);
    if (blocks > 0) at = receiver.writeSack(frame.bytes, at, blocks);
    if (length > 0) {
      this.sender.queue.copyTo(frame.bytes, at, offset, length);
      // A probe of the path is one packet, however large.
      if (length > this.sender.segment && length !== this.sender.pathProbeLength) {
        frame.segmentSize = this.sender.segment;
      }
    }
    finish(path, frame, this.ecn && isNew ? ECN_CAPABLE : undefined);
    if (length > 0) trace(this, isNew ? 'send' : 'retransmit', sequence, length);
    receiver.acknowledged(length > 0);
    this.host.counters.outSegs++;
    return true;
  }

  #ecnFlags(isNew: boolean): number {
    let flags = this.#echoMark ? ECE : 0;
    if (isNew && this.#reducedPending) {
      flags |= CWR;
      this.#reducedPending = false;
    }
    return flags;
  }

  /** The marks of a received segment: its own, and what it says of ours (RFC 3168 §6.1.2, §6.1.3). */
  takeMarks(segment: Segment): void {
    if (!this.ecn) return;
    const { sender, receiver } = this;
    if ((segment.flags & CWR) !== 0) this.#echoMark = false;
    if (segment.congestionMarked && !this.#echoMark) {
      this.#echoMark = true;
      receiver.ackNow = true;
    }
    if ((segment.flags & ECE) === 0 || segment.hasSyn || before(segment.acknowledgment, this.#reducedUntil))
      return;
    this.#reducedUntil = sender.next;
    this.#reducedPending = true;
    sender.recovery.onCongestionMark(sender.una, sender.next, this.host.now);
  }

  /** Payload bytes per segment, after the path MTU, the peer's MSS and the options that go with data now. */
  updateSegment(): void {
    const { path, receiver, sender } = this;
    const optionBytes =
      (this.timestamps ? options.TIMESTAMPS_LENGTH : 0) +
      (this.selective ? options.sackLength(receiver.sackBlocks(this.timestamps)) : 0);
    const { pathProbe } = sender;
    const mtu = pathProbe === null ? path.mtu : Math.min(path.mtu, pathProbe.mtu);
    if (pathProbe !== null) {
      const wanted = pathProbe.wanted(path.mtu, this.host.now);
      sender.pathProbeLength = wanted === 0 ? 0 : wanted - path.headerLength - HEADER - optionBytes;
    }
    if (mtu === this.#pathMtu && optionBytes === this.#optionBytes) return;
    const hasShrunk = mtu < this.#pathMtu;
    this.#pathMtu = mtu;
    this.#optionBytes = optionBytes;
    const most = Math.min(this.peerMss, mtu - path.headerLength - HEADER, this.config.maxSegment);
    sender.segment = Math.max(1, most - optionBytes);
    sender.congestion.segment = sender.segment;
    const { segmentation } = path.transmit;
    const room = Math.min(segmentation - ETHERNET_HEADER, 0xffff) - path.headerLength - HEADER - optionBytes;
    sender.largeSegment = segmentation > 0 ? room - (room % sender.segment) : 0;
    if (hasShrunk) sender.onPathShrunk();
  }

  // ---------------------------------------------------------------- time

  /** Arms the one timer for the nearest of all deadlines. */
  #rearm(): void {
    if (this.state === states.CLOSED) return;
    const { sender, receiver } = this;
    let at = Math.min(
      sender.recovery.deadline,
      sender.persistAt,
      sender.pacedUntil,
      receiver.ackDeadline,
      this.finTimeoutAt,
      this.#keepAliveAt,
    );
    if (this.userTimeoutMs > 0 && !sender.drained) at = Math.min(at, this.waitingSince + this.userTimeoutMs);
    if (at === NEVER) this.#timer.cancel();
    else this.#timer.arm(at);
  }

  onTimer(): void {
    const { host, sender, receiver } = this;
    host.touch();
    const { now } = host;
    const { recovery } = sender;
    if (now >= this.finTimeoutAt) {
      this.#end(null);
      return;
    }
    if (this.userTimeoutMs > 0 && !sender.drained && now >= this.waitingSince + this.userTimeoutMs) {
      this.#reset();
      this.fail(this.softError ?? 'ETIMEDOUT');
      return;
    }
    if (now >= receiver.ackDeadline) {
      // The application did not answer in time: what it receives is acknowledged promptly for a while.
      receiver.ackNow = true;
      receiver.ackDeadline = NEVER;
      receiver.interactive = false;
    }
    if (now >= recovery.reorderAt) recovery.onReorderingTimeout(sender.una, sender.next, now);
    if (now >= recovery.probeAt && recovery.probeAt <= recovery.timeoutAt) {
      trace(this, 'probe');
      sender.sendLossProbe(now, this, this.selective);
    } else if (now >= recovery.timeoutAt) {
      this.#onRetransmissionTimeout(now);
    }
    if (this.isOver) return;
    if (now >= sender.persistAt) this.#onPersistTimeout(now);
    if (this.isOver) return;
    if (now >= this.#keepAliveAt) this.#onKeepAlive(now);
    if (this.isOver) return;
    this.output();
  }

  get isOver(): boolean {
    return this.state === states.CLOSED;
  }

  #onRetransmissionTimeout(now: number): void {
    const { sender, host } = this;
    const { recovery } = sender;
    host.counters.timeouts++;
    if (this.state === states.SYN_SENT || this.state === states.SYN_RECEIVED) {
      const most = this.state === states.SYN_SENT ? this.config.synRetries : this.config.synAckRetries;
      if (recovery.retries >= most) {
        this.fail(this.softError ?? 'ETIMEDOUT');
        return;
      }
      recovery.retries++;
      recovery.backoffs++;
      // Also where the device has no room for it now.
      recovery.timeoutAt = now + recovery.rtt.backedOffMs(recovery.backoffs);
      this.synPending = true;
      host.counters.retransSegs++;
      return;
    }
    if (recovery.retries >= this.config.dataRetries) {
      this.#reset();
      this.fail(this.softError ?? 'ETIMEDOUT');
      return;
    }
    this.#suspectPath(now);
    recovery.onTimeout(sender.una, sender.next, now);
    trace(this, 'timeout');
  }

  /** A path that drops every full-sized segment in silence is a black hole (RFC 4821 §7.7). */
  #suspectPath(now: number): void {
    const { sender, path } = this;
    const { recovery } = sender;
    const { first, pool } = recovery.scoreboard;
    // The head was sent once at least and timed out `backoffs` times before this one.
    if (first < 0 || pool.end[first]! - pool.sequence[first]! < sender.segment) return;
    if (sender.pathProbe === null) {
      sender.pathProbe = PathProbe.suspect(recovery.backoffs + 1, path.mtu, now);
      if (sender.pathProbe === null) return;
    } else if (recovery.backoffs === 0 || !sender.pathProbe.lower(now)) {
      return;
    }
    this.updateSegment();
  }

  #onPersistTimeout(now: number): void {
    const { sender } = this;
    if (sender.persistRetries >= this.config.dataRetries) {
      this.#reset();
      this.fail(this.softError ?? 'ETIMEDOUT');
      return;
    }
    sender.sendWindowProbe(now, this, this.selective);
  }

  #touchKeepAlive(): void {
    const due = this.#keepAliveIdleMs > 0 && states.isSynchronized(this.state);
    this.#keepAliveAt = due ? this.host.now + this.#keepAliveIdleMs : NEVER;
  }

  /** RFC 9293 §3.8.4. */
  #onKeepAlive(now: number): void {
    const idleAt = this.lastReceivedAt + this.#keepAliveIdleMs;
    // Data in flight has timers of its own; a peer heard of lately needs no probe.
    if (this.sender.outstanding > 0 || (this.#keepAliveSent === 0 && now < idleAt)) {
      this.#keepAliveAt = Math.max(idleAt, now + 1);
      if (this.sender.outstanding > 0) this.#keepAliveAt = now + this.#keepAliveIdleMs;
      return;
    }
    if (this.#keepAliveSent >= this.#keepAliveProbes) {
      this.#reset();
      this.fail('ETIMEDOUT');
      return;
    }
    this.#keepAliveSent++;
    this.emit(ACK, advance(this.sender.next, -1), 0, 0);
    this.#keepAliveAt = now + this.#keepAliveIntervalMs;
  }

  startFinTimeout(): void {
    this.host.touch();
    this.finTimeoutAt = this.host.now + this.config.finTimeoutMs;
    this.#rearm();
  }

  // ---------------------------------------------------------------- the end

  /** Sends RST if the peer knows of us. */
  #reset(): void {
    if (this.state === states.CLOSED || this.state === states.SYN_SENT || this.state === states.TIME_WAIT)
      return;
    const { sender, receiver, host } = this;
    // A full device drops it: the peer will get one for its next segment.
    const { path, localPort, remotePort } = this;
    if (this.timestamps) {
      // RFC 7323 §3.2: a reset should carry them too.
      const echo = receiver.timestampRecent;
      const stamp = this.timestampNow;
      emitBareTimestamped(path, localPort, remotePort, sender.next, receiver.next, RST | ACK, stamp, echo);
    } else {
      emitBare(path, localPort, remotePort, sender.next, receiver.next, RST | ACK);
    }
    host.counters.outRsts++;
    if (this.state === states.ESTABLISHED || this.state === states.CLOSE_WAIT) host.counters.estabResets++;
  }

  /** Resets the peer because it sends what nobody will read (RFC 9293 §3.10.4, RFC 2525 §2.17). */
  refuseData(): void {
    this.#reset();
    this.#end(this.#failure('ECONNRESET', 'read'));
  }

  fail(code: NetErrorCode): void {
    const opening = this.state === states.SYN_SENT || this.state === states.SYN_RECEIVED;
    if (opening) this.host.counters.attemptFails++;
    this.#end(this.#failure(code, opening ? 'connect' : 'read'));
  }

  /** The peer is done, we are done, all is acknowledged: only TIME-WAIT is left, which needs no connection. */
  finishInTimeWait(): void {
    // The handler may have ended it meanwhile.
    if (this.isOver) return;
    this.host.enterTimeWait(this);
    this.#end(null);
  }

  finish(): void {
    this.#end(null);
  }

  #failure(code: NetErrorCode, syscall: string): NetError {
    return new NetError(code, { syscall, address: this.remote.toString(), port: this.remotePort });
  }

  #end(error: NetError | null): void {
    if (this.state === states.CLOSED) return;
    this.state = states.CLOSED;
    this.error ??= error;
    this.#timer.cancel();
    this.host.remove(this);
    const { recovery } = this.sender;
    const { counters } = this.host;
    counters.retransSegs += recovery.retransmits;
    counters.fastRecoveries += recovery.fastRecoveries;
    counters.spuriousRecoveries += recovery.spuriousRecoveries;
    counters.lossProbes += recovery.probes;
    counters.outOfOrder += this.receiver.outOfOrderSegments;
    counters.pruned += this.receiver.pruned;
    this.sender.clear();
    this.receiver.end(this.detached);
    this.accountMemory();
    const { listener, handler } = this;
    this.listener = null;
    listener?.forget(this);
    handler?.closed(this, error);
  }

  get stats(): FlowStats {
    const { sender, receiver } = this;
    const { recovery, congestion } = sender;
    const { rtt } = recovery;
    return {
      state: this.stateName,
      rttMs: rtt.smoothedMs,
      rttVarMs: rtt.varianceMs,
      minRttMs: rtt.hasSample ? rtt.minimumMs : 0,
      rtoMs: rtt.backedOffMs(recovery.backoffs),
      mss: sender.segment,
      cwnd: congestion.window,
      ssthresh: congestion.threshold,
      sendWindow: sender.window,
      receiveWindow: receiver.window,
      bytesInFlight: states.isSynchronized(this.state) ? sender.pipe : 0,
      bytesSent: sender.bytesSent,
      bytesAcked: sender.bytesAcknowledged,
      bytesReceived: receiver.bytesReceived,
      bytesRetransmitted: recovery.bytesRetransmitted,
      segmentsSent: sender.segmentsSent,
      segmentsReceived: receiver.segmentsReceived,
      retransmits: recovery.retransmits,
      sendQueue: sender.queue.length,
      receiveQueue: receiver.queue.length,
    };
  }
}
