import { IpAddress } from '../../src/address/index.ts';
import { complement, pseudoHeaderSum, sum } from '../../src/checksum/index.ts';
import { NetError } from '../../src/errors.ts';
import { EVERYBODY, type GroupSubscription } from '../../src/internet/index.ts';
import {
  type CommitOptions,
  type GroupLayer,
  type IpError,
  type IpErrorKind,
  type IpPacket,
  type IpPath,
  type IpProtocol,
  PROTOCOL_UDP,
} from '../../src/ip.ts';
import { Frame, NO_OFFLOADS, type Offloads } from '../../src/netif/netif.ts';

/** What a transport committed. */
export interface Sent {
  readonly source: string;
  readonly destination: string;
  readonly sourcePort: number;
  readonly destinationPort: number;
  readonly length: number;
  readonly checksum: number;
  readonly data: Buffer;
  /** The transport header and data, as they stood in the frame. */
  readonly bytes: Buffer;
  readonly frame: Pick<Frame, 'checksum' | 'checksumStart' | 'checksumOffset' | 'start'>;
  readonly options: CommitOptions | undefined;
}

const HEADROOM = 34;

/** A network layer that records what is sent and plays back what is "received". */
export class FakeIp implements GroupLayer {
  readonly sent: Sent[] = [];
  readonly unreachable: string[] = [];
  /** How many more frames the device takes. */
  room = Number.POSITIVE_INFINITY;
  mtu = 1500;
  transmit: Offloads = NO_OFFLOADS;
  paths = 0;
  #transport: IpProtocol | null = null;
  readonly #locals: readonly IpAddress[];
  readonly #broadcasts = [IpAddress.BROADCAST_IPV4, IpAddress.parse('10.0.0.255')];

  constructor(...locals: string[]) {
    this.#locals = (locals.length > 0 ? locals : ['10.0.0.2', '10.0.0.3']).map(IpAddress.parse);
  }

  register(protocol: IpProtocol): void {
    this.#transport = protocol;
  }

  /** Of `eth0`, `eth1` and so on. */
  interfaceIndex(name: string): number {
    return Number(name.slice(3));
  }

  isLocal(address: IpAddress): boolean {
    return this.#locals.some((local) => local.equals(address));
  }

  isBroadcast(address: IpAddress): boolean {
    return this.#broadcasts.some((broadcast) => broadcast.equals(address));
  }

  path(destination: IpAddress, source?: IpAddress): IpPath {
    this.paths++;
    if (destination.isUnspecified) throw new NetError('EINVAL');
    const from = source ?? this.#locals.find((local) => local.isIpv4 === destination.isIpv4);
    if (from === undefined || destination.toString().startsWith('192.0.2.'))
      throw new NetError('ENETUNREACH');
    return new FakePath(this, from.copy(), destination.copy());
  }

  subscribe(): GroupSubscription {
    return { filter: EVERYBODY, close: () => {} };
  }

  findInterface(on: string): number | null {
    return this.isLocal(IpAddress.parse(on)) ? 0 : null;
  }

  portUnreachable(packet: IpPacket): void {
    this.unreachable.push(`${packet.source} -> ${packet.destination}`);
  }

  /** The device has room for `frames` more, and says so. */
  makeRoom(frames: number): void {
    this.room = frames;
    this.#transport!.writable();
  }

  /** Hands `bytes` to the transport as a packet's content; answers the frame. */
  deliver(
    from: string,
    to: string,
    bytes: Uint8Array,
    options: { isGroup?: boolean; arrival?: number; checksum?: Frame['checksum'] } = {},
  ): Frame {
    const memory = Buffer.alloc(HEADROOM + bytes.length + 4, 0xee);
    memory.set(bytes, HEADROOM);
    const frame = new Frame(memory).reset(memory, HEADROOM, HEADROOM + bytes.length);
    if (options.checksum !== undefined) frame.checksum = options.checksum;
    this.#transport!.receive({
      frame,
      source: IpAddress.parse(from),
      destination: IpAddress.parse(to),
      protocol: PROTOCOL_UDP,
      trafficClass: 0,
      hopLimit: 64,
      isGroup: options.isGroup ?? false,
      arrival: options.arrival ?? 0,
    });
    return frame;
  }

  /** An error about a datagram that `from:fromPort` sent to `to:toPort`. */
  fail(kind: IpErrorKind, from: string, fromPort: number, to: string, toPort: number): boolean {
    const bytes = Buffer.alloc(8);
    bytes.writeUInt16BE(fromPort, 0);
    bytes.writeUInt16BE(toPort, 2);
    const error: IpError = {
      kind,
      source: IpAddress.parse(from),
      destination: IpAddress.parse(to),
      protocol: PROTOCOL_UDP,
      bytes,
      start: 0,
      end: 8,
      mtu: 0,
    };
    return this.#transport!.error(error);
  }
}

class FakePath implements IpPath {
  readonly #ip: FakeIp;
  readonly source: IpAddress;
  readonly destination: IpAddress;

  constructor(ip: FakeIp, source: IpAddress, destination: IpAddress) {
    this.#ip = ip;
    this.source = source;
    this.destination = destination;
  }

  get mtu(): number {
    return this.#ip.mtu;
  }
  get interfaceMtu(): number {
    return this.#ip.mtu;
  }
  get headerLength(): number {
    return this.destination.isIpv4 ? 20 : 40;
  }
  get transmit(): Offloads {
    return this.#ip.transmit;
  }

  reserve(_protocol: number, length: number): Frame | null {
    if (this.#ip.room <= 0) return null;
    const memory = Buffer.alloc(HEADROOM + length, 0xee);
    return new Frame(memory).reset(memory, HEADROOM, HEADROOM + length);
  }

  commit(frame: Frame, options?: CommitOptions): void {
    this.#ip.room--;
    const bytes = Buffer.from(frame.bytes.subarray(frame.start, frame.end));
    this.#ip.sent.push({
      source: this.source.toString(),
      destination: this.destination.toString(),
      sourcePort: bytes.readUInt16BE(0),
      destinationPort: bytes.readUInt16BE(2),
      length: bytes.readUInt16BE(4),
      checksum: bytes.readUInt16BE(6),
      data: bytes.subarray(8),
      bytes,
      frame: { ...frame, start: frame.start },
      options,
    });
  }

  confirm(): void {}
}

/** The bytes of a datagram with a right checksum, unless told otherwise. */
export function datagram(
  from: string,
  fromPort: number,
  to: string,
  toPort: number,
  data: Uint8Array | string,
  changes: { length?: number; checksum?: number } = {},
): Buffer {
  const payload = Buffer.from(data);
  const bytes = Buffer.alloc(8 + payload.length);
  bytes.writeUInt16BE(fromPort, 0);
  bytes.writeUInt16BE(toPort, 2);
  bytes.writeUInt16BE(changes.length ?? bytes.length, 4);
  payload.copy(bytes, 8);
  const pseudo = pseudoHeaderSum(IpAddress.parse(from), IpAddress.parse(to), PROTOCOL_UDP, bytes.length);
  const right = complement(sum(bytes, 0, bytes.length, pseudo)) || 0xffff;
  bytes.writeUInt16BE(changes.checksum ?? right, 6);
  return bytes;
}

/** Whether the checksum of what was sent holds. */
export function checksumIsRight(sent: Sent): boolean {
  const pseudo = pseudoHeaderSum(
    IpAddress.parse(sent.source),
    IpAddress.parse(sent.destination),
    PROTOCOL_UDP,
    sent.bytes.length,
  );
  return sum(sent.bytes, 0, sent.bytes.length, pseudo) === 0xffff;
}
