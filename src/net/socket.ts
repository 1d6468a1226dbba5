/**
 * `net.Socket` over a `Transport`. What happens when, and in which order, is
 * that of Node 20's `lib/net.js` (MIT, the Node.js contributors).
 */
import type { AddressInfo } from 'node:net';
import { Duplex } from 'node:stream';
import type { Endpoint } from '../stack.ts';
import { type ConnectOptions, normalizeOnce } from './arguments.ts';
import { connectSocket } from './connect.ts';
import { HostTransport } from './host-transport.ts';
import { stateError } from './node-errors.ts';
import type { ServerMethods } from './server.ts';
import { kState, type SocketState } from './socket-state.ts';
import { byteLength, writeToTransport } from './socket-write.ts';
import { validateDelay, validateFunction } from './validate.ts';

export type StreamCallback = (error?: Error | null) => void;

/** The methods of a socket; made by `createSocketClass`. */
export class SocketMethods extends Duplex {
  declare [kState]: SocketState;
  declare connecting: boolean;
  declare timeout: number | undefined;
  declare autoSelectFamilyAttemptedAddresses: string[] | undefined;
  declare server: ServerMethods | null;
  declare _server: ServerMethods | null;
  /** A socket that this one is a layer over: its timers are refreshed too. */
  declare _parent: SocketMethods | null;
  declare _host: string | null;
  declare _hadError: boolean;
  /** There is no native handle, and never will be. */
  declare _handle: null;

  connect(...args: unknown[]): this {
    const [options, callback] = normalizeOnce<ConnectOptions>(args);
    connectSocket(this, options, callback);
    return this;
  }

  // ---------------------------------------------------------------- reading

  override _read(size: number): void {
    const { transport } = this[kState];
    if (this.connecting || transport === null) this.once('connect', () => this._read(size));
    else transport.readStart();
  }

  override read(size?: number): unknown {
    resumeUserReads(this);
    return super.read(size);
  }

  override resume(): this {
    resumeUserReads(this);
    return super.resume();
  }

  override pause(): this {
    const { transport, userBuffer } = this[kState];
    if (userBuffer !== null && !this.connecting) transport?.readStop();
    return super.pause();
  }

  // ---------------------------------------------------------------- writing

  override _write(chunk: Buffer | string, encoding: BufferEncoding, callback: StreamCallback): void {
    writeToTransport(this, [{ chunk, encoding }], callback);
  }

  override _writev(
    entries: { chunk: Buffer | string; encoding: BufferEncoding }[],
    callback: StreamCallback,
  ): void {
    writeToTransport(this, entries, callback);
  }

  override end(...args: unknown[]): this {
    Reflect.apply(super.end, this, args);
    return this;
  }

  override _final(callback: StreamCallback): void {
    if (this.pending) {
      // Not connected: this comes when it is.
      this.once('connect', () => this._final(callback));
      return;
    }
    this[kState].transport!.shutdown(() => callback());
  }

  // ---------------------------------------------------------------- the end

  override _destroy(error: Error | null, callback: StreamCallback): void {
    const state = this[kState];
    const { transport } = state;
    this.connecting = false;
    for (let socket: SocketMethods | null = this; socket !== null; socket = socket._parent) {
      clearTimeout(socket[kState]?.timer ?? undefined);
    }
    if (transport === null) {
      callback(error);
      process.nextTick(() => this.emit('close'));
    } else {
      const hadError = error !== null && error !== undefined;
      state.bytesRead = transport.bytesRead;
      state.bytesWritten = transport.bytesWritten;
      const closed = (): void => {
        this.emit('close', hadError);
      };
      if (state.resetOnDestroy) transport.reset(closed);
      else transport.close(closed);
      state.resetOnDestroy = false;
      transport.owner = null;
      state.transport = null;
      state.localName = null;
      callback(error);
    }
    const server = this._server;
    if (server) {
      server._connections--;
      server._emitCloseIfDrained?.();
    }
  }

  destroySoon(): void {
    if (this.writable) this.end();
    if (this.writableFinished) this.destroy();
    else this.once('finish', this.destroy);
  }

  resetAndDestroy(): this {
    const { transport } = this[kState];
    if (transport === null) this.destroy(stateError('ERR_SOCKET_CLOSED'));
    else if (transport instanceof HostTransport && transport.remote === null) {
      throw stateError('ERR_INVALID_HANDLE_TYPE');
    } else if (this.connecting) this.once('connect', () => this._reset());
    else this._reset();
    return this;
  }

  _reset(): this {
    this[kState].resetOnDestroy = true;
    return this.destroy();
  }

  // ---------------------------------------------------------------- time

