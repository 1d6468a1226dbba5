import type { Socket } from 'node:net';
import { NetError } from '../errors.ts';
import type { DataListener, Endpoint, Flow, FlowStats } from '../stack.ts';
import { type FlowStreams, streamsOf } from '../streams/index.ts';
import { endpoint, hostError } from './host.ts';

/** Bytes read from the host ahead of the application before reading pauses, and where it goes on. */
const READ_AHEAD_HIGH = 256 * 1024;
const READ_AHEAD_LOW = 64 * 1024;

interface Waiter<T> {
  readonly resolve: (value: T) => void;
  readonly reject: (error: Error) => void;
}

const DONE: Promise<void> = Promise.resolve();

/**
 * A connection of the host as a `Flow`. Takes over a connected socket that was
 * made with `allowHalfOpen`; must be made in the turn in which it connected, so
 * that no event is missed.
 *
 * What the host does not tell stays zero in `stats`. One thing it hides: where
 * the peer resets while data wait in the host's own buffer, libuv may report
 * the end of the stream.
 */
export class SocketFlow implements Flow {
  readonly local: Endpoint;
  readonly remote: Endpoint;
  readonly #socket: Socket;
  #chunks: Uint8Array[] = [];
  #queuedBytes = 0;
  #paused = false;
  #readers: Waiter<Uint8Array | null>[] = [];
  #writers: Waiter<void>[] = [];
  /** The peer's FIN has been read. */
  #ended = false;
  #error: Error | null = null;
  #aborted = false;
  /** What `onData` began, and whether the listener wants no more for now. */
  #listener: DataListener | null = null;
  #listening: Waiter<void> | null = null;
  #held = false;
  #shutdown: Promise<void> | null = null;
  #closing: Promise<void> | null = null;
  readonly #gone: Promise<void>;
  #streams: FlowStreams | null = null;

