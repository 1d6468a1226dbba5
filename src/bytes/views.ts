/** Bytes up to which a loop is cheaper than a call into the runtime. */
const SHORT = 32;

/** Arrays whose views are kept. */
const MOST_SOURCES = 8;

/**
 * Views of memory that comes round again and again, as a device's slab does
 * while nobody keeps what is in it: the same stretch of the same array gets the
 * same view. Whoever is given one sees what is there later, too.
 *
 * Views are kept of the eight arrays asked for last: a view keeps its memory, and one of a slab that somebody
 * else kept, and that does not come again, would keep all of it.
 */
export class ViewCache {
  readonly #shift: number;
  readonly #sources: (Uint8Array | null)[];
  readonly #views: (Uint8Array | null)[];
  readonly #starts: Int32Array;
  readonly #ends: Int32Array;

  /** The arrays whose views are here, and the place of the one that goes next. */
  readonly #known: (Uint8Array | null)[] = new Array<Uint8Array | null>(MOST_SOURCES).fill(null);
  #oldest = 0;

  /** Of `2 ** bits` views. */
  constructor(bits = 5) {
    const slots = 1 << bits;
    this.#shift = 32 - bits;
    this.#sources = new Array<Uint8Array | null>(slots).fill(null);
    this.#views = new Array<Uint8Array | null>(slots).fill(null);
    this.#starts = new Int32Array(slots);
    this.#ends = new Int32Array(slots);
  }

  /** `source.subarray(start, end)`, made now or earlier. */
  view(source: Uint8Array, start: number, end: number): Uint8Array {
    const slot = Math.imul(start, 0x9e3779b1) >>> this.#shift;
    if (this.#sources[slot] === source && this.#starts[slot] === start && this.#ends[slot] === end) {
      return this.#views[slot]!;
    }
    if (!this.#known.includes(source)) this.#admit(source);
    const view = source.subarray(start, end);
    this.#sources[slot] = source;
    this.#views[slot] = view;
    this.#starts[slot] = start;
    this.#ends[slot] = end;
    return view;
  }

  /** Instead of the array that has been here for longest, whose views are forgotten. */
  #admit(source: Uint8Array): void {
    const gone = this.#known[this.#oldest]!;
    this.#known[this.#oldest] = source;
    this.#oldest = (this.#oldest + 1) % MOST_SOURCES;
    if (gone === null) return;
    const sources = this.#sources;
    for (let slot = 0; slot < sources.length; slot++) {
      if (sources[slot] !== gone) continue;
      sources[slot] = null;
      this.#views[slot] = null;
    }
  }

  /** As `copy`, of a stretch that will be copied again. */
  copy(target: Uint8Array, offset: number, source: Uint8Array, start: number, end: number): void {
    if (end - start <= SHORT) for (let i = start; i < end; i++) target[offset + i - start] = source[i]!;
    else target.set(this.view(source, start, end), offset);
  }
}
