import { copy } from '../bytes/index.ts';
import { complement, pseudoHeaderSum, sum } from '../checksum/index.ts';
import { TokenBucket } from '../ethernet/index.ts';
import type { IpError, IpPacket, IpPath, IpProtocol } from '../ip.ts';
import {
  IPV6_HEADER,
  IPV6_MIN_MTU,
  type Ipv6,
  type Ipv6ErrorSender,
  Ipv6Packet,
  LISTENER_QUERY,
  LISTENER_REPORT_V1,
  NEIGHBOUR_ADVERTISEMENT,
  NEIGHBOUR_SOLICITATION,
  PROTOCOL_ICMPV6,
  REDIRECT,
  ROUTER_ADVERTISEMENT,
  ROUTER_SOLICITATION,
} from '../ipv6/index.ts';
import { CHECKSUM_VERIFIED, type Frame } from '../netif/netif.ts';
import type { Clock, Random } from '../time/index.ts';
import type { EchoListener } from './icmp.ts';
import { ReceivedIcmpv6Error } from './icmpv6-errors.ts';
import {
  CODE_ADDRESS_UNREACHABLE,
  CODE_BEYOND_SCOPE,
  CODE_HOP_LIMIT,
  CODE_NO_ROUTE,
  CODE_PORT_UNREACHABLE,
  CODE_REASSEMBLY_TIME,
  DESTINATION_UNREACHABLE,
  ECHO_REPLY,
  ECHO_REQUEST,
  isError,
  PACKET_TOO_BIG,
  PARAMETER_PROBLEM,
  TIME_EXCEEDED,
} from './icmpv6-wire.ts';
import { ErrorLimiter } from './limiter.ts';
import { getIdentifier, getSequence, getType, HEADER, setChecksum, setHeader } from './wire.ts';

/** RFC 4443 §2.4 (c): as much of the offending packet as fits the smallest MTU. */
const QUOTE = IPV6_MIN_MTU - IPV6_HEADER - HEADER;
const ECHO_REPLIES_PER_SECOND = 10_000;
const ECHO_BURST = 1000;
/** ECN bits are a promise about the transport, and ICMP has none to keep it (RFC 3168 §6). */
const DSCP = 0xfc;

export interface Icmpv6Counters {
  icmp6InMsgs: number;
  /** Malformed or with a wrong checksum. */
  icmp6InErrors: number;
  icmp6InDestUnreachs: number;
  icmp6InPktTooBigs: number;
  icmp6InTimeExcds: number;
  icmp6InParmProblems: number;
  icmp6InEchos: number;
  icmp6InEchoReplies: number;
  icmp6InRedirects: number;
  icmp6OutMsgs: number;
  /** Not sent: the device was full, or there was no way. */
  icmp6OutErrors: number;
  icmp6OutDestUnreachs: number;
  icmp6OutPktTooBigs: number;
  icmp6OutTimeExcds: number;
  icmp6OutParmProblems: number;
  icmp6OutEchos: number;
  icmp6OutEchoReplies: number;
  /** Errors and echo replies not sent: too many per second. */
  icmp6OutLimited: number;
}

/** ICMPv6 of a host (RFC 4443); what concerns the link goes on to neighbour discovery and the groups. */
export class Icmpv6 implements IpProtocol, Ipv6ErrorSender {
  readonly protocol = PROTOCOL_ICMPV6;
  readonly counters: Icmpv6Counters = {
    icmp6InMsgs: 0,
    icmp6InErrors: 0,
    icmp6InDestUnreachs: 0,
    icmp6InPktTooBigs: 0,
    icmp6InTimeExcds: 0,
    icmp6InParmProblems: 0,
    icmp6InEchos: 0,
    icmp6InEchoReplies: 0,
    icmp6InRedirects: 0,
    icmp6OutMsgs: 0,
    icmp6OutErrors: 0,
    icmp6OutDestUnreachs: 0,
    icmp6OutPktTooBigs: 0,
    icmp6OutTimeExcds: 0,
    icmp6OutParmProblems: 0,
    icmp6OutEchos: 0,
    icmp6OutEchoReplies: 0,
    icmp6OutLimited: 0,
  };
  readonly #ipv6: Ipv6;
  readonly #clock: Clock;
  readonly #limiter: ErrorLimiter;
  readonly #echoReplies = new TokenBucket(ECHO_REPLIES_PER_SECOND, ECHO_BURST);
  readonly #received = new ReceivedIcmpv6Error();
  readonly #listeners = new Map<number, EchoListener>();

  constructor(ipv6: Ipv6, clock: Clock, random: Random) {
    this.#ipv6 = ipv6;
    this.#clock = clock;
    this.#limiter = new ErrorLimiter(random);
    ipv6.register(this);
    ipv6.reportTo(this);
  }

