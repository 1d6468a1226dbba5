/**
 * One TCP layer over a network layer that records what is sent and plays back
 * what is "received", on virtual time; and peers that speak in sequence numbers
 * relative to each side's SYN. Segments are built and read byte by byte, without
 * the code under test.
 */
import { expect } from 'vitest';
import { IpAddress } from '../../../src/address/index.ts';
import { NetError } from '../../../src/errors.ts';
import {
  type IpErrorKind,
  type IpLayer,
  type IpPacket,
  type IpPath,
  type IpProtocol,
  PROTOCOL_TCP,
} from '../../../src/ip.ts';
import { CHECKSUM_PARTIAL, Frame, NO_OFFLOADS, type Offloads } from '../../../src/netif/netif.ts';
import type { TcpOptions } from '../../../src/tcp/index.ts';
import {
  type Connection,
  type ConnectionHandler,
  DirectTcp,
  type ListenSocket,
  TcpLayer,
} from '../../../src/tcp/index.ts';
import { SeededRandom, TimerWheel, VirtualClock } from '../../../src/time/index.ts';
import { tcpSegment, transportChecksum } from '../../support/packets.ts';

export const STACK = '10.0.0.2';
export const PEER = '10.0.0.1';
const HEADROOM = 34;
const FLAG_LETTERS = 'FSRPAUEC';

/** A segment that the stack sent; sequence numbers as on the wire. */
export interface Raw {
  readonly sourcePort: number;
  readonly destinationPort: number;
  readonly sequence: number;
  readonly acknowledgment: number;
  /** Letters in the order F S R P A U E C. */
  readonly flags: string;
  readonly window: number;
  readonly data: Uint8Array;
  readonly length: number;
  readonly mss: number | undefined;
  readonly scale: number | undefined;
  readonly sackPermitted: boolean;
  readonly timestamps: readonly [value: number, echo: number] | undefined;
  readonly sack: readonly (readonly [left: number, right: number])[];
  /** Of a frame that the device cuts. */
  readonly segmentSize: number;
}

/** The network layer below. */
export class FakeIp implements IpLayer {
  readonly sent: Raw[] = [];
  /** How many more frames the device takes. */
  room = Number.POSITIVE_INFINITY;
  mtu = 1500;
  transmit: Offloads = NO_OFFLOADS;
  confirmations = 0;
  #transport: IpProtocol | null = null;

  register(protocol: IpProtocol): void {
    this.#transport = protocol;
  }

  interfaceIndex(): number {
    return 0;
  }

  isLocal(address: IpAddress): boolean {
    return address.toString() === STACK;
  }

  isBroadcast(address: IpAddress): boolean {
    return address.isLimitedBroadcast || address.toString() === '10.0.0.255';
  }

  path(destination: IpAddress, source?: IpAddress): IpPath {
    if (destination.isUnspecified) throw new NetError('EINVAL');
    if (destination.toString().startsWith('192.0.2.')) throw new NetError('ENETUNREACH');
    return new FakePath(this, source?.copy() ?? IpAddress.parse(STACK), destination.copy());
  }

  portUnreachable(): void {}

  /** The device has room for `frames` more, and says so. */
  makeRoom(frames = Number.POSITIVE_INFINITY): void {
    this.room = frames;
    this.#transport!.writable();
  }

  receive(from: string, to: string, bytes: ArrayLike<number>, isGroup = false): Frame {
    const memory = Buffer.alloc(HEADROOM + bytes.length + 4, 0xee);
    memory.set(Array.from(bytes), HEADROOM);
    const frame = new Frame(memory).reset(memory, HEADROOM, HEADROOM + bytes.length);
    const packet: IpPacket = {
      frame,
      source: IpAddress.parse(from),
      destination: IpAddress.parse(to),
      protocol: PROTOCOL_TCP,
      trafficClass: 0,
      hopLimit: 64,
      isGroup,
      arrival: 0,
    };
    this.#transport!.receive(packet);
    // Whoever did not retain the frame sees it overwritten.
    if (!frame.retained) memory.fill(0xdd);
    return frame;
  }

  flush(): void {
    this.#transport!.flush();
  }

