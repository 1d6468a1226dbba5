/** What an {@link EventHeap} orders: by time, and equal times by the order in which they were scheduled. */
export interface HeapItem {
  /** When it is due, in ms of clock time. */
  at: number;
  /** Kept by the heap: the sequence number of the last scheduling. */
  order: number;
  /** Kept by the heap: position in it, -1 when it is not in a heap. */
  index: number;
}

const ARITY = 4;

/**
 * A 4-ary min-heap of items that know their own position, so one can be moved
 * or taken out without a search. Four children per node make it half as deep as
 * a binary one, and the four are compared within a cache line or two of the array.
 */
export class EventHeap<T extends HeapItem> {
  readonly #items: T[] = [];
  #orders = 0;

  get size(): number {
    return this.#items.length;
  }

  /** The item due first, left in the heap. */
  peek(): T | undefined {
    return this.#items[0];
  }

  /** Puts `item` in, or moves it, to be due at `at`, behind the others of that time. */
  schedule(item: T, at: number): void {
    const later = at >= item.at;
    item.at = at;
    item.order = this.#orders++;
    if (item.index < 0) {
      item.index = this.#items.length;
      this.#items.push(item);
      this.#siftUp(item);
    } else if (later) {
      this.#siftDown(item);
    } else {
      this.#siftUp(item);
    }
  }

  /** Takes `item` out; nothing happens if it is not in. */
  remove(item: T): void {
    const index = item.index;
    if (index < 0) return;
    item.index = -1;
    const last = this.#items.pop()!;
    if (last === item) return;
    last.index = index;
    this.#items[index] = last;
    this.#siftUp(last);
    this.#siftDown(last);
  }

  clear(): void {
    for (const item of this.#items) item.index = -1;
    this.#items.length = 0;
  }

  #siftUp(item: T): void {
    const items = this.#items;
    let index = item.index;
    while (index > 0) {
      const parentIndex = Math.floor((index - 1) / ARITY);
      const parent = items[parentIndex]!;
      if (!before(item, parent)) break;
      items[index] = parent;
      parent.index = index;
      index = parentIndex;
    }
    items[index] = item;
    item.index = index;
  }

  #siftDown(item: T): void {
    const items = this.#items;
    const length = items.length;
    let index = item.index;
    for (;;) {
      const first = index * ARITY + 1;
      if (first >= length) break;
      const end = Math.min(first + ARITY, length);
      let least = items[first]!;
      for (let i = first + 1; i < end; i++) {
        const child = items[i]!;
        if (before(child, least)) least = child;
      }
      if (!before(least, item)) break;
      const leastIndex = least.index;
      items[index] = least;
      least.index = index;
      index = leastIndex;
    }
    items[index] = item;
    item.index = index;
  }
}

function before(a: HeapItem, b: HeapItem): boolean {
  return a.at < b.at || (a.at === b.at && a.order < b.order);
}
