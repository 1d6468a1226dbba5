import type { IpAddress } from '../address/index.ts';
import type { Clock } from '../time/index.ts';

/** RFC 8106 §5.3.1 wants room for three at least; more are a flood. */
const MAX_SERVERS = 8;
const MAX_SEARCH = 8;

interface Known<T> {
  readonly value: T;
  readonly expiresAt: number;
}

/** DNS servers and search domains that routers told us of (RFC 8106), as data for whoever resolves names. */
export class DnsConfiguration {
  readonly #clock: Clock;
  #servers: Known<IpAddress>[] = [];
  #search: Known<string>[] = [];

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** In the order in which they were told. */
  get servers(): IpAddress[] {
    return this.#alive(this.#servers).map(({ value }) => value);
  }

  get search(): string[] {
    return this.#alive(this.#search).map(({ value }) => value);
  }

  setServers(servers: readonly IpAddress[], expiresAt: number): void {
    this.#servers = this.#merge(this.#servers, servers, expiresAt, MAX_SERVERS, (a, b) => a.equals(b));
  }

  setSearch(names: readonly string[], expiresAt: number): void {
    this.#search = this.#merge(this.#search, names, expiresAt, MAX_SEARCH, (a, b) => a === b);
  }

  clear(): void {
    this.#servers = [];
    this.#search = [];
  }

  #alive<T>(known: readonly Known<T>[]): Known<T>[] {
    const now = this.#clock.now();
    return known.filter(({ expiresAt }) => expiresAt > now);
  }

  /** RFC 8106 §6.2: a lifetime of zero takes back; those that are known keep their place. */
  #merge<T>(
    known: readonly Known<T>[],
    told: readonly T[],
    expiresAt: number,
    most: number,
    isSame: (a: T, b: T) => boolean,
  ): Known<T>[] {
    const merged = this.#alive(known);
    for (const value of told) {
      const at = merged.findIndex((entry) => isSame(entry.value, value));
      if (at >= 0) merged[at] = { value, expiresAt };
      else if (merged.length < most) merged.push({ value, expiresAt });
    }
    return this.#alive(merged);
  }
}
