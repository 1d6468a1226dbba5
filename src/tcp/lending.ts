import type { DataListener } from '../stack.ts';
import type { Connection } from './connection.ts';
import type { Borrower } from './handler.ts';

/**
 * What `write` answers while there is room, so that it costs no promise per
 * call; a listener that answers it goes on at once.
 */
export const RESOLVED: Promise<void> = Promise.resolve();

/** Shows a connection's bytes to a listener as they come (`Flow.onData`), until the end. */
export class Lending implements Borrower {
  readonly #connection: Connection;
  readonly #listener: DataListener;
  readonly #resolve: () => void;
  readonly #reject: (reason: unknown) => void;
  isOver = false;

  constructor(
    connection: Connection,
    listener: DataListener,
    resolve: () => void,
    reject: (reason: unknown) => void,
  ) {
    this.#connection = connection;
    this.#listener = listener;
    this.#resolve = resolve;
    this.#reject = reject;
  }

  /** Begins, or goes on after a pause. */
  resume(): void {
    if (this.isOver) return;
    this.#connection.borrower = this;
    this.pump();
  }

  lend(view: Uint8Array): void {
    try {
      const answer = this.#listener(view);
      if (answer === undefined || answer === RESOLVED) return;
      if (answer === false) this.#connection.borrower = null;
      else if (answer instanceof Promise) this.#await(answer);
    } catch (error) {
      this.#abandon(error);
    }
  }

  #await(room: Promise<unknown>): void {
    this.#connection.borrower = null;
    room.then(
      () => this.resume(),
      (error) => this.#abandon(error),
    );
  }

  /** The listener has failed. */
  #abandon(error: unknown): void {
    if (this.isOver) return;
    this.#stop();
    this.#reject(error);
  }

  /** What waits to be read goes to the listener, as far as it wants it; behind it, the end. */
  pump(): void {
    const connection = this.#connection;
    while (connection.borrower === this) {
      const chunk = connection.take();
      if (chunk === null) break;
      this.lend(chunk);
    }
    if (this.isOver || connection.readableBytes > 0) return;
    if (connection.endOfStream || connection.detached) this.finish();
    else if (connection.isOver) this.#fail(connection.error);
  }

  /** The end of the stream, or the flow was closed. */
  finish(): void {
    if (this.isOver) return;
    this.#stop();
    this.#resolve();
  }

  #fail(error: Error | null): void {
    this.#stop();
    if (error === null) this.#resolve();
    else this.#reject(error);
  }

  #stop(): void {
    this.isOver = true;
    if (this.#connection.borrower === this) this.#connection.borrower = null;
  }
}
