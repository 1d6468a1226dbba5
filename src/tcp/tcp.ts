import type { IpAddress } from '../address/index.ts';
import { EMPTY, get16, get32 } from '../bytes/index.ts';
import { pseudoHeaderSum, sum } from '../checksum/index.ts';
import { NetError } from '../errors.ts';
import {
  type IpError,
  type IpLayer,
  type IpPacket,
  type IpPath,
  type IpProtocol,
  PROTOCOL_TCP,
} from '../ip.ts';
import { CHECKSUM_NONE, Frame } from '../netif/netif.ts';
import type { StackStatistics } from '../stack.ts';
import type { Clock } from '../time/clock.ts';
import { type Random, randomBelow } from '../time/random.ts';
import type { Timer, TimerWheel } from '../time/timers.ts';
import { TCP_DEFAULTS, type TcpConfig, type TcpOptions } from './config.ts';
import { Connection } from './connection.ts';
import { hideOptions, revealOptions, SynCookies } from './cookies.ts';
import { EndpointTable } from './demux.ts';
import { emitBare, emitSyn } from './emit.ts';
import { answer, open, revive } from './handshake.ts';
import { type TcpCounters, type TcpHost, tcpCounters } from './host.ts';
import { takeIpError } from './ip-errors.ts';
import { SequenceGenerator } from './isn.ts';
import { ListenSocket } from './listener.ts';
import { EphemeralPorts } from './ports.ts';
import { PayloadKeeper } from './receive-queue.ts';
import { Receiver } from './receiver.ts';
import { Delivery } from './recovery/scoreboard.ts';
import { SegmentPool } from './recovery/segment-pool.ts';
import { Segment } from './segment.ts';
import { advance } from './sequence.ts';
import { stateName } from './state.ts';
import { TimeWait, type TimeWaitHost, TimeWaitQueue } from './timewait.ts';
import * as wire from './wire.ts';

/** A cookie is good for two ticks of its clock. */
const COOKIE_LIFETIME_MS = 128_000;
/** The two ECN bits set (RFC 3168 §5). */
const CONGESTION_EXPERIENCED = 3;

export interface TcpLayerOptions {
  readonly ip: IpLayer;
  readonly clock: Clock;
  readonly timers: TimerWheel;
  readonly random: Random;
  readonly options?: TcpOptions;
}

export interface TcpListenOptions {
  /** Null or none: every address of ours. */
  readonly address?: IpAddress | null;
  /** 0 takes a free ephemeral port. */
  readonly port: number;
  readonly backlog?: number;
  readonly options?: TcpOptions;
}

export interface TcpConnectOptions {
  readonly remote: IpAddress;
  readonly remotePort: number;
  readonly local?: IpAddress;
  readonly localPort?: number;
  readonly options?: TcpOptions;
}

/** TCP over any network layer: demultiplexing, listeners, ports, TIME-WAIT, and the batch. */
export class TcpLayer implements IpProtocol, TcpHost, TimeWaitHost {
  readonly protocol = PROTOCOL_TCP;
  readonly timers: TimerWheel;
  readonly random: Random;
  readonly pool = new SegmentPool();
  readonly keeper = new PayloadKeeper();
  readonly delivery = new Delivery();
  readonly counters: TcpCounters = tcpCounters();
  readonly config: TcpConfig;
  now: number;
  memory = 0;

  readonly #ip: IpLayer;
  readonly #clock: Clock;
  readonly #table: EndpointTable;
  readonly #listeners = new Map<number, ListenSocket[]>();
  readonly #sequences: SequenceGenerator;
  readonly #ports: EphemeralPorts;
  readonly #cookies: SynCookies;
  /** An ACK to a listener may be for a cookie until then. */
  #cookiesUntil = 0;
  readonly #segment = new Segment(new Frame(EMPTY));

  readonly #timeWaits = new TimeWaitQueue();
  readonly #timeWaitTimer: Timer;

  #ready: Connection[] = [];
  #flushing: Connection[] = [];
  readonly #stalled: Connection[] = [];
  #inBatch = false;
  #flushDeferred = false;
  #closed = false;
  readonly #deferredFlush = (): void => {
    this.#flushDeferred = false;
    if (!this.#inBatch) this.flush();
  };