  /** An error report about a segment of `sourcePort` to `destinationPort` with this sequence number. */
  error(kind: IpErrorKind, sourcePort: number, destinationPort: number, sequence: number, mtu = 0): boolean {
    const bytes = Buffer.alloc(8);
    bytes.writeUInt16BE(sourcePort, 0);
    bytes.writeUInt16BE(destinationPort, 2);
    bytes.writeInt32BE(sequence | 0, 4);
    const believed = this.#transport!.error({
      kind,
      source: IpAddress.parse(STACK),
      destination: IpAddress.parse(PEER),
      protocol: PROTOCOL_TCP,
      bytes,
      start: 0,
      end: 8,
      mtu,
    });
    if (believed && mtu > 0) this.mtu = mtu;
    return believed;
  }
}

class FakePath implements IpPath {
  readonly #ip: FakeIp;
  readonly source: IpAddress;
  readonly destination: IpAddress;
  readonly interfaceMtu: number;
  readonly headerLength = 20;

  constructor(ip: FakeIp, source: IpAddress, destination: IpAddress) {
    this.#ip = ip;
    this.source = source;
    this.destination = destination;
    this.interfaceMtu = ip.mtu;
  }

  get mtu(): number {
    return this.#ip.mtu;
  }
  get transmit(): Offloads {
    return this.#ip.transmit;
  }

