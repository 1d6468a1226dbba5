/** End of a chain or list. */
const NONE = -1;

/**
 * Which port an Ethernet address was last seen on: a hash table in typed arrays,
 * so a look-up makes no key. Entries are in a list by the time they were last
 * seen; a full table gives up the one that was silent for longest, so a flood of
 * invented addresses does not displace hosts that speak more often than it lasts.
 */
export class MacTable {
  readonly #agingMs: number;
  readonly #mask: number;
  /** First entry of each hash chain. */
  readonly #buckets: Int32Array;
  readonly #chained: Int32Array;
  readonly #high: Int32Array;
  readonly #low: Int32Array;
  readonly #port: Int32Array;
  readonly #seenAt: Float64Array;
  /** Neighbours by time last seen. */
  readonly #newer: Int32Array;
  readonly #older: Int32Array;
  #newest = NONE;
  #oldest = NONE;
  /** First of the entries not in use, chained by `#chained`. */
  #free = 0;
  #size = 0;

  constructor(maxEntries: number, agingMs: number) {
    if (!(Number.isInteger(maxEntries) && maxEntries > 0)) {
      throw new RangeError(`maxEntries ${maxEntries} is not a positive integer`);
    }
    this.#agingMs = agingMs;
    const buckets = 2 ** Math.ceil(Math.log2(maxEntries * 2));
    this.#mask = buckets - 1;
    this.#buckets = new Int32Array(buckets).fill(NONE);
    this.#chained = Int32Array.from({ length: maxEntries }, (_, i) => (i + 1 < maxEntries ? i + 1 : NONE));
    this.#high = new Int32Array(maxEntries);
    this.#low = new Int32Array(maxEntries);
    this.#port = new Int32Array(maxEntries);
    this.#seenAt = new Float64Array(maxEntries);
    this.#newer = new Int32Array(maxEntries);
    this.#older = new Int32Array(maxEntries);
  }

  get size(): number {
    return this.#size;
  }

  /** The address was seen on `port` at `now`. */
  learn(high: number, low: number, port: number, now: number): void {
    let entry = this.#find(high, low);
    if (entry === NONE) {
      if (this.#free === NONE) this.#remove(this.#oldest);
      entry = this.#free;
      this.#free = this.#chained[entry]!;
      this.#high[entry] = high;
      this.#low[entry] = low;
      const bucket = this.#bucket(high, low);
      this.#chained[entry] = this.#buckets[bucket]!;
      this.#buckets[bucket] = entry;
      this.#size++;
    } else if (entry !== this.#newest) {
      this.#unlist(entry);
    }
    this.#port[entry] = port;
    this.#seenAt[entry] = now;
    if (entry === this.#newest) return;
    this.#older[entry] = this.#newest;
    this.#newer[entry] = NONE;
    if (this.#newest === NONE) this.#oldest = entry;
    else this.#newer[this.#newest] = entry;
    this.#newest = entry;
  }

  /** The port of the address, -1 if it is not known or was not seen for the aging time. */
  find(high: number, low: number, now: number): number {
    const entry = this.#find(high, low);
    if (entry === NONE) return NONE;
    if (now - this.#seenAt[entry]! > this.#agingMs) {
      this.#remove(entry);
      return NONE;
    }
    return this.#port[entry]!;
  }

  /** Forgets every address of `port`. */
  forget(port: number): void {
    let entry = this.#oldest;
    while (entry !== NONE) {
      const next = this.#newer[entry]!;
      if (this.#port[entry] === port) this.#remove(entry);
      entry = next;
    }
  }

  #bucket(high: number, low: number): number {
    const hash = Math.imul(low ^ Math.imul(high, 0x45d9f3b), 0x9e3779b1);
    return (hash ^ (hash >>> 15)) & this.#mask;
  }

  #find(high: number, low: number): number {
    let entry = this.#buckets[this.#bucket(high, low)]!;
    while (entry !== NONE && (this.#low[entry] !== low || this.#high[entry] !== high)) {
      entry = this.#chained[entry]!;
    }
    return entry;
  }

  #remove(entry: number): void {
    this.#unlist(entry);
    const bucket = this.#bucket(this.#high[entry]!, this.#low[entry]!);
    if (this.#buckets[bucket] === entry) {
      this.#buckets[bucket] = this.#chained[entry]!;
    } else {
      let before = this.#buckets[bucket]!;
      while (this.#chained[before] !== entry) before = this.#chained[before]!;
      this.#chained[before] = this.#chained[entry]!;
    }
    this.#chained[entry] = this.#free;
    this.#free = entry;
    this.#size--;
  }

  #unlist(entry: number): void {
    const newer = this.#newer[entry]!;
    const older = this.#older[entry]!;
    if (newer === NONE) this.#newest = older;
    else this.#older[newer] = older;
    if (older === NONE) this.#oldest = newer;
    else this.#newer[older] = newer;
  }
}
