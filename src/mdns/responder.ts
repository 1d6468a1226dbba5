import { TokenBucket } from '../ethernet/index.ts';
import { type Clock, type Random, randomFraction, type Timer, type TimerWheel } from '../time/index.ts';
import {
  compareRecords,
  encodeQuery,
  encodeResponse,
  isSameRecord,
  isSameSet,
  type MdnsMessage,
  type MdnsQuestion,
  type MdnsRecord,
} from './message.ts';

/** RFC 6762 §8.1. */
const PROBES = 3;
const PROBE_INTERVAL_MS = 250;
/** §8.1: fifteen conflicts within ten seconds slow it down. */
const MANY_CONFLICTS = 15;
const CONFLICT_WINDOW_MS = 10_000;
const CONFLICT_PAUSE_MS = 5000;
/** §8.2: whoever loses waits. */
const TIE_PAUSE_MS = 1000;
/** §8.3. */
const ANNOUNCEMENTS = 2;
const ANNOUNCE_INTERVAL_MS = 1000;
/** §6: what others may have to say too is said after a random while. */
const SHARED_DELAY_MS = [20, 120] as const;
/** §7.2: more known answers come within this time. */
const TRUNCATED_DELAY_MS = [400, 500] as const;
/** §6: a record is told to all once a second at most; to one who probes, four times. */
const REPEAT_MS = 1000;
const PROBED_REPEAT_MS = 250;
/** Answers to strangers' questions, whoever they are. */
const ANSWERS_PER_SECOND = 100;
const BURST = 100;
/** Questions whose answers wait. */
const MAX_PENDING = 64;
const MDNS_PORT = 5353;

/** Where a message came from. */
export interface MdnsSender {
  readonly address: string;
  readonly port: number;
}

export interface ResponderHost {
  readonly clock: Clock;
  readonly timers: TimerWheel;
  readonly random: Random;
  /** To all, or to one. */
  send(message: Uint8Array, to?: MdnsSender): void;
  /** The records that are to be told, under the names that we have now; unique ones are probed for first. */
  records(): readonly MdnsRecord[];
  /** `name` is another's: the next `records` have another one. */
  rename(name: string): void;
  /** The names are ours. */
  established(): void;
}

interface Pending {
  readonly from: MdnsSender;
  readonly questions: MdnsQuestion[];
  readonly known: MdnsRecord[];
  readonly at: number;
}

export type ResponderState = 'stopped' | 'probing' | 'announcing' | 'ready';

/** Tells others our names: probes for them, announces, answers, defends, and takes its leave (RFC 6762 §6, §8 to §10). */
export class Responder {
  state: ResponderState = 'stopped';
  readonly counters = { probes: 0, announcements: 0, queries: 0, answers: 0, limited: 0, conflicts: 0 };
  readonly #host: ResponderHost;
  readonly #timer: Timer;
  readonly #answerTimer: Timer;
  readonly #bucket = new TokenBucket(ANSWERS_PER_SECOND, BURST);
  /** Records as they were last told, and when to all. */
  #told: { readonly record: MdnsRecord; readonly at: number }[] = [];
  #pending: Pending[] = [];
  #left = 0;
  #conflictTimes: number[] = [];

  constructor(host: ResponderHost) {
    this.#host = host;
    this.#timer = host.timers.timer(() => this.#step());
    this.#answerTimer = host.timers.timer(() => this.#answerDue());
  }

