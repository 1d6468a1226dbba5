import { IpAddress } from '../src/address/index.ts';
import { allocate, set16, set32 } from '../src/bytes/index.ts';
import type { IpLayer, IpPacket, IpPath, IpProtocol } from '../src/ip.ts';
import { CHECKSUM_VERIFIED, Frame } from '../src/netif/index.ts';
import { type Connection, DirectTcp, TcpLayer, type TcpOptions } from '../src/tcp/index.ts';
import * as wire from '../src/tcp/wire.ts';
import { RealClock, SeededRandom, TimerWheel } from '../src/time/index.ts';

const LOCAL = IpAddress.parse('10.0.0.1');
const REMOTE = IpAddress.parse('10.0.0.2');
const HEADER = 32;
const PORT = 80;

/** A network layer of nothing but paths: `register` is told of the transport. */
export function benchIp(
  path: (remote: IpAddress) => IpPath,
  register: (protocol: IpProtocol) => void,
): IpLayer {
  return {
    register,
    path,
    interfaceIndex: () => 0,
    isLocal: () => true,
    isBroadcast: () => false,
    portUnreachable: () => {},
  };
}

/** A path into `out`, from where `commit` takes each segment. */
export function benchPath(
  source: IpAddress,
  destination: IpAddress,
  out: Frame,
  segmentation: number,
  commit: (frame: Frame) => void,
): IpPath {
  return {
    source,
    destination,
    mtu: 1500,
    interfaceMtu: 1500,
    headerLength: 20,
    // The device makes the checksums: what is measured is TCP.
    transmit: { checksum: 'partial', segmentation },
    reserve: (_, length) => out.reset(out.bytes, 0, length),
    commit,
    confirm: () => {},
  };
}

/** The cursor of a received packet in `frame`. */
export function benchPacket(frame: Frame, source: IpAddress, destination: IpAddress): IpPacket {
  return {
    frame,
    source,
    destination,
    protocol: 6,
    trafficClass: 0,
    hopLimit: 64,
    isGroup: false,
    arrival: 0,
  };
}

/** One of our connections, whose peer is the bench itself: nothing below TCP takes part. */
export interface LoneConnection {
  readonly layer: TcpLayer;
  readonly connection: Connection;
  /** Hands TCP a segment of the peer's, with timestamps; `payload` bytes follow the header. */
  inject(flags: number, sequence: number, acknowledgment: number, payload: number): void;
  /** The same for a bare ACK with one SACK block. */
  injectSack(acknowledgment: number, left: number, right: number): void;
  /** The end of a batch. */
  flush(): void;
}

export interface LoneOptions {
  /** The peer's initial sequence number. */
  readonly peerIsn?: number;
  /** Of our random numbers, and so of our own initial sequence number. */
  readonly seed?: number;
  /** Most bytes of a frame that the device cuts; 0 if it cuts none. */
  readonly segmentation?: number;
}

/** Opens a connection, and takes every segment that it sends to nowhere. */
export function loneConnection(
  options: TcpOptions = {},
  { peerIsn = -1, seed = 1, segmentation = 0 }: LoneOptions = {},
): LoneConnection {
  const out = new Frame(allocate(70_000));
  let protocol: IpProtocol | null = null;
  let sequence = 0;
  let stamp = 0;
  const path = benchPath(LOCAL, REMOTE, out, segmentation, (frame) => {
    sequence = wire.sequence(frame.bytes, 0);
    stamp++;
  });
  const ip = benchIp(
    () => path,
    (registered) => {
      protocol = registered;
    },
  );
  const clock = new RealClock();
  const timers = new TimerWheel(clock);
  const layer = new TcpLayer({ ip, clock, timers, random: new SeededRandom(seed), options });
  const connection = layer.connect({ remote: REMOTE, remotePort: PORT });
  layer.flush();
  const initial = sequence;

  const frame = new Frame(allocate(70_000));
  const packet = benchPacket(frame, REMOTE, LOCAL);
  const write = (flags: number, seq: number, ack: number, header: number, payload: number): void => {
    frame.reset(frame.bytes, 0, header + payload);
    frame.checksum = CHECKSUM_VERIFIED;
    const { bytes } = frame;
    set16(bytes, wire.SOURCE_PORT, PORT);
    set16(bytes, wire.DESTINATION_PORT, connection.localPort);
    set32(bytes, wire.SEQUENCE, seq);
    set32(bytes, wire.ACKNOWLEDGMENT, ack);
    bytes[wire.DATA_OFFSET] = (header >>> 2) << 4;
    bytes[wire.FLAGS] = flags;
    set16(bytes, wire.WINDOW, 0xffff);
    set32(bytes, HEADER - 12, 0x0101080a);
    set32(bytes, HEADER - 8, stamp);
    set32(bytes, HEADER - 4, connection.timestampNow);
    protocol!.receive(packet);
  };
  // The SYN-ACK: MSS 1460, SACK, timestamps, a window scale of 14.
  const { bytes } = frame;
  set32(bytes, 32, 0x020405b4);
  set32(bytes, 36, 0x01010402);
  set32(bytes, 40, 0x0103030e);
  write(wire.SYN | wire.ACK, peerIsn, (initial + 1) | 0, 44, 0);
  layer.flush();
  // The window of a SYN is not scaled; from here on it is wide open.
  write(wire.ACK, (peerIsn + 1) | 0, (initial + 1) | 0, HEADER, 0);
  layer.flush();
  return {
    layer,
    connection,
    inject: (flags, seq, ack, payload) => write(flags, seq, ack, HEADER, payload),
    injectSack: (ack, left, right) => {
      set32(bytes, HEADER, 0x0101050a);
      set32(bytes, HEADER + 4, left);
      set32(bytes, HEADER + 8, right);
      write(wire.ACK, (peerIsn + 1) | 0, ack, HEADER + 12, 0);
    },
    flush: () => layer.flush(),
  };
}