  #challengeSecond = -1;
  #challengesLeft = 0;

  constructor({ ip, clock, timers, random, options = {} }: TcpLayerOptions) {
    this.#ip = ip;
    this.#clock = clock;
    this.timers = timers;
    this.random = random;
    this.config = resolveConfig(TCP_DEFAULTS, options);
    this.now = clock.now();
    this.#table = new EndpointTable(random);
    this.#sequences = new SequenceGenerator(random);
    this.#cookies = new SynCookies(random);
    this.#ports = new EphemeralPorts(this.config.ephemeralPorts, random);
    this.#timeWaitTimer = timers.timer(() => this.#endTimeWaits());
    ip.register(this);
  }

  // ---------------------------------------------------------------- opening

  /** Throws `EINVAL`, `EADDRNOTAVAIL`, `EADDRINUSE`. */
  listen(options: TcpListenOptions): ListenSocket {
    const address = options.address ?? null;
    const where = address === null ? {} : { address: address.toString() };
    checkPort(options.port, 0, 'listen');
    if (this.#closed) throw new NetError('ENETDOWN', { syscall: 'listen' });
    if (address !== null && !this.#ip.isLocal(address)) {
      throw new NetError('EADDRNOTAVAIL', { syscall: 'listen', ...where, port: options.port });
    }
    let { port } = options;
    if (port === 0) {
      port = this.#ports.choose((candidate) => !this.#isListening(candidate, address));
      if (port === 0) throw new NetError('EADDRINUSE', { syscall: 'listen', ...where });
    } else if (this.#isListening(port, address)) {
      throw new NetError('EADDRINUSE', {
        syscall: 'listen',
        address: address?.toString() ?? '0.0.0.0',
        port,
      });
    }
    const config = resolveConfig(this.config, options.options ?? {});
    const socket = new ListenSocket(address, port, options.backlog, config, (closed) =>
      this.#unlisten(closed),
    );
    const sockets = this.#listeners.get(port);
    if (sockets === undefined) this.#listeners.set(port, [socket]);
    else sockets.push(socket);
    return socket;
  }

  #isListening(port: number, address: IpAddress | null): boolean {
    const sockets = this.#listeners.get(port);
    if (sockets === undefined) return false;
    return sockets.some(
      (socket) => address === null || socket.address === null || socket.address.equals(address),
    );
  }