  reserve(_protocol: number, length: number): Frame | null {
    if (this.#ip.room <= 0) return null;
    const memory = Buffer.alloc(HEADROOM + length, 0xee);
    return new Frame(memory).reset(memory, HEADROOM, HEADROOM + length);
  }

  commit(frame: Frame): void {
    this.#ip.room--;
    const bytes = Buffer.from(frame.bytes.subarray(frame.start, frame.end));
    if (frame.checksum === CHECKSUM_PARTIAL) expect(this.#ip.transmit.checksum).toBe('partial');
    else expect(transportChecksum(STACK, this.destination.toString(), 6, bytes), 'TCP checksum').toBe(0);
    if (frame.segmentSize === 0)
      expect(bytes.length, 'packet within the MTU').toBeLessThanOrEqual(this.mtu - 20);
    this.#ip.sent.push(readSegment(bytes, frame.segmentSize));
  }

  confirm(): void {
    this.#ip.confirmations++;
  }
}

function readSegment(bytes: Buffer, segmentSize: number): Raw {
  const header = (bytes[12]! >>> 4) * 4;
  const flags = [...FLAG_LETTERS].filter((_, bit) => (bytes[13]! & (1 << bit)) !== 0).join('');
  const data = bytes.subarray(header);
  let mss: number | undefined;
  let scale: number | undefined;
  let sackPermitted = false;
  let timestamps: [number, number] | undefined;
  const sack: [number, number][] = [];
  for (let at = 20; at < header; ) {
    const kind = bytes[at]!;
    if (kind === 0) break;
    if (kind === 1) {
      at++;
      continue;
    }
    const size = bytes[at + 1]!;
    expect(size, 'option length').toBeGreaterThanOrEqual(2);
    expect(at + size, 'options within the header').toBeLessThanOrEqual(header);
    if (kind === 2) mss = bytes.readUInt16BE(at + 2);
    else if (kind === 3) scale = bytes[at + 2]!;
    else if (kind === 4) sackPermitted = true;
    else if (kind === 8) timestamps = [bytes.readUInt32BE(at + 2), bytes.readUInt32BE(at + 6)];
    else if (kind === 5) {
      for (let i = at + 2; i < at + size; i += 8) sack.push([bytes.readInt32BE(i), bytes.readInt32BE(i + 4)]);
    } else expect.fail(`unknown option ${kind}`);
    at += size;
  }
  return {
    sourcePort: bytes.readUInt16BE(0),
    destinationPort: bytes.readUInt16BE(2),
    sequence: bytes.readInt32BE(4),
    acknowledgment: bytes.readInt32BE(8),
    flags,
    window: bytes.readUInt16BE(14),
    data,
    length: data.length,
    mss,
    scale,
    sackPermitted,
    timestamps,
    sack,
    segmentSize,
  };
}

/** Option bytes for segments from the peer. */
export const option = {
  mss: (value: number): number[] => [2, 4, value >>> 8, value & 255],
  scale: (shift: number): number[] => [1, 3, 3, shift],
  sackPermitted: [1, 1, 4, 2] as readonly number[],
  timestamps: (value: number, echo: number): number[] => [1, 1, 8, 10, ...u32(value), ...u32(echo)],
  sack: (...blocks: (readonly [number, number])[]): number[] => [
    1,
    1,
    5,
    2 + 8 * blocks.length,
    ...blocks.flatMap(([left, right]) => [...u32(left), ...u32(right)]),
  ],
};

function u32(value: number): number[] {
  return [(value >>> 24) & 255, (value >>> 16) & 255, (value >>> 8) & 255, value & 255];
}

/** What a handler was told, in order. */
export class Events implements ConnectionHandler {
  readonly log: string[] = [];
  connected(): void {
    this.log.push('connected');
  }
  readable(): void {
    this.log.push('readable');
  }
  writable(): void {
    this.log.push('writable');
  }
  finished(): void {
    this.log.push('finished');
  }
  closed(_connection: Connection, error: NetError | null): void {
    this.log.push(`closed ${error?.code ?? 'in order'}`);
  }
}

export interface PeerOptions {
  readonly mss?: number;
  readonly scale?: number;
  readonly sack?: boolean;
  readonly timestamps?: boolean;
  readonly window?: number;
  readonly iss?: number;
  readonly port?: number;
  /** How long the handshake takes: the first RTT sample. */
  readonly rttMs?: number;
}

export interface Fields {
  /** Relative to the peer's SYN; the peer's next by default, which it then moves on. */
  readonly sequence?: number;
  /** Relative to the stack's SYN; all that came in order by default. */
  readonly acknowledgment?: number;
  readonly data?: ArrayLike<number> | string;
  readonly window?: number;
  readonly options?: readonly number[];
  /** Relative to the stack's SYN. */
  readonly sack?: readonly (readonly [number, number])[];
  /** TS.val of the peer; its clock by default. */
  readonly timestamp?: number;
  readonly echo?: number;
}

/** A segment of the stack as the peer sees it: relative sequence numbers. */
export type Seen = Raw;

export class Peer {
  readonly lab: Lab;
  readonly port: number;
  readonly stackPort: number;
  readonly iss: number;
  readonly options: PeerOptions;
  /** Relative: what comes next from us; what came from the stack in order. */
  next = 0;
  received = 0;
  window: number;
  stackIss = 0;
  connection!: Connection;
  readonly events = new Events();
  #lastStamp = 0;

  constructor(lab: Lab, stackPort: number, options: PeerOptions) {
    this.lab = lab;
    this.stackPort = stackPort;
    this.options = options;
    this.port = options.port ?? 40_000;
    this.iss = (options.iss ?? 1000) | 0;
    this.window = options.window ?? 65_535;
  }

  get synOptions(): number[] {
    const { mss = 1460, scale, sack = false, timestamps = false } = this.options;
    return [
      ...option.mss(mss),
      ...(sack ? option.sackPermitted : []),
      ...(timestamps ? option.timestamps(this.lab.clock.now(), 0) : []),
      ...(scale === undefined ? [] : option.scale(scale)),
    ];
  }

  /** Puts a segment into the present batch; `send` is this and the end of the batch. */
  queue(flags: string, fields: Fields = {}): Frame {
    const data = typeof fields.data === 'string' ? Buffer.from(fields.data) : (fields.data ?? []);
    const sequence = fields.sequence ?? this.next;
    const acknowledgment = fields.acknowledgment ?? this.received;
    const options = [...(fields.options ?? (flags.includes('S') ? this.synOptions : []))];
    if (this.options.timestamps && fields.options === undefined && !flags.includes('S')) {
      options.push(
        ...option.timestamps(fields.timestamp ?? this.lab.clock.now(), fields.echo ?? this.#lastStamp),
      );
    }
    if (fields.sack !== undefined) {
      options.push(
        ...option.sack(...fields.sack.map(([l, r]) => [l + this.stackIss, r + this.stackIss] as const)),
      );
    }
    const bytes = tcpSegment(PEER, STACK, {
      sourcePort: this.port,
      destinationPort: this.stackPort,
      sequence: (sequence + this.iss) >>> 0,
      acknowledgment: flags.includes('A') ? (acknowledgment + this.stackIss) >>> 0 : 0,
      flags,
      window: fields.window ?? this.window,
      options,
      data,
    });
    if (fields.sequence === undefined) {
      this.next += data.length + (flags.includes('S') ? 1 : 0) + (flags.includes('F') ? 1 : 0);
    }
    return this.lab.ip.receive(PEER, STACK, bytes);
  }

  /** One segment, one batch; answers what the stack sends in return. */
  send(flags: string, fields: Fields = {}): Seen[] {
    this.queue(flags, fields);
    return this.flush();
  }

  flush(): Seen[] {
    this.lab.ip.flush();
    return this.sent();
  }

  /** What the stack has sent since last asked, in relative numbers. */
  sent(): Seen[] {
    this.lab.settle();
    const mine = this.lab.ip.sent.splice(0).filter((raw) => raw.destinationPort === this.port);
    return mine.map((raw) => {
      if (raw.flags.includes('S') && this.stackIss === 0) this.stackIss = raw.sequence;
      const sequence = (raw.sequence - this.stackIss) | 0;
      const length = raw.length + (/[SF]/.test(raw.flags) ? 1 : 0);
      if (sequence <= this.received && sequence + length > this.received) this.received = sequence + length;
      if (raw.timestamps !== undefined) this.#lastStamp = raw.timestamps[0];
      return {
        ...raw,
        sequence,
        acknowledgment: raw.flags.includes('A') ? (raw.acknowledgment - this.iss) | 0 : 0,
        sack: raw.sack.map(([left, right]) => [(left - this.iss) | 0, (right - this.iss) | 0] as const),
      };
    });
  }

  /** Time passes; answers what the stack sends meanwhile. */
  wait(ms: number): Seen[] {
    this.lab.advance(ms);
    return this.sent();
  }

  /** What the application could read now. */
  readAll(): string {
    let text = '';
    for (let chunk = this.connection.take(); chunk !== null; chunk = this.connection.take()) {
      text += Buffer.from(chunk).toString('latin1');
    }
    return text;
  }

  write(data: string | Uint8Array): Seen[] {
    this.connection.send(Buffer.from(data));
    return this.sent();
  }

  get state(): string {
    return this.connection.stateName;
  }
}

export class Lab {
  readonly clock = new VirtualClock(1_000_000);
  readonly timers = new TimerWheel(this.clock);
  readonly ip = new FakeIp();
  readonly layer: TcpLayer;
  readonly tcp: DirectTcp;
  #listener: ListenSocket | null = null;

  constructor(options: TcpOptions = {}) {
    const { clock, timers, ip } = this;
    this.layer = new TcpLayer({ ip, clock, timers, random: new SeededRandom(7), options });
    this.tcp = new DirectTcp(this.layer, clock, async () => [PEER]);
  }

  /** Runs what was deferred. */
  settle(): void {
    this.clock.advanceTo(this.clock.now());
  }

  advance(ms: number): void {
    this.clock.advanceTo(this.clock.now() + ms);
  }

  listen(port = 80, backlog?: number): ListenSocket {
    this.#listener = this.layer.listen({ port, ...(backlog === undefined ? {} : { backlog }) });
    return this.#listener;
  }

  peer(options: PeerOptions = {}, stackPort = 80): Peer {
    return new Peer(this, stackPort, options);
  }

  /** A connection that the peer opened, accepted. */
  accepted(options: PeerOptions = {}): Peer {
    const listener = this.#listener ?? this.listen();
    const peer = this.peer(options);
    const [synAck] = peer.send('S');
    expect(synAck).toMatchObject({ flags: 'SA', acknowledgment: 1 });
    this.advance(options.rttMs ?? 0);
    peer.send('A');
    peer.connection = listener.accept()!;
    peer.connection.handler = peer.events;
    expect(peer.state).toBe('ESTABLISHED');
    return peer;
  }

  /** The stack has asked for a connection: its SYN is out and was read. */
  opening(options: PeerOptions = {}, tcp: TcpOptions = {}): Peer {
    const connection = this.layer.connect({
      remote: IpAddress.parse(PEER),
      remotePort: options.port ?? 80,
      options: tcp,
    });
    const peer = new Peer(this, connection.localPort, { port: 80, ...options });
    peer.connection = connection;
    connection.handler = peer.events;
    expect(peer.sent()).toMatchObject([{ flags: 'S', sequence: 0 }]);
    return peer;
  }

  /** A connection that the stack opened. */
  connected(options: PeerOptions = {}, tcp: TcpOptions = {}): Peer {
    const peer = this.opening(options, tcp);
    peer.send('SA');
    expect(peer.state).toBe('ESTABLISHED');
    return peer;
  }
}

/** `length` letters that tell where they are from. */
export function text(length: number, from = 0): string {
  return Array.from({ length }, (_, i) => String.fromCharCode(97 + ((from + i) % 26))).join('');
}
