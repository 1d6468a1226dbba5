import type { Alarm, Clock } from './clock.ts';

/**
 * A hierarchical timer wheel (Varghese and Lauck, 1987) over a {@link Clock}:
 * what TCP arms per segment and cancels per ACK costs a few stores.
 *
 * Time is counted in ticks. A timer stands in the slot of the most significant
 * base-32 digit in which its tick differs from the wheel's, so every slot of a
 * lower level comes before every slot of a higher one, no slot wraps around,
 * and the next occupied one is found from a bitmap per level. A slot above
 * level 0 is spread over lower levels when its time begins. Ticks beyond the
 * six levels (2^30 ticks, 12 days of milliseconds) wait in one list.
 */
const LEVELS = 6;
const BITS = 5;
const SLOTS = 1 << BITS;
const EPOCH = 2 ** (LEVELS * BITS);
/** Index of the list of timers that are due after the current epoch of 2^30 ticks. */
const FAR = LEVELS * SLOTS;
/** Index of the list of timers whose slot is being fired. */
const FIRING = FAR + 1;

/** Who is called when a timer fires. */
export interface TimerOwner {
  onTimer(timer: Timer): void;
}

/** A link of a slot's circular list; the slot's head is one too. */
class Link {
  next: Link = this;
  previous: Link = this;
}

/**
 * One timer of a wheel; made once and armed again and again. Arming and
 * cancelling take constant time and allocate nothing.
 */
export class Timer extends Link {
  /** When it fires, in ms of clock time; `Infinity` while it is not armed. */
  deadline = Infinity;
  /** Kept by the wheel: the list it is linked in, -1 for none. */
  slot = -1;
  /** Kept by the wheel: the tick at which that list is looked at, and its time in ms. */
  slotTick = 0;
  slotMs = 0;
  owner: TimerOwner;
  readonly #wheel: TimerWheel;

  constructor(wheel: TimerWheel, owner: TimerOwner) {
    super();
    this.#wheel = wheel;
    this.owner = owner;
  }

  get armed(): boolean {
    return this.deadline !== Infinity;
  }

  /**
   * Fires at `atMs`, at most a tick later and never before; replaces an earlier
   * setting. A time that is past fires as soon as the clock can, not within the
   * call. `Infinity` cancels; `NaN` throws `RangeError`.
   */
  arm(atMs: number): void {
    // The list it stands in is looked at in time: a timer that is pushed back with every ACK is not moved
    // with every ACK, but when that list's time comes.
    if (this.slot >= 0 && atMs >= this.slotMs && atMs < Infinity) this.deadline = atMs;
    else this.#wheel.arm(this, atMs);
  }

  cancel(): void {
    this.#wheel.cancel(this);
  }
}

export class TimerWheel {
  readonly #clock: Clock;
  readonly #tickMs: number;
  readonly #alarm: Alarm;
  /** All slots that begin before this tick have been dealt with. */
  #tick = 0;
  /** The tick for which the alarm is set; `Infinity` for none. */
  #alarmTick = Infinity;
  #pending = 0;
  #firing = false;
  #closed = false;
  readonly #slots: Link[] = Array.from({ length: FIRING + 1 }, () => new Link());
  /** Which slots of each level are occupied. */
  readonly #occupied = new Int32Array(LEVELS);

  /** `tickMs` is the resolution: timers of one tick fire together. */
  constructor(clock: Clock, tickMs = 1) {
    if (!(tickMs > 0)) throw new RangeError(`tickMs ${tickMs} is not positive`);
    this.#clock = clock;
    this.#tickMs = tickMs;
    this.#alarm = clock.alarm(() => this.#run());
  }

  /** How many timers are armed. */
  get pending(): number {
    return this.#pending;
  }

  /** A timer that runs `task`; for places where a closure does no harm. */
  timer(task: () => void): Timer {
    return new Timer(this, { onTimer: task });
  }

  /** Cancels every timer; arming does nothing from then on. */
  close(): void {
    this.#closed = true;
    for (const head of this.#slots) {
      while (head.next !== head) this.cancel(head.next as Timer);
    }
    this.#alarm.clear();
    this.#alarmTick = Infinity;
  }

