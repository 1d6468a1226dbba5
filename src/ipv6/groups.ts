import { IpAddress } from '../address/index.ts';
import { get16, set16 } from '../bytes/index.ts';
import type { Ethernet } from '../ethernet/index.ts';
import { type Clock, type Random, randomFraction, type Timer, type TimerWheel } from '../time/index.ts';
import type { ControlOutput } from './control.ts';
import type { Ipv6Packet } from './packet.ts';
import {
  ALL_MLDV2_ROUTERS,
  ALL_NODES,
  ALL_ROUTERS,
  isLinkLocal,
  multicastMac,
  SCOPE_INTERFACE,
  scopeOf,
} from './scope.ts';

/** Multicast listener discovery (RFC 3810; version 1: RFC 2710). */
export const LISTENER_QUERY = 130;
const LISTENER_REPORT_V1 = 131;
const LISTENER_DONE_V1 = 132;
const LISTENER_REPORT_V2 = 143;

const MESSAGE_V1 = 24;
const REPORT_HEADER = 8;
const RECORD = 20;
const MODE_IS_EXCLUDE = 2;
const CHANGE_TO_INCLUDE = 3;
const CHANGE_TO_EXCLUDE = 4;

/** RFC 3810 §9.1, §9.11: changes are told twice, within a second. */
const ROBUSTNESS = 2;
const UNSOLICITED_INTERVAL_MS = 1000;
/** RFC 3810 §9.12: 2 × 125 s and the query response interval. */
const OLDER_QUERIER_MS = 260_000;
/** Records that fit a packet of 1280 bytes with its headers. */
const RECORDS = 60;

class Membership {
  readonly group: IpAddress;
  members = 0;
  /** How often the present state is still to be told, unasked. */
  changesLeft = 0;
  /** A router asked. */
  queried = false;

  constructor(group: IpAddress) {
    this.group = group.copy();
  }
}

export interface GroupCounters {
  mldInQueries: number;
  mldOutReports: number;
}

/** The multicast groups that we listen to, and how routers and switches hear of them. Any source is welcome. */
export class Groups {
  readonly counters: GroupCounters = { mldInQueries: 0, mldOutReports: 0 };
  readonly #ethernet: Ethernet;
  readonly #output: ControlOutput;
  readonly #clock: Clock;
  readonly #random: Random;
  readonly #source: () => IpAddress | null;
  readonly #memberships: Membership[] = [];
  readonly #changeTimer: Timer;
  readonly #queryTimer: Timer;
  #started = false;
  #olderQuerierUntil = Number.NEGATIVE_INFINITY;

  /** `source` is our link-local address, if we have one already. */
  constructor(
    ethernet: Ethernet,
    output: ControlOutput,
    clock: Clock,
    timers: TimerWheel,
    random: Random,
    source: () => IpAddress | null,
  ) {
    this.#ethernet = ethernet;
    this.#output = output;
    this.#clock = clock;
    this.#random = random;
    this.#source = source;
    this.#changeTimer = timers.timer(() => this.#reportChanges());
    this.#queryTimer = timers.timer(() => this.#reportQueried());
  }

  get size(): number {
    return this.#memberships.length;
  }

  /** Whether packets to `group` are ours. */
  has(group: IpAddress): boolean {
    const membership = this.#find(group);
    return membership !== null && membership.members > 0;
  }

  /** Begins to report after `delayMs`. */
  start(delayMs: number): void {
    this.#started = true;
    this.#changeTimer.arm(this.#clock.now() + delayMs);
  }

