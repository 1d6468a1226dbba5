import type { IpAddress } from '../address/index.ts';
import { EMPTY, get16, get32 } from '../bytes/index.ts';
import { pseudoHeaderSum, sum } from '../checksum/index.ts';
import { NetError } from '../errors.ts';
import { type IpError, type IpLayer, type IpPacket, type IpProtocol, PROTOCOL_TCP } from '../ip.ts';
import { CHECKSUM_NONE, Frame } from '../netif/netif.ts';
import type { StackStatistics } from '../stack.ts';
import type { Clock } from '../time/clock.ts';
import { type Random, randomBelow } from '../time/random.ts';
import type { Timer, TimerWheel } from '../time/timers.ts';
import { type ActiveHost, ActiveOpens, type TcpConnectOptions } from './active.ts';
import { resolveConfig, TCP_DEFAULTS, type TcpConfig, type TcpOptions } from './config.ts';
import { Connection } from './connection.ts';
import { EndpointTable } from './demux.ts';
import { emitBare } from './emit.ts';
import { FastOpenCookies } from './fast-open.ts';
import { type TcpCounters, tcpCounters } from './host.ts';
import { takeIpError } from './ip-errors.ts';
import { SequenceGenerator } from './isn.ts';
import { ListenSocket } from './listener.ts';
import { ListenerTable } from './listeners.ts';
import { ParkingLot } from './parking/lot.ts';
import { PassiveOpens } from './passive.ts';
import { checkPort, EphemeralPorts } from './ports.ts';
import { PayloadKeeper } from './receive-queue.ts';
import { Delivery } from './recovery/scoreboard.ts';
import { SegmentPool } from './recovery/segment-pool.ts';
import { Segment } from './segment.ts';
import { advance } from './sequence.ts';
import { stateName } from './state.ts';
import { TimeWait, type TimeWaitHost, TimeWaitQueue } from './timewait.ts';
import * as wire from './wire.ts';

/** No connection is promised more than this part of the memory that is left, so windows close before it is gone. */
const MEMORY_SHARES = 8;

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
  /** Null or none: every address of ours; `0.0.0.0` or `::`: every one of that family. */
  readonly address?: IpAddress | null;
  /** 0 takes a free ephemeral port. */
  readonly port: number;
  readonly backlog?: number;
  readonly options?: TcpOptions;
}

/** TCP over any network layer: demultiplexing, listeners, ports, TIME-WAIT, and the batch. */
export class TcpLayer implements IpProtocol, ActiveHost, TimeWaitHost {
  readonly protocol = PROTOCOL_TCP;
  readonly timers: TimerWheel;
  readonly random: Random;
  readonly pool = new SegmentPool();
  readonly keeper = new PayloadKeeper();
  readonly delivery = new Delivery();
  readonly counters: TcpCounters = tcpCounters();
  readonly config: TcpConfig;
  // A field that holds anything but numbers for a moment gets a new object for every number later on.
  now = 0;
  memory = 0;
  orphans = 0;

  readonly ip: IpLayer;
  readonly #clock: Clock;
  readonly #table: EndpointTable;
  readonly #listeners = new ListenerTable();
  readonly sequences: SequenceGenerator;
  readonly #ports: EphemeralPorts;
  readonly #active: ActiveOpens;
  readonly #passive: PassiveOpens;
  readonly fastOpenCookies: FastOpenCookies;
  readonly lot: ParkingLot;
  readonly #segment = new Segment(new Frame(EMPTY));

  readonly #timeWaits = new TimeWaitQueue();
  readonly #timeWaitTimer: Timer;

