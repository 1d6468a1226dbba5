import type { Alarm, Clock } from '../../src/time/index.ts';

/** An alarm this near is waited for in turns of the event loop, since `setTimeout` may be a millisecond late. */
const NEAR_MS = 1.5;

/**
 * The host's clock with alarms that are on time to some 20 µs, at the price of a
 * busy event loop while one is near: a delay of half a millisecond must not
 * become two on a bridge that stands for a wire.
 */
export class PreciseClock implements Clock {
  now(): number {
    return performance.now();
  }

  defer(task: () => void): void {
    queueMicrotask(task);
  }

  alarm(task: () => void): Alarm {
    return new PreciseAlarm(task);
  }
}

class PreciseAlarm implements Alarm {
  readonly #task: () => void;
  #at = Number.POSITIVE_INFINITY;
  #timeout: NodeJS.Timeout | null = null;
  #immediate = false;

  constructor(task: () => void) {
    this.#task = task;
  }

  set(atMs: number): void {
    this.#at = atMs;
    this.#wait();
  }

  clear(): void {
    this.#at = Number.POSITIVE_INFINITY;
    if (this.#timeout !== null) clearTimeout(this.#timeout);
    this.#timeout = null;
  }

  #wait(): void {
    if (this.#immediate) return;
    if (this.#timeout !== null) clearTimeout(this.#timeout);
    this.#timeout = null;
    const left = this.#at - performance.now();
    if (left === Number.POSITIVE_INFINITY) return;
    if (left > NEAR_MS) {
      this.#timeout = setTimeout(() => {
        this.#timeout = null;
        this.#check();
      }, left - NEAR_MS);
    } else {
      this.#immediate = true;
      setImmediate(() => {
        this.#immediate = false;
        this.#check();
      });
    }
  }

  #check(): void {
    if (performance.now() < this.#at) {
      this.#wait();
      return;
    }
    this.#at = Number.POSITIVE_INFINITY;
    this.#task();
  }
}
