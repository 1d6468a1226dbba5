import type { IpAddress } from '../address/index.ts';
import type { IpPath } from '../ip.ts';
import type { Random } from '../time/random.ts';
import type { Segment } from './segment.ts';

/** What a four-tuple leads to: a connection, or what is left of one in TIME-WAIT. */
export interface Endpoint {
  readonly local: IpAddress;
  readonly localPort: number;
  readonly remote: IpAddress;
  readonly remotePort: number;
  /** Next in the same bucket: the table allocates nothing. */
  tableNext: Endpoint | null;
  receive(segment: Segment): void;
}

/** `address` for good: `shared` if that is the same, which all connections of a path then have in common. */
export function kept(address: IpAddress, shared: IpAddress): IpAddress {
  return address.equals(shared) ? shared : address.copy();
}

/** The four, and the way to the peer. */
export interface ConnectionTuple {
  readonly path: IpPath;
  readonly local: IpAddress;
  readonly localPort: number;
  readonly remote: IpAddress;
  readonly remotePort: number;
}

const INITIAL_BUCKETS = 64;

/**
 * Endpoints by four-tuple: a chained hash table with a secret in the hash, so
 * that a peer cannot choose ports that all fall into one bucket.
 */
export class EndpointTable {
  #buckets: (Endpoint | null)[] = new Array<Endpoint | null>(INITIAL_BUCKETS).fill(null);
  #size = 0;
  readonly #secret: number;

  constructor(random: Random) {
    this.#secret = random.next32() | 1;
  }

  get size(): number {
    return this.#size;
  }

  #index(remote: IpAddress, ports: number): number {
    let hash = Math.imul(ports ^ this.#secret, 0x85ebca6b) ^ remote.hash();
    hash = Math.imul(hash ^ (hash >>> 15), this.#secret);
    return (hash ^ (hash >>> 13)) & (this.#buckets.length - 1);
  }

  find(local: IpAddress, localPort: number, remote: IpAddress, remotePort: number): Endpoint | null {
    let at = this.#buckets[this.#index(remote, (localPort << 16) | remotePort)] ?? null;
    while (at !== null) {
      if (
        at.remotePort === remotePort &&
        at.localPort === localPort &&
        at.remote.equals(remote) &&
        at.local.equals(local)
      ) {
        return at;
      }
      at = at.tableNext;
    }
    return null;
  }

  add(endpoint: Endpoint): void {
    if (this.#size >= this.#buckets.length) this.#grow();
    const index = this.#index(endpoint.remote, (endpoint.localPort << 16) | endpoint.remotePort);
    endpoint.tableNext = this.#buckets[index]!;
    this.#buckets[index] = endpoint;
    this.#size++;
  }

  remove(endpoint: Endpoint): void {
    const index = this.#index(endpoint.remote, (endpoint.localPort << 16) | endpoint.remotePort);
    let at = this.#buckets[index] ?? null;
    let previous: Endpoint | null = null;
    while (at !== null && at !== endpoint) {
      previous = at;
      at = at.tableNext;
    }
    if (at === null) return;
    if (previous === null) this.#buckets[index] = at.tableNext;
    else previous.tableNext = at.tableNext;
    at.tableNext = null;
    this.#size--;
  }

  #grow(): void {
    const old = this.#buckets;
    this.#buckets = new Array<Endpoint | null>(old.length * 2).fill(null);
    for (const head of old) {
      let at = head;
      while (at !== null) {
        const next: Endpoint | null = at.tableNext;
        const index = this.#index(at.remote, (at.localPort << 16) | at.remotePort);
        at.tableNext = this.#buckets[index]!;
        this.#buckets[index] = at;
        at = next;
      }
    }
  }

  /** A copy of all endpoints, safe to change the table by. */
  all(): Endpoint[] {
    const endpoints: Endpoint[] = [];
    for (const head of this.#buckets) {
      for (let at = head; at !== null; at = at.tableNext) endpoints.push(at);
    }
    return endpoints;
  }
}