  /** As {@link Timer.arm}. */
  arm(timer: Timer, atMs: number): void {
    if (!(atMs < Infinity)) {
      if (Number.isNaN(atMs)) throw new RangeError('a timer cannot be armed at NaN');
      this.cancel(timer);
      return;
    }
    if (this.#closed) return;
    const tick = this.#tickOf(atMs);
    if (timer.slot >= 0) {
      timer.deadline = atMs;
      // As in `Timer.arm`, where the tick was rounded up.
      if (tick >= timer.slotTick) return;
      this.#unlink(timer);
    } else {
      // An empty wheel is not turned as time goes by; it starts again from now.
      if (this.#pending === 0 && !this.#firing) {
        this.#tick = Math.floor(this.#clock.now() / this.#tickMs);
      }
      timer.deadline = atMs;
      this.#pending++;
    }
    this.#link(timer, tick);
    if (!this.#firing && timer.slotTick < this.#alarmTick) this.#setAlarm(timer.slotTick);
  }

  /** As {@link Timer.cancel}. */
  cancel(timer: Timer): void {
    if (timer.slot < 0) return;
    this.#unlink(timer);
    timer.deadline = Infinity;
    this.#pending--;
    if (this.#pending === 0 && !this.#firing) {
      this.#alarm.clear();
      this.#alarmTick = Infinity;
    }
  }

  /** The first tick that does not begin before `atMs`. */
  #tickOf(atMs: number): number {
    const tick = Math.ceil(atMs / this.#tickMs);
    // The quotient is rounded; where that made it too small, one more.
    return tick * this.#tickMs < atMs ? tick + 1 : tick;
  }

  #link(timer: Timer, dueTick: number): void {
    // While a tick is fired, what is armed for it waits for the next, so a timer
    // that arms itself for "now" cannot stop time.
    const earliest = this.#firing ? this.#tick + 1 : this.#tick;
    const tick = Math.max(dueTick, earliest);
    const epoch = Math.floor(tick / EPOCH);
    const low = tick - epoch * EPOCH;
    const nowEpoch = Math.floor(this.#tick / EPOCH);
    const nowLow = this.#tick - nowEpoch * EPOCH;
    let slot: number;
    if (epoch !== nowEpoch) {
      slot = FAR;
      timer.slotTick = (nowEpoch + 1) * EPOCH;
    } else {
      const difference = low ^ nowLow;
      const level = difference === 0 ? 0 : Math.floor((31 - Math.clz32(difference)) / BITS);
      const shift = level * BITS;
      const digit = (low >>> shift) & (SLOTS - 1);
      slot = level * SLOTS + digit;
      timer.slotTick = epoch * EPOCH + ((low >>> shift) << shift);
      this.#occupied[level]! |= 1 << digit;
    }
    timer.slotMs = timer.slotTick * this.#tickMs;
    this.#append(timer, slot);
  }

  #append(timer: Timer, slot: number): void {
    const head = this.#slots[slot]!;
    timer.slot = slot;
    timer.next = head;
    timer.previous = head.previous;
    head.previous.next = timer;
    head.previous = timer;
  }

  #unlink(timer: Timer): void {
    const { slot, next, previous } = timer;
    next.previous = previous;
    previous.next = next;
    timer.next = timer;
    timer.previous = timer;
    timer.slot = -1;
    if (slot < FAR && next === previous && next === this.#slots[slot]) {
      this.#occupied[slot >>> BITS]! &= ~(1 << (slot & (SLOTS - 1)));
    }
  }

  /** When the next occupied slot begins; `Infinity` if all are empty. */
  #nextTick(): number {
    // Left over by a callback that threw: due already.
    const firing = this.#slots[FIRING]!;
    if (firing.next !== firing) return this.#tick;
    const epoch = Math.floor(this.#tick / EPOCH);
    const low = this.#tick - epoch * EPOCH;
    for (let level = 0; level < LEVELS; level++) {
      const occupied = this.#occupied[level]!;
      if (occupied === 0) continue;
      const digit = 31 - Math.clz32(occupied & -occupied);
      const shift = level * BITS;
      // Two shifts, since one by 32 would be none; the top level has no digits above it.
      const above = ((low >>> shift) >>> BITS) << BITS;
      return epoch * EPOCH + ((above | digit) << shift);
    }
    const far = this.#slots[FAR]!;
    return far.next === far ? Infinity : (epoch + 1) * EPOCH;
  }

  #setAlarm(tick: number): void {
    this.#alarmTick = tick;
    this.#alarm.set(tick * this.#tickMs);
  }

  #run(): void {
    const now = this.#clock.now();
    let nowTick = Math.floor(now / this.#tickMs);
    // The quotient is rounded: the alarm's own tick is reached if its time is.
    if (nowTick < this.#alarmTick && this.#alarmTick * this.#tickMs <= now) nowTick = this.#alarmTick;
    this.#alarmTick = Infinity;
    this.#firing = true;
    try {
      for (;;) {
        const tick = this.#nextTick();
        if (tick > nowTick) break;
        this.#tick = tick;
        this.#fireTick();
      }
      if (nowTick > this.#tick) this.#tick = nowTick;
    } finally {
      // Also when a callback threw: what is left is fired by the next alarm.
      this.#firing = false;
      const tick = this.#nextTick();
      if (tick !== Infinity) this.#setAlarm(tick);
    }
  }

  /** Fires or spreads the slot that begins at the current tick, the lowest level first. */
  #fireTick(): void {
    const firing = this.#slots[FIRING]!;
    if (firing.next === firing) this.#takeSlot();
    while (firing.next !== firing) {
      const timer = firing.next as Timer;
      this.#unlink(timer);
      const dueTick = this.#tickOf(timer.deadline);
      if (dueTick > this.#tick) {
        this.#link(timer, dueTick);
      } else {
        timer.deadline = Infinity;
        this.#pending--;
        timer.owner.onTimer(timer);
      }
    }
  }

  /** Moves the list of the slot that begins at the current tick to the firing list. */
  #takeSlot(): void {
    const low = this.#tick - Math.floor(this.#tick / EPOCH) * EPOCH;
    let slot = FAR;
    for (let level = 0; level < LEVELS; level++) {
      const digit = (low >>> (level * BITS)) & (SLOTS - 1);
      if ((this.#occupied[level]! & (1 << digit)) !== 0) {
        slot = level * SLOTS + digit;
        this.#occupied[level]! &= ~(1 << digit);
        break;
      }
    }
    const head = this.#slots[slot]!;
    while (head.next !== head) {
      const timer = head.next as Timer;
      head.next = timer.next;
      timer.next.previous = head;
      timer.slotTick = this.#tick;
      timer.slotMs = this.#tick * this.#tickMs;
      this.#append(timer, FIRING);
    }
  }
}
