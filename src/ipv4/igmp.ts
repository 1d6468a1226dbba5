import { IpAddress, MacAddress } from '../address/index.ts';
import { set16, set32 } from '../bytes/index.ts';
import { complement, sum } from '../checksum/index.ts';
import { ETHERTYPE_IPV4, type Ethernet } from '../ethernet/index.ts';
import {
  CURRENT,
  FIRST,
  floatingCode,
  type GroupProtocol,
  type GroupRecord,
  type GroupVersion,
  Memberships,
  PREVIOUS,
} from '../internet/index.ts';
import type { IpPacket } from '../ip.ts';
import { CHECKSUM_VERIFIED } from '../netif/netif.ts';
import type { Clock, Random, TimerWheel } from '../time/index.ts';
import * as wire from './igmp-wire.ts';
import { Ipv4Packet } from './packet.ts';
import {
  CHECKSUM,
  DESTINATION,
  HEADER,
  OPTION_END,
  OPTION_NOP,
  PROTOCOL,
  SOURCE,
  TOTAL_LENGTH,
  TRAFFIC_CLASS,
  TTL,
  VERSION_IHL,
} from './wire.ts';

export const PROTOCOL_IGMP = 2;
const ALL_HOSTS = IpAddress.parse('224.0.0.1');
const ALL_ROUTERS = IpAddress.parse('224.0.0.2');
/** RFC 3376 §4.2.14. */
const IGMPV3_ROUTERS = IpAddress.parse('224.0.0.22');
/** RFC 2113. */
const ROUTER_ALERT = 148;
const ROUTER_ALERT_OPTION = 0x94040000;
const HEADER_WITH_ALERT = HEADER + 4;
/** RFC 3376 §4: internetwork control. */
const PRECEDENCE = 0xc0;
/** RFC 3376 §4.1.1. */
const TENTH_MS = 100;
/** RFC 1112: what a query of version 1 allows. */
const VERSION_1_RESPONSE_MS = 10_000;

export interface IgmpCounters {
  igmpInQueries: number;
  igmpInReports: number;
  /** Queries not looked at: too many per second. */
  igmpInLimited: number;
  /** Malformed, with a wrong checksum, or by a router. */
  igmpInErrors: number;
  igmpOutReports: number;
  /** Messages for which the device had no room; what changes is told twice. */
  igmpOutStalled: number;
}

export interface IgmpOptions {
  readonly ethernet: Ethernet;
  readonly clock: Clock;
  readonly timers: TimerWheel;
  readonly random: Random;
  /** Our address, if we have one. */
  readonly source: () => IpAddress | null;
}

/** The multicast groups that we listen to over IPv4: IGMP of a host (RFC 3376, RFC 2236). */
export class Igmp implements GroupProtocol {
  readonly groups: Memberships;
  readonly room: number;
  readonly recordBytes = wire.RECORD;
  readonly sourceBytes = wire.SOURCE;
  readonly #ethernet: Ethernet;
  readonly #source: () => IpAddress | null;
  #inReports = 0;
  #inErrors = 0;
  #outStalled = 0;

  constructor({ ethernet, clock, timers, random, source }: IgmpOptions) {
    this.#ethernet = ethernet;
    this.#source = source;
    this.room = ethernet.netif.mtu - HEADER_WITH_ALERT - wire.REPORT_HEADER;
    this.groups = new Memberships(this, ethernet, clock, timers, random);
  }

  get counters(): IgmpCounters {
    const { inQueries, inLimited, outReports } = this.groups.counters;
    return {
      igmpInQueries: inQueries,
      igmpInReports: this.#inReports,
      igmpInLimited: inLimited,
      igmpInErrors: this.#inErrors,
      igmpOutReports: outReports,
      igmpOutStalled: this.#outStalled,
    };
  }

  /** Joins the group that all hosts are in (RFC 1112 §7.2), and begins to report. */
  start(): void {
    this.groups.join(ALL_HOSTS);
    this.groups.start(0);
  }

  receive(packet: IpPacket): void {
    const { bytes, start, end, checksum } = packet.frame;
    const sound =
      packet instanceof Ipv4Packet &&
      end - start >= wire.MESSAGE &&
      (checksum === CHECKSUM_VERIFIED || complement(sum(bytes, start, end)) === 0) &&
      // RFC 3376 §4: never forwarded.
      packet.hopLimit === 1;
    if (!sound) {
      this.#inErrors++;
      return;
    }
    switch (bytes[start]) {
      case wire.MEMBERSHIP_QUERY:
        this.#receiveQuery(packet);
        return;
      case wire.REPORT_V1:
      case wire.REPORT_V2:
        this.#inReports++;
        this.groups.heardReport(wire.getGroup(bytes, start));
        return;
      default:
        // Leaves and reports of version 3 are for routers; others are ignored (RFC 3376 §4).
        return;
    }
  }

