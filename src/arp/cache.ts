import { EVICTED, FAILED, Neighbour, type NeighbourHost, PERMANENT, STALE } from './neighbour.ts';

/** Entries: twice a /24, and few enough that a stranger's forgeries cost no memory to speak of. */
const CACHE_ENTRIES = 512;

/** The part of a `Map` that is needed here. */
export interface NeighbourMap<Address> {
  readonly size: number;
  get(address: Address): Neighbour<Address> | undefined;
  set(address: Address, neighbour: Neighbour<Address>): void;
  delete(address: Address): boolean;
  values(): Iterable<Neighbour<Address>>;
  clear(): void;
}

/**
 * The neighbours of one link, at most {@link CACHE_ENTRIES}. What we look up
 * may push out the least recently used; what strangers tell us may push out
 * only entries that nobody relies on.
 */
export class NeighbourCache<Address = number> {
  evictions = 0;
  readonly #host: NeighbourHost<Address>;
  readonly #entries: NeighbourMap<Address>;

  /** `entries` is an empty map, for the family's kind of address. */
  constructor(host: NeighbourHost<Address>, entries: NeighbourMap<Address>) {
    this.#host = host;
    this.#entries = entries;
  }

  get size(): number {
    return this.#entries.size;
  }

  get(address: Address): Neighbour<Address> | undefined {
    return this.#entries.get(address);
  }

  /** The entry of a neighbour that we want to send to. */
  obtain(address: Address): Neighbour<Address> {
    const known = this.#entries.get(address);
    if (known !== undefined) return known;
    if (this.#entries.size >= CACHE_ENTRIES) this.#evict(this.#leastUsed(true) ?? this.#leastUsed(false));
    return this.#add(address);
  }

  /** The entry of a neighbour that wants to talk to us; null if that would cost one in use. */
  admit(address: Address): Neighbour<Address> | null {
    const known = this.#entries.get(address);
    if (known !== undefined) return known;
    if (this.#entries.size >= CACHE_ENTRIES) {
      const idle = this.#leastUsed(true);
      if (idle === null) return null;
      this.#evict(idle);
    }
    return this.#add(address);
  }

  /** All entries, in no particular order. */
  all(): Iterable<Neighbour<Address>> {
    return this.#entries.values();
  }

  /** Forgets everything that was learnt. */
  clear(): void {
    for (const neighbour of this.#entries.values()) neighbour.evict();
    this.#entries.clear();
  }

  #add(address: Address): Neighbour<Address> {
    const neighbour = new Neighbour(this.#host, address);
    this.#entries.set(address, neighbour);
    return neighbour;
  }

  #evict(neighbour: Neighbour<Address> | null): void {
    if (neighbour === null) return;
    this.evictions++;
    this.#entries.delete(neighbour.address);
    neighbour.evict();
  }

  /** Idle entries are those that are not known to be in use: stale or failed. */
  #leastUsed(idle: boolean): Neighbour<Address> | null {
    let least: Neighbour<Address> | null = null;
    for (const neighbour of this.#entries.values()) {
      const { state } = neighbour;
      if (state === PERMANENT || state === EVICTED) continue;
      if (idle && state !== STALE && state !== FAILED) continue;
      if (least === null || neighbour.lastUse < least.lastUse) least = neighbour;
    }
    return least;
  }
}
