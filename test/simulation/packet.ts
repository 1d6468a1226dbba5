/**
 * A reader of frames for the auditors, written from the RFCs and on purpose
 * without the code under test: it shares no offset, checksum or option parser
 * with `src/`.
 */

/** What a frame carries beside its bytes: the device's part of the bargain. */
export interface FrameFacts {
  /** The transport checksum is right by the sender's or the device's word; the field may hold only the pseudo-header sum. */
  readonly partial: boolean;
  readonly verified: boolean;
  /** Payload bytes per segment where the frame carries several; 0 for one. */
  readonly segmentSize: number;
}

/** Says what is wrong with a frame. */
export class Malformed extends Error {}

export interface TcpSegment {
  readonly kind: 'tcp';
  readonly source: number;
  readonly destination: number;
  readonly sourcePort: number;
  readonly destinationPort: number;
  readonly sequence: number;
  readonly acknowledgment: number;
  readonly flags: number;
  readonly window: number;
  readonly bytes: Uint8Array;
  /** Payload in `bytes`. */
  readonly start: number;
  readonly end: number;
  readonly optionBytes: number;
  /** Total length of the IP packet. */
  readonly packetLength: number;
  readonly segmentSize: number;
  /** Options; -1 or null where absent. */
  mss: number;
  scale: number;
  sackPermitted: boolean;
  stamp: number | null;
  echo: number;
  /** Left and right edges in turn. */
  sack: number[];
}

export interface OtherPacket {
  readonly kind: 'arp' | 'udp' | 'icmp' | 'fragment' | 'other';
  readonly packetLength: number;
}

export const FIN = 1;
export const SYN = 2;
export const RST = 4;
export const PSH = 8;
export const ACK = 16;

function u16(bytes: Uint8Array, at: number): number {
  return bytes[at]! * 256 + bytes[at + 1]!;
}

function u32(bytes: Uint8Array, at: number): number {
  return (bytes[at]! << 24) | (bytes[at + 1]! << 16) | (bytes[at + 2]! << 8) | bytes[at + 3]!;
}

/** One's-complement sum of 16-bit words, folded, an odd last byte padded with zero (RFC 1071). */
function wordSum(bytes: Uint8Array, start: number, end: number, initial: number): number {
  let sum = initial;
  let at = start;
  for (; at + 1 < end; at += 2) sum += bytes[at]! * 256 + bytes[at + 1]!;
  if (at < end) sum += bytes[at]! * 256;
  while (sum > 0xffff) sum = (sum % 0x10000) + Math.floor(sum / 0x10000);
  return sum;
}

/** The sum of both addresses, protocol and length, whichever the family. */
function pseudoSum(bytes: Uint8Array, ip: number, protocol: number, length: number): number {
  const [from, to] = bytes[ip]! >> 4 === 6 ? [8, 40] : [12, 20];
  let sum = protocol + length;
  for (let at = ip + from; at < ip + to; at += 2) sum += u16(bytes, at);
  return sum;
}

/** The Ethernet II frame `bytes[start..end)`; throws `Malformed`. */
export function readFrame(
  bytes: Uint8Array,
  start: number,
  end: number,
  facts: FrameFacts,
): TcpSegment | OtherPacket {
  if (end - start < 14) throw new Malformed(`a frame of ${end - start} bytes`);
  const type = u16(bytes, start + 12);
  const at = start + 14;
  if (type === 0x0806) return readArp(bytes, at, end);
  if (type === 0x86dd) return readIpv6(bytes, at, end, facts);
  if (type !== 0x0800) throw new Malformed(`EtherType 0x${type.toString(16)}`);
  return readIpv4(bytes, at, end, facts);
}

function readArp(bytes: Uint8Array, at: number, end: number): OtherPacket {
  if (end - at < 28) throw new Malformed(`ARP of ${end - at} bytes`);
  if (u16(bytes, at) !== 1 || u16(bytes, at + 2) !== 0x0800 || bytes[at + 4] !== 6 || bytes[at + 5] !== 4) {
    throw new Malformed('ARP not for IPv4 over Ethernet');
  }
  const operation = u16(bytes, at + 6);
  if (operation !== 1 && operation !== 2) throw new Malformed(`ARP operation ${operation}`);
  return { kind: 'arp', packetLength: end - at };
}

