import type { IpAddress } from '../address/index.ts';
import { copy } from '../bytes/index.ts';
import { complement, sum } from '../checksum/index.ts';
import { TokenBucket } from '../ethernet/index.ts';
import { type IpPacket, type IpPath, type IpProtocol, PROTOCOL_ICMP } from '../ip.ts';
import {
  type ErrorSender,
  getFlagsFragment,
  getTotalLength,
  type Ipv4,
  Ipv4Packet,
  OFFSET_MASK,
} from '../ipv4/index.ts';
import { CHECKSUM_VERIFIED } from '../netif/netif.ts';
import type { Clock, Random } from '../time/index.ts';
import { ReceivedError } from './errors.ts';
import { ErrorLimiter } from './limiter.ts';
import {
  CODE_FRAGMENTATION_NEEDED,
  CODE_HOST_UNREACHABLE,
  CODE_NET_UNREACHABLE,
  CODE_PORT_UNREACHABLE,
  CODE_PROTOCOL_UNREACHABLE,
  CODE_REASSEMBLY_TIME,
  CODE_REDIRECT_HOST,
  CODE_TTL,
  DESTINATION_UNREACHABLE,
  ECHO_REPLY,
  ECHO_REQUEST,
  getIdentifier,
  getSequence,
  getType,
  HEADER,
  isError,
  PARAMETER_PROBLEM,
  REDIRECT,
  SOURCE_QUENCH,
  setChecksum,
  setHeader,
  TIME_EXCEEDED,
} from './wire.ts';

/** RFC 1812 §4.3.2.3: as much of the offending packet as fits a datagram of 576 bytes, less two headers. */
const QUOTE = 576 - 20 - 8;
const ECHO_REPLIES_PER_SECOND = 10_000;
const ECHO_BURST = 1000;
/** ECN bits are a promise about the transport, and ICMP has none to keep it (RFC 3168 §6). */
const DSCP = 0xfc;

export interface IcmpCounters {
  icmpInMsgs: number;
  /** Malformed or with a wrong checksum. */
  icmpInErrors: number;
  icmpInDestUnreachs: number;
  icmpInTimeExcds: number;
  icmpInParmProbs: number;
  icmpInSrcQuenchs: number;
  icmpInRedirects: number;
  icmpInEchos: number;
  icmpInEchoReps: number;
  icmpOutMsgs: number;
  /** Not sent: the device was full. */
  icmpOutErrors: number;
  icmpOutDestUnreachs: number;
  icmpOutTimeExcds: number;
  icmpOutParmProbs: number;
  icmpOutRedirects: number;
  icmpOutEchos: number;
  icmpOutEchoReps: number;
  /** Errors and echo replies not sent: too many per second. */
  icmpOutLimited: number;
}

/** An echo reply: `bytes[start..end)` is the data, valid during the call. */
export interface EchoReply {
  readonly source: IpAddress;
  readonly sequence: number;
  readonly hopLimit: number;
  readonly bytes: Uint8Array;
  readonly start: number;
  readonly end: number;
}

export type EchoListener = (reply: EchoReply) => void;

/** ICMP of a host (RFC 792, RFC 1122 §3.2.2). */
export class Icmp implements IpProtocol, ErrorSender {
  readonly protocol = PROTOCOL_ICMP;
  readonly counters: IcmpCounters = {
    icmpInMsgs: 0,
    icmpInErrors: 0,
    icmpInDestUnreachs: 0,
    icmpInTimeExcds: 0,
    icmpInParmProbs: 0,
    icmpInSrcQuenchs: 0,
    icmpInRedirects: 0,
    icmpInEchos: 0,
    icmpInEchoReps: 0,
    icmpOutMsgs: 0,
    icmpOutErrors: 0,
    icmpOutDestUnreachs: 0,
    icmpOutTimeExcds: 0,
    icmpOutParmProbs: 0,
    icmpOutRedirects: 0,
    icmpOutEchos: 0,
    icmpOutEchoReps: 0,
    icmpOutLimited: 0,
  };
  readonly #ipv4: Ipv4;
  readonly #clock: Clock;
  readonly #limiter: ErrorLimiter;
  readonly #echoReplies = new TokenBucket(ECHO_REPLIES_PER_SECOND, ECHO_BURST);
  readonly #received = new ReceivedError();
  readonly #listeners = new Map<number, EchoListener>();

