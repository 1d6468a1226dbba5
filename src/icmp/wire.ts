/** ICMP for IPv4 (RFC 792): type, code, checksum, four bytes by type, data. */
import { get16, set16, set32 } from '../bytes/index.ts';

export const TYPE = 0;
export const CODE = 1;
export const CHECKSUM = 2;
/** Echo: identifier and sequence number. Parameter problem: pointer. */
export const REST = 4;
export const IDENTIFIER = 4;
export const SEQUENCE = 6;
/** Fragmentation needed: the next hop's MTU (RFC 1191 §4). */
export const NEXT_HOP_MTU = 6;
/** Bytes of header. */
export const HEADER = 8;

export const ECHO_REPLY = 0;
export const DESTINATION_UNREACHABLE = 3;
export const SOURCE_QUENCH = 4;
export const REDIRECT = 5;
export const ECHO_REQUEST = 8;
export const TIME_EXCEEDED = 11;
export const PARAMETER_PROBLEM = 12;

export const CODE_NET_UNREACHABLE = 0;
export const CODE_HOST_UNREACHABLE = 1;
export const CODE_PROTOCOL_UNREACHABLE = 2;
export const CODE_PORT_UNREACHABLE = 3;
export const CODE_FRAGMENTATION_NEEDED = 4;
export const CODE_TTL = 0;
export const CODE_REASSEMBLY_TIME = 1;
export const CODE_REDIRECT_HOST = 1;

export function getType(bytes: Uint8Array, message: number): number {
  return bytes[message + TYPE]!;
}

export function getCode(bytes: Uint8Array, message: number): number {
  return bytes[message + CODE]!;
}

/** Type, code, no checksum yet, and the four bytes after it. */
export function setHeader(
  bytes: Uint8Array,
  message: number,
  type: number,
  code: number,
  rest: number,
): void {
  bytes[message + TYPE] = type;
  bytes[message + CODE] = code;
  set16(bytes, message + CHECKSUM, 0);
  set32(bytes, message + REST, rest);
}

export function setChecksum(bytes: Uint8Array, message: number, checksum: number): void {
  set16(bytes, message + CHECKSUM, checksum);
}

export function getIdentifier(bytes: Uint8Array, message: number): number {
  return get16(bytes, message + IDENTIFIER);
}

export function getSequence(bytes: Uint8Array, message: number): number {
  return get16(bytes, message + SEQUENCE);
}

export function getNextHopMtu(bytes: Uint8Array, message: number): number {
  return get16(bytes, message + NEXT_HOP_MTU);
}

/**
 * Whether messages of this type are errors, which are never answered by errors
 * (RFC 1122 §3.2.2). Types that nobody has assigned count as errors.
 */
export function isError(type: number): boolean {
  return !(
    type === ECHO_REPLY ||
    type === ECHO_REQUEST ||
    (type >= 9 && type <= 10) ||
    (type >= 13 && type <= 18)
  );
}

/** Echo requests and replies: the queries that are still in use, and have an identifier. */
export function isQuery(type: number): boolean {
  return type === ECHO_REPLY || type === ECHO_REQUEST;
}
