import type { IpAddress, MacAddress } from '../address/index.ts';
import { NetError } from '../errors.ts';
import { type Ethernet, TokenBucket } from '../ethernet/index.ts';
import { type Clock, type Random, randomFraction, type Timer, type TimerWheel } from '../time/index.ts';
import {
  ALLOW_NEW_SOURCES,
  CHANGE_TO_EXCLUDE,
  CHANGE_TO_INCLUDE,
  Group,
  type GroupRecord,
  MODE_IS_EXCLUDE,
} from './group.ts';
import { EVERYBODY, type SourceFilter } from './source-filter.ts';

/** Versions of the protocol, by age: IGMP 3, 2, 1; MLD 2, 1. */
export const CURRENT = 0;
export const PREVIOUS = 1;
export const FIRST = 2;
export type GroupVersion = typeof CURRENT | typeof PREVIOUS | typeof FIRST;

/** RFC 3376 §8.1, §8.2, §8.11 and RFC 3810 §9.1, §9.2, §9.11; routers say otherwise. */
const ROBUSTNESS = 2;
const QUERY_INTERVAL_MS = 125_000;
const UNSOLICITED_INTERVAL_MS = 1000;
/** RFC 2236 §8.10, RFC 2710 §7.10. */
const OLDER_UNSOLICITED_INTERVAL_MS = 10_000;
/** What a router may ask for: RFC 3376 §8.1 has three bits. */
const MAX_ROBUSTNESS = 7;
/** Of one filter, as Linux's `mld_max_msf`. */
const MAX_SOURCES = 64;
/** Of sockets. */
const MAX_GROUPS = 256;
/** Queries that are looked at: a querier sends some per minute. */
const QUERIES_PER_SECOND = 20;
const QUERY_BURST = 40;

/** What a query asks. */
export interface GroupQuery {
  readonly version: GroupVersion;
  /** Null for a general query. */
  readonly group: IpAddress | null;
  readonly sources: readonly IpAddress[];
  readonly maxResponseMs: number;
  /** The querier's robustness variable and query interval; 0 where it does not say. */
  readonly robustness: number;
  readonly intervalMs: number;
}

/** IGMP or MLD: the messages. */
export interface GroupProtocol {
  /** Bytes of records in one report at present, and of a record without sources and per source. */
  readonly room: number;
  readonly recordBytes: number;
  readonly sourceBytes: number;
  multicastMac(group: IpAddress): MacAddress;
  /** Whether routers hear of it: not of the group that all are in. */
  isReported(group: IpAddress): boolean;
  report(records: readonly GroupRecord[]): void;
  /** One group, in the words of an older version; `member` false where it is left. */
  reportOlder(group: IpAddress, member: boolean, version: GroupVersion): void;
}

/** A socket's part in a group. */
export interface GroupSubscription {
  /** In place of the filter before. Throws `ENOBUFS` for too many sources. */
  filter: SourceFilter;
  /** Idempotent. */
  close(): void;
}

export interface MembershipCounters {
  inQueries: number;
  /** Queries not looked at: too many per second. */
  inLimited: number;
  outReports: number;
}

/**
 * The multicast groups that an interface listens to, and how routers and
 * switches hear of them: the host's half of IGMPv3 and MLDv2, which are one
 * protocol in two clothes (RFC 3376 §3 and §5, RFC 3810 §4 and §6), and of the
 * versions before it where a router speaks no other (RFC 3376 §7.2).
 */
export class Memberships {
  readonly counters: MembershipCounters = { inQueries: 0, inLimited: 0, outReports: 0 };
  readonly #protocol: GroupProtocol;
  readonly #ethernet: Ethernet;
  readonly #clock: Clock;
  readonly #random: Random;
  readonly #groups: Group[] = [];
  readonly #changeTimer: Timer;
  readonly #answerTimer: Timer;
  readonly #bucket = new TokenBucket(QUERIES_PER_SECOND, QUERY_BURST);
  #started = false;
  #robustness = ROBUSTNESS;
  #queryIntervalMs = QUERY_INTERVAL_MS;
  /** When a general query is to be answered. */
  #generalAt = Number.POSITIVE_INFINITY;
  #firstUntil = Number.NEGATIVE_INFINITY;
  #previousUntil = Number.NEGATIVE_INFINITY;
  #lastVersion: GroupVersion = CURRENT;
  #subscriptions = 0;

  constructor(protocol: GroupProtocol, ethernet: Ethernet, clock: Clock, timers: TimerWheel, random: Random) {
    this.#protocol = protocol;
    this.#ethernet = ethernet;
    this.#clock = clock;
    this.#random = random;
    this.#changeTimer = timers.timer(() => this.#reportChanges());
    this.#answerTimer = timers.timer(() => this.#answer());
  }

  get size(): number {
    return this.#groups.length;
  }

