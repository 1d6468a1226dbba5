import { Duplex } from 'node:stream';
import type { Family } from '../address/index.ts';
import type { Flow } from '../stack.ts';

export interface FlowDuplexOptions {
  /**
   * Whether the writable side stays open after the peer's FIN. Default true;
   * false ends it, as `net.Socket` does by default.
   */
  readonly allowHalfOpen?: boolean;
}

type WriteCallback = (error?: Error | null) => void;

/**
 * A `Flow` as a Node stream, with the properties and methods of `net.Socket`
 * that protocol libraries ask for, so that Node's own `http`, `tls` and others
 * run on any stack:
 *
 * ```ts
 * const server = http.createServer(handler);
 * await stack.tcp.listen({ port: 80 }, (flow) => server.emit('connection', duplexOf(flow)));
 * ```
 *
 * - One `flow.read()` is outstanding only while the reader wants data, so the
 *   advertised window closes when nobody reads.
 * - A write calls back when the flow may be written again. The flow keeps the
 *   chunk by reference until the peer has acknowledged it.
 * - `end()` shuts the sending side down; `finish` means that the peer has
 *   acknowledged everything and the FIN.
 * - `destroy()` does what closing a kernel socket does: what the flow has taken
 *   is still sent, followed by FIN. If bytes that were written to the stream
 *   never reached the flow, the connection is reset instead, because an orderly
 *   end would make the truncated stream look complete.
 * - `resetAndDestroy()` always resets.
 */
export class FlowDuplex extends Duplex {
  readonly flow: Flow;
  readonly localAddress: string;
  readonly localPort: number;
  readonly localFamily: Family;
  readonly remoteAddress: string;
  readonly remotePort: number;
  readonly remoteFamily: Family;
  /** As in `net.Socket`; a flow exists only once it is connected. */
  readonly connecting = false;
  readonly pending = false;
  /** Milliseconds given to {@link setTimeout}, or undefined if there is none. */
  timeout: number | undefined;
  bytesRead = 0;

  #bytesTaken = 0;
  /** Bytes of the write that the flow has in hand and has not called back for. */
  #writing = 0;
  #resetOnDestroy = false;
  /** It may run on in vain when there is no timeout any more. */
  #idleTimer: NodeJS.Timeout | undefined;
  #idleTimerMs = 0;
  #ackedAtActivity = 0;

  constructor(flow: Flow, options: FlowDuplexOptions = {}) {
    super({
      allowHalfOpen: options.allowHalfOpen ?? true,
      readableHighWaterMark: 65_536,
      writableHighWaterMark: 65_536,
    });
    this.flow = flow;
    this.localAddress = flow.local.address;
    this.localPort = flow.local.port;
    this.localFamily = flow.local.family;
    this.remoteAddress = flow.remote.address;
    this.remotePort = flow.remote.port;
    this.remoteFamily = flow.remote.family;
  }

  get bytesWritten(): number {
    return this.#bytesTaken + this.writableLength - this.#writing;
  }

  get readyState(): 'open' | 'readOnly' | 'writeOnly' | 'closed' {
    const readable = this.readable && !this.readableEnded;
    const writable = this.writable && !this.writableEnded;
    if (readable) return writable ? 'open' : 'readOnly';
    return writable ? 'writeOnly' : 'closed';
  }

  address(): { address: string; family: Family; port: number } {
    return { address: this.localAddress, family: this.localFamily, port: this.localPort };
  }

  setNoDelay(noDelay = true): this {
    this.flow.setNoDelay(noDelay);
    return this;
  }

  setKeepAlive(enable = false, initialDelayMs = 0): this {
    if (initialDelayMs > 0) this.flow.setKeepAlive(enable, initialDelayMs);
    else this.flow.setKeepAlive(enable);
    return this;
  }

  /** Emits `timeout` after `timeoutMs` without traffic; 0 turns it off. The stream is not closed by it. */
  setTimeout(timeoutMs: number, onTimeout?: () => void): this {
    if (this.destroyed) return this;
    if (timeoutMs > 0) {
      this.timeout = timeoutMs;
      if (onTimeout !== undefined) this.once('timeout', onTimeout);
      this.#ackedAtActivity = this.flow.stats.bytesAcked;
      // An HTTP server sets and clears the same delay for every request.
      if (this.#idleTimer !== undefined && this.#idleTimerMs === timeoutMs) {
        this.#idleTimer.refresh();
      } else {
        clearTimeout(this.#idleTimer);
        this.#idleTimerMs = timeoutMs;
        this.#idleTimer = setTimeout(() => this.#idle(), timeoutMs).unref();
      }
    } else {
      this.timeout = undefined;
      if (onTimeout !== undefined) this.removeListener('timeout', onTimeout);
    }
    return this;
  }

  /** A flow does not hold the process; its netif does. */
  ref(): this {
    return this;
  }

  unref(): this {
    return this;
  }

  /** Ends, and destroys once everything written has been acknowledged. */
  destroySoon(): void {
    if (!this.writableEnded) this.end();
    if (this.writableFinished) this.destroy();
    else this.once('finish', this.destroy);
  }

  resetAndDestroy(): this {
    this.#resetOnDestroy = true;
    this.destroy();
    return this;
  }

  override _read(): void {
    this.flow.read().then(
      (chunk) => {
        if (this.destroyed) return;
        this.#active();
        if (chunk !== null) this.bytesRead += chunk.length;
        this.push(chunk);
      },
      (error: Error) => this.destroy(error),
    );
  }

  override _write(chunk: Uint8Array, _encoding: BufferEncoding, callback: WriteCallback): void {
    this.#take(chunk.length, this.flow.write(chunk), callback);
  }

  override _writev(entries: { chunk: Uint8Array }[], callback: WriteCallback): void {
    let length = 0;
    const chunks = entries.map(({ chunk }) => {
      length += chunk.length;
      return chunk;
    });
    this.#take(length, this.flow.writev(chunks), callback);
  }

  override _final(callback: WriteCallback): void {
    this.flow.shutdown().then(() => callback(), callback);
  }

  override _destroy(error: Error | null, callback: WriteCallback): void {
    clearTimeout(this.#idleTimer);
    this.#idleTimer = undefined;
    const unsent = this.writableLength - this.#writing;
    if (this.#resetOnDestroy || unsent > 0) this.flow.abort();
    // Nobody is left to hear how it ends.
    else this.flow.close().catch(() => {});
    callback(error);
  }

  #take(length: number, taken: Promise<void>, callback: WriteCallback): void {
    this.#writing = length;
    this.#bytesTaken += length;
    this.#active();
    taken.then(
      () => {
        this.#writing = 0;
        this.#active();
        callback();
      },
      (error: Error) => {
        this.#writing = 0;
        callback(error);
      },
    );
  }

  #active(): void {
    if (this.timeout !== undefined) this.#idleTimer?.refresh();
  }

  #idle(): void {
    if (this.timeout === undefined) return;
    // A peer that takes a large write slowly is not idle.
    const { bytesAcked } = this.flow.stats;
    if (this.#writing > 0 && bytesAcked !== this.#ackedAtActivity) {
      this.#ackedAtActivity = bytesAcked;
      this.#idleTimer?.refresh();
      return;
    }
    this.emit('timeout');
  }
}

/** `flow` as a Node stream with the face of a `net.Socket`: see {@link FlowDuplex}. */
export function duplexOf(flow: Flow, options?: FlowDuplexOptions): FlowDuplex {
  return new FlowDuplex(flow, options);
}
