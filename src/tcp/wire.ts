/** The TCP header (RFC 9293 §3.1): offsets and accessors over bytes, nothing else. */
import { get16, get32 } from '../bytes/index.ts';

export const HEADER = 20;
/** Header with a full option space. */
export const MAX_HEADER = 60;

export const SOURCE_PORT = 0;
export const DESTINATION_PORT = 2;
export const SEQUENCE = 4;
export const ACKNOWLEDGMENT = 8;
export const DATA_OFFSET = 12;
export const FLAGS = 13;
export const WINDOW = 14;
export const CHECKSUM = 16;
export const URGENT_POINTER = 18;

export const FIN = 0x01;
export const SYN = 0x02;
export const RST = 0x04;
export const PSH = 0x08;
export const ACK = 0x10;
export const URG = 0x20;
export const ECE = 0x40;
export const CWR = 0x80;

export function sourcePort(bytes: Uint8Array, start: number): number {
  return get16(bytes, start + SOURCE_PORT);
}

export function destinationPort(bytes: Uint8Array, start: number): number {
  return get16(bytes, start + DESTINATION_PORT);
}

export function sequence(bytes: Uint8Array, start: number): number {
  return get32(bytes, start + SEQUENCE);
}

export function acknowledgment(bytes: Uint8Array, start: number): number {
  return get32(bytes, start + ACKNOWLEDGMENT);
}

/** Header length in bytes, options included. */
export function headerLength(bytes: Uint8Array, start: number): number {
  return (bytes[start + DATA_OFFSET]! >>> 4) * 4;
}

export function flags(bytes: Uint8Array, start: number): number {
  return bytes[start + FLAGS]!;
}

export function window(bytes: Uint8Array, start: number): number {
  return get16(bytes, start + WINDOW);
}
