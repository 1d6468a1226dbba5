/** ICMPv6 (RFC 4443): type, code, checksum, four bytes by type, data; the header is that of ICMP for IPv4. */
import { get32 } from '../bytes/index.ts';
import { REST } from './wire.ts';

export const DESTINATION_UNREACHABLE = 1;
export const PACKET_TOO_BIG = 2;
export const TIME_EXCEEDED = 3;
export const PARAMETER_PROBLEM = 4;
export const ECHO_REQUEST = 128;
export const ECHO_REPLY = 129;

export const CODE_NO_ROUTE = 0;
export const CODE_BEYOND_SCOPE = 2;
export const CODE_ADDRESS_UNREACHABLE = 3;
export const CODE_PORT_UNREACHABLE = 4;
export const CODE_HOP_LIMIT = 0;
export const CODE_REASSEMBLY_TIME = 1;
export const CODE_UNRECOGNIZED_NEXT_HEADER = 1;

/** RFC 4443 §3.2; as unsigned. */
export function getMtu(bytes: Uint8Array, message: number): number {
  return get32(bytes, message + REST) >>> 0;
}

/** RFC 4443 §2.1: the high bit tells informational messages from errors. */
export function isError(type: number): boolean {
  return type < 128;
}
