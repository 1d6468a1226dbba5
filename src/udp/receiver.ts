import type { Datagram } from '../stack.ts';
import { Fifo } from './fifo.ts';

/**
 * What a waiting datagram costs beside its data, in bytes: the objects that
 * hold it. Counted, so that a flood of empty datagrams fills the queue too.
 */
export const DATAGRAM_OVERHEAD = 512;

/** Default bound of a receive queue in bytes, as Linux's `rmem_default`. */
export const RECEIVE_BUFFER = 212_992;

interface Waiter<T> {
  readonly resolve: (datagram: T | null) => void;
  readonly reject: (error: Error) => void;
}

/**
 * The receiving half of a datagram socket: a queue bounded in bytes, readers that
 * wait in turn, and the error that the next call reports. Knows nothing of
 * packets, so the host's sockets use it as well.
 */
export class Receiver<T extends { readonly data: Uint8Array } = Datagram> {
  /** Datagrams that found the queue full. */
  dropped = 0;
  /** Most bytes that wait, overhead included. */
  limit: number;
  readonly #queue = new Fifo<T>();
  readonly #waiters = new Fifo<Waiter<T>>();
  #queuedBytes = 0;
  #error: Error | null = null;
  #closed = false;

  constructor(limit: number = RECEIVE_BUFFER) {
    this.limit = limit;
  }

  /**
   * Whether a datagram of `size` data bytes can be taken; counts it as dropped
   * if not. An empty queue takes one of any size, so that a small bound slows
   * a socket down and does not make it deaf.
   */
  accepts(size: number): boolean {
    if (this.#closed) return false;
    const fits = this.#queuedBytes + size + DATAGRAM_OVERHEAD <= this.limit;
    if (fits || this.#queue.length === 0) return true;
    this.dropped++;
    return false;
  }

  /** Hands an accepted datagram to the reader that waits longest, or queues it. */
  push(datagram: T): void {
    const waiter = this.#waiters.shift();
    if (waiter !== undefined) {
      waiter.resolve(datagram);
      return;
    }
    this.#queue.push(datagram);
    this.#queuedBytes += datagram.data.length + DATAGRAM_OVERHEAD;
  }

  /** Reports `error` to the reader that waits longest, or to the next call of either direction. */
  fail(error: Error): void {
    const waiter = this.#waiters.shift();
    if (waiter !== undefined) waiter.reject(error);
    else this.#error = error;
  }

  /** The error that nobody has been told yet; telling it clears it (as `SO_ERROR`). */
  takeError(): Error | null {
    const error = this.#error;
    this.#error = null;
    return error;
  }

  receive(): Promise<T | null> {
    if (this.#closed) return Promise.resolve(null);
    const error = this.takeError();
    if (error !== null) return Promise.reject(error);
    const datagram = this.#queue.shift();
    if (datagram !== undefined) {
      this.#queuedBytes -= datagram.data.length + DATAGRAM_OVERHEAD;
      return Promise.resolve(datagram);
    }
    return new Promise((resolve, reject) => this.#waiters.push({ resolve, reject }));
  }

  /** Ends every reader, now and later, with null. What was queued is let go. */
  close(): void {
    this.#closed = true;
    this.#error = null;
    while (this.#queue.shift() !== undefined);
    for (let waiter = this.#waiters.shift(); waiter !== undefined; waiter = this.#waiters.shift()) {
      waiter.resolve(null);
    }
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<T, void, undefined> {
    for (;;) {
      const datagram = await this.receive();
      if (datagram === null) return;
      yield datagram;
    }
  }
}
