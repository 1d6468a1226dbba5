import type { DnsType } from '../dns/index.ts';
import { isSameRecord, isSameSet, type MdnsRecord } from './message.ts';

/** Records of others that are remembered; those that end soonest make room. */
const CACHE_RECORDS = 512;
/** RFC 6762 §10.1, §10.2: what is taken back, or replaced, lives on for a second. */
const GOODBYE_MS = 1000;
/** Nobody here lives longer than that. */
const MAX_TTL_S = 86_400;

/** A record that somebody told. */
export interface Known {
  readonly record: MdnsRecord;
  readonly toldAt: number;
  expiresAt: number;
}

/** What others have told of their names (RFC 6762 §10). */
export class MdnsCache {
  readonly #entries: Known[] = [];

  get size(): number {
    return this.#entries.length;
  }

  /** Takes the records of one response; answers whether anything changed but times. */
  hear(records: readonly MdnsRecord[], now: number): boolean {
    let changed = false;
    for (const record of records) {
      const at = this.#entries.findIndex((known) => isSameRecord(known.record, record));
      if (record.ttl === 0) {
        if (at >= 0) {
          this.#entries[at]!.expiresAt = Math.min(this.#entries[at]!.expiresAt, now + GOODBYE_MS);
        }
        continue;
      }
      const expiresAt = now + Math.min(record.ttl, MAX_TTL_S) * 1000;
      const known = { record, toldAt: now, expiresAt };
      if (at >= 0) this.#entries[at] = known;
      else {
        this.#entries.push(known);
        changed = true;
      }
    }
    for (const record of records) if (record.unique) this.#flush(record, records, now);
    while (this.#entries.length > CACHE_RECORDS) this.#dropSoonest();
    return changed;
  }

  /** Of a name (lower case) and type, those that still hold. */
  find<T extends DnsType>(name: string, type: T, now: number): Known[] {
    return this.#entries.filter(
      ({ record, expiresAt }) => expiresAt > now && record.type === type && record.name === name,
    );
  }

  /** Forgets what is over; whether that was anything. */
  expire(now: number): boolean {
    const kept = this.#entries.filter(({ expiresAt }) => expiresAt > now);
    const changed = kept.length < this.#entries.length;
    this.#entries.splice(0, this.#entries.length, ...kept);
    return changed;
  }

  /** When the next record is over; `Infinity` for never. */
  get nextExpiry(): number {
    let next = Number.POSITIVE_INFINITY;
    for (const { expiresAt } of this.#entries) next = Math.min(next, expiresAt);
    return next;
  }

  clear(): void {
    this.#entries.length = 0;
  }

  /** §10.2: others of the set that were told more than a second ago are no longer true. */
  #flush(record: MdnsRecord, told: readonly MdnsRecord[], now: number): void {
    for (const known of this.#entries) {
      if (!isSameSet(known.record, record) || now - known.toldAt <= GOODBYE_MS) continue;
      if (told.some((other) => isSameRecord(other, known.record))) continue;
      known.expiresAt = Math.min(known.expiresAt, now + GOODBYE_MS);
    }
  }

  #dropSoonest(): void {
    let soonest = 0;
    this.#entries.forEach(({ expiresAt }, i) => {
      if (expiresAt < this.#entries[soonest]!.expiresAt) soonest = i;
    });
    this.#entries.splice(soonest, 1);
  }
}
