import { IpAddress } from '../src/address/index.ts';
import { allocate, set16, set32 } from '../src/bytes/index.ts';
import type { IpLayer, IpPacket, IpPath, IpProtocol } from '../src/ip.ts';
import { CHECKSUM_VERIFIED, Frame } from '../src/netif/index.ts';
import { type Connection, TcpLayer, type TcpOptions } from '../src/tcp/index.ts';
import * as wire from '../src/tcp/wire.ts';
import { RealClock, SeededRandom, TimerWheel } from '../src/time/index.ts';

const LOCAL = IpAddress.parse('10.0.0.1');
const REMOTE = IpAddress.parse('10.0.0.2');
const HEADER = 32;
const PORT = 80;

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

/** Opens a connection, and takes every segment that it sends to nowhere. */
export function loneConnection(options: TcpOptions = {}): LoneConnection {
  const out = new Frame(allocate(65_536));
  let protocol: IpProtocol | null = null;
  let sequence = 0;
  let stamp = 0;
  const path: IpPath = {
    source: LOCAL,
    destination: REMOTE,
    mtu: 1500,
    interfaceMtu: 1500,
    headerLength: 20,
    // The device makes the checksums: what is measured is TCP.
    transmit: { checksum: 'partial', segmentation: 0 },
    reserve: (_, length) => out.reset(out.bytes, 0, length),
    commit: (frame) => {
      sequence = wire.sequence(frame.bytes, 0);
      stamp++;
    },
    confirm: () => {},
  };
  const ip: IpLayer = {
    register: (registered) => {
      protocol = registered;
    },
    path: () => path,
    interfaceIndex: () => 0,
    isLocal: () => true,
    isBroadcast: () => false,
    portUnreachable: () => {},
  };
  const clock = new RealClock();
  const timers = new TimerWheel(clock);
  const layer = new TcpLayer({ ip, clock, timers, random: new SeededRandom(1), options });
  const connection = layer.connect({ remote: REMOTE, remotePort: PORT });
  layer.flush();
  const initial = sequence;

  const frame = new Frame(allocate(2048));
  const packet: IpPacket = {
    frame,
    source: REMOTE,
    destination: LOCAL,
    protocol: 6,
    trafficClass: 0,
    hopLimit: 64,
    isGroup: false,
    arrival: 0,
  };
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
  write(wire.SYN | wire.ACK, -1, (initial + 1) | 0, 44, 0);
  layer.flush();
  return {
    layer,
    connection,
    inject: (flags, seq, ack, payload) => write(flags, seq, ack, HEADER, payload),
    injectSack: (ack, left, right) => {
      set32(bytes, HEADER, 0x0101050a);
      set32(bytes, HEADER + 4, left);
      set32(bytes, HEADER + 8, right);
      write(wire.ACK, 0, ack, HEADER + 12, 0);
    },
    flush: () => layer.flush(),
  };
}