  // ---- for the memberships

  multicastMac(group: IpAddress): MacAddress {
    return multicastMac(group);
  }

  isReported(group: IpAddress): boolean {
    return !group.equals(ALL_HOSTS);
  }

  /** RFC 3376 §4.2. */
  report(records: readonly GroupRecord[]): void {
    let size = wire.REPORT_HEADER;
    for (const { sources } of records) size += wire.RECORD + sources.length * wire.SOURCE;
    this.#send(IGMPV3_ROUTERS, size, (bytes, message) => {
      bytes[message] = wire.REPORT_V3;
      wire.setRecordCount(bytes, message, records.length);
      let at = message + wire.REPORT_HEADER;
      for (const record of records) at = wire.writeRecord(bytes, at, record);
    });
  }

  /** RFC 2236 §3, §9; RFC 1112 appendix I. */
  reportOlder(group: IpAddress, member: boolean, version: GroupVersion): void {
    this.#send(member ? group : ALL_ROUTERS, wire.MESSAGE, (bytes, message) => {
      bytes[message] = !member ? wire.LEAVE_V2 : version === FIRST ? wire.REPORT_V1 : wire.REPORT_V2;
      wire.setGroup(bytes, message, group);
    });
  }

  /** RFC 3376 §7.1 tells the versions apart by length and response time. */
  #receiveQuery(packet: Ipv4Packet): void {
    const { bytes, start, end } = packet.frame;
    const length = end - start;
    const code = wire.getMaxResponse(bytes, start);
    const version = length >= wire.QUERY_V3 ? CURRENT : code === 0 ? FIRST : PREVIOUS;
    const group = wire.getGroup(bytes, start);
    const sources = version === CURRENT ? wire.getSourceCount(bytes, start) : 0;
    const sound =
      (length === wire.MESSAGE || length >= wire.QUERY_V3 + sources * wire.SOURCE) &&
      // RFC 3376 §9.1, RFC 2236 §10: without the alert it is a forgery; version 1 had none.
      (version === FIRST || hasRouterAlert(packet)) &&
      (group.isUnspecified || group.isMulticast);
    if (!sound) {
      this.#inErrors++;
      return;
    }
    const tenths = version === CURRENT ? floatingCode(code) : code;
    this.groups.query({
      version,
      // RFC 1112: version 1 knows general queries only.
      group: group.isUnspecified || version === FIRST ? null : group,
      sources: Array.from({ length: sources }, (_, i) => wire.getSource(bytes, start, i)),
      maxResponseMs: version === FIRST ? VERSION_1_RESPONSE_MS : tenths * TENTH_MS,
      robustness: version === CURRENT ? wire.getRobustness(bytes, start) : 0,
      intervalMs: version === CURRENT ? floatingCode(wire.getIntervalCode(bytes, start)) * 1000 : 0,
    });
  }

  #send(destination: IpAddress, size: number, write: (bytes: Uint8Array, message: number) => void): void {
    const frame = this.#ethernet.reserve(HEADER_WITH_ALERT + size);
    if (frame === null) {
      this.#outStalled++;
      return;
    }
    const { bytes, start: header, end } = frame;
    const message = header + HEADER_WITH_ALERT;
    bytes.fill(0, header, end);
    write(bytes, message);
    set16(bytes, message + wire.CHECKSUM, complement(sum(bytes, message, end)));
    bytes[header + VERSION_IHL] = 0x40 | (HEADER_WITH_ALERT >> 2);
    bytes[header + TRAFFIC_CLASS] = PRECEDENCE;
    set16(bytes, header + TOTAL_LENGTH, end - header);
    bytes[header + TTL] = 1;
    bytes[header + PROTOCOL] = PROTOCOL_IGMP;
    (this.#source() ?? IpAddress.ANY_IPV4).writeIpv4(bytes, header + SOURCE);
    destination.writeIpv4(bytes, header + DESTINATION);
    set32(bytes, header + HEADER, ROUTER_ALERT_OPTION);
    set16(bytes, header + CHECKSUM, complement(sum(bytes, header, message)));
    this.#ethernet.commit(frame, header, multicastMac(destination), ETHERTYPE_IPV4);
  }
}

/** RFC 1112 §6.4: 01:00:5e and the low 23 bits. */
export function multicastMac(group: IpAddress): MacAddress {
  return new MacAddress(0x0100, 0x5e000000 | (group.w3 & 0x7fffff));
}

/** Options that were found to be sound. */
function hasRouterAlert({ frame, header, headerLength }: Ipv4Packet): boolean {
  const { bytes } = frame;
  for (let at = header + HEADER; at < header + headerLength; ) {
    const type = bytes[at]!;
    if (type === ROUTER_ALERT) return true;
    if (type === OPTION_END) return false;
    at += type === OPTION_NOP ? 1 : bytes[at + 1]!;
  }
  return false;
}
