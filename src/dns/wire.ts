/** The header of a DNS message (RFC 1035 §4.1.1); the rest is `dns-packet`'s, after `sound.ts`. */
import { get16 } from '../bytes/index.ts';

export const HEADER = 12;
export const PORT = 53;

export const TYPE_A = 1;
export const TYPE_NS = 2;
export const TYPE_CNAME = 5;
export const TYPE_SOA = 6;
export const TYPE_PTR = 12;
export const TYPE_MX = 15;
export const TYPE_AAAA = 28;
export const TYPE_SRV = 33;

const RESPONSE = 0x8000;
const OPCODE = 0x7800;
const TRUNCATED = 0x0200;

export function id(bytes: Uint8Array): number {
  return get16(bytes, 0);
}

export function isResponse(bytes: Uint8Array): boolean {
  return (get16(bytes, 2) & RESPONSE) !== 0;
}

/** Opcode 0. */
export function isStandard(bytes: Uint8Array): boolean {
  return (get16(bytes, 2) & OPCODE) === 0;
}

export function isTruncated(bytes: Uint8Array): boolean {
  return (get16(bytes, 2) & TRUNCATED) !== 0;
}

export function questionCount(bytes: Uint8Array): number {
  return get16(bytes, 4);
}

/** Answers, authorities and additionals. */
export function recordCount(bytes: Uint8Array): number {
  return get16(bytes, 6) + get16(bytes, 8) + get16(bytes, 10);
}
