import { IpAddress } from '../address/index.ts';

export interface Holder {
  readonly address: string;
  /** Ms of the server's clock; `Infinity` for a reservation. */
  expiresAt: number;
}

/** RFC 2131 §4.3.3: how long an address that somebody else was found to have is left alone. */
const QUARANTINE_MS = 600_000;

/** Addresses from `first` to `last`, and who has which. */
export class AddressPool {
  readonly #first: number;
  readonly #last: number;
  readonly #reserved: ReadonlyMap<string, string>;
  readonly #byClient = new Map<string, Holder>();
  readonly #byAddress = new Map<string, string>();
  readonly #declined = new Map<string, number>();

  /** `reserved`: address by client. */
  constructor(first: string, last: string, reserved: ReadonlyMap<string, string>) {
    this.#first = IpAddress.parse(first).w3 >>> 0;
    this.#last = IpAddress.parse(last).w3 >>> 0;
    this.#reserved = reserved;
    if (this.#last < this.#first) throw new RangeError(`no addresses from ${first} to ${last}`);
  }

  get size(): number {
    return this.#byClient.size;
  }

  /** The client's lease, if it has not ended. */
  leaseOf(client: string, now: number): Holder | null {
    const holder = this.#byClient.get(client);
    return holder !== undefined && holder.expiresAt > now ? holder : null;
  }

  /** The address to offer: RFC 2131 §4.3.1's order of preference; null when there is none. */
  choose(client: string, wanted: string | null, now: number): string | null {
    const reserved = this.#reserved.get(client);
    if (reserved !== undefined) return reserved;
    const before = this.#byClient.get(client);
    if (before !== undefined && this.#isFree(before.address, client, now)) return before.address;
    if (wanted !== null && this.#isFree(wanted, client, now)) return wanted;
    for (let word = this.#first; word <= this.#last; word++) {
      const address = `${IpAddress.ipv4(word)}`;
      if (!this.#byAddress.has(address) && this.#isFree(address, client, now)) return address;
    }
    for (let word = this.#first; word <= this.#last; word++) {
      const address = `${IpAddress.ipv4(word)}`;
      if (this.#isFree(address, client, now)) return address;
    }
    return null;
  }

  /** Whether `client` may have `address` now. */
  mayHave(client: string, address: string, now: number): boolean {
    const reserved = this.#reserved.get(client);
    return reserved === undefined ? this.#isFree(address, client, now) : reserved === address;
  }

  grant(client: string, address: string, expiresAt: number): void {
    this.release(client);
    const before = this.#byAddress.get(address);
    if (before !== undefined) this.release(before);
    this.#byClient.set(client, { address, expiresAt });
    this.#byAddress.set(address, client);
  }

  release(client: string): void {
    const holder = this.#byClient.get(client);
    if (holder === undefined) return;
    this.#byClient.delete(client);
    this.#byAddress.delete(holder.address);
  }

  decline(client: string, address: string, now: number): void {
    if (this.#byAddress.get(address) !== client) return;
    this.release(client);
    this.#declined.set(address, now + QUARANTINE_MS);
  }

  #isFree(address: string, client: string, now: number): boolean {
    const word = IpAddress.parse(address).w3 >>> 0;
    if (word < this.#first || word > this.#last) return false;
    if ((this.#declined.get(address) ?? 0) > now) return false;
    for (const other of this.#reserved.values()) if (other === address) return false;
    const owner = this.#byAddress.get(address);
    return owner === undefined || owner === client || this.#byClient.get(owner)!.expiresAt <= now;
  }
}
