import type { IpAddress } from '../address/index.ts';
import { NetError, type NetErrorCode } from '../errors.ts';
import { type IpPath, PROTOCOL_TCP } from '../ip.ts';
import type { FlowStats } from '../stack.ts';
import type { TcpConfig } from './config.ts';
import type { ConnectionTuple, Endpoint } from './demux.ts';
import { emitBare, emitTimestamped, finish, writeHeader } from './emit.ts';
import type { Borrower, ConnectionHandler } from './handler.ts';
import { sendSyn } from './handshake.ts';
import type { TcpHost } from './host.ts';
import { receiveSegment } from './input.ts';
import { KeepAlive } from './keepalive.ts';
import * as options from './options.ts';
import { ParkableConnection } from './parking/parkable.ts';
import type { WorkingState } from './parking/working.ts';
import type { Segment } from './segment.ts';
import { sizeSegments } from './segment-size.ts';
import { type Emitter, INVITED, STALLED, UNKNOWN } from './sender.ts';
import * as states from './state.ts';
import { countEnded, statsOf } from './stats.ts';
import { armNearest, onDeadline } from './timeouts.ts';
import { trace } from './trace.ts';
import { ACK, HEADER, RST } from './wire.ts';

/** RFC 9293 §3.7.1: what a peer that announces nothing takes. */
const DEFAULT_MSS_IPV4 = 536;
const DEFAULT_MSS_IPV6 = 1220;
/** What `write` queues at least before it asks to wait. */
const LEAST_SEND_BUFFER = 256 << 10;
/** Between answers to segments that are unacceptable and carry nothing. */
const BARE_ANSWER_MS = 500;
/** ECT(0) (RFC 3168 §5). */
const ECN_CAPABLE = { trafficClass: 2 } as const;

/**
 * The transmission control block (RFC 9293 §3.3.1) with what the user and the
 * device do to it. How it begins is in `handshake.ts`, what segments do to it in
 * `input.ts`, what time does in `timeouts.ts`; the halves that send and receive
 * are `Sender` and `Receiver`.
 */
export class Connection extends ParkableConnection implements Endpoint, Emitter {
  readonly path: IpPath;
  readonly local: IpAddress;
  readonly localPort: number;
  readonly remote: IpAddress;
  readonly remotePort: number;
  tableNext: Endpoint | null = null;
  handler: ConnectionHandler | null = null;
  /** While set, what comes in order goes there; what does not waits to be taken, and `readable` tells of it. */
  borrower: Borrower | null = null;
  error: NetError | null = null;
  /** Made for who turns it on. */
  keepAlive: KeepAlive | null = null;

  constructor(host: TcpHost, config: TcpConfig, tuple: ConnectionTuple) {
    super(host, config, tuple.path.headerLength === 40 ? DEFAULT_MSS_IPV6 : DEFAULT_MSS_IPV4);
    this.path = tuple.path;
    this.local = tuple.local;
    this.localPort = tuple.localPort;
    this.remote = tuple.remote;
    this.remotePort = tuple.remotePort;
  }

  get stateName(): string {
    return states.stateName(this.state);
  }

  /** Bytes of IP packet that go at once: the path's, or what a black hole was found to let through. */
  get pathMtu(): number {
    const { pathProbe } = this.sender;
    return pathProbe === null ? this.path.mtu : Math.min(this.path.mtu, pathProbe.mtu);
  }

  /** SND.MSS that we announce (RFC 9293 §3.7.1): what our interface takes, whatever the path. */
  get announcedMss(): number {
    return Math.min(this.config.maxSegment, this.path.interfaceMtu - this.path.headerLength - HEADER);
  }

  // ---------------------------------------------------------------- the user's calls

  get readableBytes(): number {
    return this.isParked ? 0 : this.receiver.queue.length;
  }

