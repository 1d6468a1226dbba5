import { allocate, copy, EMPTY } from '../bytes/index.ts';

const SLAB_BYTES = 8192;

/**
 * Memory for copies of small payloads, cut from slabs: an allocation of its own
 * for each would cost more than the copy, a view of the device's slab would
 * keep 256 KiB alive for a few bytes.
 */
export class CopySlab {
  #slab = EMPTY;
  #used = 0;

  /** A copy of `source[start..end)`. */
  copy(source: Uint8Array, start: number, end: number): Uint8Array {
    const size = end - start;
    if (size === 0) return EMPTY;
    if (size > SLAB_BYTES / 4) {
      const own = allocate(size);
      copy(own, 0, source, start, end);
      return own;
    }
    if (this.#used + size > this.#slab.length) {
      this.#slab = allocate(SLAB_BYTES);
      this.#used = 0;
    }
    const offset = this.#used;
    copy(this.#slab, offset, source, start, end);
    this.#used = offset + size;
    return this.#slab.subarray(offset, offset + size);
  }
}
