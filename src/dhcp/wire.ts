/** The fixed part of a DHCP message (RFC 2131 §2). `start` is the message's first byte. */
import { get16, get32, set16, set32 } from '../bytes/index.ts';

export const CLIENT_PORT = 68;
export const SERVER_PORT = 67;

export const BOOTREQUEST = 1;
export const BOOTREPLY = 2;

/** Where the options begin: 236 bytes of fields and the cookie. */
export const OPTIONS = 240;
/** RFC 951 §3, RFC 1542 §2.1: relays and servers may drop what is shorter. */
export const MIN_LENGTH = 300;

export const CIADDR = 12;
export const YIADDR = 16;
export const SIADDR = 20;
export const GIADDR = 24;
export const CHADDR = 28;
export const SNAME = 44;
export const FILE = 108;
const COOKIE = 236;
/** RFC 2131 §3: 99.130.83.99. */
const MAGIC = 0x63825363;
/** RFC 2131 §2, figure 2. */
const BROADCAST = 0x8000;
const HARDWARE_ETHERNET = 1;
const HARDWARE_LENGTH = 6;

export function op(bytes: Uint8Array, start: number): number {
  return bytes[start]!;
}

export function xid(bytes: Uint8Array, start: number): number {
  return get32(bytes, start + 4);
}

export function secs(bytes: Uint8Array, start: number): number {
  return get16(bytes, start + 8);
}

export function isBroadcast(bytes: Uint8Array, start: number): boolean {
  return (get16(bytes, start + 10) & BROADCAST) !== 0;
}

export function isEthernet(bytes: Uint8Array, start: number): boolean {
  return bytes[start + 1] === HARDWARE_ETHERNET && bytes[start + 2] === HARDWARE_LENGTH;
}

export function hasCookie(bytes: Uint8Array, start: number): boolean {
  return get32(bytes, start + COOKIE) === MAGIC;
}

/** All but the addresses, which have accessors of their own type. */
export function setFixed(
  bytes: Uint8Array,
  start: number,
  operation: number,
  transaction: number,
  seconds: number,
  broadcast: boolean,
): void {
  bytes[start] = operation;
  bytes[start + 1] = HARDWARE_ETHERNET;
  bytes[start + 2] = HARDWARE_LENGTH;
  bytes[start + 3] = 0;
  set32(bytes, start + 4, transaction);
  set16(bytes, start + 8, seconds);
  set16(bytes, start + 10, broadcast ? BROADCAST : 0);
  set32(bytes, start + COOKIE, MAGIC);
}