  setTimeout(msecs: number, callback?: () => void): this {
    if (this.destroyed) return this;
    const state = this[kState];
    this.timeout = msecs;
    const delayMs = validateDelay(msecs, 'msecs');
    if (callback !== undefined) validateFunction(callback, 'callback');
    if (delayMs === 0) {
      state.isTimed = false;
      if (callback !== undefined) this.removeListener('timeout', callback);
      return this;
    }
    state.isTimed = true;
    // An HTTP server sets and clears the same delay for every request.
    if (state.timer !== null && state.timerMs === delayMs) {
      state.timer.refresh();
    } else {
      clearTimeout(state.timer ?? undefined);
      state.timerMs = delayMs;
      state.timer = setTimeout(() => this._onTimeout(), delayMs).unref();
    }
    if (callback !== undefined) this.once('timeout', callback);
    return this;
  }

  _onTimeout(): void {
    const state = this[kState];
    if (!state.isTimed) return;
    const { lastWriteQueueSize, transport } = state;
    // A write that the peer takes slowly is no idle connection.
    if (lastWriteQueueSize > 0 && transport !== null && transport.writeQueueSize !== lastWriteQueueSize) {
      state.lastWriteQueueSize = transport.writeQueueSize;
      this._unrefTimer();
      return;
    }
    this.emit('timeout');
  }

  /** Traffic: starts the idle timers over. */
  _unrefTimer(): void {
    for (let socket: SocketMethods | null = this; socket !== null; socket = socket._parent) {
      const state = socket[kState];
      if (state?.isTimed) state.timer!.refresh();
    }
  }

  // ---------------------------------------------------------------- settings

  setNoDelay(enable?: boolean): this {
    const state = this[kState];
    const noDelay = enable === undefined ? true : Boolean(enable);
    if (noDelay !== state.noDelay) state.transport?.setNoDelay(noDelay);
    state.noDelay = noDelay;
    return this;
  }

  setKeepAlive(enable?: boolean, initialDelayMs?: number): this {
    const state = this[kState];
    const keepAlive = Boolean(enable);
    const delaySeconds = Math.trunc((initialDelayMs ?? 0) / 1000) | 0;
    const changes =
      keepAlive !== state.keepAlive || (keepAlive && delaySeconds !== state.keepAliveDelaySeconds);
    state.keepAlive = keepAlive;
    state.keepAliveDelaySeconds = delaySeconds;
    if (changes) state.transport?.setKeepAlive(keepAlive, delaySeconds);
    return this;
  }

  ref(): this {
    const { transport } = this[kState];
    if (transport === null) this.once('connect', this.ref);
    else transport.ref();
    return this;
  }

  unref(): this {
    const { transport } = this[kState];
    if (transport === null) this.once('connect', this.unref);
    else transport.unref();
    return this;
  }

  // ---------------------------------------------------------------- what it is

  get pending(): boolean {
    return this[kState].transport === null || this.connecting;
  }

  get readyState(): 'opening' | 'open' | 'readOnly' | 'writeOnly' | 'closed' {
    if (this.connecting) return 'opening';
    if (this.readable) return this.writable ? 'open' : 'readOnly';
    return this.writable ? 'writeOnly' : 'closed';
  }

  get bufferSize(): number | undefined {
    return this[kState].transport === null ? undefined : this.writableLength;
  }

  get bytesRead(): number {
    const { transport, bytesRead } = this[kState];
    return transport === null ? bytesRead : transport.bytesRead;
  }

  get _bytesDispatched(): number {
    const { transport, bytesWritten } = this[kState];
    return transport === null ? bytesWritten : transport.bytesWritten;
  }

  get bytesWritten(): number | undefined {
    const { writableBuffer } = this as unknown as {
      writableBuffer?: { chunk: Buffer | string; encoding: BufferEncoding }[];
    };
    if (!writableBuffer) return undefined;
    return this._bytesDispatched + this[kState].pendingBytes + byteLength(writableBuffer);
  }

  get _connecting(): boolean {
    return this.connecting;
  }

  address(): AddressInfo | Record<string, never> {
    return this._getsockname();
  }

  _getsockname(): AddressInfo | Record<string, never> {
    const state = this[kState];
    if (state.transport === null) return {};
    state.localName ??= nameOf(state.transport.local);
    return state.localName ?? {};
  }

  _getpeername(): AddressInfo | Record<string, never> {
    const state = this[kState];
    if (state.transport !== null && !this.connecting) state.remoteName ??= nameOf(state.transport.remote);
    return state.remoteName ?? {};
  }

  get remoteAddress(): string | undefined {
    return this._getpeername().address;
  }

  get remoteFamily(): string | undefined {
    return this._getpeername().family;
  }

  get remotePort(): number | undefined {
    return this._getpeername().port;
  }

  get localAddress(): string | undefined {
    return this._getsockname().address;
  }

  get localPort(): number | undefined {
    return this._getsockname().port;
  }

  get localFamily(): string | undefined {
    return this._getsockname().family;
  }
}

function nameOf(endpoint: Endpoint | null): AddressInfo | null {
  return endpoint && { address: endpoint.address, family: endpoint.family, port: endpoint.port };
}

/** With a buffer of the user's (`onread`), the transport is read only while the stream flows. */
function resumeUserReads(socket: SocketMethods): void {
  const { transport, userBuffer } = socket[kState];
  if (userBuffer !== null && !socket.connecting) transport?.readStart();
}
