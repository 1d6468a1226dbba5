/** TCP options (RFC 9293 §3.2, RFC 7323, RFC 2018): reading into a reused record, writing in place. */
import { get16, get32, set16, wordsOf } from '../bytes/index.ts';

const END_OF_LIST = 0;
const NO_OPERATION = 1;
const MAXIMUM_SEGMENT_SIZE = 2;
const WINDOW_SCALE = 3;
const SACK_PERMITTED = 4;
const SACK = 5;
const TIMESTAMPS = 8;
const FAST_OPEN = 34;

/** NOP NOP TIMESTAMPS 10: how nearly every segment begins its options (RFC 7323 appendix A). */
const ALIGNED_TIMESTAMPS = 0x0101080a;
/** Bytes of the timestamps option with its padding. */
export const TIMESTAMPS_LENGTH = 12;
const MAX_SACK_BLOCKS = 4;
/** RFC 7323 §2.3: a larger shift is read as this one. */
export const MAX_WINDOW_SCALE = 14;

/** The options of one segment. Reused: `parse` sets every field. */
export class SegmentOptions {
  /** -1 where absent. */
  mss = -1;
  /** -1 where absent; at most 14. */
  windowScale = -1;
  sackPermitted = false;
  hasTimestamps = false;
  timestampValue = 0;
  timestampEcho = 0;
  /** Fast Open: the cookie is `bytes[fastOpenStart..fastOpenEnd)` of the segment, none to ask for one; -1 where absent. */
  fastOpenStart = -1;
  fastOpenEnd = -1;
  sackBlocks = 0;
  readonly sackLeft = new Int32Array(MAX_SACK_BLOCKS);
  readonly sackRight = new Int32Array(MAX_SACK_BLOCKS);

  /**
   * Reads `bytes[start..end)`. An option of impossible length ends the reading;
   * what was read before it stands (RFC 9293 §3.2: MUST-7).
   */
  parse(bytes: Uint8Array, start: number, end: number): void {
    this.mss = -1;
    this.windowScale = -1;
    this.sackPermitted = false;
    this.hasTimestamps = false;
    this.fastOpenStart = -1;
    this.sackBlocks = 0;
    let at = start;
    if (end - start >= TIMESTAMPS_LENGTH && get32(bytes, start) === ALIGNED_TIMESTAMPS) {
      this.hasTimestamps = true;
      this.timestampValue = get32(bytes, start + 4);
      this.timestampEcho = get32(bytes, start + 8);
      at = start + TIMESTAMPS_LENGTH;
    }
    while (at < end) {
      const kind = bytes[at]!;
      if (kind === END_OF_LIST) return;
      if (kind === NO_OPERATION) {
        at++;
        continue;
      }
      if (at + 1 >= end) return;
      const length = bytes[at + 1]!;
      if (length < 2 || at + length > end) return;
      this.#read(bytes, at, kind, length);
      at += length;
    }
  }

  #read(bytes: Uint8Array, at: number, kind: number, length: number): void {
    if (kind === TIMESTAMPS && length === 10) {
      this.hasTimestamps = true;
      this.timestampValue = get32(bytes, at + 2);
      this.timestampEcho = get32(bytes, at + 6);
    } else if (kind === SACK && length >= 10 && (length - 2) % 8 === 0) {
      const blocks = Math.min((length - 2) >>> 3, MAX_SACK_BLOCKS);
      for (let i = 0; i < blocks; i++) {
        this.sackLeft[i] = get32(bytes, at + 2 + 8 * i);
        this.sackRight[i] = get32(bytes, at + 6 + 8 * i);
      }
      this.sackBlocks = blocks;
    } else if (kind === MAXIMUM_SEGMENT_SIZE && length === 4) {
      this.mss = get16(bytes, at + 2);
    } else if (kind === WINDOW_SCALE && length === 3) {
      this.windowScale = Math.min(bytes[at + 2]!, MAX_WINDOW_SCALE);
    } else if (kind === SACK_PERMITTED && length === 2) {
      this.sackPermitted = true;
    } else if (kind === FAST_OPEN && (length === 2 || (length >= 6 && length <= 18 && length % 2 === 0))) {
      this.fastOpenStart = at + 2;
      this.fastOpenEnd = at + length;
    }
  }
}

export function writeTimestamps(bytes: Uint8Array, at: number, value: number, echo: number): number {
  const words = wordsOf(bytes);
  words.setInt32(at, ALIGNED_TIMESTAMPS);
  words.setInt32(at + 4, value);
  words.setInt32(at + 8, echo);
  return at + TIMESTAMPS_LENGTH;
}

export function writeMss(bytes: Uint8Array, at: number, mss: number): number {
  bytes[at] = MAXIMUM_SEGMENT_SIZE;
  bytes[at + 1] = 4;
  set16(bytes, at + 2, mss);
  return at + 4;
}

export function writeWindowScale(bytes: Uint8Array, at: number, shift: number): number {
  bytes[at] = NO_OPERATION;
  bytes[at + 1] = WINDOW_SCALE;
  bytes[at + 2] = 3;
  bytes[at + 3] = shift;
  return at + 4;
}

export function writeSackPermitted(bytes: Uint8Array, at: number): number {
  bytes[at] = NO_OPERATION;
  bytes[at + 1] = NO_OPERATION;
  bytes[at + 2] = SACK_PERMITTED;
  bytes[at + 3] = 2;
  return at + 4;
}

/** Bytes of a Fast Open option with its padding; a cookie of no bytes asks for one. */
export function fastOpenLength(cookie: Uint8Array | null): number {
  return cookie === null ? 0 : (cookie.length + 2 + 3) & ~3;
}

export function writeFastOpen(bytes: Uint8Array, at: number, cookie: Uint8Array): number {
  const padding = fastOpenLength(cookie) - cookie.length - 2;
  bytes.fill(NO_OPERATION, at, at + padding);
  bytes[at + padding] = FAST_OPEN;
  bytes[at + padding + 1] = cookie.length + 2;
  bytes.set(cookie, at + padding + 2);
  return at + padding + 2 + cookie.length;
}

/** Bytes of a SACK option with `blocks` blocks, padding included. */
export function sackLength(blocks: number): number {
  return blocks === 0 ? 0 : 4 + 8 * blocks;
}

export function writeSackHeader(bytes: Uint8Array, at: number, blocks: number): number {
  bytes[at] = NO_OPERATION;
  bytes[at + 1] = NO_OPERATION;
  bytes[at + 2] = SACK;
  bytes[at + 3] = 2 + 8 * blocks;
  return at + 4;
}
