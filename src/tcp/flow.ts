import type { IpAddress } from '../address/index.ts';
import { NetError } from '../errors.ts';
import type { DataListener, Endpoint, Flow, FlowStats } from '../stack.ts';
import { type FlowStreams, streamsOf } from '../streams/index.ts';
import type { Connection } from './connection.ts';
import type { ConnectionHandler } from './handler.ts';
import { Lending, RESOLVED } from './lending.ts';
import { INVITED, WAITING } from './sender.ts';

/** A promise that waits, in a ring of which the last is known: a queue of one pointer. */
interface Waiter<T> {
  readonly resolve: (value: T) => void;
  readonly reject: (reason: unknown) => void;
  next: Waiter<T>;
}

/** A new promise, last in the queue whose last so far is `last`. */
function wait<T>(last: Waiter<T> | null, queue: (waiter: Waiter<T>) => void): Promise<T> {
  return new Promise((resolve, reject) => {
    const waiter: Waiter<T> = { resolve, reject, next: null! };
    waiter.next = last === null ? waiter : last.next;
    if (last !== null) last.next = waiter;
    queue(waiter);
  });
}

/** What is the last of a queue after its first has gone. */
function withoutFirst<T>(last: Waiter<T>): Waiter<T> | null {
  const first = last.next;
  if (first === last) return null;
  last.next = first.next;
  return last;
}

/** Calls `settle` for each of a queue that is no queue any more. */
function settleAll<T>(last: Waiter<T> | null, settle: (waiter: Waiter<T>) => void): void {
  if (last === null) return;
  let waiter = last.next;
  for (;;) {
    const { next } = waiter;
    settle(waiter);
    if (waiter === last) return;
    waiter = next;
  }
}

/** What few flows have at a time, and an idle one has not: made when it is needed. */
class Extras {
  local: Endpoint | null = null;
  remote: Endpoint | null = null;
  streams: FlowStreams | null = null;
  writers: Waiter<void> | null = null;
  finishers: Waiter<void> | null = null;
  closers: Waiter<void> | null = null;
}

/** Who waits for what of a connection, and how it ended. */
class Waiters implements ConnectionHandler {
  readonly connection: Connection;
  readers: Waiter<Uint8Array | null> | null = null;
  /** What `onData` began. */
  lending: Lending | null = null;
  /** The peer has acknowledged all, our FIN included. */
  isFinished = false;
  #extras: Extras | null = null;

  constructor(connection: Connection) {
    this.connection = connection;
  }

  get extras(): Extras {
    this.#extras ??= new Extras();
    return this.#extras;
  }

  connected(): void {}

  readable(connection: Connection): void {
    this.lending?.pump();
    while (this.readers !== null) {
      const chunk = connection.take();
      if (chunk === null) {
        if (connection.endOfStream) this.endReaders();
        return;
      }
      const first = this.readers.next;
      this.readers = withoutFirst(this.readers);
      first.resolve(chunk);
    }
  }

  /** Nothing will come any more for those who read. */
  endReaders(): void {
    const { readers } = this;
    this.readers = null;
    settleAll(readers, (reader) => reader.resolve(null));
  }

  writable(connection: Connection): void {
    const extras = this.#extras;
    if (extras === null) return;
    while (extras.writers !== null && connection.sendSpace > 0) {
      const first = extras.writers.next;
      extras.writers = withoutFirst(extras.writers);
      first.resolve();
      if (extras.writers === null) connection.sender.nextWrite = INVITED;
    }
  }

  finished(): void {
    this.isFinished = true;
    this.#settleEnd(null);
  }

  closed(connection: Connection, error: NetError | null): void {
    this.readable(connection);
    if (error === null) {
      this.endReaders();
    } else {
      const { readers } = this;
      this.readers = null;
      settleAll(readers, (reader) => reader.reject(error));
    }
    const extras = this.#extras;
    if (extras !== null) {
      const { writers } = extras;
      extras.writers = null;
      settleAll(writers, (writer) => writer.reject(error ?? new NetError('EPIPE', { syscall: 'write' })));
    }
    this.#settleEnd(error);
  }

  /** Tells those who wait for the end, of our sending or of all. */
  #settleEnd(error: NetError | null): void {
    const extras = this.#extras;
    if (extras === null) return;
    const { finishers, closers } = extras;
    extras.finishers = null;
    extras.closers = null;
    settleAll(finishers, (waiter) => {
      if (error === null) waiter.resolve();
      else waiter.reject(error);
    });
    settleAll(closers, (waiter) => waiter.resolve());
  }
}

/** The promise face of a connection. */
export class TcpFlow implements Flow {
  readonly #waiting: Waiters;

  constructor(connection: Connection) {
    this.#waiting = new Waiters(connection);
    connection.handler = this.#waiting;
    // It may have ended while it waited to be accepted.
    if (connection.isOver) this.#waiting.closed(connection, connection.error);
  }

  get #connection(): Connection {
    return this.#waiting.connection;
  }

  get local(): Endpoint {
    const { extras, connection } = this.#waiting;
    extras.local ??= endpoint(connection.local, connection.localPort);
    return extras.local;
  }

  get remote(): Endpoint {
    const { extras, connection } = this.#waiting;
    extras.remote ??= endpoint(connection.remote, connection.remotePort);
    return extras.remote;
  }

  read(): Promise<Uint8Array | null> {
    if (this.#isLent) return Promise.reject(this.#busy('onData reads this flow'));
    const waiting = this.#waiting;
    const { connection } = waiting;
    // Whoever asked first is served first.
    if (waiting.readers === null) {
      const chunk = connection.take();
      if (chunk !== null) return Promise.resolve(chunk);
      if (connection.endOfStream) return Promise.resolve(null);
      if (connection.isOver || connection.detached) {
        return connection.error === null ? Promise.resolve(null) : Promise.reject(connection.error);
      }
    }
    return wait(waiting.readers, (reader) => {
      waiting.readers = reader;
    });
  }

  onData(listener: DataListener): Promise<void> {
    if (typeof listener !== 'function') return Promise.reject(new TypeError('onData takes a function'));
    if (this.#isLent || this.#waiting.readers !== null) {
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
    const connection = this.#connection;
    if (connection.sendSpace > 0) {
      connection.sender.nextWrite = INVITED;
      return RESOLVED;
    }
    connection.sender.nextWrite = WAITING;
    const { extras } = this.#waiting;
    return wait(extras.writers, (writer) => {
      extras.writers = writer;
    });
  }

  shutdown(): Promise<void> {
    this.#connection.shutdown();
    return this.#whenFinished();
  }

  #whenFinished(): Promise<void> {
    const { isFinished, connection, extras } = this.#waiting;
    if (isFinished) return RESOLVED;
    if (connection.isOver) return connection.error === null ? RESOLVED : Promise.reject(connection.error);
    return wait(extras.finishers, (finisher) => {
      extras.finishers = finisher;
    });
  }

  close(): Promise<void> {
    this.#connection.close();
    const waiting = this.#waiting;
    waiting.endReaders();
    waiting.lending?.finish();
    const { extras } = waiting;
    if (waiting.isFinished || waiting.connection.isOver) return RESOLVED;
    return wait(extras.closers, (closer) => {
      extras.closers = closer;
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
    const { extras } = this.#waiting;
    extras.streams ??= streamsOf(this);
    return extras.streams;
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Uint8Array, void, undefined> {
    for (let chunk = await this.read(); chunk !== null; chunk = await this.read()) yield chunk;
  }
}

export function endpoint(address: IpAddress, port: number): Endpoint {
  return { address: address.toString(), port, family: address.family };
}
