import type { Alarm, Clock } from './clock.ts';

/** A longer delay would overflow the host's timer and fire at once. */
const LONGEST_DELAY_MS = 2 ** 31 - 1;

type Timeout = ReturnType<typeof setTimeout>;

const RESOLVED = Promise.resolve();

/** Found once: the global is looked up by a call each time. */
const { performance } = globalThis;

const setImmediateOrNone = (globalThis as { setImmediate?: (task: () => void) => unknown }).setImmediate;

/**
 * The host's monotonic clock. An alarm keeps the process alive while it is set.
 * Its resolution is that of `setTimeout`, about a millisecond; one for a time
 * that has come runs in the next turn of the event loop.
 */
export class RealClock implements Clock {
  /** Tasks of this turn, and how many; the places behind are empty. */
  #deferred: ((() => void) | null)[] = [];
  #count = 0;
  /** Those that run now; its array becomes the next list. */
  #running: ((() => void) | null)[] = [];
  readonly #runDeferred = (): void => {
    const tasks = this.#deferred;
    const count = this.#count;
    this.#deferred = this.#running;
    this.#count = 0;
    this.#running = tasks;
    for (let i = 0; i < count; i++) {
      const task = tasks[i]!;
      tasks[i] = null;
      try {
        task();
      } catch (error) {
        // As a microtask of its own would: an uncaught exception, and the others go on.
        queueMicrotask(() => {
          throw error;
        });
      }
    }
  };

  now(): number {
    return performance.now();
  }

  alarm(task: () => void): Alarm {
    return new RealAlarm(task);
  }

  /** One promise job for all tasks of a turn: a third of the cost of `queueMicrotask` for each, which tracks them for async hooks. */
  defer(task: () => void): void {
    this.#deferred[this.#count++] = task;
    if (this.#count === 1) RESOLVED.then(this.#runDeferred);
  }
}

/**
 * Host timers are objects that are made and linked for each setting, so an
 * alarm that is cleared or set later keeps the one it has: when that one fires,
 * it looks at what is wanted by then.
 */
class RealAlarm implements Alarm {
  readonly #task: () => void;
  readonly #onTimeout: () => void;
  readonly #onImmediate: () => void;
  /** When the task is wanted; `Infinity` for not at all. */
  #at = Infinity;
  #timeout: Timeout | undefined;
  /** When `#timeout` fires. */
  #timeoutAt = Infinity;
  #immediate = false;

  constructor(task: () => void) {
    this.#task = task;
    this.#onTimeout = () => {
      this.#timeout = undefined;
      this.#timeoutAt = Infinity;
      this.#fireOrWait();
    };
    this.#onImmediate = () => {
      this.#immediate = false;
      this.#fireOrWait();
    };
  }

  set(atMs: number): void {
    this.#at = atMs;
    if (atMs === Infinity) this.clear();
    else this.#wait(performance.now());
  }

  clear(): void {
    this.#at = Infinity;
    const timeout = this.#timeout;
    if (timeout === undefined) return;
    if (timeout.unref) {
      // It may fire in vain, but does not keep the process.
      timeout.unref();
    } else {
      clearTimeout(timeout);
      this.#timeout = undefined;
      this.#timeoutAt = Infinity;
    }
  }

  #wait(now: number): void {
    const at = this.#at;
    if (at <= now && setImmediateOrNone !== undefined) {
      if (!this.#immediate) {
        this.#immediate = true;
        setImmediateOrNone(this.#onImmediate);
      }
      return;
    }
    if (this.#timeoutAt <= at) {
      this.#timeout?.ref?.();
      return;
    }
    if (this.#timeout !== undefined) clearTimeout(this.#timeout);
    const delay = Math.min(Math.max(Math.ceil(at - now), 0), LONGEST_DELAY_MS);
    this.#timeoutAt = now + delay;
    this.#timeout = setTimeout(this.#onTimeout, delay);
  }

  #fireOrWait(): void {
    const at = this.#at;
    if (at === Infinity) return;
    const now = performance.now();
    // Host timers round to their own millisecond and may be early by a part of one.
    if (now < at) {
      this.#wait(now);
      return;
    }
    this.#at = Infinity;
    this.#task();
  }
}
