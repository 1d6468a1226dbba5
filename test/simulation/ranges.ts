/** A set of integers as disjoint half-open ranges in order. */
export class Ranges {
  readonly #lefts: number[] = [];
  readonly #rights: number[] = [];

  add(left: number, right: number): void {
    if (right <= left) return;
    const lefts = this.#lefts;
    const rights = this.#rights;
    let first = lefts.length;
    while (first > 0 && rights[first - 1]! >= left) first--;
    let stop = first;
    let low = left;
    let high = right;
    while (stop < lefts.length && lefts[stop]! <= right) {
      low = Math.min(low, lefts[stop]!);
      high = Math.max(high, rights[stop]!);
      stop++;
    }
    lefts.splice(first, stop - first, low);
    rights.splice(first, stop - first, high);
  }

  covers(left: number, right: number): boolean {
    for (let i = this.#lefts.length - 1; i >= 0; i--) {
      if (this.#lefts[i]! <= left) return this.#rights[i]! >= right;
    }
    return false;
  }

  /** The end of the range that holds `from`; `from` itself if none does. */
  reachedFrom(from: number): number {
    for (let i = 0; i < this.#lefts.length && this.#lefts[i]! <= from; i++) {
      if (this.#rights[i]! > from) return this.#rights[i]!;
    }
    return from;
  }
}
