import type { node } from 'koffi';
import { libc } from './libc.ts';

/** What a {@link Watch} calls, from the event loop. */
export interface Readiness {
  readable(): void;
  writable(): void;
  /** The descriptor has an error condition (its device is gone); no other call follows. `errno` is positive. */
  failed(errno: number): void;
}

/**
 * koffi's poll handles stop silently when they are collected. Whoever has a
 * descriptor watched need not know that.
 */
const watches = new Set<Watch>();

/**
 * Whether the ticks and promises of a call run only when something else happens in the event loop (Node 26), which
 * may be never. An immediate makes them run in the same turn.
 */
const LEAVES_TICKS = Number.parseInt(process.versions.node, 10) >= 25;
const runTicks = (): void => {};

// The event loop turns once more while Node tears the process down, and koffi
// ends it with a fatal error if a descriptor is readable then.
process.once('exit', () => {
  for (const watch of watches) watch.close();
});

/**
 * Level-triggered readiness of one descriptor in Node's event loop (libuv's
 * `uv_poll_t`). It keeps the process alive until it is closed, or `unref`ed.
 * Promise continuations and `process.nextTick` callbacks run after each call, as after
 * any callback of Node's own; from Node 25 on, after the calls of one turn.
 *
 * Starts with interest in reading only.
 */
export class Watch {
  readonly #readiness: Readiness;
  readonly #onPoll = (status: number, events: { readable: boolean; writable: boolean }): void => {
    if (LEAVES_TICKS) setImmediate(runTicks);
    // An exception that left this callback would be kept by Node-API and thrown
    // out of some later, innocent native call.
    try {
      if (status < 0) this.#fail(-status);
      else this.#dispatch(events);
    } catch (error) {
      setImmediate(() => {
        throw error;
      });
    }
  };
  #handle: node.PollHandle | null;
  #writable = false;

  constructor(fd: number, readiness: Readiness) {
    this.#readiness = readiness;
    this.#handle = libc().poll(fd, { readable: true, writable: false }, this.#onPoll);
    watches.add(this);
  }

  /** Whether `writable` is to be called while the descriptor takes data. */
  setWritable(wanted: boolean): void {
    if (this.#handle === null || this.#writable === wanted) return;
    this.#writable = wanted;
    this.#handle.start({ readable: true, writable: wanted }, this.#onPoll as () => void);
  }

  /** The process may end although the descriptor is watched. */
  unref(): void {
    this.#handle?.unref();
  }

  /** Idempotent; no call follows, not even the second half of an event being dispatched. */
  close(): void {
    if (this.#handle === null) return;
    // koffi dereferences the handle after close(), so it must not be seen again.
    const handle = this.#handle;
    this.#handle = null;
    watches.delete(this);
    handle.close();
  }

  #dispatch(events: { readable: boolean; writable: boolean }): void {
    if (events.writable) this.#readiness.writable();
    if (events.readable && this.#handle !== null) this.#readiness.readable();
  }

  #fail(errno: number): void {
    this.close();
    this.#readiness.failed(errno);
  }
}
