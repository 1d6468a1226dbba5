/**
 * Two hosts on a cable with a bottleneck, on virtual time: any number of flows
 * from the left one to the right one, each with its own algorithm. Handlers run
 * at once, without promises, so that a minute passes in seconds.
 */
import { IpAddress, Prefix } from '../../src/address/index.ts';
import { Network } from '../../src/direct/network.ts';
import type { NetError } from '../../src/errors.ts';
import {
  createCable,
  type ImpairedNetif,
  type Impairments,
  impair,
  type Netif,
} from '../../src/netif/index.ts';
import type { Bbr } from '../../src/tcp/congestion/bbr.ts';
import type { BbrState } from '../../src/tcp/congestion/bbr-state.ts';
import { type Connection, type ConnectionHandler, TcpLayer, type TcpOptions } from '../../src/tcp/index.ts';
import { SeededRandom, TimerWheel, VirtualClock } from '../../src/time/index.ts';

const LEFT = '10.0.0.1';
const RIGHT = '10.0.0.2';
const PORT = 80;
const BUFFER = 32 << 20;
/** Ethernet, IP and TCP headers with timestamps, beside 1448 bytes of payload. */
const FRAME = 1514;
const PAYLOAD = 1448;

export interface PathOptions {
  readonly rateBps: number;
  readonly rttMs: number;
  /** Queue at the bottleneck, in bandwidth-delay products; 1 unless given. */
  readonly queueBdp?: number;
  /** Share of data frames lost at random, before the queue. */
  readonly loss?: number;
  readonly seed?: number;
  readonly tcp?: TcpOptions;
}

interface Station {
  readonly layer: TcpLayer;
  readonly netif: ImpairedNetif;
}

function station(netif: ImpairedNetif, clock: VirtualClock, address: string, options: TcpOptions): Station {
  const timers = new TimerWheel(clock);
  const random = new SeededRandom(address === LEFT ? 11 : 12);
  const network = new Network({ netif, clock, timers, random, address: Prefix.parse(`${address}/24`) });
  const layer = new TcpLayer({ ip: network, clock, timers, random, options });
  void network.start();
  return { layer, netif };
}

/** What one moment of a flow looked like. */
export interface Moment {
  readonly at: number;
  readonly state: BbrState;
  readonly rttMs: number;
  readonly inFlight: number;
  readonly cwnd: number;
  readonly pacingRate: number;
}

export class BottleneckPath {
  readonly clock = new VirtualClock(1000);
  readonly left: Station;
  readonly right: Station;
  readonly options: PathOptions;

  constructor(options: PathOptions) {
    this.options = options;
    const { clock } = this;
    const random = new SeededRandom(options.seed ?? 1);
    const [near, far] = createCable({ clock, queueFrames: 1 << 16 });
    const tcp: TcpOptions = {
      sendBuffer: BUFFER,
      receiveBuffer: BUFFER,
      memoryLimit: 1 << 30,
      ...options.tcp,
    };
    const wrap = (netif: Netif, transmit: Impairments): ImpairedNetif =>
      impair(netif, { clock, random, transmit });
    this.left = station(wrap(near, this.#forward(options.rateBps)), clock, LEFT, tcp);
    this.right = station(wrap(far, { delayMs: options.rttMs / 2 }), clock, RIGHT, tcp);
    const listener = this.right.layer.listen({ port: PORT });
    listener.onAcceptable = (): void => {
      for (let taken = listener.accept(); taken !== null; taken = listener.accept()) taken.handler = READER;
    };
    this.run(10);
  }

  #forward(rateBps: number): Impairments {
    const { rttMs, queueBdp = 1, loss = 0 } = this.options;
    const queueBytes = Math.max(queueBdp * (this.options.rateBps / 8000) * rttMs, 4 * FRAME);
    return { rateBps, queueBytes, delayMs: rttMs / 2, loss };
  }

  setRate(rateBps: number): void {
    this.left.netif.set({ transmit: this.#forward(rateBps) });
  }

  /** Payload bytes per ms that the bottleneck passes. */
  get capacity(): number {
    return ((this.options.rateBps / 8000) * PAYLOAD) / FRAME;
  }

  get timeouts(): number {
    return this.left.layer.counters.timeouts;
  }

  get overflowed(): number {
    return this.left.netif.impaired.transmit.overflowed;
  }

  run(ms: number): void {
    this.clock.advanceTo(this.clock.now() + ms);
  }

  /** A flow that sends without end, unless told otherwise. */
  open(algorithm: 'newreno' | 'cubic' | 'bbr', writes = true): PathFlow {
    const connection = this.left.layer.connect({
      remote: IpAddress.parse(RIGHT),
      remotePort: PORT,
      options: {
        ...this.options.tcp,
        sendBuffer: BUFFER,
        receiveBuffer: BUFFER,
        congestionControl: algorithm,
      },
    });
    const flow = new PathFlow(this, connection, writes);
    connection.handler = flow;
    return flow;
  }
}

const BLOCK = new Uint8Array(64 << 10);

export class PathFlow implements ConnectionHandler {
  readonly connection: Connection;
  readonly #path: BottleneckPath;
  #writes: boolean;

  constructor(path: BottleneckPath, connection: Connection, writes: boolean) {
    this.#path = path;
    this.connection = connection;
    this.#writes = writes;
  }

  connected(): void {
    this.#fill();
  }

  writable(): void {
    this.#fill();
  }

  readable(): void {}
  finished(): void {}
  closed(_connection: Connection, error: NetError | null): void {
    if (error !== null) throw error;
  }

  #fill(): void {
    while (this.#writes && this.connection.sendSpace > 0) this.connection.send(BLOCK);
  }

  /** Writes no more, and waits until all is acknowledged. */
  drain(): void {
    this.#writes = false;
    while (this.connection.sender.queue.length > 0) this.#path.run(100);
  }

  resume(): void {
    this.#writes = true;
    this.#fill();
  }

  get bbr(): Bbr {
    return this.connection.sender.congestion as Bbr;
  }

  get acked(): number {
    return this.connection.sender.bytesAcknowledged;
  }

  /** Payload bytes per ms acknowledged over the next `ms`. */
  rateOver(ms: number): number {
    const before = this.acked;
    this.#path.run(ms);
    return (this.acked - before) / ms;
  }

  moment(): Moment {
    const { sender } = this.connection;
    const { bbr } = this;
    return {
      at: this.#path.clock.now(),
      state: bbr.state,
      rttMs: sender.recovery.rtt.latestMs,
      inFlight: sender.pipe,
      cwnd: bbr.window,
      pacingRate: bbr.pacingRate,
    };
  }

  /** A moment every `stepMs` for `ms`. */
  watch(ms: number, stepMs: number): Moment[] {
    const moments: Moment[] = [];
    for (let passed = 0; passed < ms; passed += stepMs) {
      this.#path.run(stepMs);
      moments.push(this.moment());
    }
    return moments;
  }
}

/** Reads all that comes. */
const READER: ConnectionHandler = {
  connected() {},
  readable(connection) {
    while (connection.take() !== null);
  },
  writable() {},
  finished() {},
  closed() {},
};