function readIpv4(bytes: Uint8Array, at: number, end: number, facts: FrameFacts): TcpSegment | OtherPacket {
  if (end - at < 20) throw new Malformed(`IPv4 of ${end - at} bytes`);
  if (bytes[at]! >> 4 !== 4) throw new Malformed(`IP version ${bytes[at]! >> 4}`);
  const header = (bytes[at]! & 15) * 4;
  const total = u16(bytes, at + 2);
  if (header < 20 || total < header) throw new Malformed(`IPv4 header ${header}, total ${total}`);
  if (total > end - at) throw new Malformed(`IPv4 total length ${total} in ${end - at} bytes`);
  if (wordSum(bytes, at, at + header, 0) !== 0xffff) throw new Malformed('IPv4 header checksum');
  if (bytes[at + 8] === 0) throw new Malformed('TTL 0');
  const fragment = u16(bytes, at + 6);
  if ((fragment & 0x8000) !== 0) throw new Malformed('reserved flag of IPv4 is set');
  if ((fragment & 0x3fff) !== 0) return { kind: 'fragment', packetLength: total };
  const protocol = bytes[at + 9]!;
  const stop = at + total;
  if (protocol === 6) return readTcp(bytes, at, header, stop, facts);
  if (protocol === 17) return readUdp(bytes, at, header, stop, facts);
  if (protocol === 1) {
    if (stop - at - header < 8) throw new Malformed('ICMP shorter than its header');
    if (wordSum(bytes, at + header, stop, 0) !== 0xffff) throw new Malformed('ICMP checksum');
    return { kind: 'icmp', packetLength: total };
  }
  return { kind: 'other', packetLength: total };
}

/** Addresses are told apart by their low 32 bits, which are those of the host's IPv4 address. */
function readIpv6(bytes: Uint8Array, at: number, end: number, facts: FrameFacts): TcpSegment | OtherPacket {
  if (end - at < 40) throw new Malformed(`IPv6 of ${end - at} bytes`);
  if (bytes[at]! >> 4 !== 6) throw new Malformed(`IP version ${bytes[at]! >> 4}`);
  const total = 40 + u16(bytes, at + 4);
  if (total > end - at) throw new Malformed(`IPv6 payload length ${total - 40} in ${end - at} bytes`);
  // A hop limit that was damaged to 0 is no reason to drop a packet that has arrived (RFC 8200 §3).
  const stop = at + total;
  let next = bytes[at + 6]!;
  let header = 40;
  // Hop-by-hop options, as listener reports have.
  if (next === 0) {
    if (total < 48) throw new Malformed('a hop-by-hop header that is cut');
    next = bytes[at + 40]!;
    header += 8 + 8 * bytes[at + 41]!;
  }
  if (header > total) throw new Malformed('an extension header beyond the packet');
  if (next === 44) return { kind: 'fragment', packetLength: total };
  if (next === 6) return readTcp(bytes, at, header, stop, facts);
  if (next === 17) return readUdp(bytes, at, header, stop, facts);
  if (next === 58) {
    if (stop - at - header < 8) throw new Malformed('ICMPv6 shorter than its header');
    const pseudo = pseudoSum(bytes, at, 58, stop - at - header);
    if (wordSum(bytes, at + header, stop, pseudo) !== 0xffff) throw new Malformed('ICMPv6 checksum');
    return { kind: 'icmp', packetLength: total };
  }
  return { kind: 'other', packetLength: total };
}

function checkTransport(
  bytes: Uint8Array,
  ip: number,
  protocol: number,
  start: number,
  end: number,
  facts: FrameFacts,
  field: number,
): void {
  if (facts.verified) return;
  const pseudo = pseudoSum(bytes, ip, protocol, end - start);
  if (facts.partial) {
    if (u16(bytes, start + field) % 0xffff !== wordSum(bytes, 0, 0, pseudo) % 0xffff) {
      throw new Malformed('the pseudo-header sum left to the device');
    }
    return;
  }
  if (wordSum(bytes, start, end, pseudo) !== 0xffff) throw new Malformed(`checksum of protocol ${protocol}`);
}

