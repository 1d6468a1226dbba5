import type { Moment } from '../../time/index.ts';
import { Timer, type TimerOwner, type TimerWheel } from '../../time/timers.ts';
import type { TcpConfig } from '../config.ts';
import { Packer, Unpacker } from './record.ts';
import type { WorkingState } from './working.ts';

/** Connections looked at in one go, and the pause after that many: thousands that fall quiet at once stop nothing. */
const BATCH = 128;
const PAUSE_MS = 1;
/** Working states that are kept, per configuration, for whoever wakes next. */
const MOST_SPARE = 256;
/** Dead entries in front of the queue before it is moved. */
const LEAST_DEAD = 1024;

/** What the lot has to do with a connection. */
export interface Parkable {
  /** Null while it is parked. */
  readonly working: WorkingState | null;
  /** Whether it could be parked now, for all that is under way. */
  readonly isQuiet: boolean;
  park(): void;
}

/**
 * Parks the connections of a stack that have had nothing to do for a while.
 *
 * One queue holds those that have fallen quiet, in that order, and one timer
 * runs while it is not empty. Nothing is done to a connection that goes on
 * working: its turn comes once in the time that parking takes, and if it has done
 * something since, it goes to the end. One that cannot be parked (data that
 * nobody reads, an algorithm with too much to remember) is left out until it
 * falls quiet again.
 */
export class ParkingLot implements TimerOwner {
  /** How many connections are parked. */
  parked = 0;
  readonly #afterMs: number;
  readonly #time: Moment & { touch(): void };
  readonly #timer: Timer;
  readonly #packer = new Packer();
  readonly #unpacker = new Unpacker();
  #spare = new WeakMap<TcpConfig, WorkingState[]>();

  #queue: (Parkable | null)[] = [];
  #queuedAt: number[] = [];
  #first = 0;
  /** The number of the entry at index 0. */
  #base = 0;
  /** Entries that are not empty. */
  #waiting = 0;

  constructor(timers: TimerWheel, afterMs: number, time: Moment & { touch(): void }) {
    this.#afterMs = afterMs;
    this.#time = time;
    this.#timer = new Timer(timers, this);
  }

  /** The connection has fallen quiet, as far as its timers tell; it is not in the queue. */
  watch(connection: Parkable, working: WorkingState): void {
    if (this.#afterMs === Number.POSITIVE_INFINITY) return;
    working.watched = this.#base + this.#queue.length;
    this.#queue.push(connection);
    this.#queuedAt.push(this.#time.now);
    this.#waiting++;
    if (!this.#timer.armed) this.#timer.arm(this.#time.now + this.#afterMs);
  }

  /** The connection is over. */
  forget(working: WorkingState): void {
    if (working.watched < 0) return;
    this.#queue[working.watched - this.#base] = null;
    working.watched = -1;
    if (--this.#waiting === 0) this.#clear();
  }

  onTimer(): void {
    this.#time.touch();
    const { now } = this.#time;
    // What goes to the end meanwhile waits for another time.
    const end = Math.min(this.#queue.length, this.#first + BATCH);
    let at = this.#first;
    while (at < end && this.#queuedAt[at]! + this.#afterMs <= now) {
      const connection = this.#queue[at]!;
      this.#queue[at] = null;
      at++;
      if (connection === null) continue;
      this.#waiting--;
      this.#consider(connection, now);
    }
    this.#first = at;
    if (this.#waiting === 0) {
      this.#clear();
    } else {
      this.#compact();
      this.#timer.arm(Math.max(this.#queuedAt[this.#first]! + this.#afterMs, now + PAUSE_MS));
    }
  }

  #consider(connection: Parkable, now: number): void {
    const working = connection.working!;
    working.watched = -1;
    if (!connection.isQuiet) return;
    if (now - working.activeAt < this.#afterMs) this.watch(connection, working);
    else connection.park();
  }

  #compact(): void {
    const first = this.#first;
    if (first < LEAST_DEAD || 2 * first < this.#queue.length) return;
    this.#queue.splice(0, first);
    this.#queuedAt.splice(0, first);
    this.#base += first;
    this.#first = 0;
  }

  #clear(): void {
    this.#timer.cancel();
    this.#base += this.#queue.length;
    this.#queue.length = 0;
    this.#queuedAt.length = 0;
    this.#first = 0;
  }

  /** The record of a state that is quiet. */
  pack(working: WorkingState): string {
    working.carry(this.#packer);
    return this.#packer.finish();
  }

  /** Makes `working` what `record` says. */
  unpack(record: string, working: WorkingState): void {
    this.#unpacker.begin(record);
    working.carry(this.#unpacker);
  }

  /** Takes back what served a connection of this configuration. */
  give(config: TcpConfig, working: WorkingState): void {
    const spare = this.#spare.get(config);
    if (spare === undefined) this.#spare.set(config, [working]);
    else if (spare.length < MOST_SPARE) spare.push(working);
  }

  /** One that served such a connection before: it is as that one left it. */
  take(config: TcpConfig): WorkingState | null {
    return this.#spare.get(config)?.pop() ?? null;
  }

  /** Nothing will be parked any more. */
  close(): void {
    this.#clear();
    this.#waiting = 0;
    this.#spare = new WeakMap();
  }
}