  receive(packet: IpPacket): void {
    const { counters } = this;
    counters.icmp6InMsgs++;
    const { frame } = packet;
    if (
      frame.end - frame.start < HEADER ||
      (frame.checksum !== CHECKSUM_VERIFIED && !isChecksumGood(packet)) ||
      !(packet instanceof Ipv6Packet)
    ) {
      counters.icmp6InErrors++;
      return;
    }
    const type = getType(frame.bytes, frame.start);
    // RFC 6980 §5: neighbour discovery fits one packet, and filters could not look into fragments.
    if (packet.fragmented && type >= ROUTER_SOLICITATION && type <= REDIRECT) {
      counters.icmp6InErrors++;
      return;
    }
    switch (type) {
      case ECHO_REQUEST:
        counters.icmp6InEchos++;
        this.#answerEcho(packet);
        return;
      case ECHO_REPLY:
        counters.icmp6InEchoReplies++;
        this.#hearEcho(packet);
        return;
      case DESTINATION_UNREACHABLE:
        counters.icmp6InDestUnreachs++;
        this.#receiveError(packet);
        return;
      case PACKET_TOO_BIG:
        counters.icmp6InPktTooBigs++;
        this.#receiveError(packet);
        return;
      case TIME_EXCEEDED:
        counters.icmp6InTimeExcds++;
        this.#receiveError(packet);
        return;
      case PARAMETER_PROBLEM:
        counters.icmp6InParmProblems++;
        this.#receiveError(packet);
        return;
      case NEIGHBOUR_SOLICITATION:
        packet.link?.ndp.receiveSolicitation(packet);
        return;
      case NEIGHBOUR_ADVERTISEMENT:
        packet.link?.ndp.receiveAdvertisement(packet);
        return;
      case ROUTER_SOLICITATION:
        packet.link?.router?.receiveSolicitation(packet);
        return;
      case ROUTER_ADVERTISEMENT:
        packet.link?.autoconf?.receive(packet);
        return;
      case LISTENER_QUERY:
        packet.link?.groups.receiveQuery(packet);
        return;
      case LISTENER_REPORT_V1:
        packet.link?.groups.receiveReport(packet);
        return;
      case REDIRECT:
        // Anyone on the link could take over our routes with one: not followed (RFC 4861 §8.3 makes it
        // a SHOULD), as for IPv4.
        counters.icmp6InRedirects++;
        return;
      default:
        // RFC 4443 §2.4 (b): unknown informational messages are silently discarded.
        return;
    }
  }

  /** Errors about our own echo requests: only the path MTU is learnt from them. */
  error(error: IpError): boolean {
    const { bytes, start, kind } = error;
    if (kind !== 'packet-too-big' || getType(bytes, start) !== ECHO_REQUEST) return false;
    return this.#listeners.has(getIdentifier(bytes, start));
  }

  flush(): void {}

  writable(): void {}

  /** Hears echo replies to `identifier`; a second call replaces, `null` removes. */
  listen(identifier: number, listener: EchoListener | null): void {
    if (listener === null) this.#listeners.delete(identifier);
    else this.#listeners.set(identifier, listener);
  }

  /** Sends an echo request. False if the device is full. */
  echo(path: IpPath, identifier: number, sequence: number, data: Uint8Array): boolean {
    const frame = path.reserve(PROTOCOL_ICMPV6, HEADER + data.length);
    if (frame === null) return false;
    const { bytes, start } = frame;
    setHeader(bytes, start, ECHO_REQUEST, 0, (identifier << 16) | (sequence & 0xffff));
    copy(bytes, start + HEADER, data, 0, data.length);
    this.#send(path, frame, 0);
    this.counters.icmp6OutEchos++;
    return true;
  }

  portUnreachable(packet: Ipv6Packet): void {
    if (this.#sendError(packet, DESTINATION_UNREACHABLE, CODE_PORT_UNREACHABLE, 0, false)) {
      this.counters.icmp6OutDestUnreachs++;
    }
  }

  parameterProblem(packet: Ipv6Packet, code: number, pointer: number, evenToGroup: boolean): void {
    if (this.#sendError(packet, PARAMETER_PROBLEM, code, pointer, evenToGroup)) {
      this.counters.icmp6OutParmProblems++;
    }
  }

  reassemblyTimeExceeded(packet: Ipv6Packet): void {
    if (this.#sendError(packet, TIME_EXCEEDED, CODE_REASSEMBLY_TIME, 0, false)) {
      this.counters.icmp6OutTimeExcds++;
    }
  }

  // ---- for a router, about packets that it does not pass on

  noRoute(packet: Ipv6Packet): void {
    this.#unreachable(packet, CODE_NO_ROUTE);
  }

  beyondScope(packet: Ipv6Packet): void {
    this.#unreachable(packet, CODE_BEYOND_SCOPE);
  }

  addressUnreachable(packet: Ipv6Packet): void {
    this.#unreachable(packet, CODE_ADDRESS_UNREACHABLE);
  }

