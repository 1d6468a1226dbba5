import { get16 } from '../../bytes/index.ts';
import { CHECKSUM_PARTIAL, CHECKSUM_VERIFIED, ETHERNET_HEADER, type Frame } from '../netif.ts';

/*
 * What the ring does not say and its flags mean: where the checksum is that was
 * left blank, and which protocol a segment is of.
 */

const ETHERTYPE_VLAN = 0x8100;
export const ETHERTYPE_IPV4 = 0x0800;
export const ETHERTYPE_IPV6 = 0x86dd;

const TCP = 6;
const UDP = 17;
const TCP_CHECKSUM = 16;
const UDP_CHECKSUM = 6;

const HOP_BY_HOP = 0;
const ROUTING = 43;
const DESTINATION_OPTIONS = 60;

/** Where the network layer begins in the frame at `start`: behind an 802.1Q tag if there is one. */
function networkAt(bytes: Uint8Array, start: number, end: number): number {
  const plain = start + ETHERNET_HEADER;
  return end - start >= ETHERNET_HEADER + 4 && get16(bytes, start + 12) === ETHERTYPE_VLAN
    ? plain + 4
    : plain;
}

/** The protocol of the network layer of a frame of at least 14 bytes. */
export function etherType(bytes: Uint8Array, start: number, end: number): number {
  return get16(bytes, networkAt(bytes, start, end) - 2);
}

/** Where the transport header begins; -1 if it is not a whole TCP or UDP packet of IPv4 or IPv6. */
function transportAt(bytes: Uint8Array, start: number, end: number): number {
  const at = networkAt(bytes, start, end);
  const type = get16(bytes, at - 2);
  if (type === ETHERTYPE_IPV4) return ipv4Transport(bytes, at, end);
  if (type === ETHERTYPE_IPV6) return ipv6Transport(bytes, at, end);
  return -1;
}

function ipv4Transport(bytes: Uint8Array, at: number, end: number): number {
  if (at + 20 > end || bytes[at]! >>> 4 !== 4) return -1;
  const protocol = bytes[at + 9]!;
  // Fragments: the checksum is of the whole datagram.
  if ((get16(bytes, at + 6) & 0x3fff) !== 0 || (protocol !== TCP && protocol !== UDP)) return -1;
  const header = (bytes[at]! & 15) * 4;
  return header < 20 || at + header + minimum(protocol) > end ? -1 : at + header;
}

function ipv6Transport(bytes: Uint8Array, at: number, end: number): number {
  if (at + 40 > end || bytes[at]! >>> 4 !== 6) return -1;
  let next = bytes[at + 6]!;
  let position = at + 40;
  while (next === HOP_BY_HOP || next === ROUTING || next === DESTINATION_OPTIONS) {
    if (position + 8 > end) return -1;
    next = bytes[position]!;
    position += (bytes[position + 1]! + 1) * 8;
  }
  if (next !== TCP && next !== UDP) return -1;
  return position + minimum(next) > end ? -1 : position;
}

function minimum(protocol: number): number {
  return protocol === TCP ? 20 : 8;
}

function isTcp(bytes: Uint8Array, start: number, end: number): boolean {
  const at = networkAt(bytes, start, end);
  if (get16(bytes, at - 2) === ETHERTYPE_IPV4) return bytes[at + 9] === TCP;
  // Behind extension headers: told by what fits, since `transportAt` has been there.
  let next = bytes[at + 6]!;
  for (let position = at + 40; next !== TCP && next !== UDP; ) {
    next = bytes[position]!;
    position += (bytes[position + 1]! + 1) * 8;
  }
  return next === TCP;
}

/**
 * What the flags of a received packet say about its checksum. False if it cannot be: a blank one
 * in what is no TCP or UDP packet. One that nothing is said about is there, and is verified above.
 */
export function describeChecksum(frame: Frame, isBlank: boolean, isValidated: boolean): boolean {
  if (isBlank) return markPartial(frame);
  if (isValidated) frame.checksum = CHECKSUM_VERIFIED;
  return true;
}

/** Marks the checksum of a frame as partial, at the place it has in its protocol. False if there is no such place. */
function markPartial(frame: Frame): boolean {
  const { bytes, start, end } = frame;
  const transport = transportAt(bytes, start, end);
  if (transport < 0) return false;
  frame.checksum = CHECKSUM_PARTIAL;
  frame.checksumStart = transport;
  frame.checksumOffset = isTcp(bytes, start, end) ? TCP_CHECKSUM : UDP_CHECKSUM;
  return true;
}

/** A number that is the same for all packets of a flow; 0 for what is no TCP or UDP packet. */
export function flowHash(bytes: Uint8Array, start: number, end: number): number {
  const transport = transportAt(bytes, start, end);
  if (transport < 0) return 0;
  const at = networkAt(bytes, start, end);
  const isIpv4 = get16(bytes, at - 2) === ETHERTYPE_IPV4;
  let hash = (get16(bytes, transport) << 16) | get16(bytes, transport + 2);
  const from = isIpv4 ? at + 12 : at + 8;
  for (let i = from; i < from + (isIpv4 ? 8 : 32); i += 2)
    hash = Math.imul(hash ^ get16(bytes, i), 0x9e3779b1);
  return (hash ^ (hash >>> 15)) >>> 0;
}