  #unlisten(socket: ListenSocket): void {
    const sockets = this.#listeners.get(socket.port);
    if (sockets === undefined) return;
    const left = sockets.filter((other) => other !== socket);
    if (left.length === 0) this.#listeners.delete(socket.port);
    else this.#listeners.set(socket.port, left);
  }

  /**
   * An active open: the SYN goes out at the end of this turn. Throws what the
   * network layer throws for a destination, and `EADDRINUSE`, `EADDRNOTAVAIL`, `EINVAL`.
   */
  connect(options: TcpConnectOptions): Connection {
    const { remote, remotePort } = options;
    checkPort(remotePort, 1, 'connect');
    if (this.#closed) throw new NetError('ENETDOWN', { syscall: 'connect' });
    if (remote.isMulticast || this.#ip.isBroadcast(remote)) {
      throw new NetError('ENETUNREACH', { syscall: 'connect', address: remote.toString(), port: remotePort });
    }
    const path = this.#ip.path(remote, options.local);
    const local = path.source;
    const localPort = this.#localPort(local, options.localPort ?? 0, remote, remotePort);
    const previous = this.#table.find(local, localPort, remote, remotePort);
    this.touch();
    const tuple = { path, local: local.copy(), localPort, remote: remote.copy(), remotePort };
    const connection = new Connection(this, resolveConfig(this.config, options.options ?? {}), tuple);
    const generated = this.#sequences.generate(local, localPort, remote, remotePort, this.now);
    const { timestampOffset } = generated;
    let { isn } = generated;
    if (previous instanceof TimeWait) {
      // A connection that was faster than the ISN's clock has left it behind.
      if (!previous.allows(isn)) isn = advance(previous.sendNext, 0x20000);
      this.#endTimeWait(previous);
    }
    this.#table.add(connection);
    this.counters.activeOpens++;
    open(connection, isn, timestampOffset);
    return connection;
  }

  #localPort(local: IpAddress, asked: number, remote: IpAddress, remotePort: number): number {
    const isFree = (port: number): boolean => {
      const other = this.#table.find(local, port, remote, remotePort);
      return other === null;
    };
    if (asked !== 0) {
      checkPort(asked, 1, 'connect');
      const other = this.#table.find(local, asked, remote, remotePort);
      // A port that was asked for by number may leave TIME-WAIT: our ISN will be above the old numbers.
      if (other !== null && !(other instanceof TimeWait)) {
        throw new NetError('EADDRINUSE', { syscall: 'connect', address: local.toString(), port: asked });
      }
      return asked;
    }
    const port = this.#ports.choose(isFree);
    if (port === 0) {
      throw new NetError('EADDRNOTAVAIL', {
        syscall: 'connect',
        address: remote.toString(),
        port: remotePort,
        reason: 'every ephemeral port is in use toward this destination',
      });
    }
    return port;
  }

  // ---------------------------------------------------------------- receiving

  receive(packet: IpPacket): void {
    const { frame } = packet;
    this.counters.inSegs++;
    if (!this.#inBatch) {
      this.#inBatch = true;
      this.touch();
    }
    const length = frame.end - frame.start;
    // RFC 1122 §4.2.3.10: TCP is between two hosts.
    if (length < wire.HEADER || packet.isGroup) {
      this.counters.inErrs++;
      return;
    }
    if (frame.checksum === CHECKSUM_NONE && !this.#checksumIsGood(packet)) {
      this.counters.inErrs++;
      this.counters.inCsumErrors++;
      return;
    }
    const segment = this.#segment;
    const sourcePort = wire.sourcePort(frame.bytes, frame.start);
    const destinationPort = wire.destinationPort(frame.bytes, frame.start);
    if (sourcePort === 0 || destinationPort === 0 || !segment.parse(frame)) {
      this.counters.inErrs++;
      return;
    }
    segment.congestionMarked = (packet.trafficClass & CONGESTION_EXPERIENCED) === CONGESTION_EXPERIENCED;
    const endpoint = this.#table.find(packet.destination, destinationPort, packet.source, sourcePort);
    if (endpoint !== null) endpoint.receive(segment);
    else this.#receiveUnknown(packet, segment, sourcePort, destinationPort);
  }

  #checksumIsGood(packet: IpPacket): boolean {
    const { frame } = packet;
    const pseudo = pseudoHeaderSum(packet.source, packet.destination, PROTOCOL_TCP, frame.end - frame.start);
    return sum(frame.bytes, frame.start, frame.end, pseudo) === 0xffff;
  }

  /** To a listener, or to nobody (RFC 9293 §3.10.7.1 and .2). */
  #receiveUnknown(packet: IpPacket, segment: Segment, sourcePort: number, destinationPort: number): void {
    if (segment.hasRst) return;
    const listener = this.#listenerFor(packet.destination, destinationPort);
    if (listener === null) {
      this.counters.noPort++;
      this.#refuse(packet, segment, sourcePort, destinationPort);
    } else if (segment.hasAck) {
      if (!segment.hasSyn && this.now < this.#cookiesUntil && this.#takeCookie(listener, packet, segment))
        return;
      this.#refuse(packet, segment, sourcePort, destinationPort);
    } else if (segment.hasSyn) {
      this.#answerSyn(listener, packet.destination, destinationPort, packet.source, sourcePort, segment);
    }
  }

  #listenerFor(address: IpAddress, port: number): ListenSocket | null {
    const sockets = this.#listeners.get(port);
    if (sockets === undefined) return null;
    let wildcard: ListenSocket | null = null;
    for (const socket of sockets) {
      if (socket.address === null) wildcard = socket;
      else if (socket.address.equals(address)) return socket;
    }
    return wildcard;
  }

  #answerSyn(
    listener: ListenSocket,
    local: IpAddress,
    localPort: number,
    remote: IpAddress,
    remotePort: number,
    segment: Segment,
    above?: TimeWait,
  ): void {
    if (!listener.takesSyn) {
      if (listener.answersByCookie) {
        this.#sendCookie(listener, local, localPort, remote, remotePort, segment);
      } else {
        this.counters.listenOverflows++;
      }
      return;
    }
    const path = this.#replyPath(remote, local);
    if (path === null) return;
    const tuple = { path, local: local.copy(), localPort, remote: remote.copy(), remotePort };
    const connection = new Connection(this, listener.config, tuple);
    const generated = this.#sequences.generate(local, localPort, remote, remotePort, this.now);
    let { isn } = generated;
    // RFC 6191 §2: above everything of the connection that it replaces.
    if (above !== undefined && !above.allows(isn)) isn = advance(above.sendNext, 0x20000);
    this.#table.add(connection);
    this.counters.passiveOpens++;
    listener.begun(connection);
    answer(connection, segment, isn, generated.timestampOffset);
  }

  /** The SYN queue is full: the SYN-ACK carries all that there is to remember. */
  #sendCookie(
    listener: ListenSocket,
    local: IpAddress,
    localPort: number,
    remote: IpAddress,
    remotePort: number,
    segment: Segment,
  ): void {
    const path = this.#replyPath(remote, local);
    if (path === null) return;
    const { config } = listener;
    const { options } = segment;
    const peerMss = options.mss < 0 ? 536 : options.mss;
    const cookie = this.#cookies.make(
      local,
      localPort,
      remote,
      remotePort,
      segment.sequence,
      peerMss,
      this.now,
    );
    // Without timestamps there is no room for options: they are not offered.
    const timestamps = config.timestamps && options.hasTimestamps;
    const offset = this.#sequences.generate(local, localPort, remote, remotePort, this.now).timestampOffset;
    const sackPermitted = timestamps && config.sack && options.sackPermitted;
    const scaling = timestamps && config.windowScaling && options.windowScale >= 0;
    const marks = wire.ECE | wire.CWR;
    const ecn = timestamps && config.ecn !== false && (segment.flags & marks) === marks;
    const stamp = (Math.trunc(this.now) + offset) | 0;
    const sent = emitSyn(
      path,
      localPort,
      remotePort,
      cookie,
      advance(segment.sequence, 1),
      wire.SYN | wire.ACK | (ecn ? wire.ECE : 0),
      Math.min(config.receiveBuffer, 0xffff),
      {
        mss: Math.min(config.maxSegment, path.interfaceMtu - path.headerLength - wire.HEADER),
        sackPermitted,
        timestamps,
        timestampValue: hideOptions(stamp, {
          windowScale: scaling ? options.windowScale : -1,
          sackPermitted,
          ecn,
        }),
        timestampEcho: options.timestampValue,
        windowScale: scaling ? Receiver.shiftFor(config.receiveBuffer) : -1,
      },
    );
    if (!sent) return;
    this.counters.synCookiesSent++;
    this.counters.outSegs++;
    this.#cookiesUntil = this.now + COOKIE_LIFETIME_MS;
  }

  /** Whether the ACK is the answer to a cookie; if so, the connection exists and has received it. */
  #takeCookie(listener: ListenSocket, packet: IpPacket, segment: Segment): boolean {
    const { frame } = packet;
    const local = packet.destination;
    const remote = packet.source;
    const remotePort = wire.sourcePort(frame.bytes, frame.start);
    const peerInitial = advance(segment.sequence, -1);
    const cookie = advance(segment.acknowledgment, -1);
    const { port } = listener;
    const mss = this.#cookies.check(local, port, remote, remotePort, peerInitial, cookie, this.now);
    if (mss === 0) {
      this.counters.synCookiesFailed++;
      return false;
    }
    // No room for it now: the peer will repeat its data, and with it the cookie.
    if (!listener.hasRoom) return true;
    const path = this.#replyPath(remote, local);
    if (path === null) return true;
    const { config } = listener;
    const timestamps = config.timestamps && segment.options.hasTimestamps;
    const said = timestamps
      ? revealOptions(segment.options.timestampEcho)
      : { windowScale: -1, sackPermitted: false, ecn: false };
    const syn = new Segment(frame);
    syn.sequence = peerInitial;
    syn.flags = wire.SYN | (said.ecn ? wire.ECE | wire.CWR : 0);
    syn.options.mss = mss;
    syn.options.windowScale = said.windowScale;
    syn.options.sackPermitted = said.sackPermitted;
    syn.options.hasTimestamps = timestamps;
    syn.options.timestampValue = segment.options.timestampValue;
    const tuple = { path, local: local.copy(), localPort: port, remote: remote.copy(), remotePort };
    const connection = new Connection(this, config, tuple);
    const { timestampOffset } = this.#sequences.generate(local, port, remote, remotePort, this.now);
    this.#table.add(connection);
    this.counters.passiveOpens++;
    this.counters.synCookiesReceived++;
    listener.begun(connection);
    revive(connection, syn, cookie, timestampOffset);
    connection.receive(segment);
    return true;
  }

  #replyPath(remote: IpAddress, local: IpAddress): IpPath | null {
    try {
      return this.#ip.path(remote, local);
    } catch (error) {
      if (!(error instanceof NetError)) throw error;
      // No way back to whoever sent this: nothing can be answered.
      this.counters.inErrs++;
      return null;
    }
  }

  /** RFC 9293 §3.10.7.1: a reset that the sender of this segment will believe. */
  #refuse(packet: IpPacket, segment: Segment, sourcePort: number, destinationPort: number): void {
    const path = this.#replyPath(packet.source, packet.destination);
    if (path === null) return;
    this.counters.outRsts++;
    if (segment.hasAck) {
      emitBare(path, destinationPort, sourcePort, segment.acknowledgment, 0, wire.RST);
    } else {
      const ack = advance(segment.sequence, segment.length);
      emitBare(path, destinationPort, sourcePort, 0, ack, wire.RST | wire.ACK);
    }
  }

  error(error: IpError): boolean {
    const { bytes, start, end } = error;
    if (end - start < 8) return false;
    this.touch();
    const endpoint = this.#table.find(
      error.source,
      get16(bytes, start + wire.SOURCE_PORT),
      error.destination,
      get16(bytes, start + wire.DESTINATION_PORT),
    );
    if (!(endpoint instanceof Connection)) return false;
    return takeIpError(endpoint, error.kind, get32(bytes, start + wire.SEQUENCE));
  }

  // ---------------------------------------------------------------- the batch

  touch(): void {
    this.now = this.#clock.now();
  }

  schedule(connection: Connection): void {
    if (!connection.scheduled) {
      connection.scheduled = true;
      this.#ready.push(connection);
    }
    if (!this.#inBatch && !this.#flushDeferred) {
      this.#flushDeferred = true;
      this.#clock.defer(this.#deferredFlush);
    }
  }

  stall(connection: Connection): void {
    if (connection.stalled) return;
    connection.stalled = true;
    this.#stalled.push(connection);
  }

  /** The end of a batch of received packets, or of a turn in which the application wrote. */
  flush(): void {
    this.#inBatch = false;
    if (this.#ready.length === 0) return;
    this.touch();
    // Two lists in turn, so that what is scheduled meanwhile waits for the next flush.
    const due = this.#ready;
    this.#ready = this.#flushing;
    this.#flushing = due;
    for (let i = 0; i < due.length; i++) {
      const connection = due[i]!;
      connection.scheduled = false;
      connection.output();
    }
    due.length = 0;
  }

  writable(): void {
    if (this.#stalled.length === 0) return;
    for (const connection of this.#stalled.splice(0)) {
      connection.stalled = false;
      this.schedule(connection);
    }
    this.flush();
  }

  get isShortOfMemory(): boolean {
    return this.memory > this.config.memoryLimit;
  }

  mayChallenge(): boolean {
    const limit = this.config.challengeAckLimit;
    if (limit === 0) return true;
    const second = Math.floor(this.now / 1000);
    if (second !== this.#challengeSecond) {
      this.#challengeSecond = second;
      // RFC 5961 §7 with the lesson of CVE-2016-5696: a limit that is known to the packet can be counted out.
      this.#challengesLeft = Math.ceil(limit / 2) + randomBelow(this.random, limit);
    }
    if (this.#challengesLeft === 0) return false;
    this.#challengesLeft--;
    return true;
  }

  remove(connection: Connection): void {
    this.#table.remove(connection);
  }

  // ---------------------------------------------------------------- TIME-WAIT

  enterTimeWait(connection: Connection): void {
    const timeWait = new TimeWait(this, connection);
    this.#table.remove(connection);
    if (this.#timeWaits.size >= this.config.maxTimeWait) {
      this.counters.timeWaitOverflows++;
      const { oldest } = this.#timeWaits;
      if (oldest === null) return;
      this.#endTimeWait(oldest);
    }
    this.#table.add(timeWait);
    this.renew(timeWait);
    if (connection.receiver.ackNow) timeWait.acknowledge();
  }

  renew(timeWait: TimeWait): void {
    this.#timeWaits.add(timeWait, this.now + 2 * this.config.mslMs);
    this.#timeWaitTimer.arm(this.#timeWaits.oldest!.until);
  }

  reopen(timeWait: TimeWait, segment: Segment): void {
    const { local, localPort, remote, remotePort } = timeWait;
    const listener = this.#listenerFor(local, localPort);
    if (listener === null || !listener.takesSyn) {
      timeWait.acknowledge();
      return;
    }
    this.#endTimeWait(timeWait);
    this.#answerSyn(listener, local, localPort, remote, remotePort, segment, timeWait);
  }

  #endTimeWait(timeWait: TimeWait): void {
    this.#timeWaits.remove(timeWait);
    this.#table.remove(timeWait);
  }

  #endTimeWaits(): void {
    this.touch();
    for (let oldest = this.#timeWaits.oldest; oldest !== null; oldest = this.#timeWaits.oldest) {
      if (oldest.until > this.now) {
        this.#timeWaitTimer.arm(oldest.until);
        return;
      }
      this.#endTimeWait(oldest);
    }
  }

  // ---------------------------------------------------------------- the whole

  /** All connections that are not in TIME-WAIT. */
  connections(): Connection[] {
    return this.#table.all().filter((endpoint): endpoint is Connection => endpoint instanceof Connection);
  }

  statistics(): StackStatistics {
    const inState: Record<string, number> = {};
    for (const connection of this.connections()) {
      const name = stateName(connection.state);
      inState[name] = (inState[name] ?? 0) + 1;
    }
    const listening = [...this.#listeners.values()].reduce((sum_, sockets) => sum_ + sockets.length, 0);
    return {
      ...this.counters,
      currEstab: (inState.ESTABLISHED ?? 0) + (inState['CLOSE-WAIT'] ?? 0),
      flows: this.#table.size - this.#timeWaits.size,
      timeWait: this.#timeWaits.size,
      listeners: listening,
      segmentsInFlight: this.pool.live,
      receiveMemory: this.memory,
      states: inState,
    };
  }

  /** The device is gone for good: no segment will ever come or go. */
  linkDown(): void {
    this.stopListening();
    for (const connection of this.connections()) connection.fail('ENETDOWN');
  }

  stopListening(): void {
    for (const sockets of [...this.#listeners.values()]) for (const socket of sockets) socket.close();
  }

  /** Ends everything at once: listeners, connections (with RST), TIME-WAIT. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.stopListening();
    for (const connection of this.connections()) connection.abort();
    for (const endpoint of this.#table.all()) this.#table.remove(endpoint);
    this.#timeWaits.clear();
    this.#timeWaitTimer.cancel();
    this.#ready.length = 0;
    this.#stalled.length = 0;
  }
}

function resolveConfig(base: TcpConfig, options: TcpOptions): TcpConfig {
  const given = Object.entries(options).filter(([, value]) => value !== undefined);
  return given.length === 0 ? base : { ...base, ...Object.fromEntries(given) };
}

function checkPort(port: number, least: number, syscall: string): void {
  if (!Number.isInteger(port) || port < least || port > 65_535) {
    throw new NetError('EINVAL', { syscall, reason: `port ${port} is not within ${least}..65535` });
  }
}
