import { NetError } from '../errors.ts';
import { type Random, randomBelow } from '../time/random.ts';

/**
 * Ephemeral ports by RFC 6056 §3.3.2 (random start, then each in turn): never
 * more tries than there are ports.
 */
export class EphemeralPorts {
  readonly #first: number;
  readonly #count: number;
  readonly #random: Random;

  constructor(range: readonly [first: number, last: number], random: Random) {
    const [first, last] = range;
    if (!Number.isInteger(first) || !Number.isInteger(last) || first < 1 || last > 65_535 || first > last) {
      throw new RangeError(`ephemeral port range ${first}..${last} is not within 1..65535`);
    }
    this.#first = first;
    this.#count = last - first + 1;
    this.#random = random;
  }

  /** A port that `isFree`, or 0 if there is none. */
  choose(isFree: (port: number) => boolean): number {
    const start = randomBelow(this.#random, this.#count);
    for (let i = 0; i < this.#count; i++) {
      const port = this.#first + ((start + i) % this.#count);
      if (isFree(port)) return port;
    }
    return 0;
  }
}

/** Throws `EINVAL`. */
export function checkPort(port: number, least: number, syscall: string): void {
  if (!Number.isInteger(port) || port < least || port > 65_535) {
    throw new NetError('EINVAL', { syscall, reason: `port ${port} is not within ${least}..65535` });
  }
}
