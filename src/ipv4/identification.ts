import type { Random } from '../time/index.ts';

/** Counters; destinations share one by hash. */
const COUNTERS = 1024;

/**
 * Identification of packets that may be fragmented. It must not repeat for a
 * (source, destination, protocol) within a packet's lifetime (RFC 6864 §4.3),
 * and must not tell a stranger how much we send to others (RFC 7739): so
 * counters chosen by a keyed hash, from random starts, advanced by 1 to 4.
 */
export class Identification {
  readonly #random: Random;
  readonly #key: number;
  readonly #counters = new Uint16Array(COUNTERS);

  constructor(random: Random) {
    this.#random = random;
    this.#key = random.next32();
    for (let i = 0; i < COUNTERS; i++) this.#counters[i] = random.next32();
  }

  next(source: number, destination: number, protocol: number): number {
    let hash = Math.imul(destination ^ this.#key, 0x9e3779b1);
    hash = Math.imul(hash ^ source ^ (hash >>> 15), 0x85ebca6b);
    hash = Math.imul(hash ^ protocol ^ (hash >>> 13), 0xc2b2ae35);
    const slot = (hash >>> 16) % COUNTERS;
    this.#counters[slot] = this.#counters[slot]! + 1 + (this.#random.next32() & 3);
    return this.#counters[slot]!;
  }
}
