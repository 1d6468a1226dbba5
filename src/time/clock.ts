/** A one-shot alarm that can be set again and again without allocating. */
export interface Alarm {
  /** Fires the task at `atMs` (clock time), or as soon after as the clock can; replaces an earlier setting. */
  set(atMs: number): void;
  clear(): void;
}

/**
 * The time of a batch, a timer or a call, by reference: a number with a fraction
 * that is handed to a function, unless that is inlined, is an object on the heap.
 */
export interface Moment {
  /** Clock time, ms. */
  readonly now: number;
}

/**
 * Time as the stack sees it. Everything that waits or measures takes a `Clock`,
 * so a network can run on virtual time, the same way every time.
 */
export interface Clock {
  /** Milliseconds since an arbitrary start; never goes back; with a fraction. */
  now(): number;
  /** A new alarm, not yet set. */
  alarm(task: () => void): Alarm;
  /**
   * Runs `task` after the code that is running now has returned and before time
   * moves on: a microtask on the real clock.
   */
  defer(task: () => void): void;
}