  /** Probes for the names, then announces them. */
  start(delayMs = 0): void {
    this.state = 'probing';
    this.#left = PROBES;
    // §8.1: so that hosts that start together do not probe together.
    const random = randomFraction(this.#host.random) * PROBE_INTERVAL_MS;
    this.#timer.arm(this.#now + delayMs + random);
  }

  /** Our addresses changed: what is no longer true is taken back, the rest told anew (§8.4). */
  update(): void {
    if (this.state === 'stopped') return;
    const records = this.#host.records();
    const isTold = (name: string): boolean => this.#told.some(({ record }) => record.name === name);
    // A name that we have not had is asked for first; the name of an address is its owner's.
    if (records.some(({ name, unique }) => unique && !name.endsWith('.arpa') && !isTold(name))) {
      if (this.state !== 'probing') this.start();
      return;
    }
    if (this.state === 'probing') return;
    const gone = this.#told.filter(({ record }) => !records.some((own) => isSameRecord(own, record)));
    // What is unique is replaced by its successor; what has none is taken back.
    this.#goodbye(
      gone.map(({ record }) => record).filter((record) => !records.some((own) => isSameSet(own, record))),
    );
    const isNew = records.some((own) => !this.#told.some(({ record }) => isSameRecord(own, record)));
    if (isNew || gone.length > 0) this.#announceAll();
  }

  /** §10.1: takes everything back. */
  stop(): void {
    const wasTold = this.state === 'announcing' || this.state === 'ready';
    this.state = 'stopped';
    this.#timer.cancel();
    this.#answerTimer.cancel();
    this.#pending = [];
    if (wasTold) this.#goodbye(this.#told.map(({ record }) => record));
    this.#told = [];
  }

  /** A question that came by the link. */
  query(message: MdnsMessage, from: MdnsSender): void {
    if (this.state === 'stopped') return;
    this.counters.queries++;
    if (this.state === 'probing') {
      this.#compare(message);
      return;
    }
    const now = this.#now;
    // §7.2: known answers that follow a truncated question.
    if (message.questions.length === 0) {
      const pending = this.#pending.find((each) => each.from.address === from.address);
      pending?.known.push(...message.answers);
      return;
    }
    const answers = this.#answersTo(message.questions, message.answers);
    if (answers.length === 0) return;
    if (!this.#bucket.take(now) || this.#pending.length >= MAX_PENDING) {
      this.counters.limited++;
      return;
    }
    if (from.port !== MDNS_PORT) {
      this.#answerLegacy(message, from, answers);
      return;
    }
    const isProbe = message.authorities.length > 0;
    const shared = answers.some(({ unique }) => !unique);
    // §6: who probes must hear it in time, and what is ours alone nobody else will say.
    const [least, most] = message.truncated
      ? TRUNCATED_DELAY_MS
      : shared && !isProbe
        ? SHARED_DELAY_MS
        : [0, 0];
    const at = now + least + randomFraction(this.#host.random) * (most - least);
    const { questions } = message;
    this.#pending.push({ from, questions: [...questions], known: [...message.answers], at });
    if (at <= now) this.#answerDue();
    else this.#armAnswers();
  }

  /** A response that came by the link: others may answer for us, or against us (§9). */
  hear(message: MdnsMessage): void {
    if (this.state === 'stopped') return;
    const theirs = [...message.answers, ...message.additionals];
    const own = this.#host.records().filter(({ unique }) => unique);
    for (const record of theirs) {
      const set = own.filter((each) => isSameSet(each, record));
      // §9: the same data is no conflict; neither is what we have no record of.
      if (set.length === 0 || set.some((each) => isSameRecord(each, record))) continue;
      if (record.ttl === 0) continue;
      this.#conflict(record.name);
      return;
    }
    // While we probe, any record of the name says that it is taken (§8.1).
    if (this.state !== 'probing') return;
    const taken = theirs.find(
      (record) => record.ttl > 0 && own.some(({ name }) => name.toLowerCase() === record.name),
    );
    if (taken !== undefined && !own.some((each) => isSameRecord(each, taken))) this.#conflict(taken.name);
  }

  get #now(): number {
    return this.#host.clock.now();
  }

  #step(): void {
    if (this.state === 'probing') this.#probe();
    else if (this.state === 'announcing') this.#announce();
  }

