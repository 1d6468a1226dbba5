import type { NativeMemory } from './libc.ts';
import { allocateNative } from './memory.ts';

/** Bytes of a `struct iovec`, and its 32-bit words: address, length (little-endian, as on all that koffi supports). */
const SIZE = 16;
const WORDS = SIZE / 4;

/** An array of `struct iovec` (readv(2)). */
export class IoVectors {
  readonly #memory: NativeMemory;
  readonly #words: Uint32Array;

  constructor(count: number) {
    this.#memory = allocateNative(count * SIZE);
    const { bytes } = this.#memory;
    bytes.fill(0);
    this.#words = new Uint32Array(bytes.buffer, bytes.byteOffset, count * WORDS);
  }

  /** Address of element `i`. */
  address(i: number): number {
    return this.#memory.address + i * SIZE;
  }

  set(i: number, address: number, length: number): void {
    const at = i * WORDS;
    const words = this.#words;
    words[at] = address;
    words[at + 1] = address / 2 ** 32;
    words[at + 2] = length;
  }

  setLength(i: number, length: number): void {
    this.#words[i * WORDS + 2] = length;
  }
}
