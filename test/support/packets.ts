/**
 * Packets as sentences: `packet().ipv4({ source: A, destination: B }).icmpEchoRequest(…)`
 * builds one, `expectFrame(bytes).ipv4({ ttl: 64 }).icmpEchoReply(…)` checks one.
 * Built and read byte by byte on purpose, without the code under test.
 */
import { expect } from 'vitest';

const DEFAULT_SOURCE_MAC = '02:00:00:00:00:99';
const DEFAULT_DESTINATION_MAC = '02:00:00:00:00:01';
export const BROADCAST_MAC = 'ff:ff:ff:ff:ff:ff';

export function macBytes(text: string): number[] {
  return text.split(':').map((octet) => Number.parseInt(octet, 16));
}

export function ipBytes(text: string): number[] {
  return text.split('.').map(Number);
}

function macText(bytes: Uint8Array, at: number): string {
  return [...bytes.subarray(at, at + 6)].map((octet) => octet.toString(16).padStart(2, '0')).join(':');
}

function ipText(bytes: Uint8Array, at: number): string {
  return bytes.subarray(at, at + 4).join('.');
}

function u16(value: number): number[] {
  return [(value >>> 8) & 255, value & 255];
}

function u32(value: number): number[] {
  return [...u16(value >>> 16), ...u16(value & 0xffff)];
}

/** The checksum field for `bytes`, by the book (RFC 1071 §4.1). */
export function internetChecksum(bytes: ArrayLike<number>): number {
  let sum = 0;
  for (let i = 0; i < bytes.length; i += 2) sum += bytes[i]! * 256 + (bytes[i + 1] ?? 0);
  while (sum > 0xffff) sum = (sum & 0xffff) + Math.floor(sum / 65_536);
  return 0xffff - sum;
}

export interface EthernetFields {
  readonly source?: string;
  readonly destination?: string;
}

export interface ArpFields {
  readonly senderMac?: string;
  readonly senderIp: string;
  readonly targetMac?: string;
  readonly targetIp: string;
}

export interface Ipv4Fields {
  readonly source: string;
  readonly destination: string;
  readonly ttl?: number;
  readonly trafficClass?: number;
  readonly identification?: number;
  readonly dontFragment?: boolean;
  readonly moreFragments?: boolean;
  /** In bytes. */
  readonly fragmentOffset?: number;
  /** A multiple of four bytes. */
  readonly options?: readonly number[];
  /** Overrides what is right, for packets that are wrong. */
  readonly version?: number;
  readonly headerLength?: number;
  readonly totalLength?: number;
  readonly checksum?: number;
}

export interface EchoFields {
  readonly identifier?: number;
  readonly sequence?: number;
  readonly data?: ArrayLike<number>;
}

export interface UdpFields {
  readonly sourcePort: number;
  readonly destinationPort: number;
  readonly data?: ArrayLike<number>;
  /** False sends no checksum (RFC 768). */
  readonly checksum?: boolean;
}

/** Letters as in a packet trace: S, F, R, P, A (here `.` is not needed), U, E, C. */
export type TcpFlags = string;

export interface TcpFields {
  readonly sourcePort: number;
  readonly destinationPort: number;
  readonly sequence?: number;
  readonly acknowledgment?: number;
  readonly flags: TcpFlags;
  readonly window?: number;
  readonly options?: readonly number[];
  readonly data?: ArrayLike<number>;
}

const TCP_FLAGS = 'FSRPAUEC';

/** Starts a frame; from a stranger's address to the stack under test unless told. */
export function packet(fields: EthernetFields = {}): FrameBuilder {
  return new FrameBuilder(fields);
}

class FrameBuilder {
  readonly #source: string;
  readonly #destination: string;

  constructor({ source = DEFAULT_SOURCE_MAC, destination = DEFAULT_DESTINATION_MAC }: EthernetFields) {
    this.#source = source;
    this.#destination = destination;
  }

  arpRequest(fields: ArpFields): Uint8Array {
    return this.#arp(1, fields);
  }

  arpReply(fields: ArpFields): Uint8Array {
    return this.#arp(2, fields);
  }

  ipv4(fields: Ipv4Fields): Ipv4Builder {
    return new Ipv4Builder(fields, (bytes) => this.raw(0x0800, bytes));
  }

