import type { DnsData, DnsType } from '../dns/index.ts';
import { type Clock, type Random, randomFraction, type Timer, type TimerWheel } from '../time/index.ts';
import { MdnsCache } from './cache.ts';
import { encodeQuery, MAX_MESSAGE, type MdnsMessage, type MdnsQuestion, type MdnsRecord } from './message.ts';

/** RFC 6762 §5.2: a second, doubled up to an hour. */
const FIRST_INTERVAL_MS = 1000;
const LONGEST_INTERVAL_MS = 3_600_000;
/** §5.2: so that hosts that start together do not ask together. */
const FIRST_DELAY_MS = [20, 120] as const;
/** §5.2: what is still wanted is asked for again when a fifth of its time is left, and three times after. */
const REFRESH_AT = [0.8, 0.85, 0.9, 0.95];
/** §7.1: an answer is known if half of its time is left. */
const KNOWN_FRACTION = 0.5;
/** Names that may be asked for at once; more are refused. */
const MAX_QUESTIONS = 256;

export interface QuerierHost {
  readonly clock: Clock;
  readonly timers: TimerWheel;
  readonly random: Random;
  send(message: Uint8Array): void;
}

/** A name that somebody wants to know. */
interface Wanted {
  readonly name: string;
  readonly type: DnsType;
  readonly listeners: Set<() => void>;
  intervalMs: number;
  /** When the question is next asked. */
  askAt: number;
  askedAt: number;
  asked: number;
}

/** Asks others for their names, once or for as long as somebody wants to know (RFC 6762 §5). */
export class Querier {
  readonly cache = new MdnsCache();
  readonly counters = { queries: 0, knownAnswers: 0, responses: 0 };
  readonly #host: QuerierHost;
  readonly #wanted: Wanted[] = [];
  readonly #timer: Timer;

  constructor(host: QuerierHost) {
    this.#host = host;
    this.#timer = host.timers.timer(() => this.#tick());
  }

  /** The data that is known of `name` (lower case). */
  known<T extends DnsType>(name: string, type: T): DnsData[T][] {
    const found = this.cache.find(name, type, this.#host.clock.now());
    return found.map(({ record }) => record.data as DnsData[T]);
  }

  /** Asks for `name`, and goes on asking; `listener` is told when something changed. Returns what ends it; null for too many. */
  want(name: string, type: DnsType, listener: () => void): (() => void) | null {
    let wanted = this.#wanted.find((each) => each.name === name && each.type === type);
    if (wanted === undefined) {
      if (this.#wanted.length >= MAX_QUESTIONS) return null;
      const [least, most] = FIRST_DELAY_MS;
      const delayMs = least + randomFraction(this.#host.random) * (most - least);
      wanted = {
        name,
        type,
        listeners: new Set(),
        intervalMs: FIRST_INTERVAL_MS,
        askAt: this.#host.clock.now() + delayMs,
        askedAt: Number.NEGATIVE_INFINITY,
        asked: 0,
      };
      this.#wanted.push(wanted);
    }
    const entry = wanted;
    // One function may be given twice.
    const own = (): void => listener();
    entry.listeners.add(own);
    this.#arm();
    return () => {
      entry.listeners.delete(own);
      if (entry.listeners.size === 0 && this.#wanted.includes(entry)) {
        this.#wanted.splice(this.#wanted.indexOf(entry), 1);
        this.#arm();
      }
    };
  }

  /** A response that came by the link. */
  hear(message: MdnsMessage): void {
    this.counters.responses++;
    const records = [...message.answers, ...message.additionals];
    const changed = this.cache.hear(records, this.#host.clock.now());
    if (changed) this.#tell();
    this.#arm();
  }

  /** Another host asks what we want to ask: its answers will do (§7.3). */
  overhear(message: MdnsMessage): void {
    if (message.answers.length > 0) return;
    const now = this.#host.clock.now();
    for (const { name, type, unicast } of message.questions) {
      if (unicast) continue;
      const wanted = this.#wanted.find((each) => each.name === name && each.type === type);
      if (wanted !== undefined && wanted.asked > 0 && wanted.askAt - now < FIRST_INTERVAL_MS)
        this.#postpone(wanted, now);
    }
    this.#arm();
  }

  close(): void {
    this.#timer.cancel();
    this.#wanted.length = 0;
    this.cache.clear();
  }

  #tick(): void {
    const now = this.#host.clock.now();
    if (this.cache.expire(now)) this.#tell();
    const due = this.#wanted.filter((wanted) => this.#dueAt(wanted) <= now);
    if (due.length > 0) this.#ask(due, now);
    this.#arm();
  }

  #ask(due: readonly Wanted[], now: number): void {
    const questions: MdnsQuestion[] = [];
    let answers: MdnsRecord[] = [];
    for (const wanted of due) {
      // §5.4: the first time, an answer to us alone will do.
      questions.push({ name: wanted.name, type: wanted.type, unicast: wanted.asked === 0 });
      answers.push(...this.#knownAnswers(wanted, now));
      this.#postpone(wanted, now);
    }
    this.counters.queries++;
    this.counters.knownAnswers += answers.length;
    // §7.2: known answers that do not fit go in messages of their own.
    let first = true;
    do {
      let fit = answers.length;
      let message = encodeQuery({ questions: first ? questions : [], answers });
      while (message.length > MAX_MESSAGE && fit > 0) {
        fit = fit >> 1;
        message = encodeQuery({
          questions: first ? questions : [],
          answers: answers.slice(0, fit),
          truncated: true,
        });
      }
      this.#host.send(message);
      answers = answers.slice(fit);
      first = false;
    } while (answers.length > 0);
  }

  /** §7.1: what need not be told again. */
  #knownAnswers({ name, type }: Wanted, now: number): MdnsRecord[] {
    return this.cache.find(name, type, now).flatMap(({ record, toldAt, expiresAt }) => {
      const left = expiresAt - now;
      if (left < (expiresAt - toldAt) * KNOWN_FRACTION) return [];
      return [{ ...record, ttl: Math.floor(left / 1000) } as MdnsRecord];
    });
  }

  #postpone(wanted: Wanted, now: number): void {
    wanted.asked++;
    wanted.askedAt = now;
    wanted.askAt = now + wanted.intervalMs;
    wanted.intervalMs = Math.min(2 * wanted.intervalMs, LONGEST_INTERVAL_MS);
  }

  /** The regular time, or sooner if something known is about to be forgotten. */
  #dueAt(wanted: Wanted): number {
    let due = wanted.askAt;
    const now = this.#host.clock.now();
    for (const { toldAt, expiresAt } of this.cache.find(wanted.name, wanted.type, now)) {
      const lifeMs = expiresAt - toldAt;
      const refresh = REFRESH_AT.map((part) => toldAt + part * lifeMs).find((at) => at > wanted.askedAt);
      if (refresh !== undefined && lifeMs > FIRST_INTERVAL_MS) due = Math.min(due, refresh);
    }
    return due;
  }

  #tell(): void {
    for (const { listeners } of [...this.#wanted]) for (const listener of [...listeners]) listener();
  }

  #arm(): void {
    let next = this.cache.nextExpiry;
    for (const wanted of this.#wanted) next = Math.min(next, this.#dueAt(wanted));
    this.#timer.arm(next);
  }
}
