import type { Clock } from '../time/index.ts';
import type { DnsType, Outcome } from './types.ts';

/** What may be remembered. */
export type Remembered = Exclude<Outcome<DnsType>, { kind: 'failure' }>;

/** RFC 8767 §4 puts a day or a week; nobody here lives longer than that. */
const MAX_TTL_S = 86_400;
/** RFC 2308 §5 allows three hours; a name that appears is wanted sooner. */
const MAX_NEGATIVE_TTL_S = 300;

interface Entry {
  readonly outcome: Remembered;
  readonly expiresAt: number;
}

/** Answers by question, for as long as they hold; the one unused for longest makes room. */
export class DnsCache {
  readonly #clock: Clock;
  readonly #most: number;
  /** In the order of last use. */
  readonly #entries = new Map<string, Entry>();

  constructor(clock: Clock, most: number) {
    this.#clock = clock;
    this.#most = most;
  }

  get size(): number {
    return this.#entries.size;
  }

  get<T extends DnsType>(name: string, type: T): Exclude<Outcome<T>, { kind: 'failure' }> | null {
    const key = keyOf(name, type);
    const entry = this.#entries.get(key);
    if (entry === undefined) return null;
    this.#entries.delete(key);
    if (entry.expiresAt <= this.#clock.now()) return null;
    this.#entries.set(key, entry);
    const ttl = Math.ceil((entry.expiresAt - this.#clock.now()) / 1000);
    return { ...entry.outcome, ttl } as Exclude<Outcome<T>, { kind: 'failure' }>;
  }

  set(name: string, type: DnsType, outcome: Remembered): void {
    const most = outcome.kind === 'absent' ? MAX_NEGATIVE_TTL_S : MAX_TTL_S;
    const ttl = Math.min(outcome.ttl, most);
    if (!(ttl > 0)) return;
    const key = keyOf(name, type);
    this.#entries.delete(key);
    if (this.#entries.size >= this.#most) this.#entries.delete(this.#entries.keys().next().value!);
    this.#entries.set(key, { outcome, expiresAt: this.#clock.now() + ttl * 1000 });
  }

  clear(): void {
    this.#entries.clear();
  }
}

function keyOf(name: string, type: DnsType): string {
  return `${type} ${name}`;
}
