/**
 * Frames in a stream, each behind its length: 32 bits, big-endian, as QEMU's
 * `-netdev stream` and passt have them.
 */
import { allocate, copy, get32, set32 } from '../../bytes/index.ts';

/** Bytes of length before each frame. */
export const LENGTH = 4;
/** QEMU's `NET_BUFSIZE`: longer is no frame, and whoever says so is out of step. */
export const LONGEST = 4096 + 65_536;

export function setLength(bytes: Uint8Array, at: number, length: number): void {
  set32(bytes, at, length);
}

/** What the splitter finds; `bytes[start..end)` may be kept, they are never written again. */
export interface FrameSink {
  frame(bytes: Uint8Array, start: number, end: number): void;
  /** A frame of `length` bytes, longer than is wanted, was skipped. */
  skipped(length: number): void;
}

/** Cuts a stream into frames. A frame within a chunk is shown in place; one that spans chunks is joined. */
export class FrameSplitter {
  readonly #longest: number;
  readonly #sink: FrameSink;
  /** The beginning of a length. */
  readonly #head = new Uint8Array(LENGTH);
  #headBytes = 0;
  /** The frame that is being joined; null between frames and where one is skipped. */
  #body: Uint8Array | null = null;
  #bodyBytes = 0;
  #skip = 0;

  /** Frames longer than `longest` are skipped. */
  constructor(longest: number, sink: FrameSink) {
    this.#longest = longest;
    this.#sink = sink;
  }

  /** Takes the next bytes. False if a length is none: the rest of the stream means nothing. */
  push(chunk: Uint8Array): boolean {
    let at = 0;
    while (at < chunk.length) {
      if (this.#skip > 0) {
        const part = Math.min(this.#skip, chunk.length - at);
        this.#skip -= part;
        at += part;
      } else if (this.#body !== null) {
        at = this.#join(this.#body, chunk, at);
      } else {
        const length = this.#readLength(chunk, at);
        at += this.#taken;
        if (length < 0) return true;
        if (length === 0 || length > LONGEST) return false;
        if (length > this.#longest) {
          this.#skip = length;
          this.#sink.skipped(length);
        } else if (chunk.length - at >= length) {
          this.#sink.frame(chunk, at, at + length);
          at += length;
        } else {
          this.#body = allocate(length);
          this.#bodyBytes = 0;
        }
      }
    }
    return true;
  }

  /** Forgets what is incomplete: another stream begins. */
  reset(): void {
    this.#headBytes = 0;
    this.#body = null;
    this.#skip = 0;
  }

  /** Bytes that the last {@link #readLength} took. */
  #taken = 0;

  /** -1 if it is not complete; unsigned. */
  #readLength(chunk: Uint8Array, at: number): number {
    if (this.#headBytes === 0 && chunk.length - at >= LENGTH) {
      this.#taken = LENGTH;
      return get32(chunk, at) >>> 0;
    }
    const part = Math.min(LENGTH - this.#headBytes, chunk.length - at);
    copy(this.#head, this.#headBytes, chunk, at, at + part);
    this.#headBytes += part;
    this.#taken = part;
    if (this.#headBytes < LENGTH) return -1;
    this.#headBytes = 0;
    return get32(this.#head, 0) >>> 0;
  }

  #join(body: Uint8Array, chunk: Uint8Array, at: number): number {
    const part = Math.min(body.length - this.#bodyBytes, chunk.length - at);
    copy(body, this.#bodyBytes, chunk, at, at + part);
    this.#bodyBytes += part;
    if (this.#bodyBytes === body.length) {
      this.#body = null;
      this.#sink.frame(body, 0, body.length);
    }
    return at + part;
  }
}
