/**
 * The head of a UDP block: seconds, microseconds, number of the datagram (from
 * 1; 32 or 64 bits), all big-endian.
 */
import { get32, set32 } from '../bytes/index.ts';

const SECONDS = 0;
const MICROSECONDS = 4;
const NUMBER = 8;

/** @param timeMs the sender's clock; only differences matter to the receiver */
export function writeHead(bytes: Uint8Array, timeMs: number, number: number, wide: boolean): void {
  const seconds = Math.floor(timeMs / 1000);
  set32(bytes, SECONDS, seconds);
  set32(bytes, MICROSECONDS, Math.floor((timeMs - seconds * 1000) * 1000));
  if (wide) {
    set32(bytes, NUMBER, Math.floor(number / 2 ** 32));
    set32(bytes, NUMBER + 4, number | 0);
  } else {
    set32(bytes, NUMBER, number | 0);
  }
}

export function timeMs(bytes: Uint8Array): number {
  return (get32(bytes, SECONDS) >>> 0) * 1000 + (get32(bytes, MICROSECONDS) >>> 0) / 1000;
}

export function number(bytes: Uint8Array, wide: boolean): number {
  if (!wide) return get32(bytes, NUMBER) >>> 0;
  return (get32(bytes, NUMBER) >>> 0) * 2 ** 32 + (get32(bytes, NUMBER + 4) >>> 0);
}

/** Bytes that a block has to have to be read. */
export function headBytes(wide: boolean): number {
  return wide ? 16 : 12;
}