  /** Tells all groups once more: what came from `::` meant nothing to routers (RFC 3590 §4). */
  repeat(): void {
    for (const membership of this.#memberships) {
      if (isReported(membership.group)) membership.changesLeft = Math.max(membership.changesLeft, 1);
    }
    if (this.#started) this.#changeTimer.arm(this.#clock.now());
  }

  /** Listens to `group`, until {@link leave} was called as often. */
  join(group: IpAddress): void {
    let membership = this.#find(group);
    if (membership === null) {
      membership = new Membership(group);
      this.#memberships.push(membership);
    }
    if (membership.members++ > 0) return;
    this.#ethernet.join(multicastMac(group));
    this.#changed(membership);
  }

  leave(group: IpAddress): void {
    const membership = this.#find(group);
    if (membership === null || membership.members === 0 || --membership.members > 0) return;
    this.#ethernet.leave(multicastMac(group));
    this.#changed(membership);
  }

  /** Stops, and forgets all groups without a word. */
  close(): void {
    this.#started = false;
    this.#changeTimer.cancel();
    this.#queryTimer.cancel();
    for (const { group, members } of this.#memberships.splice(0)) {
      if (members > 0) this.#ethernet.leave(multicastMac(group));
    }
  }

  /** A query (RFC 3810 §5.1, §6.2); its checksum is good. */
  receiveQuery(packet: Ipv6Packet): void {
    const { bytes, start, end } = packet.frame;
    // RFC 3810 §5.1.14, §6.2.
    if (end - start < MESSAGE_V1 || packet.hopLimit !== 1 || !isLinkLocal(packet.source)) return;
    this.counters.mldInQueries++;
    const code = get16(bytes, start + 4);
    const isVersion1 = end - start < MESSAGE_V1 + 4;
    if (isVersion1) this.#olderQuerierUntil = this.#clock.now() + OLDER_QUERIER_MS;
    const group = new IpAddress().readIpv6(bytes, start + 8);
    let concerned = false;
    for (const membership of this.#memberships) {
      if (!isReported(membership.group) || membership.members === 0) continue;
      if (!group.isUnspecified && !group.equals(membership.group)) continue;
      membership.queried = true;
      concerned = true;
    }
    if (!concerned) return;
    const maxDelayMs = isVersion1 ? code : responseDelay(code);
    const at = this.#clock.now() + randomFraction(this.#random) * maxDelayMs;
    this.#queryTimer.arm(Math.min(at, this.#queryTimer.deadline));
  }

  #find(group: IpAddress): Membership | null {
    for (let i = 0; i < this.#memberships.length; i++) {
      if (this.#memberships[i]!.group.equals(group)) return this.#memberships[i]!;
    }
    return null;
  }

  #changed(membership: Membership): void {
    if (!isReported(membership.group)) {
      if (membership.members === 0) this.#drop(membership);
      return;
    }
    membership.changesLeft = ROBUSTNESS;
    // At the end of this turn, together with what else changes.
    if (this.#started) this.#changeTimer.arm(this.#clock.now());
  }

  #drop(membership: Membership): void {
    this.#memberships.splice(this.#memberships.indexOf(membership), 1);
  }

  #reportChanges(): void {
    const changed = this.#memberships.filter(({ changesLeft }) => changesLeft > 0);
    this.#report(changed, false);
    for (const membership of changed) {
      membership.changesLeft--;
      if (membership.changesLeft === 0 && membership.members === 0) this.#drop(membership);
    }
    if (changed.some(({ changesLeft }) => changesLeft > 0)) {
      this.#changeTimer.arm(this.#clock.now() + randomFraction(this.#random) * UNSOLICITED_INTERVAL_MS);
    }
  }

  #reportQueried(): void {
    const queried = this.#memberships.filter(({ queried }) => queried);
    for (const membership of queried) membership.queried = false;
    this.#report(queried, true);
  }

  #report(memberships: readonly Membership[], asked: boolean): void {
    // RFC 3810 §8.2.1: a router that speaks version 1 only is answered so.
    if (this.#clock.now() < this.#olderQuerierUntil) {
      for (const membership of memberships) this.#reportVersion1(membership);
      return;
    }
    for (let first = 0; first < memberships.length; first += RECORDS) {
      this.#reportVersion2(memberships.slice(first, first + RECORDS), asked);
    }
  }

  /** RFC 3810 §5.2. */
  #reportVersion2(memberships: readonly Membership[], asked: boolean): void {
    const frame = this.#output.reserve(REPORT_HEADER + memberships.length * RECORD, true);
    if (frame === null) return;
    const { bytes, start } = frame;
    bytes[start] = LISTENER_REPORT_V2;
    set16(bytes, start + 6, memberships.length);
    let at = start + REPORT_HEADER;
    for (const { group, members } of memberships) {
      bytes[at] = asked ? MODE_IS_EXCLUDE : members > 0 ? CHANGE_TO_EXCLUDE : CHANGE_TO_INCLUDE;
      group.writeIpv6(bytes, at + 4);
      at += RECORD;
    }
    this.#send(frame, ALL_MLDV2_ROUTERS);
  }

  /** RFC 2710 §3. */
  #reportVersion1({ group, members }: Membership): void {
    const frame = this.#output.reserve(MESSAGE_V1, true);
    if (frame === null) return;
    frame.bytes[frame.start] = members > 0 ? LISTENER_REPORT_V1 : LISTENER_DONE_V1;
    group.writeIpv6(frame.bytes, frame.start + 8);
    this.#send(frame, members > 0 ? group : ALL_ROUTERS);
  }

  #send(frame: Parameters<ControlOutput['commit']>[0], destination: IpAddress): void {
    // RFC 3590 §4: from `::` as long as there is no link-local address.
    const source = this.#source() ?? IpAddress.ANY_IPV6;
    this.#output.commit(frame, source, destination, multicastMac(destination), 1, true);
    this.counters.mldOutReports++;
  }
}

/** RFC 3810 §6: all but the group that everybody is in, and those that stay in the host. */
function isReported(group: IpAddress): boolean {
  return !group.equals(ALL_NODES) && scopeOf(group) > SCOPE_INTERFACE;
}

/** RFC 3810 §5.1.3: beyond 15 bits, a mantissa of twelve bits and an exponent of three. */
function responseDelay(code: number): number {
  if (code < 0x8000) return code;
  return ((code & 0xfff) | 0x1000) << (((code >>> 12) & 7) + 3);
}
