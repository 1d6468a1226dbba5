import { close, fstatSync, openSync, write, writeSync } from 'node:fs';
import { get32 } from '../bytes/index.ts';
import type { CaptureSink } from '../netif/index.ts';

/** A capture that goes to a file. */
export interface CaptureFile extends CaptureSink {
  /** Records that the disk was too slow for, or that came after it failed. */
  readonly droppedRecords: number;
  /**
   * Stores all that was captured before it returns, for signal handlers and
   * `process.on('exit')`. Capturing may go on. On a pipe, what is just being
   * written may come out incomplete.
   */
  flushSync(): void;
}

export interface CaptureFileOptions {
  /** Bytes that may wait for the disk; 64 MiB unless given. */
  readonly backlogBytes?: number;
}

/**
 * Creates (or empties) the file; throws Node's error if it cannot be opened.
 * Writes are asynchronous, one at a time. When more than the backlog waits,
 * records are dropped and counted: the network is never made to wait.
 * A write that fails is reported by `end()`.
 */
export function captureFile(path: string, options: CaptureFileOptions = {}): CaptureFile {
  return new FileSink(openSync(path, 'w'), options.backlogBytes ?? 64 * 1024 * 1024);
}

const FILE_HEADER = 24;
const RECORD_HEADER = 16;

/** A chunk and its place in the file. */
interface Piece {
  readonly bytes: Uint8Array;
  readonly position: number;
  /** Bytes of it that are written. */
  done: number;
}

class FileSink implements CaptureFile {
  droppedRecords = 0;
  readonly #fd: number;
  readonly #backlogBytes: number;
  /** Whether it can be written at any position: a regular file, not a pipe. */
  readonly #seekable: boolean;
  /** What waits; the first is being written while `#writing`. */
  #pieces: Piece[] = [];
  #waitingBytes = 0;
  #length = 0;
  #writing = false;
  readonly #handOvers: (() => void)[] = [];
  #error: Error | null = null;
  #ended: Promise<void> | null = null;
  #onIdle: (() => void) | null = null;

  constructor(fd: number, backlogBytes: number) {
    this.#fd = fd;
    this.#backlogBytes = backlogBytes;
    this.#seekable = fstatSync(fd).isFile();
  }

  attach(handOver: () => void): void {
    this.#handOvers.push(handOver);
  }

  write(chunk: Uint8Array): void {
    if (
      this.#error !== null ||
      this.#ended !== null ||
      this.#waitingBytes + chunk.length > this.#backlogBytes
    ) {
      this.droppedRecords += countRecords(chunk, this.#length);
      return;
    }
    this.#pieces.push({ bytes: chunk, position: this.#length, done: 0 });
    this.#length += chunk.length;
    this.#waitingBytes += chunk.length;
    if (!this.#writing) this.#writeFirst();
  }

  flushSync(): void {
    for (const handOver of this.#handOvers) handOver();
    // What is being written has a place of its own in a file: written again, it is the same.
    const inFlight = this.#writing && !this.#seekable ? this.#pieces.slice(0, 1) : [];
    try {
      for (const piece of this.#pieces) {
        if (piece === inFlight[0]) continue;
        const { bytes } = piece;
        while (piece.done < bytes.length) {
          piece.done += writeSync(
            this.#fd,
            bytes,
            piece.done,
            bytes.length - piece.done,
            this.#positionOf(piece),
          );
        }
      }
    } catch (error) {
      this.#fail(error as Error);
      return;
    }
    this.#pieces = inFlight;
    this.#waitingBytes = inFlight[0]?.bytes.length ?? 0;
  }

  end(): Promise<void> {
    if (this.#ended === null) {
      for (const handOver of this.#handOvers) handOver();
      this.#ended = this.#finish();
    }
    return this.#ended;
  }

  async #finish(): Promise<void> {
    if (this.#writing) {
      await new Promise<void>((resolve) => {
        this.#onIdle = resolve;
      });
    }
    await new Promise<void>((resolve) => close(this.#fd, () => resolve()));
    if (this.#error !== null) throw this.#error;
  }

  #positionOf(piece: Piece): number | null {
    return this.#seekable ? piece.position + piece.done : null;
  }

  #writeFirst(): void {
    const piece = this.#pieces[0];
    if (piece === undefined) {
      this.#writing = false;
      this.#onIdle?.();
      return;
    }
    this.#writing = true;
    const { bytes, done } = piece;
    write(this.#fd, bytes, done, bytes.length - done, this.#positionOf(piece), (error, written) => {
      if (error !== null) {
        this.#fail(error);
      } else if (piece === this.#pieces[0]) {
        // Else `flushSync` has dealt with it in the meantime.
        piece.done = done + written;
        if (piece.done === bytes.length) {
          this.#pieces.shift();
          this.#waitingBytes -= bytes.length;
        }
      }
      this.#writeFirst();
    });
  }

  /** The disk is full, or the reader of a pipe is gone: what waits is lost. */
  #fail(error: Error): void {
    this.#error ??= error;
    for (const { bytes, position } of this.#pieces) this.droppedRecords += countRecords(bytes, position);
    this.#pieces = [];
    this.#waitingBytes = 0;
  }
}

/** Chunks hold whole big-endian records; the one at position 0 begins with the file header. */
function countRecords(chunk: Uint8Array, position: number): number {
  let count = 0;
  let at = position === 0 ? FILE_HEADER : 0;
  while (at + RECORD_HEADER <= chunk.length) {
    at += RECORD_HEADER + get32(chunk, at + 8);
    count++;
  }
  return count;
}
