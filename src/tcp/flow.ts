import type { IpAddress } from '../address/index.ts';
import { NetError } from '../errors.ts';
import type { DataListener, Endpoint, Flow, FlowStats } from '../stack.ts';
import { type FlowStreams, streamsOf } from '../streams/index.ts';
import type { Connection, ConnectionHandler } from './connection.ts';
import { Lending, RESOLVED } from './lending.ts';

interface Waiter<T> {
  resolve(value: T): void;
  reject(reason: unknown): void;
}

/** Who waits for what of a connection, and how it ended. */
class Waiters implements ConnectionHandler {
  readonly readers: Waiter<Uint8Array | null>[] = [];
  readonly writers: Waiter<void>[] = [];
  readonly finishers: Waiter<void>[] = [];
  readonly closers: (() => void)[] = [];
  /** What `onData` began. */
  lending: Lending | null = null;
  error: NetError | null = null;
  isOver = false;
  isFinished = false;

  connected(): void {}

  readable(connection: Connection): void {
    this.lending?.pump();
    while (this.readers.length > 0) {
      const chunk = connection.take();
      if (chunk === null) {
        if (connection.endOfStream) for (const reader of this.readers.splice(0)) reader.resolve(null);
        return;
      }
      this.readers.shift()!.resolve(chunk);
    }
  }

  writable(connection: Connection): void {
    while (this.writers.length > 0 && connection.sendSpace > 0) this.writers.shift()!.resolve();
  }

  finished(): void {
    this.isFinished = true;
    for (const waiter of this.finishers.splice(0)) waiter.resolve();
    for (const resolve of this.closers.splice(0)) resolve();
  }

  closed(connection: Connection, error: NetError | null): void {
    this.isOver = true;
    this.error = error;
    this.readable(connection);
    for (const reader of this.readers.splice(0)) {
      if (error === null) reader.resolve(null);
      else reader.reject(error);
    }
    for (const writer of this.writers.splice(0)) {
      writer.reject(error ?? new NetError('EPIPE', { syscall: 'write' }));
    }
    for (const waiter of this.finishers.splice(0)) {
      if (error === null) waiter.resolve();
      else waiter.reject(error);
    }
    for (const resolve of this.closers.splice(0)) resolve();
  }
}

/** The promise face of a connection. */
export class TcpFlow implements Flow {
  readonly #connection: Connection;
  /** Made when somebody asks, and the same object from then on. */
  #local: Endpoint | null = null;
  #remote: Endpoint | null = null;
  readonly #waiting = new Waiters();
  #streams: FlowStreams | null = null;

  constructor(connection: Connection) {
    this.#connection = connection;
    connection.handler = this.#waiting;
    // It may have ended while it waited to be accepted.
    if (connection.isOver) this.#waiting.closed(connection, connection.error);
  }

  get local(): Endpoint {
    this.#local ??= endpoint(this.#connection.local, this.#connection.localPort);
    return this.#local;
  }

  get remote(): Endpoint {
    this.#remote ??= endpoint(this.#connection.remote, this.#connection.remotePort);
    return this.#remote;
  }

  read(): Promise<Uint8Array | null> {
    if (this.#isLent) return Promise.reject(this.#busy('onData reads this flow'));
    const { readers, isOver, error } = this.#waiting;
    // Whoever asked first is served first.
    if (readers.length === 0) {
      const chunk = this.#connection.take();
      if (chunk !== null) return Promise.resolve(chunk);
      if (this.#connection.endOfStream) return Promise.resolve(null);
      if (isOver || this.#connection.detached) {
        return error === null ? Promise.resolve(null) : Promise.reject(error);
      }
    }
    return new Promise((resolve, reject) => {
      readers.push({ resolve, reject });
    });
  }

  onData(listener: DataListener): Promise<void> {
    if (typeof listener !== 'function') return Promise.reject(new TypeError('onData takes a function'));
    if (this.#isLent || this.#waiting.readers.length > 0) {
      return Promise.reject(this.#busy('this flow is being read already'));
    }
    return new Promise((resolve, reject) => {
      const lending = new Lending(this.#connection, listener, resolve, reject);
      this.#waiting.lending = lending;
      lending.resume();
    });
  }

  resume(): void {
    this.#waiting.lending?.resume();
  }

  get #isLent(): boolean {
    const { lending } = this.#waiting;
    return lending !== null && !lending.isOver;
  }

  #busy(reason: string): NetError {
    const { address, port } = this.remote;
    return new NetError('EINVAL', { syscall: 'read', address, port, reason });
  }

  write(data: Uint8Array): Promise<void> {
    if (!(data instanceof Uint8Array)) {
      return Promise.reject(new TypeError('write takes a Uint8Array or Buffer'));
    }
    try {
      this.#connection.send(data);
    } catch (error) {
      return Promise.reject(error);
    }
    return this.#room();
  }

  writev(data: readonly Uint8Array[]): Promise<void> {
    if (!data.every((chunk) => chunk instanceof Uint8Array)) {
      return Promise.reject(new TypeError('writev takes an array of Uint8Arrays or Buffers'));
    }
    try {
      for (const chunk of data) this.#connection.send(chunk);
    } catch (error) {
      return Promise.reject(error);
    }
    return this.#room();
  }

  #room(): Promise<void> {
    if (this.#connection.sendSpace > 0) return RESOLVED;
    return new Promise((resolve, reject) => {
      this.#waiting.writers.push({ resolve, reject });
    });
  }

  shutdown(): Promise<void> {
    this.#connection.shutdown();
    return this.#whenFinished();
  }

  #whenFinished(): Promise<void> {
    const { isFinished, isOver, error, finishers } = this.#waiting;
    if (isFinished) return RESOLVED;
    if (isOver) return error === null ? RESOLVED : Promise.reject(error);
    return new Promise((resolve, reject) => {
      finishers.push({ resolve, reject });
    });
  }

  close(): Promise<void> {
    this.#connection.close();
    const { readers, isFinished, isOver, closers } = this.#waiting;
    for (const reader of readers.splice(0)) reader.resolve(null);
    this.#waiting.lending?.finish();
    if (isFinished || isOver) return RESOLVED;
    return new Promise((resolve) => {
      closers.push(resolve);
    });
  }

  abort(): void {
    this.#connection.abort();
  }

  setNoDelay(noDelay: boolean): void {
    this.#connection.noDelay = noDelay;
  }

  setKeepAlive(enable: boolean, delayMs?: number): void {
    this.#connection.setKeepAlive(enable, delayMs);
  }

  get stats(): FlowStats {
    return this.#connection.stats;
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

  async *[Symbol.asyncIterator](): AsyncGenerator<Uint8Array, void, undefined> {
    for (let chunk = await this.read(); chunk !== null; chunk = await this.read()) yield chunk;
  }
}

export function endpoint(address: IpAddress, port: number): Endpoint {
  return { address: address.toString(), port, family: address.family };
}
