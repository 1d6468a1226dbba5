/** A source of random bits, injected so that simulations repeat. */
export interface Random {
  /** 32 uniformly distributed bits as an int32. */
  next32(): number;
}

/** Unpredictable bits from the host's Web Crypto, fetched in blocks. */
export class CryptoRandom implements Random {
  readonly #block = new Int32Array(256);
  #next = 256;

  next32(): number {
    if (this.#next === this.#block.length) {
      globalThis.crypto.getRandomValues(this.#block);
      this.#next = 0;
    }
    return this.#block[this.#next++]!;
  }
}

/** xoshiro128** (Blackman and Vigna, 2018): the same bits for the same seed. Not for secrets. */
export class SeededRandom implements Random {
  #a: number;
  #b: number;
  #c: number;
  #d: number;

  constructor(seed: number) {
    // splitmix32 spreads the seed, so that near seeds give unlike streams.
    let state = seed | 0;
    const mix = (): number => {
      state = (state + 0x9e3779b9) | 0;
      let z = state;
      z = Math.imul(z ^ (z >>> 16), 0x21f0aaad);
      z = Math.imul(z ^ (z >>> 15), 0x735a2d97);
      return z ^ (z >>> 15);
    };
    this.#a = mix();
    this.#b = mix();
    this.#c = mix();
    this.#d = mix() | 1;
  }

  next32(): number {
    const product = Math.imul(this.#b, 5);
    const result = Math.imul((product << 7) | (product >>> 25), 9);
    const shifted = this.#b << 9;
    this.#c ^= this.#a;
    this.#d ^= this.#b;
    this.#b ^= this.#c;
    this.#a ^= this.#d;
    this.#c ^= shifted;
    this.#d = (this.#d << 11) | (this.#d >>> 21);
    return result;
  }
}

/** A uniformly distributed number in [0, 1). */
export function randomFraction(random: Random): number {
  return (random.next32() >>> 0) / 2 ** 32;
}

/** A uniformly distributed integer in [0, bound), 0 < bound ≤ 2^32 (multiply-shift; the bias is below bound / 2^32). */
export function randomBelow(random: Random, bound: number): number {
  return Math.floor(randomFraction(random) * bound);
}
