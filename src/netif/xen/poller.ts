import type { Alarm, Clock } from '../../time/index.ts';

/** Looks that find nothing before we ask for an event and sleep. */
const IDLE_LOOKS = 2;

/** The two rings of a connection, as far as they have to be looked after. */
export interface PolledWork {
  /** Handles what is there, up to a bound. False if there was nothing. */
  poll(): boolean;
  /** Asks the other end for events. True if there is work already, and no event will come for it. */
  arm(): boolean;
}

/**
 * When to look at a ring. An event is asked for only after the ring was found
 * empty twice, in two turns of the event loop: while frames keep coming, neither
 * end spends anything on events.
 */
export class Poller {
  readonly #clock: Clock;
  readonly #work: PolledWork;
  readonly #alarm: Alarm;
  #idleLooks = 0;
  #stopped = false;

  constructor(clock: Clock, work: PolledWork) {
    this.#clock = clock;
    this.#work = work;
    this.#alarm = clock.alarm(() => this.#look());
  }

  /** There may be something: looks now. For callers at the top of the event loop. */
  kick(): void {
    this.#idleLooks = 0;
    this.#look();
  }

  /** As {@link kick}, in a turn of its own. */
  soon(): void {
    if (this.#stopped) return;
    this.#idleLooks = 0;
    this.#alarm.set(this.#clock.now());
  }

  stop(): void {
    this.#stopped = true;
    this.#alarm.clear();
  }

  #look(): void {
    if (this.#stopped) return;
    const idle = this.#work.poll() ? 0 : this.#idleLooks + 1;
    this.#idleLooks = idle;
    // Not so `poll`, which may have stopped us.
    if (this.#stopped || (idle >= IDLE_LOOKS && !this.#work.arm())) return;
    if (!this.#stopped) this.#alarm.set(this.#clock.now());
  }
}
