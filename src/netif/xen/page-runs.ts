/**
 * Pages of one contiguous piece of memory, given out in runs from front to back
 * and round again, as frames are built in them, and taken back one by one, as
 * they are answered for. Mostly that is in order; a page that is not returned
 * yet holds up what comes to it.
 */
export class PageRuns {
  readonly #busy: Uint8Array;
  #next = 0;
  #used = 0;

  constructor(pages: number) {
    this.#busy = new Uint8Array(pages);
  }

  get pages(): number {
    return this.#busy.length;
  }

  /** Pages that are out. */
  get used(): number {
    return this.#used;
  }

  /** The first page of a free run of `count`, or -1. {@link take} takes it. */
  find(count: number): number {
    const busy = this.#busy;
    const first = this.#next + count > busy.length ? 0 : this.#next;
    for (let page = first; page < first + count; page++) if (busy[page] !== 0) return -1;
    return first;
  }

  take(first: number, count: number): void {
    this.#busy.fill(1, first, first + count);
    this.#used += count;
    this.#next = first + count;
  }

  release(page: number): void {
    if (this.#busy[page] !== 1) throw new Error(`page ${page} is released twice`);
    this.#busy[page] = 0;
    this.#used--;
  }
}
