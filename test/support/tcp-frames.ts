import { CHECKSUM_PARTIAL, type Netif } from '../../src/netif/netif.ts';
import { internetChecksum } from './packets.ts';

export const ACK = 0x10;
export const PSH = 0x08;
export const FIN = 0x01;
export const CWR = 0x80;

export interface Fields {
  readonly ipv6?: boolean;
  readonly sequence?: number;
  readonly acknowledgment?: number;
  readonly flags?: number;
  readonly window?: number;
  readonly port?: number;
  readonly timestamp?: number;
  readonly trafficClass?: number;
  readonly identification?: number;
  readonly fragment?: number;
  readonly payload?: Buffer;
}

/** An Ethernet frame with a TCP segment, checksums made by the test's own code. */
export function tcpFrame(fields: Fields = {}): Buffer {
  const { ipv6 = false, payload = Buffer.alloc(0), flags = ACK } = fields;
  const ip = ipv6 ? 40 : 20;
  const tcp = 14 + ip;
  const frame = Buffer.concat([Buffer.alloc(tcp + 32), payload]);
  frame.set([2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1]);
  const length = frame.length - tcp;
  if (ipv6) {
    frame.writeUInt16BE(0x86dd, 12);
    frame.writeUInt32BE((0x60000000 | ((fields.trafficClass ?? 0) << 20) | 0x12345) >>> 0, 14);
    frame.writeUInt16BE(length, 18);
    frame.set([6, 64], 20);
    for (let i = 0; i < 32; i++) frame[22 + i] = i * 7;
  } else {
    frame.writeUInt16BE(0x0800, 12);
    frame.set([0x45, fields.trafficClass ?? 0], 14);
    frame.writeUInt16BE(frame.length - 14, 16);
    frame.writeUInt16BE(fields.identification ?? 0, 18);
    frame.writeUInt16BE(fields.fragment ?? 0x4000, 20);
    frame.set([64, 6, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2], 22);
    frame.writeUInt16BE(internetChecksum(frame.subarray(14, tcp)), 24);
  }
  frame.writeUInt16BE(fields.port ?? 40_000, tcp);
  frame.writeUInt16BE(5001, tcp + 2);
  frame.writeInt32BE((fields.sequence ?? 0) | 0, tcp + 4);
  frame.writeInt32BE(fields.acknowledgment ?? 77, tcp + 8);
  frame.set([0x80, flags], tcp + 12);
  frame.writeUInt16BE(fields.window ?? 500, tcp + 14);
  frame.set([1, 1, 8, 10], tcp + 20);
  frame.writeUInt32BE(fields.timestamp ?? 5, tcp + 24);
  frame.writeUInt16BE(tcpChecksum(frame, ipv6), tcp + 16);
  return frame;
}

export function pseudoHeader(frame: Buffer, ipv6: boolean): Buffer {
  const tcp = 14 + (ipv6 ? 40 : 20);
  const addresses = ipv6 ? frame.subarray(22, 54) : frame.subarray(26, 34);
  const tail = Buffer.from([0, 6, 0, 0]);
  tail.writeUInt16BE(frame.length - tcp, 2);
  return Buffer.concat([addresses, tail]);
}

/** With the field as it stands in `frame`: 0 if that is right. */
export function tcpChecksum(frame: Buffer, ipv6: boolean): number {
  return internetChecksum(Buffer.concat([pseudoHeader(frame, ipv6), frame.subarray(14 + (ipv6 ? 40 : 20))]));
}

/** Payload that a shift or a swap shows in. */
export function pattern(from: number, length: number): Buffer {
  return Buffer.from(Array.from({ length }, (_, i) => ((from + i) * 31 + ((from + i) >>> 8)) & 0xff));
}

/** Hands over one frame with a partial checksum and `mss` bytes in each segment, as TCP does. */
export function sendLarge(netif: Netif, length: number, mss: number, fields: Fields = {}): boolean {
  const { ipv6 = false } = fields;
  const whole = tcpFrame({ ...fields, payload: pattern(fields.sequence ?? 0, length) });
  const frame = netif.reserve(whole.length);
  if (frame === null) return false;
  const tcp = 14 + (ipv6 ? 40 : 20);
  whole.writeUInt16BE(~internetChecksum(pseudoHeader(whole, ipv6)) & 0xffff, tcp + 16);
  frame.bytes.set(whole, frame.start);
  frame.checksum = CHECKSUM_PARTIAL;
  frame.checksumStart = frame.start + tcp;
  frame.checksumOffset = 16;
  frame.segmentSize = length > mss ? mss : 0;
  netif.commit(frame);
  return true;
}