  /** Of the routers that are there. */
  get version(): GroupVersion {
    const now = this.#clock.now();
    if (now < this.#firstUntil) return FIRST;
    return now < this.#previousUntil ? PREVIOUS : CURRENT;
  }

  /** Whether packets to `group` are taken, from one sender or another. */
  has(group: IpAddress): boolean {
    return this.#find(group)?.isWanted === true;
  }

  /** Begins to report after `delayMs`. */
  start(delayMs: number): void {
    this.#started = true;
    if (this.#groups.some((group) => group.hasChanges)) this.#changeTimer.arm(this.#clock.now() + delayMs);
  }

  /** Tells all groups once more: our address has changed. */
  repeat(): void {
    for (const group of this.#groups) if (this.#protocol.isReported(group.address)) group.repeat();
    this.#armChanges();
  }

  /** Takes what everybody sends to `group`, until {@link leave} was called as often. */
  join(group: IpAddress): void {
    const entry = this.#obtain(group);
    entry.members++;
    if (entry.members === 1) this.#merge(entry);
  }

  leave(group: IpAddress): void {
    const entry = this.#find(group);
    if (entry === null || entry.members === 0 || --entry.members > 0) return;
    this.#merge(entry);
  }

  /** A socket wants `group`, from everybody at first. Throws `ENOBUFS` where too many groups are wanted. */
  subscribe(group: IpAddress): GroupSubscription {
    if (this.#subscriptions >= MAX_GROUPS) {
      throw new NetError('ENOBUFS', {
        syscall: 'addMembership',
        address: `${group}`,
        reason: `${MAX_GROUPS} memberships at most`,
      });
    }
    this.#subscriptions++;
    const entry = this.#obtain(group);
    let filter: SourceFilter | null = null;
    const replace = (next: SourceFilter | null): void => {
      if (filter !== null) entry.filters.splice(entry.filters.indexOf(filter), 1);
      // A copy, which no other socket's filter is identical with.
      filter = next === null ? null : { ...next };
      if (filter !== null) entry.filters.push(filter);
      this.#merge(entry);
    };
    replace(EVERYBODY);
    return {
      get filter() {
        return filter ?? EVERYBODY;
      },
      set filter(next: SourceFilter) {
        if (next.sources.length > MAX_SOURCES) {
          throw new NetError('ENOBUFS', {
            syscall: 'setSourceFilter',
            address: `${group}`,
            reason: `${MAX_SOURCES} sources at most`,
          });
        }
        if (filter !== null) replace(next);
      },
      close: () => {
        if (filter === null) return;
        this.#subscriptions--;
        replace(null);
      },
    };
  }

  /** A sound query from a router (RFC 3376 §5.2, RFC 3810 §6.2). */
  query(query: GroupQuery): void {
    const now = this.#clock.now();
    this.counters.inQueries++;
    if (!this.#bucket.take(now)) {
      this.counters.inLimited++;
      return;
    }
    this.#hearVersion(query);
    const at = now + randomFraction(this.#random) * query.maxResponseMs;
    // Rule 1: what comes sooner answers this too.
    if (this.#generalAt <= at) return;
    if (query.group === null && this.version !== CURRENT) {
      this.#askEach(query.maxResponseMs);
    } else if (query.group === null) {
      this.#generalAt = at;
    } else {
      const group = this.#find(query.group);
      if (group?.isWanted !== true || !this.#protocol.isReported(group.address)) return;
      group.ask(query.sources, at, MAX_SOURCES);
    }
    this.#armAnswers();
  }

  /** Another host reports `group` in the words of an older version: once is enough there (RFC 2236 §3). */
  heardReport(group: IpAddress): void {
    if (this.version === CURRENT) return;
    const entry = this.#find(group);
    if (entry === null) return;
    entry.answerAt = Number.POSITIVE_INFINITY;
    this.#armAnswers();
  }

  /** Stops, and forgets all groups without a word. */
  close(): void {
    this.#started = false;
    this.#changeTimer.cancel();
    this.#answerTimer.cancel();
    for (const group of this.#groups.splice(0)) {
      if (group.isWanted) this.#ethernet.leave(this.#protocol.multicastMac(group.address));
    }
  }

  #find(address: IpAddress): Group | null {
    for (let i = 0; i < this.#groups.length; i++) {
      if (this.#groups[i]!.address.equals(address)) return this.#groups[i]!;
    }
    return null;
  }

  #obtain(address: IpAddress): Group {
    const known = this.#find(address);
    if (known !== null) return known;
    const group = new Group(address);
    this.#groups.push(group);
    return group;
  }

  #merge(group: Group): void {
    // What was closed has been forgotten.
    if (!this.#groups.includes(group)) return;
    const before = group.isWanted;
    group.merge(this.#robustness);
    if (before !== group.isWanted) {
      const mac = this.#protocol.multicastMac(group.address);
      if (before) this.#ethernet.leave(mac);
      else this.#ethernet.join(mac);
    }
    if (!this.#protocol.isReported(group.address)) group.silence();
    this.#dropIfDone(group);
    this.#armChanges();
  }

  #dropIfDone(group: Group): void {
    if (group.isWanted || group.hasChanges) return;
    if (group.filters.length > 0) return;
    this.#groups.splice(this.#groups.indexOf(group), 1);
  }

  /** At the end of this turn, together with what else changes. */
  #armChanges(): void {
    if (this.#started && this.#groups.some((group) => group.hasChanges)) {
      this.#changeTimer.arm(this.#clock.now());
    }
  }

  /** RFC 3376 §7.2.1, §8.12: an older querier is believed to be there for a while. */
  #hearVersion({ version, maxResponseMs, robustness, intervalMs }: GroupQuery): void {
    if (version === CURRENT) {
      if (robustness > 0) this.#robustness = Math.min(robustness, MAX_ROBUSTNESS);
      if (intervalMs > 0) this.#queryIntervalMs = intervalMs;
    } else {
      const until =
        this.#clock.now() + this.#robustness * this.#queryIntervalMs + Math.max(maxResponseMs, 10_000);
      if (version === FIRST) this.#firstUntil = until;
      else this.#previousUntil = until;
    }
    const present = this.version;
    if (present === this.#lastVersion) return;
    this.#lastVersion = present;
    this.#generalAt = Number.POSITIVE_INFINITY;
    for (const group of [...this.#groups]) {
      group.silence();
      this.#dropIfDone(group);
    }
    this.#changeTimer.cancel();
  }

  #reportChanges(): void {
    const { version } = this;
    const changed = this.#groups.filter((group) => group.hasChanges);
    if (version === CURRENT) {
      this.#send(changed.flatMap((group) => group.takeChanges()));
    } else {
      for (const group of changed) {
        const member = group.isWanted;
        if (member) group.takeChange();
        else group.silence();
        // Version 1 knows no leaving (RFC 1112).
        if (member || version !== FIRST) this.#sendOlder(group, member, version);
      }
    }
    for (const group of changed) this.#dropIfDone(group);
    if (!this.#groups.some((group) => group.hasChanges)) return;
    const intervalMs = version === CURRENT ? UNSOLICITED_INTERVAL_MS : OLDER_UNSOLICITED_INTERVAL_MS;
    this.#changeTimer.arm(this.#clock.now() + randomFraction(this.#random) * intervalMs);
  }

  #armAnswers(): void {
    let next = this.#generalAt;
    for (const { answerAt } of this.#groups) next = Math.min(next, answerAt);
    this.#answerTimer.arm(next);
  }

  #answer(): void {
    const now = this.#clock.now();
    const { version } = this;
    const isGeneral = this.#generalAt <= now;
    if (isGeneral) this.#generalAt = Number.POSITIVE_INFINITY;
    const records: GroupRecord[] = [];
    for (const group of this.#groups) {
      if (!isGeneral && group.answerAt > now) continue;
      const answer = group.takeAnswer();
      if (!group.isWanted || !this.#protocol.isReported(group.address)) continue;
      const record = isGeneral ? group.state() : answer;
      if (version !== CURRENT) this.#sendOlder(group, true, version);
      else if (record !== null) records.push(record);
    }
    this.#send(records);
    this.#armAnswers();
  }

  /** RFC 2236 §3, RFC 2710 §4: in the older versions each group has a time of its own. */
  #askEach(maxResponseMs: number): void {
    for (const group of this.#groups) {
      if (!group.isWanted || !this.#protocol.isReported(group.address)) continue;
      group.ask([], this.#clock.now() + randomFraction(this.#random) * maxResponseMs, MAX_SOURCES);
    }
  }

  #sendOlder(group: Group, member: boolean, version: GroupVersion): void {
    this.#protocol.reportOlder(group.address, member, version);
    this.counters.outReports++;
  }

  /** In as many reports as it takes. */
  #send(records: readonly GroupRecord[]): void {
    const { room, recordBytes, sourceBytes } = this.#protocol;
    const most = Math.floor((room - recordBytes) / sourceBytes);
    let message: GroupRecord[] = [];
    let used = 0;
    const flush = (): void => {
      if (message.length === 0) return;
      this.#protocol.report(message);
      this.counters.outReports++;
      message = [];
      used = 0;
    };
    for (const record of records.flatMap((each) => split(each, most))) {
      const bytes = recordBytes + record.sources.length * sourceBytes;
      if (used + bytes > room) flush();
      message.push(record);
      used += bytes;
    }
    flush();
  }
}

/** RFC 3376 §4.2.16: a list of those that are wanted goes in parts; of one that excludes, what does not fit is left out. */
function split(record: GroupRecord, most: number): GroupRecord[] {
  const { kind, sources } = record;
  if (sources.length <= most) return [record];
  const parts = [{ ...record, sources: sources.slice(0, most) }];
  if (kind === MODE_IS_EXCLUDE || kind === CHANGE_TO_EXCLUDE) return parts;
  // A second change of mode would take the first one's sources back.
  const more = kind === CHANGE_TO_INCLUDE ? ALLOW_NEW_SOURCES : kind;
  for (let at = most; at < sources.length; at += most) {
    parts.push({ ...record, kind: more, sources: sources.slice(at, at + most) });
  }
  return parts;
}

/** RFC 3376 §4.1.1, §4.1.7: beyond seven bits, a mantissa of four bits and an exponent of three. */
export function floatingCode(code: number): number {
  return code < 0x80 ? code : ((code & 0xf) | 0x10) << (((code >>> 4) & 7) + 3);
}