  /** Connections whose output is due, and how many; behind them nulls: an array that is emptied would be made anew. */
  #ready: (Connection | null)[] = [];
  #readyCount = 0;
  #flushing: (Connection | null)[] = [];
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
    this.ip = ip;
    this.#clock = clock;
    this.timers = timers;
    this.random = random;
    this.config = resolveConfig(TCP_DEFAULTS, options);
    this.now = clock.now();
    this.#table = new EndpointTable(random);
    this.sequences = new SequenceGenerator(random);
    this.#passive = new PassiveOpens(this, random);
    this.fastOpenCookies = new FastOpenCookies(random);
    this.lot = new ParkingLot(timers, this.config.parkAfterMs, this);
    this.#ports = new EphemeralPorts(this.config.ephemeralPorts, random);
    this.#active = new ActiveOpens(this, this.#table, this.#ports);
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
    if (address !== null && !address.isUnspecified && !this.ip.isLocal(address)) {
      throw new NetError('EADDRNOTAVAIL', { syscall: 'listen', ...where, port: options.port });
    }
    let { port } = options;
    if (port === 0) {
      port = this.#ports.choose((candidate) => !this.#listeners.isTaken(candidate, address));
      if (port === 0) throw new NetError('EADDRINUSE', { syscall: 'listen', ...where });
    } else if (this.#listeners.isTaken(port, address)) {
      throw new NetError('EADDRINUSE', {
        syscall: 'listen',
        address: address?.toString() ?? '0.0.0.0',
        port,
      });
    }
    const config = resolveConfig(this.config, options.options ?? {});
    const socket = new ListenSocket(address, port, options.backlog, config, (closed) =>
      this.#listeners.remove(closed),
    );
    this.#listeners.add(socket);
    return socket;
  }

  /**
   * An active open: the SYN goes out at the end of this turn. Throws what the
   * network layer throws for a destination, and `EADDRINUSE`, `EADDRNOTAVAIL`, `EINVAL`.
   */
  connect(options: TcpConnectOptions): Connection {
    if (this.#closed) throw new NetError('ENETDOWN', { syscall: 'connect' });
    return this.#active.open(options);
  }

  // ---------------------------------------------------------------- receiving

  /** Whether anybody listens on `port`, at whatever address. */
  isListening(port: number): boolean {
    return this.#listeners.has(port);
  }

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
    const listener = this.#listeners.find(packet.destination, destinationPort);
    if (listener === null) {
      this.counters.noPort++;
      this.#refuse(packet, segment, sourcePort, destinationPort);
    } else if (segment.hasAck) {
      if (this.#passive.takeCookie(listener, packet, segment)) return;
      this.#refuse(packet, segment, sourcePort, destinationPort);
    } else if (segment.hasSyn) {
      this.#passive.answerSyn(listener, packet.destination, packet.source, sourcePort, segment);
    }
  }

  /** RFC 9293 §3.10.7.1: a reset that the sender of this segment will believe. */
  #refuse(packet: IpPacket, segment: Segment, sourcePort: number, destinationPort: number): void {
    const path = this.#passive.pathTo(packet.source, packet.destination);
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
      this.#ready[this.#readyCount++] = connection;
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
    const count = this.#readyCount;
    if (count === 0) return;
    this.touch();
    // Two lists in turn, so that what is scheduled meanwhile waits for the next flush.
    const due = this.#ready;
    this.#ready = this.#flushing;
    this.#flushing = due;
    this.#readyCount = 0;
    let done = 0;
    try {
      while (done < count) {
        const connection = due[done]!;
        due[done++] = null;
        connection.scheduled = false;
        connection.output();
      }
    } finally {
      // Where one has thrown, the others have their turn in the next flush.
      for (; done < count; done++) {
        const connection = due[done]!;
        due[done] = null;
        connection.scheduled = false;
        this.schedule(connection);
      }
    }
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

  get memoryShare(): number {
    return Math.max(0, (this.config.memoryLimit - this.memory) / MEMORY_SHARES);
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

  add(connection: Connection): void {
    this.#table.add(connection);
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
      this.endTimeWait(oldest);
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
    const listener = this.#listeners.find(local, localPort);
    if (listener === null) {
      this.counters.outRsts++;
      timeWait.refuse(segment);
      return;
    }
    if (!listener.takesSyn) {
      timeWait.acknowledge();
      return;
    }
    this.endTimeWait(timeWait);
    this.#passive.answerSyn(listener, local, remote, remotePort, segment, timeWait);
  }

  endTimeWait(timeWait: TimeWait): void {
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
      this.endTimeWait(oldest);
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
    return {
      ...this.counters,
      currEstab: (inState.ESTABLISHED ?? 0) + (inState['CLOSE-WAIT'] ?? 0),
      flows: this.#table.size - this.#timeWaits.size,
      parked: this.lot.parked,
      timeWait: this.#timeWaits.size,
      listeners: this.#listeners.all().length,
      segmentsInFlight: this.pool.live,
      receiveMemory: this.memory,
      orphans: this.orphans,
      states: inState,
    };
  }

  /** The device is gone for good: no segment will ever come or go. */
  linkDown(): void {
    this.stopListening();
    for (const connection of this.connections()) connection.fail('ENETDOWN');
  }

  stopListening(): void {
    for (const socket of this.#listeners.all()) socket.close();
  }

  /** Nothing will run any more: connections are closed as far as that can be done now, and reset where it cannot. */
  abandon(): void {
    this.stopListening();
    for (const connection of this.connections()) connection.close();
    this.flush();
    // What did not go will never go, and the peer is not to take what it has for the whole.
    for (const connection of this.connections()) if (!connection.sender.finSent) connection.abort();
    this.flush();
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
    this.lot.close();
    this.#ready = [];
    this.#readyCount = 0;
    this.#stalled.length = 0;
  }
}
