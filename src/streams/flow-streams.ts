import type { Flow } from '../stack.ts';

/** Bytes that wait in a `writable` before its `desiredSize` is used up. */
const HIGH_WATER = 65_536;

export interface FlowStreams {
  readonly readable: ReadableStream<Uint8Array>;
  readonly writable: WritableStream<ArrayBufferView | ArrayBuffer>;
  /** Ends both, even where a reader or writer has locked them, and leaves the flow alone: reads are done, writes fail with `reason`. */
  end(reason: unknown): void;
}

/** What the streams need of a flow. */
export type StreamSource = Pick<Flow, 'read' | 'write' | 'shutdown' | 'close' | 'abort'>;

/**
 * Both directions of `flow` as WHATWG streams. Whoever uses them leaves the
 * flow's own `read` and `write` alone.
 *
 * - `readable` is a byte stream: `getReader({ mode: 'byob' })` reads into the
 *   caller's own buffer. Nothing is read from the flow before it is asked for,
 *   so a reader that stops closes the advertised window.
 * - A write is done when the flow may be written again; the bytes have been
 *   copied by then, and the caller's buffer may be used again.
 * - `close()` of the writable is a half-close, done when the peer has
 *   acknowledged the FIN. `abort()` resets the connection.
 * - `cancel()` of the readable ends reading: what still comes is not read. If
 *   the writable is closed, or when it will be, the flow is closed.
 */
export function streamsOf(flow: StreamSource): FlowStreams {
  const streams = new Streams(flow);
  return {
    readable: streams.readable(),
    writable: streams.writable(),
    end: (reason) => streams.end(reason),
  };
}

class Streams {
  readonly #flow: StreamSource;
  /** The rest of a chunk that did not fit into a reader's buffer. */
  #held: Uint8Array | null = null;
  #cancelled = false;
  #finished = false;
  #reading: ReadableByteStreamController | null = null;
  #writing: WritableStreamDefaultController | null = null;

  constructor(flow: StreamSource) {
    this.#flow = flow;
  }

  readable(): ReadableStream<Uint8Array> {
    return new ReadableStream({
      type: 'bytes',
      start: (controller: ReadableByteStreamController) => {
        this.#reading = controller;
      },
      pull: (controller: ReadableByteStreamController) => this.#pull(controller),
      cancel: async () => {
        this.#cancelled = true;
        this.#reading = null;
        this.#held = null;
        if (this.#finished) await this.#flow.close();
      },
    });
  }

  writable(): WritableStream<ArrayBufferView | ArrayBuffer> {
    return new WritableStream<ArrayBufferView | ArrayBuffer>(
      {
        start: (controller) => {
          this.#writing = controller;
        },
        write: (chunk) => this.#flow.write(copyOf(chunk)),
        close: async () => {
          this.#finished = true;
          await this.#flow.shutdown();
          if (this.#cancelled) await this.#flow.close();
        },
        abort: () => this.#flow.abort(),
      },
      // What is no bytes is refused by `write`, which can say so.
      { highWaterMark: HIGH_WATER, size: (chunk) => chunk?.byteLength ?? 0 },
    );
  }

  end(reason: unknown): void {
    this.#held = null;
    this.#finishReading();
    this.#writing?.error(reason);
  }

  #finishReading(): void {
    const controller = this.#reading;
    if (controller === null) return;
    this.#reading = null;
    controller.close();
    controller.byobRequest?.respond(0);
  }

  async #pull(controller: ReadableByteStreamController): Promise<void> {
    const chunk = await this.#next();
    if (this.#reading === null) return;
    // Looked at now: who asked may have gone while there was nothing.
    const request = controller.byobRequest;
    if (chunk === null) {
      this.#finishReading();
    } else if (request?.view) {
      const { buffer, byteOffset, byteLength } = request.view;
      const part = chunk.subarray(0, byteLength);
      new Uint8Array(buffer, byteOffset, part.length).set(part);
      if (part.length < chunk.length) this.#held = chunk.subarray(part.length);
      request.respond(part.length);
    } else {
      // The stream takes the memory of what it is given, and this is part of the device's.
      controller.enqueue(new Uint8Array(chunk));
    }
  }

  async #next(): Promise<Uint8Array | null> {
    const held = this.#held;
    this.#held = null;
    if (held !== null) return held;
    try {
      return await this.#flow.read();
    } catch (error) {
      // A connection that has failed cannot be written either.
      this.#reading = null;
      this.#writing?.error(error);
      throw error;
    }
  }
}

function copyOf(chunk: ArrayBufferView | ArrayBuffer): Uint8Array {
  if (chunk instanceof ArrayBuffer) return new Uint8Array(chunk.slice(0));
  if (ArrayBuffer.isView(chunk)) {
    const { buffer, byteOffset, byteLength } = chunk;
    return new Uint8Array(new Uint8Array(buffer, byteOffset, byteLength));
  }
  throw new TypeError('a flow takes bytes: a typed array, a DataView or an ArrayBuffer');
}
