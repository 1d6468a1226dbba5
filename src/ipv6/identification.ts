import type { IpAddress } from '../address/index.ts';
import type { Random } from '../time/index.ts';

/** Counters; destinations share one by hash. */
const COUNTERS = 256;

/**
 * Identification of fragmented packets. It must not repeat for a (source,
 * destination) while fragments may be about (RFC 8200 §4.5), and must not tell a
 * stranger how much we send to others (RFC 7739 §5.3): so counters chosen by a
 * keyed hash, from random starts.
 */
export class Identification {
  readonly #key: number;
  readonly #counters = new Int32Array(COUNTERS);

  constructor(random: Random) {
    this.#key = random.next32();
    for (let i = 0; i < COUNTERS; i++) this.#counters[i] = random.next32();
  }

  next(source: IpAddress, destination: IpAddress): number {
    let hash = Math.imul(destination.hash() ^ this.#key, 0x9e3779b1);
    hash = Math.imul(hash ^ source.hash() ^ (hash >>> 15), 0x85ebca6b);
    const slot = (hash >>> 16) % COUNTERS;
    this.#counters[slot] = this.#counters[slot]! + 1;
    return this.#counters[slot]!;
  }
}