  constructor(socket: Socket) {
    this.#socket = socket;
    this.local = endpoint(socket.localAddress ?? '', socket.localPort ?? 0);
    this.remote = endpoint(socket.remoteAddress ?? '', socket.remotePort ?? 0);
    this.#gone = new Promise((resolve) => {
      socket.once('close', () => {
        this.#settle();
        resolve();
      });
    });
    socket.on('data', (chunk: Uint8Array) => this.#onData(chunk));
    socket.on('end', () => this.#onEnd());
    socket.on('error', (error) => this.#fail(hostError(error, this.#where('read'))));
    socket.on('drain', () => {
      for (const writer of this.#writers.splice(0)) writer.resolve();
    });
    socket.on('finish', () => this.#onFinish());
  }

  /** Settles when the host has let go of the socket. */
  get gone(): Promise<void> {
    return this.#gone;
  }

  read(): Promise<Uint8Array | null> {
    if (this.#listener !== null) return Promise.reject(this.#busy('onData reads this flow'));
    const chunk = this.#take();
    if (chunk !== undefined) return Promise.resolve(chunk);
    if (this.#error !== null) return Promise.reject(this.#error);
    if (this.#ended || this.#closing !== null) return Promise.resolve(null);
    return new Promise((resolve, reject) => this.#readers.push({ resolve, reject }));
  }

  get readable(): ReadableStream<Uint8Array> {
    return this.#web.readable;
  }

  get writable(): WritableStream<ArrayBufferView | ArrayBuffer> {
    return this.#web.writable;
  }

  /** Made for who asks: few do. */
  get #web(): FlowStreams {
    this.#streams ??= streamsOf(this);
    return this.#streams;
  }

  #take(): Uint8Array | undefined {
    const chunk = this.#chunks.shift();
    if (chunk === undefined) return undefined;
    this.#queuedBytes -= chunk.length;
    if (this.#paused && this.#queuedBytes <= READ_AHEAD_LOW) {
      this.#paused = false;
      this.#socket.resume();
    }
    return chunk;
  }

  onData(listener: DataListener): Promise<void> {
    if (typeof listener !== 'function') return Promise.reject(new TypeError('onData takes a function'));
    if (this.#listener !== null || this.#readers.length > 0) {
      return Promise.reject(this.#busy('this flow is being read already'));
    }
    return new Promise((resolve, reject) => {
      this.#listener = listener;
      this.#listening = { resolve, reject };
      this.resume();
    });
  }

  resume(): void {
    this.#held = false;
    this.#lendQueued();
  }

  #lend(chunk: Uint8Array): void {
    try {
      const answer = this.#listener!(chunk);
      if (answer === undefined || answer === DONE) return;
      if (answer === false) this.#held = true;
      else if (answer instanceof Promise) this.#await(answer);
    } catch (error) {
      this.#endListening()?.reject(error as Error);
    }
  }

  #await(room: Promise<unknown>): void {
    this.#held = true;
    room.then(
      () => this.resume(),
      (error) => this.#endListening()?.reject(error),
    );
  }

  /** What waits goes to the listener, as far as it wants it; behind it, the end. */
  #lendQueued(): void {
    while (this.#listener !== null && !this.#held) {
      const chunk = this.#take();
      if (chunk === undefined) break;
      this.#lend(chunk);
    }
    if (this.#listener === null || this.#chunks.length > 0) return;
    if (this.#error !== null) this.#endListening()?.reject(this.#error);
    else if (this.#ended || this.#closing !== null) this.#endListening()?.resolve();
  }

  #endListening(): Waiter<void> | null {
    const waiter = this.#listening;
    this.#listener = null;
    this.#listening = null;
    return waiter;
  }

  #busy(reason: string): NetError {
    return new NetError('EINVAL', { ...this.#where('read'), reason });
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Uint8Array, void, undefined> {
    for (;;) {
      const chunk = await this.read();
      if (chunk === null) return;
      yield chunk;
    }
  }

  write(data: Uint8Array): Promise<void> {
    const refusal = this.#refusal();
    if (refusal !== null) return Promise.reject(refusal);
    if (data.length === 0 || this.#socket.write(data)) return DONE;
    return this.#drained();
  }

  writev(data: readonly Uint8Array[]): Promise<void> {
    const refusal = this.#refusal();
    if (refusal !== null) return Promise.reject(refusal);
    this.#socket.cork();
    for (const part of data) if (part.length > 0) this.#socket.write(part);
    this.#socket.uncork();
    return this.#socket.writableNeedDrain ? this.#drained() : DONE;
  }

  /** Resolves when the host has taken all data and the FIN; it does not tell when the peer has. */
  shutdown(): Promise<void> {
    if (this.#shutdown === null) {
      if (this.#error !== null) return Promise.reject(this.#error);
      this.#shutdown = this.#finished();
      this.#socket.end();
    }
    return this.#shutdown;
  }

  /** As {@link shutdown} for the writing side; then the host's socket is closed, and the host delivers what it has. */
  close(): Promise<void> {
    if (this.#closing === null) {
      this.#closing = this.#gone;
      this.#endListening()?.resolve();
      // RFC 2525 §2.17: data that nobody will read make it a reset.
      if (this.#queuedBytes > 0 || this.#socket.readableLength > 0) {
        this.#reset();
      } else {
        for (const reader of this.#readers.splice(0)) reader.resolve(null);
        if (this.#socket.writableFinished) this.#socket.destroy();
        else this.#socket.end();
      }
    }
    return this.#closing;
  }

  abort(): void {
    if (this.#socket.destroyed) return;
    this.#fail(new NetError('ECONNABORTED', { ...this.#where('abort'), reason: 'aborted by this side' }));
    this.#chunks = [];
    this.#queuedBytes = 0;
    this.#reset();
  }

  setNoDelay(noDelay: boolean): void {
    this.#socket.setNoDelay(noDelay);
  }

  setKeepAlive(enable: boolean, delayMs?: number): void {
    this.#socket.setKeepAlive(enable, delayMs);
  }

  get stats(): FlowStats {
    const socket = this.#socket;
    return {
      state: this.#state(),
      congestionControl: 'host',
      recovery: 'open',
      timestamps: false,
      sack: false,
      ecn: false,
      sendScale: 0,
      receiveScale: 0,
      rttMs: 0,
      rttVarMs: 0,
      minRttMs: 0,
      rtoMs: 0,
      backoffs: 0,
      mss: 0,
      peerMss: 0,
      announcedMss: 0,
      pathMtu: 0,
      cwnd: 0,
      ssthresh: 0,
      sendWindow: 0,
      receiveWindow: 0,
      bytesInFlight: 0,
      bytesSacked: 0,
      bytesLost: 0,
      pacingRateBps: 0,
      bytesSent: socket.bytesWritten - socket.writableLength,
      bytesAcked: 0,
      bytesReceived: socket.bytesRead,
      bytesRetransmitted: 0,
      segmentsSent: 0,
      segmentsReceived: 0,
      retransmits: 0,
      timeouts: 0,
      fastRecoveries: 0,
      spuriousRecoveries: 0,
      lossProbes: 0,
      duplicateReports: 0,
      reorderingSeen: false,
      congestionMarks: 0,
      segmentsOutOfOrder: 0,
      bytesDuplicate: 0,
      sinceSentMs: 0,
      sinceReceivedMs: 0,
      bytesUnsent: socket.writableLength,
      sendQueue: socket.writableLength,
      receiveQueue: this.#queuedBytes + socket.readableLength,
    };
  }

  /** In the names of RFC 9293 §3.3.2, as far as the host lets them be known. */
  #state(): string {
    const socket = this.#socket;
    if (socket.destroyed) return 'CLOSED';
    if (this.#ended) return socket.writableEnded ? 'LAST-ACK' : 'CLOSE-WAIT';
    if (socket.writableFinished) return 'FIN-WAIT-2';
    return socket.writableEnded ? 'FIN-WAIT-1' : 'ESTABLISHED';
  }

  #onData(chunk: Uint8Array): void {
    if (this.#aborted) return;
    if (this.#closing !== null) {
      // RFC 1122 §4.2.2.13: data that come after close cannot be delivered, and the peer is told.
      this.#reset();
      return;
    }
    if (this.#listener !== null && !this.#held && this.#chunks.length === 0) {
      this.#lend(chunk);
      return;
    }
    const reader = this.#readers.shift();
    if (reader !== undefined) {
      reader.resolve(chunk);
      return;
    }
    this.#chunks.push(chunk);
    this.#queuedBytes += chunk.length;
    if (this.#queuedBytes >= READ_AHEAD_HIGH) {
      this.#paused = true;
      this.#socket.pause();
    }
  }

  #onEnd(): void {
    this.#ended = true;
    for (const reader of this.#readers.splice(0)) reader.resolve(null);
    this.#lendQueued();
  }

  #onFinish(): void {
    if (this.#aborted) this.#socket.resetAndDestroy();
    else if (this.#closing !== null) this.#socket.destroy();
  }

  /** Sends RST, now or as soon as the host can. */
  #reset(): void {
    this.#aborted = true;
    const { writableEnded, writableFinished, writableLength, destroyed } = this.#socket;
    // While shutdown(2) is under way libuv refuses to reset, and Node would then lose the handle: wait for it.
    const shuttingDown = writableEnded && !writableFinished && writableLength === 0;
    if (!destroyed && !shuttingDown) this.#socket.resetAndDestroy();
  }

  /** The first error is what the flow died of. */
  #fail(error: Error): void {
    this.#error ??= error;
    for (const reader of this.#readers.splice(0)) reader.reject(this.#error);
    for (const writer of this.#writers.splice(0)) writer.reject(this.#error);
    this.#lendQueued();
  }

  /** The socket is gone: whoever still waits is told. */
  #settle(): void {
    if (this.#closing === null && !this.#ended) {
      this.#fail(new NetError('ECONNRESET', this.#where('read')));
    }
    for (const reader of this.#readers.splice(0)) reader.resolve(null);
    for (const writer of this.#writers.splice(0)) writer.reject(this.#error ?? this.#brokenPipe());
  }

  #refusal(): Error | null {
    if (this.#error !== null) return this.#error;
    const over = this.#shutdown !== null || this.#closing !== null || this.#socket.destroyed;
    return over ? this.#brokenPipe() : null;
  }

  #brokenPipe(): NetError {
    return new NetError('EPIPE', this.#where('write'));
  }

  #drained(): Promise<void> {
    return new Promise((resolve, reject) => this.#writers.push({ resolve, reject }));
  }

  #finished(): Promise<void> {
    if (this.#socket.writableFinished) return DONE;
    return new Promise((resolve, reject) => {
      this.#socket.once('finish', resolve);
      void this.#gone.then(() =>
        reject(this.#error ?? new NetError('ECONNABORTED', this.#where('shutdown'))),
      );
    });
  }

  #where(syscall: string): { syscall: string; address: string; port: number } {
    return { syscall, address: this.remote.address, port: this.remote.port };
  }
}