  raw(ethertype: number, payload: ArrayLike<number>): Uint8Array {
    return Uint8Array.from([
      ...macBytes(this.#destination),
      ...macBytes(this.#source),
      ...u16(ethertype),
      ...Array.from(payload),
    ]);
  }

  #arp(operation: number, fields: ArpFields): Uint8Array {
    return this.raw(0x0806, [
      ...[0, 1, 8, 0, 6, 4],
      ...u16(operation),
      ...macBytes(fields.senderMac ?? this.#source),
      ...ipBytes(fields.senderIp),
      ...macBytes(fields.targetMac ?? '00:00:00:00:00:00'),
      ...ipBytes(fields.targetIp),
    ]);
  }
}

class Ipv4Builder {
  readonly #fields: Ipv4Fields;
  readonly #wrap: (bytes: number[]) => Uint8Array;

  constructor(fields: Ipv4Fields, wrap: (bytes: number[]) => Uint8Array) {
    this.#fields = fields;
    this.#wrap = wrap;
  }

  /** Any protocol's payload. */
  payload(protocol: number, data: ArrayLike<number>): Uint8Array {
    const {
      source,
      destination,
      options = [],
      ttl = 64,
      trafficClass = 0,
      identification = 0,
    } = this.#fields;
    const { version = 4, headerLength = 20 + options.length } = this.#fields;
    const { dontFragment = false, moreFragments = false, fragmentOffset = 0 } = this.#fields;
    const flags = (dontFragment ? 0x4000 : 0) | (moreFragments ? 0x2000 : 0) | (fragmentOffset / 8);
    const header = [
      (version << 4) | (headerLength >>> 2),
      trafficClass,
      ...u16(this.#fields.totalLength ?? 20 + options.length + data.length),
      ...u16(identification),
      ...u16(flags),
      ttl,
      protocol,
      ...[0, 0],
      ...ipBytes(source),
      ...ipBytes(destination),
      ...options,
    ];
    const [high, low] = u16(this.#fields.checksum ?? internetChecksum(header));
    header[10] = high!;
    header[11] = low!;
    return this.#wrap([...header, ...Array.from(data)]);
  }

  icmpEchoRequest(fields: EchoFields = {}): Uint8Array {
    return this.icmp(8, 0, echoRest(fields), fields.data ?? []);
  }

  icmpEchoReply(fields: EchoFields = {}): Uint8Array {
    return this.icmp(0, 0, echoRest(fields), fields.data ?? []);
  }

  /** An ICMP message; `rest` are the four bytes after the checksum. */
  icmp(type: number, code: number, rest: readonly number[], data: ArrayLike<number>): Uint8Array {
    const message = [type, code, 0, 0, ...rest, ...Array.from(data)];
    const [high, low] = u16(internetChecksum(message));
    message[2] = high!;
    message[3] = low!;
    return this.payload(1, message);
  }

  udp(fields: UdpFields): Uint8Array {
    return this.payload(17, udpDatagram(this.#fields.source, this.#fields.destination, fields));
  }

  tcp(fields: TcpFields): Uint8Array {
    return this.payload(6, tcpSegment(this.#fields.source, this.#fields.destination, fields));
  }
}

function echoRest({ identifier = 1, sequence = 1 }: EchoFields): number[] {
  return [...u16(identifier), ...u16(sequence)];
}

/** A UDP header with its data, checksum made. */
export function udpDatagram(source: string, destination: string, fields: UdpFields): number[] {
  const { data = [], checksum = true } = fields;
  const length = 8 + data.length;
  const datagram = [
    ...u16(fields.sourcePort),
    ...u16(fields.destinationPort),
    ...u16(length),
    ...[0, 0],
    ...Array.from(data),
  ];
  if (checksum) {
    const [high, low] = u16(transportChecksum(source, destination, 17, datagram) || 0xffff);
    datagram[6] = high!;
    datagram[7] = low!;
  }
  return datagram;
}

/** A TCP header with options (padded) and data, checksum made. */
export function tcpSegment(source: string, destination: string, fields: TcpFields): number[] {
  const { sequence = 0, acknowledgment = 0, window = 65_535, options = [], data = [] } = fields;
  const padded = [...options, ...new Array<number>((4 - (options.length % 4)) % 4).fill(0)];
  let flags = 0;
  for (const letter of fields.flags) flags |= 1 << TCP_FLAGS.indexOf(letter);
  const segment = [
    ...u16(fields.sourcePort),
    ...u16(fields.destinationPort),
    ...u32(sequence),
    ...u32(acknowledgment),
    ((20 + padded.length) / 4) << 4,
    flags,
    ...u16(window),
    ...[0, 0, 0, 0],
    ...padded,
    ...Array.from(data),
  ];
  const [high, low] = u16(transportChecksum(source, destination, 6, segment));
  segment[16] = high!;
  segment[17] = low!;
  return segment;
}

export function transportChecksum(
  source: string,
  destination: string,
  protocol: number,
  bytes: ArrayLike<number>,
): number {
  return internetChecksum([
    ...ipBytes(source),
    ...ipBytes(destination),
    ...[0, protocol],
    ...u16(bytes.length),
    ...Array.from(bytes),
  ]);
}

/** Starts a check of an Ethernet frame. */
export function expectFrame(frame: Uint8Array | undefined, fields: EthernetFields = {}): FrameChecker {
  expect(frame, 'a frame').toBeDefined();
  const checker = new FrameChecker(frame!);
  if (fields.source !== undefined) checker.from(fields.source);
  if (fields.destination !== undefined) checker.to(fields.destination);
  return checker;
}

export class FrameChecker {
  readonly bytes: Uint8Array;

  constructor(bytes: Uint8Array) {
    expect(bytes.length, 'frame length').toBeGreaterThanOrEqual(14);
    this.bytes = bytes;
  }

  from(mac: string): this {
    expect(macText(this.bytes, 6), 'source MAC').toBe(mac);
    return this;
  }

  to(mac: string): this {
    expect(macText(this.bytes, 0), 'destination MAC').toBe(mac);
    return this;
  }

  arpRequest(fields: Partial<ArpFields> = {}): this {
    return this.#arp(1, fields);
  }

  arpReply(fields: Partial<ArpFields> = {}): this {
    return this.#arp(2, fields);
  }

  ipv4(fields: Partial<Ipv4Fields> & { readonly protocol?: number } = {}): Ipv4Checker {
    expect(this.#ethertype, 'ethertype').toBe(0x0800);
    return new Ipv4Checker(this.bytes.subarray(14), fields);
  }

  get #ethertype(): number {
    return (this.bytes[12]! << 8) | this.bytes[13]!;
  }

  #arp(operation: number, fields: Partial<ArpFields>): this {
    const arp = this.bytes.subarray(14);
    expect(this.#ethertype, 'ethertype').toBe(0x0806);
    expect([...arp.subarray(0, 8)], 'ARP for Ethernet and IPv4').toEqual([0, 1, 8, 0, 6, 4, 0, operation]);
    const seen = {
      senderMac: macText(arp, 8),
      senderIp: ipText(arp, 14),
      targetMac: macText(arp, 18),
      targetIp: ipText(arp, 24),
    };
    expect(seen).toMatchObject(fields);
    return this;
  }
}

export class Ipv4Checker {
  /** The packet, header included, padding cut. */
  readonly bytes: Uint8Array;
  readonly source: string;
  readonly destination: string;
  readonly identification: number;
  readonly payload: Uint8Array;
  readonly protocol: number;

  /** Checks that the header is sound, and the fields that are given. */
  constructor(bytes: Uint8Array, fields: Partial<Ipv4Fields> & { readonly protocol?: number } = {}) {
    const headerLength = (bytes[0]! & 15) * 4;
    const totalLength = (bytes[2]! << 8) | bytes[3]!;
    expect(internetChecksum(bytes.subarray(0, headerLength)), 'IPv4 header checksum').toBe(0);
    expect(totalLength, 'IPv4 total length').toBeLessThanOrEqual(bytes.length);
    this.bytes = bytes.subarray(0, totalLength);
    this.source = ipText(bytes, 12);
    this.destination = ipText(bytes, 16);
    this.identification = (bytes[4]! << 8) | bytes[5]!;
    this.protocol = bytes[9]!;
    this.payload = this.bytes.subarray(headerLength);
    const flags = (bytes[6]! << 8) | bytes[7]!;
    const seen = {
      version: bytes[0]! >>> 4,
      headerLength,
      totalLength,
      source: this.source,
      destination: this.destination,
      ttl: bytes[8]!,
      trafficClass: bytes[1]!,
      identification: this.identification,
      dontFragment: (flags & 0x4000) !== 0,
      moreFragments: (flags & 0x2000) !== 0,
      fragmentOffset: (flags & 0x1fff) * 8,
      protocol: this.protocol,
    };
    expect(seen).toMatchObject({ version: 4, ...fields });
  }

  icmpEchoRequest(fields: EchoFields = {}): this {
    return this.#echo(8, fields);
  }

  icmpEchoReply(fields: EchoFields = {}): this {
    return this.#echo(0, fields);
  }

  /** An ICMP message; answers what it quotes, as an IPv4 packet that may be cut short. */
  icmpError(type: number, code: number, rest: readonly number[] = [0, 0, 0, 0]): Uint8Array {
    this.#icmp();
    expect([this.payload[0], this.payload[1]], 'ICMP type and code').toEqual([type, code]);
    expect([...this.payload.subarray(4, 8)], 'ICMP rest of header').toEqual(rest);
    return this.payload.subarray(8);
  }

  udp(fields: Partial<UdpFields> = {}): this {
    expect(this.protocol, 'protocol').toBe(17);
    const udp = this.payload;
    expect((udp[4]! << 8) | udp[5]!, 'UDP length').toBe(udp.length);
    if (udp[6] !== 0 || udp[7] !== 0) this.#transportSum();
    expect({ sourcePort: (udp[0]! << 8) | udp[1]!, destinationPort: (udp[2]! << 8) | udp[3]! }).toMatchObject(
      pick(fields, ['sourcePort', 'destinationPort']),
    );
    if (fields.data !== undefined) expectBytes(udp.subarray(8), fields.data);
    return this;
  }

  tcp(fields: Partial<TcpFields> = {}): this {
    expect(this.protocol, 'protocol').toBe(6);
    const tcp = this.payload;
    this.#transportSum();
    const headerLength = (tcp[12]! >>> 4) * 4;
    const view = new DataView(tcp.buffer, tcp.byteOffset, tcp.byteLength);
    const seen = {
      sourcePort: view.getUint16(0),
      destinationPort: view.getUint16(2),
      sequence: view.getUint32(4),
      acknowledgment: view.getUint32(8),
      flags: [...TCP_FLAGS].filter((_, bit) => (tcp[13]! & (1 << bit)) !== 0).join(''),
      window: view.getUint16(14),
    };
    const wanted = pick(fields, ['sourcePort', 'destinationPort', 'sequence', 'acknowledgment', 'window']);
    expect(seen).toMatchObject(wanted);
    if (fields.flags !== undefined) {
      expect(seen.flags, 'TCP flags').toBe(
        [...TCP_FLAGS].filter((flag) => fields.flags!.includes(flag)).join(''),
      );
    }
    if (fields.options !== undefined) expectBytes(tcp.subarray(20, headerLength), fields.options);
    if (fields.data !== undefined) expectBytes(tcp.subarray(headerLength), fields.data);
    return this;
  }

  #icmp(): void {
    expect(this.protocol, 'protocol').toBe(1);
    expect(internetChecksum(this.payload), 'ICMP checksum').toBe(0);
  }

  #echo(type: number, fields: EchoFields): this {
    this.#icmp();
    const icmp = this.payload;
    expect(icmp[0], 'ICMP type').toBe(type);
    const seen = { identifier: (icmp[4]! << 8) | icmp[5]!, sequence: (icmp[6]! << 8) | icmp[7]! };
    expect(seen).toMatchObject(pick(fields, ['identifier', 'sequence']));
    if (fields.data !== undefined) expectBytes(icmp.subarray(8), fields.data);
    return this;
  }

  #transportSum(): void {
    const sum = transportChecksum(this.source, this.destination, this.protocol, this.payload);
    expect(sum, 'transport checksum').toBe(0);
  }
}

function pick<T extends object, K extends keyof T>(fields: T, keys: readonly K[]): Partial<T> {
  const picked: Partial<T> = {};
  for (const key of keys) if (fields[key] !== undefined) picked[key] = fields[key];
  return picked;
}

/** Compares bytes; shows them in full only where they differ. */
export function expectBytes(actual: ArrayLike<number>, expected: ArrayLike<number>): void {
  if (Buffer.compare(Uint8Array.from(actual), Uint8Array.from(expected)) === 0) return;
  expect(Array.from(actual)).toEqual(Array.from(expected));
}

/** `length` bytes that tell where they are from. */
export function pattern(length: number, from = 0): Uint8Array {
  return Uint8Array.from({ length }, (_, i) => ((from + i) * 7 + ((from + i) >> 8)) & 255);
}
