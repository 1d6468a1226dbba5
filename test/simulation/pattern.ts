/**
 * The bytes of a stream as a function of its name and the position, so that a
 * byte that is lost, repeated, moved or another stream's is seen where it is read.
 */
export class Pattern {
  readonly #key: number;
  #word = 0;
  #wordIndex = -1;

  constructor(key: number) {
    this.#key = Math.imul(key | 0, 0x9e3779b9) ^ 0x5bd1e995;
  }

  at(position: number): number {
    const index = Math.floor(position / 4);
    if (index !== this.#wordIndex) {
      this.#wordIndex = index;
      let z = (Math.imul(index, 0x9e3779b9) + this.#key) | 0;
      z = Math.imul(z ^ (z >>> 16), 0x21f0aaad);
      z = Math.imul(z ^ (z >>> 15), 0x735a2d97);
      this.#word = z ^ (z >>> 15);
    }
    return (this.#word >>> ((position & 3) * 8)) & 0xff;
  }

  /** `length` bytes from `position` on, in memory of their own. */
  bytes(position: number, length: number): Uint8Array {
    const bytes = new Uint8Array(length);
    for (let i = 0; i < length; i++) bytes[i] = this.at(position + i);
    return bytes;
  }

  /** Index of the first byte of `bytes` that is not the stream's from `position` on; -1 if all are. */
  mismatch(bytes: Uint8Array, position: number): number {
    for (let i = 0; i < bytes.length; i++) if (bytes[i] !== this.at(position + i)) return i;
    return -1;
  }
}

/** A stream's name from numbers. */
export function streamKey(...parts: readonly number[]): number {
  let key = 0x811c9dc5;
  for (const part of parts) {
    key = Math.imul(key ^ part, 0x01000193);
    key = Math.imul(key ^ (key >>> 13), 0x5bd1e995);
  }
  return key | 0;
}
