import type { IpAddress } from '../address/index.ts';
import { type Clock, type Random, Timer, type TimerWheel } from '../time/index.ts';
import { AddressMap } from './address-map.ts';

/** RFC 8201 §4: larger packets are tried again after ten minutes. */
const LIFETIME_MS = 600_000;
/** Destinations that we know a path MTU of; the oldest go first. */
const ENTRIES = 1024;

interface Entry {
  readonly mtu: number;
  readonly expiresAt: number;
}

/** What routers told us about the MTU toward each destination (RFC 8201). */
export class PathMtuCache {
  readonly #clock: Clock;
  readonly #timer: Timer;
  readonly #onChange: () => void;
  readonly #entries: AddressMap<Entry>;

  /** `onChange` is called when any path MTU was lowered or forgotten. */
  constructor(clock: Clock, timers: TimerWheel, random: Random, onChange: () => void) {
    this.#clock = clock;
    this.#timer = new Timer(timers, this);
    this.#onChange = onChange;
    this.#entries = new AddressMap(random);
  }

  get size(): number {
    return this.#entries.size;
  }

  /** The path MTU toward `destination` if it is known to be less than the link's. */
  get(destination: IpAddress): number | undefined {
    return this.#entries.get(destination)?.mtu;
  }

  /** Notes that packets of more than `mtu` bytes (at least 1280) do not get through. */
  lower(destination: IpAddress, mtu: number): void {
    // A new entry goes to the end, so that the oldest are those to be forgotten.
    this.#entries.delete(destination);
    if (this.#entries.size >= ENTRIES) this.#entries.deleteOldest();
    const expiresAt = this.#clock.now() + LIFETIME_MS;
    this.#entries.set(destination, { mtu, expiresAt });
    if (!this.#timer.armed) this.#timer.arm(expiresAt);
    this.#onChange();
  }

  clear(): void {
    this.#timer.cancel();
    this.#entries.clear();
  }

  onTimer(): void {
    const now = this.#clock.now();
    let next = Number.POSITIVE_INFINITY;
    for (const [destination, { expiresAt }] of [...this.#entries.entries()]) {
      if (expiresAt <= now) this.#entries.delete(destination);
      else next = Math.min(next, expiresAt);
    }
    this.#timer.arm(next);
    this.#onChange();
  }
}
