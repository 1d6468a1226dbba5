import { type Alarm, RealClock } from '../time/index.ts';

const LONGEST_DELAY_MS = 2 ** 31 - 1;

/**
 * The host's monotonic clock whose alarms do not keep the process alive: with
 * it, a process ends when its sockets and servers allow it, and not when the
 * last of the stack's timers has run out.
 */
export class BackgroundClock extends RealClock {
  override alarm(task: () => void): Alarm {
    return new BackgroundAlarm(task);
  }
}

class BackgroundAlarm implements Alarm {
  readonly #task: () => void;
  /** When the task is wanted; `Infinity` for not at all. */
  #at = Infinity;
  #timeout: NodeJS.Timeout | undefined;
  #timeoutAt = Infinity;
  #immediate = false;

  constructor(task: () => void) {
    this.#task = task;
  }

  set(atMs: number): void {
    this.#at = atMs;
    if (atMs !== Infinity) this.#wait(performance.now());
  }

  /** The host's timer may fire in vain: it is kept for the next setting. */
  clear(): void {
    this.#at = Infinity;
  }

  #wait(now: number): void {
    const at = this.#at;
    if (at <= now) {
      if (this.#immediate) return;
      this.#immediate = true;
      // What is due is done, whether or not the process would go on.
      setImmediate(() => {
        this.#immediate = false;
        this.#fireOrWait();
      });
      return;
    }
    if (this.#timeoutAt <= at) return;
    clearTimeout(this.#timeout);
    const delayMs = Math.min(Math.ceil(at - now), LONGEST_DELAY_MS);
    this.#timeoutAt = now + delayMs;
    this.#timeout = setTimeout(() => {
      this.#timeoutAt = Infinity;
      this.#fireOrWait();
    }, delayMs).unref();
  }

  #fireOrWait(): void {
    if (this.#at === Infinity) return;
    const now = performance.now();
    if (now < this.#at) {
      this.#wait(now);
      return;
    }
    this.#at = Infinity;
    this.#task();
  }
}
