/**
 * What iperf3's two ends say to each other: `iperf_api.h` of esnet/iperf. The
 * control connection carries single state bytes, and JSON with its length in
 * front; every connection begins with the test's cookie.
 */

export const DEFAULT_PORT = 5201;

/** A cookie: 36 characters and a zero byte. */
export const COOKIE_BYTES = 37;

/** States, one byte each on the control connection. */
export const TEST_START = 1;
export const TEST_RUNNING = 2;
export const TEST_END = 4;
export const PARAM_EXCHANGE = 9;
export const CREATE_STREAMS = 10;
export const SERVER_TERMINATE = 11;
export const CLIENT_TERMINATE = 12;
export const EXCHANGE_RESULTS = 13;
export const DISPLAY_RESULTS = 14;
export const IPERF_DONE = 16;
/** -1: another test is running. */
export const ACCESS_DENIED = 255;
/** -2: followed by two 32-bit numbers, iperf's own error and the system's. */
export const SERVER_ERROR = 254;

/** What a UDP stream begins with from the client, and the server's answer: four characters each. */
export const UDP_HELLO = Uint8Array.of(0x39, 0x38, 0x37, 0x36);
export const UDP_HELLO_REPLY = Uint8Array.of(0x36, 0x37, 0x38, 0x39);

/** Longest JSON that is taken from a peer. */
export const MAX_JSON_BYTES = 256 * 1024;
export const MAX_STREAMS = 128;
export const MAX_BLOCK_BYTES = 1024 * 1024;
export const MAX_UDP_BLOCK_BYTES = 65_507;
/** A UDP block holds the time and the number: 16 bytes with 64-bit numbers. */
export const MIN_UDP_BLOCK_BYTES = 16;
export const MAX_SECONDS = 86_400;

export const DEFAULT_TCP_BLOCK_BYTES = 128 * 1024;
/** What fits a path of 1,500 bytes with the options that TCP would have. */
export const DEFAULT_UDP_BLOCK_BYTES = 1448;
export const DEFAULT_UDP_RATE_BPS = 1024 * 1024;

const COOKIE_ALPHABET = 'abcdefghijklmnopqrstuvwxyz234567';

/** @param next32 random bits */
export function makeCookie(next32: () => number): Uint8Array {
  const cookie = new Uint8Array(COOKIE_BYTES);
  for (let i = 0; i < COOKIE_BYTES - 1; i++) {
    cookie[i] = COOKIE_ALPHABET.charCodeAt((next32() >>> 8) % COOKIE_ALPHABET.length);
  }
  return cookie;
}

export function sameCookie(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && a.every((byte, i) => byte === b[i]);
}

/** A peer that does not keep to the protocol, or says that it failed. */
export class Iperf3Error extends Error {
  override readonly name = 'Iperf3Error';
}
