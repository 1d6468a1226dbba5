/** IPv6 header (RFC 8200 §3) and what all its extension headers share (§4). */
import type { IpAddress } from '../address/index.ts';
import { get16, get32, set16, set32, wordsOf } from '../bytes/index.ts';

/** Version, traffic class and flow label: 4, 8 and 20 bits. */
export const VERSION_CLASS_FLOW = 0;
export const PAYLOAD_LENGTH = 4;
export const NEXT_HEADER = 6;
export const HOP_LIMIT = 7;
export const SOURCE = 8;
export const DESTINATION = 24;
/** Bytes of header; where extension headers begin. */
export const HEADER = 40;
/** Most bytes behind the header (no jumbograms). */
export const MAX_PAYLOAD = 65_535;
export const MAX_PACKET = HEADER + MAX_PAYLOAD;
/** Every link carries packets of this size whole (RFC 8200 §5). */
export const MIN_MTU = 1280;

/** Next header values that are not transports. */
export const NEXT_HOP_BY_HOP = 0;
export const NEXT_ROUTING = 43;
export const NEXT_FRAGMENT = 44;
export const PROTOCOL_ICMPV6 = 58;
export const NEXT_NONE = 59;
export const NEXT_DESTINATION_OPTIONS = 60;

/** Bytes of a fragment header (§4.5): next header, reserved, offset and M, identification. */
export const FRAGMENT_HEADER = 8;
export const FRAGMENT_OFFSET = 2;
export const FRAGMENT_IDENTIFICATION = 4;
/** In the offset word: the offset in bytes, as it stands, and whether more follow. */
export const OFFSET_MASK = 0xfff8;
export const MORE_FRAGMENTS = 1;

export function getVersion(bytes: Uint8Array, header: number): number {
  return bytes[header]! >>> 4;
}

export function getTrafficClass(bytes: Uint8Array, header: number): number {
  return (get16(bytes, header) >>> 4) & 0xff;
}

export function getPayloadLength(bytes: Uint8Array, header: number): number {
  return get16(bytes, header + PAYLOAD_LENGTH);
}

export function setPayloadLength(bytes: Uint8Array, header: number, length: number): void {
  set16(bytes, header + PAYLOAD_LENGTH, length);
}

export function getNextHeader(bytes: Uint8Array, header: number): number {
  return bytes[header + NEXT_HEADER]!;
}

export function getHopLimit(bytes: Uint8Array, header: number): number {
  return bytes[header + HOP_LIMIT]!;
}

export function writeHeader(
  bytes: Uint8Array,
  header: number,
  source: IpAddress,
  destination: IpAddress,
  trafficClass: number,
  flowLabel: number,
  payloadLength: number,
  nextHeader: number,
  hopLimit: number,
): void {
  const words = wordsOf(bytes);
  words.setInt32(header, 0x60000000 | ((trafficClass & 0xff) << 20) | (flowLabel & 0xfffff));
  words.setInt32(header + PAYLOAD_LENGTH, (payloadLength << 16) | (nextHeader << 8) | (hopLimit & 0xff));
  words.setInt32(header + SOURCE, source.w0);
  words.setInt32(header + SOURCE + 4, source.w1);
  words.setInt32(header + SOURCE + 8, source.w2);
  words.setInt32(header + SOURCE + 12, source.w3);
  words.setInt32(header + DESTINATION, destination.w0);
  words.setInt32(header + DESTINATION + 4, destination.w1);
  words.setInt32(header + DESTINATION + 8, destination.w2);
  words.setInt32(header + DESTINATION + 12, destination.w3);
}

export function getFragmentWord(bytes: Uint8Array, fragment: number): number {
  return get16(bytes, fragment + FRAGMENT_OFFSET);
}

export function getIdentification(bytes: Uint8Array, fragment: number): number {
  return get32(bytes, fragment + FRAGMENT_IDENTIFICATION);
}

export function writeFragmentHeader(
  bytes: Uint8Array,
  at: number,
  nextHeader: number,
  offset: number,
  more: boolean,
  identification: number,
): void {
  bytes[at] = nextHeader;
  bytes[at + 1] = 0;
  set16(bytes, at + FRAGMENT_OFFSET, (offset & OFFSET_MASK) | (more ? MORE_FRAGMENTS : 0));
  set32(bytes, at + FRAGMENT_IDENTIFICATION, identification);
}
