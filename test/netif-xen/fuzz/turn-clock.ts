import type { Alarm, Clock } from '../../../src/time/index.ts';

/** A clock that stands still: alarms fire when they are told to, in the order in which they were set. */
export class TurnClock implements Clock {
  #due = new Set<() => void>();

  now(): number {
    return 0;
  }

  alarm(task: () => void): Alarm {
    return { set: () => void this.#due.add(task), clear: () => void this.#due.delete(task) };
  }

  defer(task: () => void): void {
    this.#due.add(task);
  }

  /** One turn of the event loop. False if nothing was due. */
  turn(): boolean {
    const due = this.#due;
    if (due.size === 0) return false;
    this.#due = new Set();
    for (const task of due) task();
    return true;
  }

  clear(): void {
    this.#due.clear();
  }
}
