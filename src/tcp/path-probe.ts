import { atOrAfter } from './sequence.ts';

/** Sizes to fall back to, in bytes of IP packet (RFC 4821 §7.2, RFC 8200's minimum, RFC 791's). */
const FALLBACKS = [1280, 1024, 576] as const;
/** It may have been mere loss: the first search begins soon. */
const VERIFY_MS = 5000;
/** RFC 4821 §7.4: how long a found size stands before larger ones are tried again. */
const RAISE_MS = 600_000;
/** The search ends when it is this exact. */
const EXACT = 16;
/** Consecutive timeouts of full-sized segments that mean a black hole (RFC 4821 §7.7). */
const TIMEOUTS = 2;
/** The same where such segments got through before: rather it is a bad time of the path. */
const TIMEOUTS_AFTER_SUCCESS = 4;
/** RFC 8899 §5.1.2, MAX_PROBES: how often a size is tried that has worked before. */
const MOST_PROBES = 3;

/**
 * Packetization-layer path MTU discovery (RFC 4821, RFC 8899) for paths that
 * swallow large packets without a word: made when one is suspected. It lowers
 * the size at once, and then looks for the largest that gets through, with
 * segments of ordinary data.
 */
export class PathProbe {
  /** The size that works, bytes of IP packet. */
  mtu: number;
  /** The smallest size that is known or taken to fail. */
  #fails: number;
  #nextAt: number;
  #size = 0;
  #start = 0;
  #end = 0;
  #outstanding = false;
  /** How often the full size may be lost yet before it is believed to fail. */
  #chances: number;

  /**
   * Null unless `timeouts` in a row of segments of `mtu` bytes say that the path swallows them.
   * `hasWorked`: segments of that size got through earlier. Then it takes more to believe it, and
   * the full size is tried first, and as soon as anything gets through.
   */
  static suspect(timeouts: number, mtu: number, hasWorked: boolean, now: number): PathProbe | null {
    if (timeouts < (hasWorked ? TIMEOUTS_AFTER_SUCCESS : TIMEOUTS)) return null;
    const smaller = FALLBACKS.find((size) => size < mtu);
    return smaller === undefined ? null : new PathProbe(smaller, mtu, hasWorked, now);
  }

  private constructor(mtu: number, full: number, hasWorked: boolean, now: number) {
    this.mtu = mtu;
    this.#fails = hasWorked ? full + 1 : full;
    this.#chances = hasWorked ? MOST_PROBES : 0;
    this.#nextAt = hasWorked ? now : now + VERIFY_MS;
  }

  /** More timeouts: that size is too large as well. False if there is none smaller. */
  lower(now: number): boolean {
    const smaller = FALLBACKS.find((size) => size < this.mtu);
    if (smaller === undefined) return false;
    if (this.#chances === 0) this.#fails = this.mtu;
    this.mtu = smaller;
    this.#outstanding = false;
    if (this.#chances > 0) return true;
    // It worked at none of the larger sizes; search from here once data flows again.
    this.#nextAt = now + VERIFY_MS;
    return true;
  }

  /** The packet size to try with the next segment; 0 for none now. `pathMtu` is what routers and interface allow. */
  wanted(pathMtu: number, now: number): number {
    if (this.#outstanding || now < this.#nextAt) return 0;
    if (this.#fails - this.mtu <= EXACT) {
      // The search is over for this time; the next one starts from the top again.
      this.#fails = pathMtu + 1;
      this.#nextAt = now + RAISE_MS;
      return 0;
    }
    const top = Math.min(this.#fails - 1, pathMtu);
    if (top <= this.mtu) return 0;
    // The largest first: mostly the hole is gone, or it is where it was.
    this.#size = this.#fails > pathMtu ? top : (this.mtu + top + 1) >>> 1;
    return this.#size;
  }

  sent(start: number, end: number): void {
    this.#start = start;
    this.#end = end;
    this.#outstanding = true;
  }

  /** SND.UNA has moved. True if the size has grown. */
  acknowledged(una: number, now: number): boolean {
    if (!this.#outstanding || !atOrAfter(una, this.#end)) return false;
    this.#outstanding = false;
    this.#chances = 0;
    this.mtu = this.#size;
    this.#nextAt = now;
    return true;
  }

  /** The segment at `sequence` has to be sent again: if it was the probe, its size fails. */
  repeated(sequence: number, now: number): void {
    if (!this.#outstanding || sequence !== this.#start) return;
    this.#outstanding = false;
    if (this.#chances > 0 && --this.#chances > 0) return;
    this.#fails = this.#size;
    this.#nextAt = now;
  }
}