  constructor(ipv4: Ipv4, clock: Clock, random: Random) {
    this.#ipv4 = ipv4;
    this.#clock = clock;
    this.#limiter = new ErrorLimiter(random);
    ipv4.register(this);
    ipv4.reportTo(this);
  }

  receive(packet: IpPacket): void {
    const { counters } = this;
    counters.icmpInMsgs++;
    const { bytes, start, end, checksum } = packet.frame;
    if (
      end - start < HEADER ||
      (checksum !== CHECKSUM_VERIFIED && complement(sum(bytes, start, end)) !== 0)
    ) {
      counters.icmpInErrors++;
      return;
    }
    switch (getType(bytes, start)) {
      case ECHO_REQUEST:
        counters.icmpInEchos++;
        this.#answerEcho(packet);
        return;
      case ECHO_REPLY:
        counters.icmpInEchoReps++;
        this.#hearEcho(packet);
        return;
      case DESTINATION_UNREACHABLE:
        counters.icmpInDestUnreachs++;
        this.#receiveError(packet);
        return;
      case TIME_EXCEEDED:
        counters.icmpInTimeExcds++;
        this.#receiveError(packet);
        return;
      case PARAMETER_PROBLEM:
        counters.icmpInParmProbs++;
        this.#receiveError(packet);
        return;
      case SOURCE_QUENCH:
        // RFC 6633 §3: silently discarded.
        counters.icmpInSrcQuenchs++;
        return;
      case REDIRECT:
        // Anyone on the link could take over our routes with one: a host may ignore them
        // where it has a router that forwards (RFC 1122 §3.2.2.2 makes it a SHOULD).
        counters.icmpInRedirects++;
        return;
      default:
        // RFC 1122 §3.2.2: unknown types are silently discarded.
        return;
    }
  }

  /** Errors about our own echo requests: whoever pings waits in vain, and that is the answer. */
  error(): boolean {
    return false;
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
    const frame = path.reserve(PROTOCOL_ICMP, HEADER + data.length);
    if (frame === null) return false;
    const { bytes, start, end } = frame;
    setHeader(bytes, start, ECHO_REQUEST, 0, (identifier << 16) | (sequence & 0xffff));
    copy(bytes, start + HEADER, data, 0, data.length);
    setChecksum(bytes, start, complement(sum(bytes, start, end)));
    path.commit(frame, { dontFragment: false });
    this.counters.icmpOutMsgs++;
    this.counters.icmpOutEchos++;
    return true;
  }

  portUnreachable(packet: IpPacket): void {
    if (
      packet instanceof Ipv4Packet &&
      this.#sendError(packet, DESTINATION_UNREACHABLE, CODE_PORT_UNREACHABLE, 0)
    ) {
      this.counters.icmpOutDestUnreachs++;
    }
  }

  protocolUnreachable(packet: Ipv4Packet): void {
    if (this.#sendError(packet, DESTINATION_UNREACHABLE, CODE_PROTOCOL_UNREACHABLE, 0)) {
      this.counters.icmpOutDestUnreachs++;
    }
  }

