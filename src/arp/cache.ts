import { EVICTED, FAILED, Neighbour, type NeighbourHost, PERMANENT, STALE } from './neighbour.ts';

/** Entries: twice a /24, and few enough that a stranger's forgeries cost no memory to speak of. */
const CACHE_ENTRIES = 512;

/**
 * The neighbours of one link, at most {@link CACHE_ENTRIES}. What we look up
 * may push out the least recently used; what strangers tell us may push out
 * only entries that nobody relies on.
 */
export class NeighbourCache {
  evictions = 0;
  readonly #host: NeighbourHost;
  readonly #entries = new Map<number, Neighbour>();

  constructor(host: NeighbourHost) {
    this.#host = host;
  }

  get size(): number {
    return this.#entries.size;
  }

  get(address: number): Neighbour | undefined {
    return this.#entries.get(address);
  }

  /** The entry of a neighbour that we want to send to. */
  obtain(address: number): Neighbour {
    const known = this.#entries.get(address);
    if (known !== undefined) return known;
    if (this.#entries.size >= CACHE_ENTRIES) this.#evict(this.#leastUsed(true) ?? this.#leastUsed(false));
    return this.#add(address);
  }

  /** The entry of a neighbour that wants to talk to us; null if that would cost one in use. */
  admit(address: number): Neighbour | null {
    const known = this.#entries.get(address);
    if (known !== undefined) return known;
    if (this.#entries.size >= CACHE_ENTRIES) {
      const idle = this.#leastUsed(true);
      if (idle === null) return null;
      this.#evict(idle);
    }
    return this.#add(address);
  }

  /** Forgets everything that was learnt. */
  clear(): void {
    for (const neighbour of this.#entries.values()) neighbour.evict();
    this.#entries.clear();
  }

  #add(address: number): Neighbour {
    const neighbour = new Neighbour(this.#host, address);
    this.#entries.set(address, neighbour);
    return neighbour;
  }

  #evict(neighbour: Neighbour | null): void {
    if (neighbour === null) return;
    this.evictions++;
    this.#entries.delete(neighbour.address);
    neighbour.evict();
  }

  /** Idle entries are those that are not known to be in use: stale or failed. */
  #leastUsed(idle: boolean): Neighbour | null {
    let least: Neighbour | null = null;
    for (const neighbour of this.#entries.values()) {
      const { state } = neighbour;
      if (state === PERMANENT || state === EVICTED) continue;
      if (idle && state !== STALE && state !== FAILED) continue;
      if (least === null || neighbour.lastUse < least.lastUse) least = neighbour;
    }
    return least;
  }
}
