interface Range {
  start: number;
  end: number;
}

/** Ranges begin on a cache line. */
const ALIGNMENT = 64;

/**
 * Hands out ranges of a piece of memory and takes them back: first fit, with
 * neighbouring free ranges joined. For a few long-lived areas, so the free list
 * stays short.
 */
export class RangePool {
  readonly #free: Range[];

  constructor(start: number, end: number) {
    this.#free = [{ start, end }];
  }

  /** The start of `size` free bytes, or -1. */
  take(size: number): number {
    const whole = roundUp(size);
    const index = this.#free.findIndex(({ start, end }) => end - start >= whole);
    if (index < 0) return -1;
    const range = this.#free[index]!;
    const { start } = range;
    range.start += whole;
    if (range.start === range.end) this.#free.splice(index, 1);
    return start;
  }

  /** Takes back what `take(size)` gave. */
  give(start: number, size: number): void {
    const end = start + roundUp(size);
    const found = this.#free.findIndex((range) => range.start > start);
    const index = found < 0 ? this.#free.length : found;
    this.#free.splice(index, 0, { start, end });
    this.#join(index);
    this.#join(index - 1);
  }

  /** Joins the range at `index` with the next one if they touch. */
  #join(index: number): void {
    const range = this.#free[index];
    const next = this.#free[index + 1];
    if (range === undefined || next === undefined || range.end !== next.start) return;
    range.end = next.end;
    this.#free.splice(index + 1, 1);
  }
}

function roundUp(size: number): number {
  return Math.max(ALIGNMENT, (size + ALIGNMENT - 1) & -ALIGNMENT);
}