/** A server whose peers, as many as one likes, are the bench itself: nothing below TCP takes part. */
export interface ManyConnections {
  /** Opens `count` more: handshake, a request, its answer; then nothing. */
  open(count: number): Promise<void>;
  /** The `index`th connection's peer sends `payload` bytes, acknowledging what it got, and gets an answer. */
  exchange(index: number, payload: number): void;
  /** That peer acknowledges the answer: nothing is under way then. */
  acknowledge(index: number): void;
  readonly pendingTimers: number;
  /** Resolves when every connection has been idle for so long that it is parked. */
  allParked(): Promise<void>;
}

const SERVICE = 5000;
const PORTS_PER_PEER = 50_000;
const MOST_PEERS = 1 << 20;

/** Listens, and answers each peer's first bytes with `answer`. */
export function manyConnections(answer: Uint8Array): ManyConnections {
  const out = new Frame(allocate(65_536));
  let protocol: IpProtocol | null = null;
  let sequence = 0;
  const paths = new Map<number, IpPath>();
  const pathTo = (remote: IpAddress): IpPath => {
    let path = paths.get(remote.w3);
    if (path === undefined) {
      path = benchPath(LOCAL, remote.copy(), out, 0, (frame) => {
        const header = wire.headerLength(frame.bytes, 0);
        const syn = wire.flags(frame.bytes, 0) & wire.SYN ? 1 : 0;
        sequence = (wire.sequence(frame.bytes, 0) + frame.end - header + syn) | 0;
      });
      paths.set(remote.w3, path);
    }
    return path;
  };
  const ip = benchIp(pathTo, (registered) => {
    protocol = registered;
  });
  const clock = new RealClock();
  const timers = new TimerWheel(clock);
  const layer = new TcpLayer({
    ip,
    clock,
    timers,
    random: new SeededRandom(1),
    options: { synQueue: 1_000_000, noDelay: true, synCookies: false },
  });
  const tcp = new DirectTcp(layer, clock, async () => []);
  const frame = new Frame(allocate(2048));
  const remote = IpAddress.ipv4(0);
  const packet = benchPacket(frame, remote, LOCAL);
  /** Per connection: what the peer sends and expects next. Made before anything is measured. */
  const next = new Int32Array(MOST_PEERS);
  const acknowledged = new Int32Array(MOST_PEERS);
  let opened = 0;
  const write = (index: number, flags: number, header: number, payload: number): void => {
    remote.setIpv4(0x0b000000 + Math.floor(index / PORTS_PER_PEER));
    frame.reset(frame.bytes, 0, header + payload);
    frame.checksum = CHECKSUM_VERIFIED;
    const { bytes } = frame;
    set16(bytes, wire.SOURCE_PORT, 1024 + (index % PORTS_PER_PEER));
    set16(bytes, wire.DESTINATION_PORT, SERVICE);
    set32(bytes, wire.SEQUENCE, next[index]!);
    set32(bytes, wire.ACKNOWLEDGMENT, acknowledged[index]!);
    bytes[wire.DATA_OFFSET] = (header >>> 2) << 4;
    bytes[wire.FLAGS] = flags;
    set16(bytes, wire.WINDOW, 0xffff);
    next[index] = (next[index]! + payload + (flags & wire.SYN ? 1 : 0)) | 0;
    protocol!.receive(packet);
  };
  const listening = tcp.listen({ port: SERVICE, backlog: 1_000_000 }, (flow) => {
    flow.onData(() => flow.write(answer)).catch(() => {});
  });
  return {
    async open(count) {
      await listening;
      const first = opened;
      opened += count;
      for (let index = first; index < first + count; index++) {
        // MSS 1460, SACK, a window scale of 7.
        set32(frame.bytes, 20, 0x020405b4);
        set32(frame.bytes, 24, 0x01010402);
        set32(frame.bytes, 28, 0x01030307);
        write(index, wire.SYN, 32, 0);
        layer.flush();
        acknowledged[index] = sequence;
        write(index, wire.ACK, 20, 0);
        layer.flush();
        // The connection is handed over in a task of its own.
        if (index % 64 === 63 || index === first + count - 1) await new Promise((r) => setImmediate(r));
      }
      for (let index = first; index < first + count; index++) {
        write(index, wire.ACK | wire.PSH, 20, 20);
        layer.flush();
        acknowledged[index] = sequence;
        write(index, wire.ACK, 20, 0);
        layer.flush();
        if (index % 64 === 63) await new Promise((r) => setImmediate(r));
      }
    },
    exchange(index, payload) {
      write(index, wire.ACK, 20, payload);
      layer.flush();
      acknowledged[index] = sequence;
    },
    acknowledge(index) {
      write(index, wire.ACK, 20, 0);
      layer.flush();
    },
    get pendingTimers() {
      return timers.pending;
    },
    async allParked() {
      while (layer.lot.parked < opened) await new Promise((resolve) => setTimeout(resolve, 50));
    },
  };
}