  #probe(): void {
    const own = this.#host.records().filter(({ unique }) => unique);
    if (this.#left === 0 || own.length === 0) {
      this.#host.established();
      this.#announceAll();
      return;
    }
    this.#left--;
    this.counters.probes++;
    const names = [...new Set(own.map(({ name }) => name))];
    // §8.1, §5.4: answers to us alone will do.
    const questions = names.map((name) => ({ name, type: 'ANY', unicast: true }) as const);
    this.#host.send(encodeQuery({ questions, authorities: own }));
    this.#timer.arm(this.#now + PROBE_INTERVAL_MS);
  }

  /** §8.2: another probes for the same name at the same time; the later record set wins. */
  #compare(message: MdnsMessage): void {
    const own = this.#host.records().filter(({ unique }) => unique);
    for (const name of new Set(message.questions.map((question) => question.name))) {
      const ours = own.filter((record) => record.name.toLowerCase() === name).sort(compareRecords);
      const theirs = message.authorities.filter((record) => record.name === name).sort(compareRecords);
      if (ours.length === 0 || theirs.length === 0) continue;
      if (isLater(theirs, ours)) {
        this.#left = PROBES;
        this.#timer.arm(this.#now + TIE_PAUSE_MS);
        return;
      }
    }
  }

  #announceAll(): void {
    this.state = 'announcing';
    this.#left = ANNOUNCEMENTS;
    this.#announce();
  }

  #announce(): void {
    this.counters.announcements++;
    this.#tell(this.#host.records());
    if (--this.#left > 0) this.#timer.arm(this.#now + ANNOUNCE_INTERVAL_MS);
    else this.state = 'ready';
  }

  #conflict(name: string): void {
    const now = this.#now;
    this.counters.conflicts++;
    this.#conflictTimes = [...this.#conflictTimes, now].filter((at) => now - at < CONFLICT_WINDOW_MS);
    // §9: one that we had is asked for again, and is ours if the other gives way; one that we only wanted is another's.
    if (this.state === 'probing') this.#host.rename(name);
    this.start(this.#conflictTimes.length >= MANY_CONFLICTS ? CONFLICT_PAUSE_MS : 0);
  }

  /** What we have to say to `questions`, without what is known already (§7.1). */
  #answersTo(questions: readonly MdnsQuestion[], known: readonly MdnsRecord[]): MdnsRecord[] {
    return this.#host.records().filter((record) => {
      const asked = questions.some(
        ({ name, type }) => name === record.name.toLowerCase() && (type === 'ANY' || type === record.type),
      );
      return asked && !known.some((other) => isSameRecord(other, record) && other.ttl * 2 >= record.ttl);
    });
  }

  #armAnswers(): void {
    let next = Number.POSITIVE_INFINITY;
    for (const { at } of this.#pending) next = Math.min(next, at);
    this.#answerTimer.arm(next);
  }

  #answerDue(): void {
    const now = this.#now;
    const due = this.#pending.filter(({ at }) => at <= now);
    this.#pending = this.#pending.filter(({ at }) => at > now);
    this.#armAnswers();
    const toAll: MdnsRecord[] = [];
    let probed = false;
    for (const { from, questions, known } of due) {
      const alone = questions.filter(({ unicast }) => unicast);
      const answers = this.#answersTo(questions, known);
      // §5.4: to one alone, unless all have not heard of it for long.
      const toOne = this.#answersTo(alone, known).filter((record) => this.#wasToldLately(record, now));
      if (toOne.length > 0) this.#sendAnswers(toOne, from);
      toAll.push(...answers.filter((record) => !toOne.some((other) => isSameRecord(other, record))));
      probed ||= questions.some(({ type, unicast }) => type === 'ANY' && unicast);
    }
    const repeatMs = probed ? PROBED_REPEAT_MS : REPEAT_MS;
    const fresh = toAll.filter(
      (record, i) =>
        toAll.findIndex((other) => isSameRecord(other, record)) === i &&
        now - this.#toldAt(record) >= repeatMs,
    );
    if (fresh.length > 0) this.#sendAnswers(fresh);
  }

  /** §6.7: who asks from another port is no multicast DNS host, and is answered as a DNS server would. */
  #answerLegacy(message: MdnsMessage, from: MdnsSender, answers: readonly MdnsRecord[]): void {
    this.counters.answers++;
    const { id, questions } = message;
    this.#host.send(encodeResponse({ id, questions, answers, legacy: true }), from);
  }

  #sendAnswers(answers: readonly MdnsRecord[], to?: MdnsSender): void {
    this.counters.answers++;
    const additionals = this.#additionals(answers);
    this.#host.send(encodeResponse({ answers, additionals }), to);
    if (to === undefined) this.#remember(answers);
  }

  /** RFC 6763 §12: what who asked this will ask next. */
  #additionals(answers: readonly MdnsRecord[]): MdnsRecord[] {
    const all = this.#host.records();
    const names = new Set<string>();
    const follow = (record: MdnsRecord): void => {
      if (record.type === 'PTR') names.add(record.data.toLowerCase());
      if (record.type === 'SRV') names.add(record.data.target.toLowerCase());
      if (record.type === 'A' || record.type === 'AAAA') names.add(record.name.toLowerCase());
    };
    for (const record of answers) follow(record);
    for (const record of all) if (names.has(record.name.toLowerCase())) follow(record);
    return all.filter(
      (record) =>
        names.has(record.name.toLowerCase()) && !answers.some((other) => isSameRecord(other, record)),
    );
  }

  #tell(records: readonly MdnsRecord[]): void {
    if (records.length === 0) return;
    this.#host.send(encodeResponse({ answers: records }));
    this.#remember(records);
  }

  #goodbye(records: readonly MdnsRecord[]): void {
    if (records.length > 0) {
      this.#host.send(encodeResponse({ answers: records.map((record) => ({ ...record, ttl: 0 })) }));
    }
    this.#told = this.#told.filter(({ record }) => !records.some((other) => isSameRecord(other, record)));
  }

  #remember(records: readonly MdnsRecord[]): void {
    const at = this.#now;
    this.#told = this.#told.filter(({ record }) => !records.some((other) => isSameRecord(other, record)));
    this.#told.push(...records.map((record) => ({ record, at })));
  }

  #toldAt(record: MdnsRecord): number {
    return this.#told.find((told) => isSameRecord(told.record, record))?.at ?? Number.NEGATIVE_INFINITY;
  }

  /** §5.4: within a quarter of its time. */
  #wasToldLately(record: MdnsRecord, now: number): boolean {
    return now - this.#toldAt(record) < (record.ttl * 1000) / 4;
  }
}

/** Whether the sorted set `a` comes after `b`. */
function isLater(a: readonly MdnsRecord[], b: readonly MdnsRecord[]): boolean {
  for (let i = 0; i < Math.min(a.length, b.length); i++) {
    const order = compareRecords(a[i]!, b[i]!);
    if (order !== 0) return order > 0;
  }
  return a.length > b.length;
}
