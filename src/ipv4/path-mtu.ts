import type { Clock } from '../time/index.ts';
import { Timer, type TimerWheel } from '../time/index.ts';
import { MIN_LINK_MTU } from './wire.ts';

/**
 * Smallest path MTU that an ICMP message can bring us to. RFC 1191 §3 allows 68,
 * but a forged message would then make us send 28 bytes at a time; no link of
 * today is under 576, so 552 (as Linux's `min_pmtu`). A path that really is
 * narrower gets packets without DF, which its routers may cut.
 */
const MIN_PATH_MTU = 552;
/** RFC 1191 §6.3: larger packets are tried again after ten minutes. */
const LIFETIME_MS = 600_000;
/** Destinations that we know a path MTU of; the oldest go first. */
const ENTRIES = 1024;

/** RFC 1191 §7.1, table 7-1, and today's Ethernet with and without tunnels. */
const PLATEAUS = [
  65_535,
  32_000,
  17_914,
  9000,
  8166,
  4352,
  2002,
  1500,
  1492,
  1280,
  1006,
  576,
  508,
  296,
  MIN_LINK_MTU,
];

/** The next guess below `size`, for routers that do not tell their MTU (RFC 1191 §7). */
export function plateauBelow(size: number): number {
  return PLATEAUS.find((plateau) => plateau < size) ?? MIN_LINK_MTU;
}

interface Entry {
  readonly mtu: number;
  readonly mayFragment: boolean;
  readonly expiresAt: number;
}

/** What routers told us about the MTU toward each destination. */
export class PathMtuCache {
  readonly #clock: Clock;
  readonly #timer: Timer;
  readonly #onChange: () => void;
  /** In order of expiry: every entry lives equally long, and one that changes moves to the end. */
  readonly #entries = new Map<number, Entry>();

  /** `onChange` is called when any path MTU was lowered or forgotten. */
  constructor(clock: Clock, timers: TimerWheel, onChange: () => void) {
    this.#clock = clock;
    this.#timer = new Timer(timers, this);
    this.#onChange = onChange;
  }

  get size(): number {
    return this.#entries.size;
  }

  /** The path MTU toward `destination` if it is known to be less than the interface's. */
  get(destination: number): number | undefined {
    return this.#entries.get(destination)?.mtu;
  }

  /** The path is narrower than {@link MIN_PATH_MTU}: packets go without DF. */
  mayFragment(destination: number): boolean {
    return this.#entries.get(destination)?.mayFragment ?? false;
  }

  /** Notes that packets of more than `mtu` bytes do not get through. */
  lower(destination: number, mtu: number): void {
    this.#entries.delete(destination);
    if (this.#entries.size >= ENTRIES) this.#entries.delete(this.#entries.keys().next().value!);
    const expiresAt = this.#clock.now() + LIFETIME_MS;
    this.#entries.set(destination, {
      mtu: Math.max(mtu, MIN_PATH_MTU),
      mayFragment: mtu < MIN_PATH_MTU,
      expiresAt,
    });
    if (!this.#timer.armed) this.#timer.arm(expiresAt);
    this.#onChange();
  }

  clear(): void {
    this.#timer.cancel();
    this.#entries.clear();
  }

  onTimer(): void {
    const now = this.#clock.now();
    for (const [destination, entry] of this.#entries) {
      if (entry.expiresAt > now) {
        this.#timer.arm(entry.expiresAt);
        break;
      }
      this.#entries.delete(destination);
    }
    this.#onChange();
  }
}
