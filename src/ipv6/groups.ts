import { IpAddress, type MacAddress } from '../address/index.ts';
import type { Ethernet } from '../ethernet/index.ts';
import {
  CURRENT,
  floatingCode,
  type GroupProtocol,
  type GroupRecord,
  type GroupSubscription,
  Memberships,
  PREVIOUS,
} from '../internet/index.ts';
import type { Clock, Random, TimerWheel } from '../time/index.ts';
import type { ControlOutput } from './control.ts';
import * as wire from './mld-wire.ts';
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
import { HEADER, MIN_MTU } from './wire.ts';

/** Of the hop-by-hop header with the router alert. */
const ALERT = 8;

export interface GroupCounters {
  mldInQueries: number;
  mldInReports: number;
  /** Queries not looked at: too many per second. */
  mldInLimited: number;
  /** Queries that are malformed, or not from a router on the link. */
  mldInErrors: number;
  mldOutReports: number;
}

/** The multicast groups that we listen to over IPv6 (RFC 3810; version 1: RFC 2710). */
export class Groups implements GroupProtocol {
  /** Records of a packet of 1280 bytes, whatever the link's MTU. */
  readonly room = MIN_MTU - HEADER - ALERT - wire.REPORT_HEADER;
  readonly recordBytes = wire.RECORD;
  readonly sourceBytes = wire.SOURCE;
  readonly #memberships: Memberships;
  readonly #output: ControlOutput;
  readonly #source: () => IpAddress | null;
  #inReports = 0;
  #inErrors = 0;

  /** `source` is our link-local address, if we have one already. */
  constructor(
    ethernet: Ethernet,
    output: ControlOutput,
    clock: Clock,
    timers: TimerWheel,
    random: Random,
    source: () => IpAddress | null,
  ) {
    this.#output = output;
    this.#source = source;
    this.#memberships = new Memberships(this, ethernet, clock, timers, random);
  }

  get counters(): GroupCounters {
    const { inQueries, inLimited, outReports } = this.#memberships.counters;
    return {
      mldInQueries: inQueries,
      mldInReports: this.#inReports,
      mldInLimited: inLimited,
      mldInErrors: this.#inErrors,
      mldOutReports: outReports,
    };
  }

  get size(): number {
    return this.#memberships.size;
  }

  /** Whether packets to `group` are ours. */
  has(group: IpAddress): boolean {
    return this.#memberships.has(group);
  }

  /** Begins to report after `delayMs`. */
  start(delayMs: number): void {
    this.#memberships.start(delayMs);
  }

  /** Tells all groups once more: what came from `::` meant nothing to routers (RFC 3590 §4). */
  repeat(): void {
    this.#memberships.repeat();
  }

  /** Listens to `group`, until {@link leave} was called as often. */
  join(group: IpAddress): void {
    this.#memberships.join(group);
  }

  leave(group: IpAddress): void {
    this.#memberships.leave(group);
  }

  /** For a socket. Throws `ENOBUFS`. */
  subscribe(group: IpAddress): GroupSubscription {
    return this.#memberships.subscribe(group);
  }

  close(): void {
    this.#memberships.close();
  }

  /** A query (RFC 3810 §5.1, §6.2); its checksum is good. */
  receiveQuery(packet: Ipv6Packet): void {
    const { bytes, start, end } = packet.frame;
    const length = end - start;
    // RFC 3810 §5.1.14, §6.2: of 24 bytes it is version 1, from 28 on version 2, and nothing in between.
    const isVersion1 = length === wire.MESSAGE_V1;
    const sources = length < wire.QUERY_V2 ? 0 : wire.getSourceCount(bytes, start);
    const sound =
      packet.hopLimit === 1 &&
      isLinkLocal(packet.source) &&
      (isVersion1 || length >= wire.QUERY_V2 + sources * wire.SOURCE);
    if (!sound) {
      this.#inErrors++;
      return;
    }
    const group = wire.getGroup(bytes, start);
    const code = wire.getMaxResponseCode(bytes, start);
    this.#memberships.query({
      version: isVersion1 ? PREVIOUS : CURRENT,
      group: group.isUnspecified ? null : group,
      sources: Array.from({ length: sources }, (_, i) => wire.getSource(bytes, start, i)),
      maxResponseMs: isVersion1 ? code : wire.responseDelay(code),
      robustness: isVersion1 ? 0 : wire.getRobustness(bytes, start),
      intervalMs: isVersion1 ? 0 : floatingCode(wire.getIntervalCode(bytes, start)) * 1000,
    });
  }

  /** Another host's report of version 1 (RFC 2710 §4). */
  receiveReport(packet: Ipv6Packet): void {
    const { bytes, start, end } = packet.frame;
    this.#inReports++;
    if (packet.hopLimit !== 1 || end - start < wire.MESSAGE_V1) return;
    this.#memberships.heardReport(wire.getGroup(bytes, start));
  }

  // ---- for the memberships

  multicastMac(group: IpAddress): MacAddress {
    return multicastMac(group);
  }

  /** RFC 3810 §6: all but the group that everybody is in, and those that stay in the host. */
  isReported(group: IpAddress): boolean {
    return !group.equals(ALL_NODES) && scopeOf(group) > SCOPE_INTERFACE;
  }

  /** RFC 3810 §5.2. */
  report(records: readonly GroupRecord[]): void {
    let size = wire.REPORT_HEADER;
    for (const { sources } of records) size += wire.RECORD + sources.length * wire.SOURCE;
    const frame = this.#output.reserve(size, true);
    if (frame === null) return;
    const { bytes, start } = frame;
    bytes[start] = wire.LISTENER_REPORT_V2;
    wire.setRecordCount(bytes, start, records.length);
    let at = start + wire.REPORT_HEADER;
    for (const record of records) at = wire.writeRecord(bytes, at, record);
    this.#send(frame, ALL_MLDV2_ROUTERS);
  }

  /** RFC 2710 §3. */
  reportOlder(group: IpAddress, member: boolean): void {
    const frame = this.#output.reserve(wire.MESSAGE_V1, true);
    if (frame === null) return;
    frame.bytes[frame.start] = member ? wire.LISTENER_REPORT_V1 : wire.LISTENER_DONE_V1;
    group.writeIpv6(frame.bytes, frame.start + 8);
    this.#send(frame, member ? group : ALL_ROUTERS);
  }

  #send(frame: Parameters<ControlOutput['commit']>[0], destination: IpAddress): void {
    // RFC 3590 §4: from `::` as long as there is no link-local address.
    const source = this.#source() ?? IpAddress.ANY_IPV6;
    this.#output.commit(frame, source, destination, multicastMac(destination), 1, true);
  }
}
