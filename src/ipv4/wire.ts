/** IPv4 header (RFC 791 §3.1). */
import { get16, wordsOf } from '../bytes/index.ts';

export const VERSION_IHL = 0;
export const TRAFFIC_CLASS = 1;
export const TOTAL_LENGTH = 2;
export const IDENTIFICATION = 4;
export const FLAGS_FRAGMENT = 6;
export const TTL = 8;
export const PROTOCOL = 9;
export const CHECKSUM = 10;
export const SOURCE = 12;
export const DESTINATION = 16;
/** Bytes of header without options; where options begin. */
export const HEADER = 20;
export const MAX_HEADER = 60;
/** Most bytes of a packet. */
export const MAX_PACKET = 65_535;
/** Every link carries packets of this size whole (RFC 791 §3.2). */
export const MIN_LINK_MTU = 68;

/** In the flags and fragment offset word. */
export const DONT_FRAGMENT = 0x4000;
export const MORE_FRAGMENTS = 0x2000;
export const OFFSET_MASK = 0x1fff;

export const OPTION_END = 0;
export const OPTION_NOP = 1;
export const OPTION_LOOSE_SOURCE_ROUTE = 131;
export const OPTION_STRICT_SOURCE_ROUTE = 137;

export function getVersion(bytes: Uint8Array, header: number): number {
  return bytes[header + VERSION_IHL]! >>> 4;
}

/** In bytes. */
export function getHeaderLength(bytes: Uint8Array, header: number): number {
  return (bytes[header + VERSION_IHL]! & 15) << 2;
}

export function getTrafficClass(bytes: Uint8Array, header: number): number {
  return bytes[header + TRAFFIC_CLASS]!;
}

export function getTotalLength(bytes: Uint8Array, header: number): number {
  return get16(bytes, header + TOTAL_LENGTH);
}

export function getIdentification(bytes: Uint8Array, header: number): number {
  return get16(bytes, header + IDENTIFICATION);
}

export function getFlagsFragment(bytes: Uint8Array, header: number): number {
  return get16(bytes, header + FLAGS_FRAGMENT);
}

export function getTtl(bytes: Uint8Array, header: number): number {
  return bytes[header + TTL]!;
}

export function getProtocol(bytes: Uint8Array, header: number): number {
  return bytes[header + PROTOCOL]!;
}

/**
 * Writes a header without options. `fixedSum` is the unfolded sum of what
 * never changes on a path ({@link fixedSum}); the rest is added here, so
 * nothing is read back.
 */
export function writeHeader(
  bytes: Uint8Array,
  header: number,
  source: number,
  destination: number,
  fixedSum: number,
  trafficClass: number,
  totalLength: number,
  identification: number,
  flagsFragment: number,
  ttl: number,
  protocol: number,
): void {
  const words = wordsOf(bytes);
  words.setInt32(header, ((0x4500 | (trafficClass & 0xff)) << 16) | totalLength);
  words.setInt32(header + IDENTIFICATION, (identification << 16) | flagsFragment);
  let sum = fixedSum + (trafficClass & 0xff) + totalLength + identification + flagsFragment;
  sum += ((ttl & 0xff) << 8) | protocol;
  sum = (sum & 0xffff) + (sum >>> 16);
  sum += sum >>> 16;
  words.setInt32(header + TTL, (ttl << 24) | (protocol << 16) | (~sum & 0xffff));
  words.setInt32(header + SOURCE, source);
  words.setInt32(header + DESTINATION, destination);
}

/** What version, header length and both addresses add to a header's sum. */
export function fixedSum(source: number, destination: number): number {
  return 0x4500 + (source >>> 16) + (source & 0xffff) + (destination >>> 16) + (destination & 0xffff);
}
