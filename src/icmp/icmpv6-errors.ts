import { IpAddress } from '../address/index.ts';
import { EMPTY, get16 } from '../bytes/index.ts';
import type { IpError, IpErrorKind } from '../ip.ts';
import {
  FRAGMENT_HEADER,
  getNextHeader,
  getVersion,
  IPV6_DESTINATION,
  IPV6_HEADER,
  IPV6_SOURCE,
  isLinkLocal,
  NEXT_DESTINATION_OPTIONS,
  NEXT_FRAGMENT,
  NEXT_HOP_BY_HOP,
  NEXT_ROUTING,
} from '../ipv6/index.ts';
import {
  CODE_REASSEMBLY_TIME,
  CODE_UNRECOGNIZED_NEXT_HEADER,
  DESTINATION_UNREACHABLE,
  getMtu,
  PACKET_TOO_BIG,
  PARAMETER_PROBLEM,
  TIME_EXCEEDED,
} from './icmpv6-wire.ts';
import { getCode, getType, HEADER } from './wire.ts';

/** RFC 4443 §3.1, by code. */
const UNREACHABLE: readonly IpErrorKind[] = [
  'net-unreachable', // 0: no route
  'prohibited', // 1: administratively
  'net-unreachable', // 2: beyond the scope of the source address
  'host-unreachable', // 3: address unreachable
  'port-unreachable',
  'prohibited', // 5: the source address failed a policy
  'prohibited', // 6: reject route
];

/** What every transport can identify its packet by. */
const QUOTED_TRANSPORT = 8;

/** An ICMPv6 error as transports see it: a cursor, overwritten by the next. */
export class ReceivedIcmpv6Error implements IpError {
  kind: IpErrorKind = 'host-unreachable';
  readonly source = new IpAddress();
  readonly destination = new IpAddress();
  protocol = 0;
  bytes = EMPTY;
  start = 0;
  end = 0;
  mtu = 0;

  /** Reads the message at `bytes[message..end)`; false if it is no error or quotes too little. */
  read(bytes: Uint8Array, message: number, end: number): boolean {
    const kind = kindOf(getType(bytes, message), getCode(bytes, message));
    const quoted = message + HEADER;
    if (kind === null || end - quoted < IPV6_HEADER + QUOTED_TRANSPORT || getVersion(bytes, quoted) !== 6)
      return false;
    this.kind = kind;
    this.source.readIpv6(bytes, quoted + IPV6_SOURCE);
    this.destination.readIpv6(bytes, quoted + IPV6_DESTINATION);
    this.bytes = bytes;
    this.end = end;
    this.mtu = kind === 'packet-too-big' ? getMtu(bytes, message) : 0;
    return this.#skipExtensions(quoted);
  }

  /** Says which link its link-local addresses belong to: that by which the error came. */
  setZone(zone: number): void {
    if (isLinkLocal(this.source)) this.source.scope = zone;
    if (isLinkLocal(this.destination)) this.destination.scope = zone;
  }

  /** Ours have none but fragment headers; whatever a router put in front is passed over. */
  #skipExtensions(quoted: number): boolean {
    const { bytes, end } = this;
    let next = getNextHeader(bytes, quoted);
    let at = quoted + IPV6_HEADER;
    for (;;) {
      if (end - at < QUOTED_TRANSPORT) return false;
      if (next === NEXT_FRAGMENT) {
        // Only the first fragment has a transport header.
        if (get16(bytes, at + 2) >>> 3 !== 0) return false;
        next = bytes[at]!;
        at += FRAGMENT_HEADER;
      } else if (next === NEXT_HOP_BY_HOP || next === NEXT_ROUTING || next === NEXT_DESTINATION_OPTIONS) {
        next = bytes[at]!;
        at += (bytes[at + 1]! + 1) << 3;
      } else {
        this.protocol = next;
        this.start = at;
        return true;
      }
    }
  }
}

function kindOf(type: number, code: number): IpErrorKind | null {
  switch (type) {
    case DESTINATION_UNREACHABLE:
      return UNREACHABLE[code] ?? null;
    case PACKET_TOO_BIG:
      return 'packet-too-big';
    case TIME_EXCEEDED:
      return code === CODE_REASSEMBLY_TIME ? 'reassembly-time-exceeded' : 'time-exceeded';
    case PARAMETER_PROBLEM:
      // RFC 4443 §3.4: an unrecognized next header is IPv6's "protocol unreachable".
      return code === CODE_UNRECOGNIZED_NEXT_HEADER ? 'protocol-unreachable' : 'parameter-problem';
    default:
      return null;
  }
}
