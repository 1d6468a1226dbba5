import type { IpAddress } from '../address/index.ts';

/** A power of two. */
const SLOTS = 1024;

/**
 * Which destinations were asked for lately, by hash and without memory for each.
 * A path is kept from the second time on that it is asked for: the answers to a
 * flood from made-up addresses leave nothing behind.
 */
export class RecentlyAsked {
  readonly #hashes = new Int32Array(SLOTS);

  /** Whether `destination` was asked for before, and nothing else of its slot since; notes that it was. */
  isRepeated(destination: IpAddress): boolean {
    const hash = destination.hash();
    const slot = hash & (SLOTS - 1);
    if (this.#hashes[slot] === hash) return true;
    this.#hashes[slot] = hash;
    return false;
  }
}