  parameterProblem(packet: Ipv4Packet, pointer: number): void {
    if (this.#sendError(packet, PARAMETER_PROBLEM, 0, pointer << 24)) this.counters.icmpOutParmProbs++;
  }

  reassemblyTimeExceeded(packet: Ipv4Packet): void {
    if (this.#sendError(packet, TIME_EXCEEDED, CODE_REASSEMBLY_TIME, 0)) this.counters.icmpOutTimeExcds++;
  }

  // ---- for a router, about packets that it does not pass on

  netUnreachable(packet: Ipv4Packet): void {
    if (this.#sendError(packet, DESTINATION_UNREACHABLE, CODE_NET_UNREACHABLE, 0)) {
      this.counters.icmpOutDestUnreachs++;
    }
  }

  hostUnreachable(packet: Ipv4Packet): void {
    if (this.#sendError(packet, DESTINATION_UNREACHABLE, CODE_HOST_UNREACHABLE, 0)) {
      this.counters.icmpOutDestUnreachs++;
    }
  }

  /** RFC 1191 §4. */
  fragmentationNeeded(packet: Ipv4Packet, mtu: number): void {
    if (this.#sendError(packet, DESTINATION_UNREACHABLE, CODE_FRAGMENTATION_NEEDED, mtu)) {
      this.counters.icmpOutDestUnreachs++;
    }
  }

  timeExceeded(packet: Ipv4Packet): void {
    if (this.#sendError(packet, TIME_EXCEEDED, CODE_TTL, 0)) this.counters.icmpOutTimeExcds++;
  }

  /** RFC 1812 §5.2.7.2: `gateway` is nearer to the packet's destination than we are. */
  redirect(packet: Ipv4Packet, gateway: IpAddress): void {
    if (this.#sendError(packet, REDIRECT, CODE_REDIRECT_HOST, gateway.w3)) this.counters.icmpOutRedirects++;
  }

  #receiveError(packet: IpPacket): void {
    const { bytes, start, end } = packet.frame;
    const error = this.#received;
    if (!error.read(bytes, start, end)) {
      this.counters.icmpInErrors++;
      return;
    }
    // An error about a packet that we cannot have sent is a forgery or a mistake.
    if (!this.#ipv4.isLocal(error.source)) return;
    this.#ipv4.deliverError(error, getTotalLength(bytes, start + HEADER));
  }

  /** RFC 1122 §3.2.2.6. Requests to broadcast addresses may be ignored, and are: they multiply (RFC 2644). */
  #answerEcho(packet: IpPacket): void {
    if (packet.isGroup || packet.source.isUnspecified) return;
    if (!this.#echoReplies.take(this.#clock.now())) {
      this.counters.icmpOutLimited++;
      return;
    }
    const request = packet.frame;
    const path = this.#pathBack(packet);
    const frame = path?.reserve(PROTOCOL_ICMP, request.end - request.start) ?? null;
    if (path === null || frame === null) {
      this.counters.icmpOutErrors++;
      return;
    }
    const { bytes, start, end } = frame;
    setHeader(bytes, start, ECHO_REPLY, 0, 0);
    copy(bytes, start + 4, request.bytes, request.start + 4, request.end);
    setChecksum(bytes, start, complement(sum(bytes, start, end)));
    path.commit(frame, { dontFragment: false, trafficClass: packet.trafficClass & DSCP });
    this.counters.icmpOutMsgs++;
    this.counters.icmpOutEchoReps++;
  }

  #hearEcho(packet: IpPacket): void {
    const { bytes, start, end } = packet.frame;
    const { source, hopLimit } = packet;
    const listener = this.#listeners.get(getIdentifier(bytes, start));
    listener?.({ source, hopLimit, sequence: getSequence(bytes, start), bytes, start: start + HEADER, end });
  }

  #sendError(packet: Ipv4Packet, type: number, code: number, rest: number): boolean {
    if (!mayAnswer(packet)) return false;
    if (packet.link !== null && !this.#limiter.take(packet.source, this.#clock.now())) {
      this.counters.icmpOutLimited++;
      return false;
    }
    const quoted = Math.min(packet.end - packet.header, QUOTE);
    const path = this.#pathBack(packet);
    const frame = path?.reserve(PROTOCOL_ICMP, HEADER + quoted) ?? null;
    if (path === null || frame === null) {
      this.counters.icmpOutErrors++;
      return false;
    }
    const { bytes, start, end } = frame;
    setHeader(bytes, start, type, code, rest);
    copy(bytes, start + HEADER, packet.frame.bytes, packet.header, packet.header + quoted);
    setChecksum(bytes, start, complement(sum(bytes, start, end)));
    path.commit(frame, { dontFragment: false });
    this.counters.icmpOutMsgs++;
    return true;
  }

  /** To the packet's source, from the address it was sent to or, if that is another's, from that of the interface (RFC 1812 §4.3.2.4). Null where no route leads back. */
  #pathBack({ source, destination }: IpPacket): IpPath | null {
    const from = this.#ipv4.isLocal(destination) ? destination : this.#ipv4.sourceOf(source);
    if (from === null || !this.#ipv4.hasWay(source, from)) return null;
    return this.#ipv4.path(source, from);
  }
}

/** RFC 1122 §3.2.2: what is never answered with an ICMP error. */
function mayAnswer(packet: Ipv4Packet): boolean {
  // Broadcast and multicast, of the network or the link; sources that are no single host (checked on receipt, but 0.0.0.0).
  if (packet.isGroup || packet.toLinkGroup || packet.source.isUnspecified) return false;
  const { bytes } = packet.frame;
  const { header, headerLength, end } = packet;
  if ((getFlagsFragment(bytes, header) & OFFSET_MASK) !== 0) return false;
  const message = header + headerLength;
  return packet.protocol !== PROTOCOL_ICMP || (message < end && !isError(getType(bytes, message)));
}
