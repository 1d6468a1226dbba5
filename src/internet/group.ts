import type { IpAddress } from '../address/index.ts';
import {
  both,
  EVERYBODY,
  isNobody,
  mergeFilters,
  NOBODY,
  type SourceFilter,
  without,
} from './source-filter.ts';

/** Kinds of record, the same in IGMPv3 and MLDv2 (RFC 3376 §4.2.12, RFC 3810 §5.2.12). */
export const MODE_IS_INCLUDE = 1;
export const MODE_IS_EXCLUDE = 2;
export const CHANGE_TO_INCLUDE = 3;
export const CHANGE_TO_EXCLUDE = 4;
export const ALLOW_NEW_SOURCES = 5;
export const BLOCK_OLD_SOURCES = 6;

/** What a report says of one group. */
export interface GroupRecord {
  readonly kind: number;
  readonly group: IpAddress;
  readonly sources: readonly IpAddress[];
}

/** A source that was allowed or blocked, and how often that is still to be told. */
interface Change {
  readonly source: IpAddress;
  left: number;
}

/** One multicast group of an interface: who wants what of it, and what is still to be said about that. */
export class Group {
  readonly address: IpAddress;
  /** What the interface takes. */
  filter: SourceFilter = NOBODY;
  /** The filters of sockets, and how often the host itself wants the group. */
  readonly filters: SourceFilter[] = [];
  members = 0;
  /** When a query about this group is to be answered; `Infinity` for never. */
  answerAt = Number.POSITIVE_INFINITY;
  /** Sources that were asked about; none where the group as a whole was. */
  #asked: IpAddress[] = [];
  #modeChangesLeft = 0;
  #changes: Change[] = [];

  constructor(address: IpAddress) {
    this.address = address.copy();
  }

  get isWanted(): boolean {
    return !isNobody(this.filter);
  }

  get hasChanges(): boolean {
    return this.#modeChangesLeft > 0 || this.#changes.length > 0;
  }

  /** Takes what all who want the group want together; changes are to be told `times` times. */
  merge(times: number): void {
    const old = this.filter;
    this.filter = mergeFilters(this.members > 0 ? [EVERYBODY, ...this.filters] : this.filters);
    // RFC 3376 §5.1.
    if (old.mode !== this.filter.mode) {
      this.#modeChangesLeft = times;
      this.#changes = [];
      return;
    }
    const changed = [
      ...without(old.sources, this.filter.sources),
      ...without(this.filter.sources, old.sources),
    ];
    for (const source of changed) this.#tell(source, times);
  }

  /** Has the present state told once more. */
  repeat(): void {
    if (this.filter.mode === 'exclude') this.#modeChangesLeft = Math.max(this.#modeChangesLeft, 1);
    else for (const source of this.filter.sources) this.#tell(source, 1);
  }

  /** RFC 3376 §5.1: a change of mode goes with the whole list; only then sources are told apart. */
  takeChanges(): GroupRecord[] {
    const { address: group, filter } = this;
    const told = this.#changes.map(({ source }) => source);
    for (const change of this.#changes) change.left--;
    this.#changes = this.#changes.filter(({ left }) => left > 0);
    if (this.#modeChangesLeft > 0) {
      this.#modeChangesLeft--;
      const kind = filter.mode === 'include' ? CHANGE_TO_INCLUDE : CHANGE_TO_EXCLUDE;
      return [{ kind, group, sources: filter.sources }];
    }
    const listed = both(told, filter.sources);
    const others = without(told, filter.sources);
    const [allowed, blocked] = filter.mode === 'include' ? [listed, others] : [others, listed];
    return [
      { kind: ALLOW_NEW_SOURCES, group, sources: allowed },
      { kind: BLOCK_OLD_SOURCES, group, sources: blocked },
    ].filter(({ sources }) => sources.length > 0);
  }

  /** As {@link takeChanges}, where the version knows but being a member. */
  takeChange(): void {
    for (const change of this.#changes) change.left--;
    this.#changes = this.#changes.filter(({ left }) => left > 0);
    this.#modeChangesLeft = Math.max(0, this.#modeChangesLeft - 1);
  }

  /** A router asks about this group, or about `sources` of it (RFC 3376 §5.2, rules 3 to 5). */
  ask(sources: readonly IpAddress[], at: number, most: number): void {
    const isPending = this.answerAt !== Number.POSITIVE_INFINITY;
    const wholeGroup = sources.length === 0 || (isPending && this.#asked.length === 0);
    const asked = isPending ? [...this.#asked, ...without(sources, this.#asked)] : [...sources];
    // More sources than anybody has are answered as a question about all of them.
    this.#asked = wholeGroup || asked.length > most ? [] : asked;
    this.answerAt = Math.min(this.answerAt, at);
  }

  /** The answer to what was asked; null where there is nothing to say. */
  takeAnswer(): GroupRecord | null {
    const asked = this.#asked;
    this.#asked = [];
    this.answerAt = Number.POSITIVE_INFINITY;
    if (asked.length === 0) return this.state();
    const { address: group, filter } = this;
    const wanted = filter.mode === 'include' ? both(filter.sources, asked) : without(asked, filter.sources);
    return wanted.length === 0 ? null : { kind: MODE_IS_INCLUDE, group, sources: wanted };
  }

  /** Null if nothing of the group is wanted. */
  state(): GroupRecord | null {
    if (!this.isWanted) return null;
    const { mode, sources } = this.filter;
    return { kind: mode === 'include' ? MODE_IS_INCLUDE : MODE_IS_EXCLUDE, group: this.address, sources };
  }

  /** Nothing is to be said any more. */
  silence(): void {
    this.answerAt = Number.POSITIVE_INFINITY;
    this.#asked = [];
    this.#modeChangesLeft = 0;
    this.#changes = [];
  }

  #tell(source: IpAddress, times: number): void {
    const known = this.#changes.find((change) => change.source.equals(source));
    if (known === undefined) this.#changes.push({ source, left: times });
    else known.left = Math.max(known.left, times);
  }
}