  /** The peer's FIN has come and everything before it has been taken. */
  get endOfStream(): boolean {
    if (this.isParked) return !states.receiveIsOpen(this.state);
    return this.receiver.finished && this.receiver.queue.length === 0;
  }

  /** All that was sent, FIN included, has been acknowledged. */
  get drained(): boolean {
    return this.isParked || this.sender.drained;
  }

  /** The next bytes in order, at most `maxBytes`; null if there are none now. */
  take(maxBytes = 0x7fffffff): Uint8Array | null {
    if (this.isParked) return null;
    const { receiver, host } = this;
    const chunk = receiver.queue.take(maxBytes);
    if (chunk === null) return null;
    this.accountMemory();
    // Unread data was what kept it from being parked.
    if (receiver.queue.length === 0 && !this.isOver) this.watch();
    if (states.receiveIsOpen(this.state)) {
      this.noteMemory();
      receiver.taken(chunk.length, host, this.sender.recovery.rtt);
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

  /** Tells the receiving half how much memory there is. */
  noteMemory(): void {
    const { receiver, host } = this;
    receiver.frugal = host.isShortOfMemory;
    receiver.share = host.memoryShare;
  }

  /** Tells the stack how much is held for our reader; what a connection that is over has left is the reader's own. */
  accountMemory(): void {
    const held = this.isOver ? 0 : this.receiver.held;
    const { awake } = this;
    this.host.memory += held - awake.accounted;
    awake.accounted = held;
  }

  /** Queues `data` by reference. Throws `EPIPE` once sending is over, or what ended the connection. */
  send(data: Uint8Array): void {
    if (this.error !== null) throw this.error;
    if (this.sender.finQueued || this.state === states.CLOSED) throw this.#failure('EPIPE', 'write');
    if (this.sender.drained) this.#beginWaiting();
    this.sender.checkApplicationLimited(this.host);
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
    const { host } = this;
    host.orphans++;
    if (this.lingerMs === 0 || this.receiver.queue.length > 0) {
      this.abort();
      return;
    }
    if (host.orphans > this.config.maxOrphans) {
      host.counters.orphansReset++;
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
    this.host.touch();
    this.keepAlive ??= new KeepAlive(this.config);
    this.keepAlive.set(enable ? idleMs : 0, intervalMs, probes);
    this.keepAlive.restart(this.host.now, states.isSynchronized(this.state));
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
    const { awake } = this;
    awake.lastReceivedAt = this.host.now;
    awake.receiver.segmentsReceived++;
    this.keepAlive?.heard();
    receiveSegment(this, awake, segment);
    if (this.state !== states.CLOSED) this.host.schedule(this);
  }

  // ---------------------------------------------------------------- sending

  /** Whether an unacceptable segment without text may be answered now (RFC 5961 §7, per connection). */
  mayAnswerBare(): boolean {
    const { now } = this.host;
    const { awake } = this;
    if (now - awake.answeredBareAt < BARE_ANSWER_MS) return false;
    awake.answeredBareAt = now;
    return true;
  }

  /** Sends all that may go now. */
  output(): void {
    if (this.state === states.CLOSED) return;
    if (this.state === states.SYN_SENT || this.state === states.SYN_RECEIVED) {
      if (this.synPending) sendSyn(this);
      // Where the SYN-ACK is out already, a challenge or duplicate is answered by itself.
      else if (this.receiver.ackNow && this.state === states.SYN_RECEIVED) this.#sendAck();
      // The answer to data that came with the SYN need not wait for the handshake (RFC 7413 §4.2.2).
      if (this.state === states.SYN_RECEIVED && this.fastOpen === 'accepted' && !this.synPending) {
        if (this.sender.output(this.host, this, this.selective) === STALLED) this.host.stall(this);
      }
    } else {
      sizeSegments(this);
      const { awake } = this;
      const { sender } = awake;
      if (sender.output(this.host, this, awake.selective) === STALLED) this.host.stall(this);
      if (sender.nextWrite === INVITED) {
        // A tail waited for what the application does in this turn, and no longer.
        sender.nextWrite = UNKNOWN;
        if (sender.unsent > 0) this.host.schedule(this);
      }
      this.#acknowledge();
    }
    this.#rearm();
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
    const { awake, path } = this;
    const { receiver, sender, ecn, timestamps } = awake;
    const blocks = awake.selective ? receiver.sackBlocks(timestamps) : 0;
    const header = HEADER + (timestamps ? options.TIMESTAMPS_LENGTH : 0) + options.sackLength(blocks);
    const frame = path.reserve(PROTOCOL_TCP, header + length);
    if (frame === null) return false;
    const window = receiver.advertise(awake.scaling);
    // Only data that is new carries ECT (RFC 3168 §6.1.5), and no window probe does (§6.1.6).
    const isNew = length > 0 && sequence === sender.next && length <= sender.window - sender.outstanding;
    const marked = flags | ecn.flags(isNew);
    writeHeader(frame, this.localPort, this.remotePort, sequence, receiver.next, header, marked, window);
    let at = frame.start + HEADER;
    if (timestamps)
      at = options.writeTimestamps(frame.bytes, at, this.timestampNow, receiver.timestampRecent);
    if (blocks > 0) at = receiver.writeSack(frame.bytes, at, blocks);
    if (length > 0) {
      // A probe of the path is one packet, however large.
      const isLarge = length > sender.segment && length !== sender.pathProbeLength;
      if (isLarge) frame.segmentSize = sender.segment;
      const { pieces } = frame;
      if (!isLarge || pieces === null || !sender.queue.gatherTo(pieces, at, offset, length)) {
        sender.queue.copyTo(frame.bytes, at, offset, length);
      }
    }
    finish(path, frame, ecn.agreed && isNew ? ECN_CAPABLE : undefined);
    if (length > 0) trace(this, isNew ? 'send' : 'retransmit', sequence, length);
    receiver.acknowledged(length > 0);
    this.host.counters.outSegs++;
    return true;
  }

  /** The marks of a received segment: its own, and what it says of ours. */
  takeMarks(awake: WorkingState, segment: Segment): void {
    const { sender, receiver, ecn } = awake;
    if (ecn.receive(segment)) receiver.ackNow = true;
    if (ecn.mustReduce(segment, sender.next)) {
      sender.recovery.onCongestionMark(sender.una, sender.next, this.host);
    }
  }

  // ---------------------------------------------------------------- time

  /** Arms the one timer for the nearest of all deadlines. */
  #rearm(): void {
    if (this.isOver) return;
    armNearest(this);
  }

  onTimer(): void {
    onDeadline(this);
  }

  get isOver(): boolean {
    return this.state === states.CLOSED;
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
    // The user may abort at any time after the latest batch.
    host.touch();
    // A full device drops it: the peer will get one for its next segment.
    const { path, localPort, remotePort } = this;
    if (this.timestamps) {
      // RFC 7323 §3.2: a reset should carry them too.
      const echo = receiver.timestampRecent;
      const stamp = this.timestampNow;
      emitTimestamped(path, localPort, remotePort, sender.next, receiver.next, RST | ACK, 0, stamp, echo);
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

  /** Nobody answers any more: resets, in case it is only one way that is dead. */
  giveUp(): void {
    this.#reset();
    this.fail(this.softError ?? 'ETIMEDOUT');
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
    if (this.detached) this.host.orphans--;
    this.disarm();
    this.host.lot.forget(this.awake);
    this.host.remove(this);
    countEnded(this, this.host.counters);
    this.sender.clear();
    this.receiver.end(this.detached);
    this.accountMemory();
    const { listener, handler } = this;
    this.listener = null;
    listener?.forget(this);
    this.fastOpenListener?.settled(this);
    this.fastOpenListener = null;
    handler?.closed(this, error);
  }

  get stats(): FlowStats {
    return this.glance(() => statsOf(this));
  }
}
