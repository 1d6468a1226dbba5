import type { Alarm, Clock } from './clock.ts';
import { EventHeap, type HeapItem } from './heap.ts';
import { macrotask } from './macrotask.ts';

/** Events in one go at one instant after which time is taken to stand still for good. */
const MOST_EVENTS_AT_ONCE = 20_000_000;

/** Instants per turn of the event loop: turns cost system calls. */
const INSTANTS_PER_TURN = 16;

/**
 * A clock whose time passes only when it is told to, from alarm to alarm, so
 * that an hour of network time takes as long as its events do and runs the same
 * way every time. Alarms of one time fire in the order in which they were set;
 * deferred tasks run first in first out after each alarm, before time moves on.
 *
 * The synchronous runners (`step`, `advanceTo`) know nothing of promises. The
 * asynchronous ones let all pending microtasks run between two instants, so
 * applications that `await` take part. What waits for the real world (a file, a
 * socket, `setTimeout`) does not: virtual time does not wait for it.
 *
 * One runner at a time; an error thrown by a task comes out of the runner.
 */
export class VirtualClock implements Clock {
  #now: number;
  readonly #alarms = new EventHeap<VirtualAlarm>();
  #deferred: (() => void)[] = [];
  #running: (() => void)[] = [];
  #runningNext = 0;
  #driven = false;

  /** `startMs` is the first time that `now()` answers. */
  constructor(startMs = 0) {
    this.#now = startMs;
  }

  now(): number {
    return this.#now;
  }