  /** RFC 4443 §3.2: told even to whoever sent to a group. */
  packetTooBig(packet: Ipv6Packet, mtu: number): void {
    if (this.#sendError(packet, PACKET_TOO_BIG, 0, mtu, true)) this.counters.icmp6OutPktTooBigs++;
  }

  timeExceeded(packet: Ipv6Packet): void {
    if (this.#sendError(packet, TIME_EXCEEDED, CODE_HOP_LIMIT, 0, false)) this.counters.icmp6OutTimeExcds++;
  }

  #unreachable(packet: Ipv6Packet, code: number): void {
    if (this.#sendError(packet, DESTINATION_UNREACHABLE, code, 0, false))
      this.counters.icmp6OutDestUnreachs++;
  }

  #receiveError(packet: Ipv6Packet): void {
    const { bytes, start, end } = packet.frame;
    const error = this.#received;
    if (!error.read(bytes, start, end)) {
      this.counters.icmp6InErrors++;
      return;
    }
    if (packet.link !== null) error.setZone(packet.link.index);
    // An error about a packet that we cannot have sent is a forgery or a mistake.
    if (this.#ipv6.isLocal(error.source)) this.#ipv6.deliverError(error);
  }

  /** RFC 4443 §4.2. Requests to groups may be answered from a unicast address, and are, within the limit. */
  #answerEcho(packet: Ipv6Packet): void {
    if (packet.source.isUnspecified) return;
    if (!this.#echoReplies.take(this.#clock.now())) {
      this.counters.icmp6OutLimited++;
      return;
    }
    const request = packet.frame;
    const path = this.#pathBack(packet);
    const frame = path?.reserve(PROTOCOL_ICMPV6, request.end - request.start) ?? null;
    if (path === null || frame === null) {
      this.counters.icmp6OutErrors++;
      return;
    }
    const { bytes, start } = frame;
    setHeader(bytes, start, ECHO_REPLY, 0, 0);
    copy(bytes, start + 4, request.bytes, request.start + 4, request.end);
    this.#send(path, frame, packet.trafficClass & DSCP);
    this.counters.icmp6OutEchoReplies++;
  }

  #hearEcho(packet: Ipv6Packet): void {
    const { bytes, start, end } = packet.frame;
    const { source, hopLimit } = packet;
    const listener = this.#listeners.get(getIdentifier(bytes, start));
    listener?.({ source, hopLimit, sequence: getSequence(bytes, start), bytes, start: start + HEADER, end });
  }

  #sendError(packet: Ipv6Packet, type: number, code: number, rest: number, evenToGroup: boolean): boolean {
    if (!mayAnswer(packet, evenToGroup)) return false;
    if (packet.link !== null && !this.#limiter.take(packet.source, this.#clock.now())) {
      this.counters.icmp6OutLimited++;
      return false;
    }
    const quoted = Math.min(packet.end - packet.header, QUOTE);
    const path = this.#pathBack(packet);
    const frame = path?.reserve(PROTOCOL_ICMPV6, HEADER + quoted) ?? null;
    if (path === null || frame === null) {
      this.counters.icmp6OutErrors++;
      return false;
    }
    const { bytes, start } = frame;
    setHeader(bytes, start, type, code, rest);
    copy(bytes, start + HEADER, packet.frame.bytes, packet.header, packet.header + quoted);
    this.#send(path, frame, 0);
    return true;
  }

  #send(path: IpPath, frame: Frame, trafficClass: number): void {
    const { bytes, start, end } = frame;
    const pseudo = pseudoHeaderSum(path.source, path.destination, PROTOCOL_ICMPV6, end - start);
    setChecksum(bytes, start, complement(sum(bytes, start, end, pseudo)));
    path.commit(frame, { trafficClass });
    this.counters.icmp6OutMsgs++;
  }

  /** To the packet's source, from the address it was sent to or, if that is a group or another's, from one of ours. Null where no route leads back. */
  #pathBack(packet: Ipv6Packet): IpPath | null {
    const isOurs = this.#ipv6.isLocal(packet.destination);
    const from = isOurs ? packet.destination : this.#ipv6.sourceOf(packet.source)?.address;
    if (from === undefined || !this.#ipv6.hasWay(packet.source, from)) return null;
    return this.#ipv6.path(packet.source, from);
  }
}

function isChecksumGood(packet: IpPacket): boolean {
  const { bytes, start, end } = packet.frame;
  const pseudo = pseudoHeaderSum(packet.source, packet.destination, PROTOCOL_ICMPV6, end - start);
  return complement(sum(bytes, start, end, pseudo)) === 0;
}

/** RFC 4443 §2.4 (e): what is never answered with an error. */
function mayAnswer(packet: Ipv6Packet, evenToGroup: boolean): boolean {
  if (packet.source.isUnspecified) return false;
  if ((packet.isGroup || packet.toLinkGroup) && !evenToGroup) return false;
  if (packet.protocol !== PROTOCOL_ICMPV6) return true;
  const type = packet.transport < packet.end ? getType(packet.frame.bytes, packet.transport) : 0;
  return !isError(type) && type !== REDIRECT;
}