function readUdp(bytes: Uint8Array, ip: number, header: number, end: number, facts: FrameFacts): OtherPacket {
  const at = ip + header;
  if (end - at < 8) throw new Malformed('UDP shorter than its header');
  if (u16(bytes, at + 4) !== end - at) throw new Malformed(`UDP length ${u16(bytes, at + 4)} in ${end - at}`);
  // RFC 8200 §8.1: over IPv6 there is always a sum.
  const isIpv6 = bytes[ip]! >> 4 === 6;
  if (u16(bytes, at + 6) !== 0 || facts.partial || isIpv6) checkTransport(bytes, ip, 17, at, end, facts, 6);
  return { kind: 'udp', packetLength: end - ip };
}

function readTcp(bytes: Uint8Array, ip: number, header: number, end: number, facts: FrameFacts): TcpSegment {
  const at = ip + header;
  if (end - at < 20) throw new Malformed('TCP shorter than its header');
  const dataOffset = (bytes[at + 12]! >> 4) * 4;
  if (dataOffset < 20 || dataOffset > end - at) throw new Malformed(`TCP data offset ${dataOffset}`);
  if ((bytes[at + 12]! & 15) !== 0) throw new Malformed('reserved bits of TCP are set');
  checkTransport(bytes, ip, 6, at, end, facts, 16);
  const segment: TcpSegment = {
    kind: 'tcp',
    source: u32(bytes, ip + (bytes[ip]! >> 4 === 6 ? 20 : 12)),
    destination: u32(bytes, ip + (bytes[ip]! >> 4 === 6 ? 36 : 16)),
    sourcePort: u16(bytes, at),
    destinationPort: u16(bytes, at + 2),
    sequence: u32(bytes, at + 4),
    acknowledgment: u32(bytes, at + 8),
    flags: bytes[at + 13]!,
    window: u16(bytes, at + 14),
    bytes,
    start: at + dataOffset,
    end,
    optionBytes: dataOffset - 20,
    packetLength: end - ip,
    segmentSize: facts.segmentSize,
    mss: -1,
    scale: -1,
    sackPermitted: false,
    stamp: null,
    echo: 0,
    sack: [],
  };
  readOptions(segment, at + 20, at + dataOffset);
  return segment;
}

function readOptions(segment: TcpSegment, start: number, end: number): void {
  const { bytes } = segment;
  const seen = new Set<number>();
  for (let at = start; at < end; ) {
    const kind = bytes[at]!;
    if (kind === 0) return;
    if (kind === 1) {
      at++;
      continue;
    }
    const length = at + 1 < end ? bytes[at + 1]! : 0;
    if (length < 2 || at + length > end) throw new Malformed(`TCP option ${kind} of length ${length}`);
    if (seen.has(kind)) throw new Malformed(`TCP option ${kind} twice`);
    seen.add(kind);
    const expected = { 2: 4, 3: 3, 4: 2, 8: 10 }[kind];
    if (expected !== undefined && length !== expected) {
      throw new Malformed(`TCP option ${kind} of length ${length}`);
    }
    if (kind === 2) segment.mss = u16(bytes, at + 2);
    else if (kind === 3) segment.scale = bytes[at + 2]!;
    else if (kind === 4) segment.sackPermitted = true;
    else if (kind === 8) {
      segment.stamp = u32(bytes, at + 2);
      segment.echo = u32(bytes, at + 6);
    } else if (kind === 5) {
      if (length < 10 || (length - 2) % 8 !== 0) throw new Malformed(`SACK option of length ${length}`);
      for (let i = at + 2; i < at + length; i += 4) segment.sack.push(u32(bytes, i));
    }
    at += length;
  }
}

/** For people: `10.0.0.1:80 > 10.0.0.2:4000 [SYN ACK] seq 1 ack 2 win 3 len 4`. */
export function describe(segment: TcpSegment): string {
  const names = ['FIN', 'SYN', 'RST', 'PSH', 'ACK', 'URG', 'ECE', 'CWR'];
  const flags = names.filter((_, bit) => (segment.flags & (1 << bit)) !== 0).join(' ');
  const from = `${ipText(segment.source)}:${segment.sourcePort}`;
  const to = `${ipText(segment.destination)}:${segment.destinationPort}`;
  const length = segment.end - segment.start;
  return (
    `${from} > ${to} [${flags}] seq ${segment.sequence >>> 0} ack ${segment.acknowledgment >>> 0} ` +
    `win ${segment.window} len ${length}`
  );
}

export function ipText(address: number): string {
  return [24, 16, 8, 0].map((shift) => (address >>> shift) & 255).join('.');
}
