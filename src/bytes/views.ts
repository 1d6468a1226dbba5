/** A power of two; few, since each keeps the memory it shows. */
const SLOTS = 32;

/**
 * Views of memory that comes round again and again, as a device's slab does
 * while nobody keeps what is in it: the same stretch of the same array gets the
 * same view. Whoever is given one sees what is there later, too.
 */
export class ViewCache {
  readonly #sources: (Uint8Array | null)[] = new Array<Uint8Array | null>(SLOTS).fill(null);
  readonly #views: (Uint8Array | null)[] = new Array<Uint8Array | null>(SLOTS).fill(null);
  readonly #starts = new Int32Array(SLOTS);
  readonly #ends = new Int32Array(SLOTS);

  /** `source.subarray(start, end)`, made now or earlier. */
  view(source: Uint8Array, start: number, end: number): Uint8Array {
    const slot = (Math.imul(start, 0x9e3779b1) >>> 27) & (SLOTS - 1);
    if (this.#sources[slot] === source && this.#starts[slot] === start && this.#ends[slot] === end) {
      return this.#views[slot]!;
    }
    const view = source.subarray(start, end);
    this.#sources[slot] = source;
    this.#views[slot] = view;
    this.#starts[slot] = start;
    this.#ends[slot] = end;
    return view;
  }
}