  alarm(task: () => void): Alarm {
    return new VirtualAlarm(this, this.#alarms, task);
  }

  defer(task: () => void): void {
    this.#deferred.push(task);
  }

  /** Resolves when `ms` of virtual time have passed. */
  sleep(ms: number): Promise<void> {
    return new Promise((resolve) => this.alarm(resolve).set(this.#now + ms));
  }

  /**
   * Runs the deferred tasks that wait, or else moves to the next alarm and fires
   * it. False if there was nothing to do.
   */
  step(): boolean {
    this.#refuseWhenDriven();
    return this.#step();
  }

  /** Runs everything due up to `atMs`, and leaves the clock there. Microtasks do not run in between. */
  advanceTo(atMs: number): void {
    this.#refuseWhenDriven();
    this.#driven = true;
    try {
      this.#settle();
      for (
        let next = this.#alarms.peek();
        next !== undefined && next.at <= atMs;
        next = this.#alarms.peek()
      ) {
        this.#now = next.at;
        this.#settle();
      }
      if (atMs > this.#now) this.#now = atMs;
    } finally {
      this.#driven = false;
    }
  }

  /** Runs everything due up to `atMs`, with microtasks between the instants, and leaves the clock there. */
  runUntil(atMs: number): Promise<void> {
    return this.#drive(() => {
      if (!this.#instant(atMs)) {
        if (atMs > this.#now) this.#now = atMs;
        return true;
      }
      return false;
    });
  }

  /** As {@link runUntil}, for `ms` from now. */
  runFor(ms: number): Promise<void> {
    return this.runUntil(this.#now + ms);
  }

  /**
   * Runs until no alarm is left, or `until` (asked between any two instants)
   * answers true. Rejects when `limitMs` of virtual time pass without either.
   */
  run(until?: () => boolean, limitMs = Infinity): Promise<void> {
    const start = this.#now;
    const limit = start + limitMs;
    return this.#drive(() => {
      if (until?.()) return true;
      if (this.#instant(limit)) return false;
      if (this.#alarms.size === 0) return true;
      this.#now = limit;
      throw new Error(
        `${limitMs} ms of virtual time passed (from ${start} to ${limit} ms) and ` +
          (until === undefined ? 'alarms are still set' : 'the awaited condition does not hold'),
      );
    });
  }

  /** Everything to do at the next instant, if that is not after `limit`. False if there is nothing. */
  #instant(limit: number): boolean {
    if (this.#hasPresent()) {
      // Microtasks of the last instant deferred or set something for the same one.
      this.#settle();
      return true;
    }
    const next = this.#alarms.peek();
    if (next === undefined || next.at > limit) return false;
    this.#now = next.at;
    this.#settle();
    return true;
  }

  #hasPresent(): boolean {
    if (this.#deferred.length > 0 || this.#runningNext < this.#running.length) return true;
    const next = this.#alarms.peek();
    return next !== undefined && next.at <= this.#now;
  }

  /** Runs all there is to do at this instant. */
  #settle(): void {
    let events = 0;
    while (this.#hasPresent()) {
      this.#step();
      if (++events > MOST_EVENTS_AT_ONCE) {
        throw new Error(`virtual time stands still at ${this.#now} ms: more and more is due at once`);
      }
    }
  }

  #step(): boolean {
    if (this.#runDeferred()) return true;
    const next = this.#alarms.peek();
    if (next === undefined) return false;
    this.#alarms.remove(next);
    if (next.at > this.#now) this.#now = next.at;
    next.task();
    this.#runDeferred();
    return true;
  }

  /** Runs deferred tasks, those they defer too. The two lists swap roles, so none is made per round. */
  #runDeferred(): boolean {
    let any = false;
    for (;;) {
      if (this.#runningNext >= this.#running.length) {
        this.#running.length = 0;
        this.#runningNext = 0;
        if (this.#deferred.length === 0) return any;
        const empty = this.#running;
        this.#running = this.#deferred;
        this.#deferred = empty;
      }
      any = true;
      // Moved on before the call: when it throws, the rest runs next time.
      const task = this.#running[this.#runningNext++]!;
      task();
    }
  }

  #refuseWhenDriven(): void {
    if (this.#driven) throw new Error('the virtual clock is being run already');
  }

  /** Calls `turn` in macrotasks, so all microtasks run in between, until it answers true or throws. */
  #drive(turn: () => boolean): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#refuseWhenDriven();
      this.#driven = true;
      let scheduled = 0;
      const schedule = (): void => {
        // The host runs microtasks after each of these, but goes around its loop once for all.
        while (scheduled < INSTANTS_PER_TURN) {
          scheduled++;
          macrotask(task);
        }
      };
      let over = false;
      const task = (): void => {
        scheduled--;
        if (over) return;
        try {
          over = turn();
        } catch (error) {
          over = true;
          this.#driven = false;
          reject(error);
          return;
        }
        if (over) {
          this.#driven = false;
          resolve();
        } else if (scheduled === 0) {
          schedule();
        }
      };
      schedule();
    });
  }
}

class VirtualAlarm implements Alarm, HeapItem {
  at = Infinity;
  order = 0;
  index = -1;
  readonly task: () => void;
  readonly #clock: VirtualClock;
  readonly #heap: EventHeap<VirtualAlarm>;

  constructor(clock: VirtualClock, heap: EventHeap<VirtualAlarm>, task: () => void) {
    this.#clock = clock;
    this.#heap = heap;
    this.task = task;
  }

  set(atMs: number): void {
    if (Number.isNaN(atMs)) throw new RangeError('an alarm cannot be set at NaN');
    if (atMs === Infinity) {
      this.clear();
      return;
    }
    this.#heap.schedule(this, Math.max(atMs, this.#clock.now()));
  }

  clear(): void {
    this.#heap.remove(this);
  }
}

/**
 * Runs the clock until `promise` settles and passes on how it did. Rejects when
 * `limitMs` of virtual time pass before, or nothing is left that could settle it.
 */
export async function runVirtual<T>(clock: VirtualClock, promise: Promise<T>, limitMs: number): Promise<T> {
  let settled = false;
  const note = (): void => {
    settled = true;
  };
  promise.then(note, note);
  await clock.run(() => settled, limitMs);
  if (!settled) {
    throw new Error(`at ${clock.now()} ms no alarm is left that could settle the awaited promise`);
  }
  return promise;
}
