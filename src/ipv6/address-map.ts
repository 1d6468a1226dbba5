import type { IpAddress } from '../address/index.ts';
import type { Random } from '../time/index.ts';

interface Entry<V> {
  readonly address: IpAddress;
  value: V;
  next: Entry<V> | null;
}

/** A map by IPv6 address, without an object or a string per look-up; its hash has a secret, since strangers choose the addresses. */
export class AddressMap<V> {
  readonly #key: number;
  /** In order of insertion, but for those of equal hash. */
  readonly #chains = new Map<number, Entry<V>>();
  #size = 0;

  constructor(random: Random) {
    this.#key = random.next32();
  }

  get size(): number {
    return this.#size;
  }

  get(address: IpAddress): V | undefined {
    for (let entry = this.#chains.get(this.#hash(address)) ?? null; entry !== null; entry = entry.next) {
      if (entry.address.equals(address)) return entry.value;
    }
    return undefined;
  }

  /** `address` is copied. */
  set(address: IpAddress, value: V): void {
    const hash = this.#hash(address);
    const head = this.#chains.get(hash) ?? null;
    for (let entry = head; entry !== null; entry = entry.next) {
      if (entry.address.equals(address)) {
        entry.value = value;
        return;
      }
    }
    this.#chains.set(hash, { address: address.copy(), value, next: head });
    this.#size++;
  }

  delete(address: IpAddress): boolean {
    const hash = this.#hash(address);
    const head = this.#chains.get(hash) ?? null;
    let previous: Entry<V> | null = null;
    for (let entry = head; entry !== null; previous = entry, entry = entry.next) {
      if (!entry.address.equals(address)) continue;
      if (previous !== null) previous.next = entry.next;
      else if (entry.next !== null) this.#chains.set(hash, entry.next);
      else this.#chains.delete(hash);
      this.#size--;
      return true;
    }
    return false;
  }

  /** Forgets one of those that are longest in here. */
  deleteOldest(): void {
    const oldest = this.#chains.values().next().value;
    if (oldest !== undefined) this.delete(oldest.address);
  }

  *entries(): IterableIterator<readonly [IpAddress, V]> {
    for (const head of this.#chains.values()) {
      for (let entry: Entry<V> | null = head; entry !== null; entry = entry.next) {
        yield [entry.address, entry.value];
      }
    }
  }

  *values(): IterableIterator<V> {
    for (const [, value] of this.entries()) yield value;
  }

  clear(): void {
    this.#chains.clear();
    this.#size = 0;
  }

  #hash(address: IpAddress): number {
    let hash = Math.imul(this.#key ^ address.w0, 0x9e3779b1);
    hash = Math.imul(hash ^ (hash >>> 15) ^ address.w1, 0x85ebca6b);
    hash = Math.imul(hash ^ (hash >>> 13) ^ address.w2, 0xc2b2ae35);
    hash = Math.imul(hash ^ (hash >>> 16) ^ address.w3, 0x27d4eb2f);
    return hash ^ (hash >>> 15);
  }
}
