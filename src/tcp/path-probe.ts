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

  /** Null unless `timeouts` in a row of segments of `mtu` bytes say that the path swallows them. */
  static suspect(timeouts: number, mtu: number, now: number): PathProbe | null {
    if (timeouts < TIMEOUTS) return null;
    const smaller = FALLBACKS.find((size) => size < mtu);
    return smaller === undefined ? null : new PathProbe(smaller, mtu, now);
  }

  private constructor(mtu: number, fails: number, now: number) {
    this.mtu = mtu;
    this.#fails = fails;
    this.#nextAt = now + VERIFY_MS;
  }

  /** More timeouts: that size is too large as well. False if there is none smaller. */
  lower(now: number): boolean {
    const smaller = FALLBACKS.find((size) => size < this.mtu);
    if (smaller === undefined) return false;
    this.#fails = this.mtu;
    this.mtu = smaller;
    this.#outstanding = false;
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
    this.mtu = this.#size;
    this.#nextAt = now;
    return true;
  }

  /** The segment at `sequence` has to be sent again: if it was the probe, its size fails. */
  repeated(sequence: number, now: number): void {
    if (!this.#outstanding || sequence !== this.#start) return;
    this.#outstanding = false;
    this.#fails = this.#size;
    this.#nextAt = now;
  }
}
