/** Ethernet II (DIX) header: destination, source, ethertype. */
import type { MacAddress } from '../address/index.ts';
import { get16, wordsOf } from '../bytes/index.ts';

export const DESTINATION = 0;
export const SOURCE = 6;
export const ETHERTYPE = 12;
/** Bytes of header. */
export const HEADER = 14;

export const ETHERTYPE_IPV4 = 0x0800;
export const ETHERTYPE_ARP = 0x0806;
export const ETHERTYPE_IPV6 = 0x86dd;
/** Smaller values are IEEE 802.3 lengths, not types (IEEE 802.3 §3.2.6). */
export const ETHERTYPE_FIRST = 0x0600;

export function getEthertype(bytes: Uint8Array, frame: number): number {
  return get16(bytes, frame + ETHERTYPE);
}

export function writeHeader(
  bytes: Uint8Array,
  frame: number,
  destination: MacAddress,
  source: MacAddress,
  ethertype: number,
): void {
  const words = wordsOf(bytes);
  words.setInt32(frame, (destination.high << 16) | (destination.low >>> 16));
  words.setInt32(frame + 4, (destination.low << 16) | source.high);
  words.setInt32(frame + 8, source.low);
  words.setInt16(frame + ETHERTYPE, ethertype);
}

/** Whether the destination has the group bit: multicast or broadcast (IEEE 802.3 §3.2.3). */
export function isToGroup(bytes: Uint8Array, frame: number): boolean {
  return (bytes[frame + DESTINATION]! & 1) !== 0;
}

/** Whether the source has the group bit, which no station's own address has. */
export function isFromGroup(bytes: Uint8Array, frame: number): boolean {
  return (bytes[frame + SOURCE]! & 1) !== 0;
}
