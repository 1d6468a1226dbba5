import { IpAddress } from '../address/index.ts';
import { EMPTY } from '../bytes/index.ts';
import type { IpError, IpErrorKind } from '../ip.ts';
import { DESTINATION, getHeaderLength, getProtocol, getVersion, IPV4_HEADER, SOURCE } from '../ipv4/index.ts';
import {
  CODE_REASSEMBLY_TIME,
  DESTINATION_UNREACHABLE,
  getCode,
  getNextHopMtu,
  getType,
  HEADER,
  PARAMETER_PROBLEM,
  TIME_EXCEEDED,
} from './wire.ts';

/** RFC 792, RFC 1122 §3.2.2.1, RFC 1812 §5.2.7.1, by code. */
const UNREACHABLE: readonly IpErrorKind[] = [
  'net-unreachable',
  'host-unreachable',
  'protocol-unreachable',
  'port-unreachable',
  'packet-too-big',
  'source-route-failed',
  'net-unreachable', // 6: network unknown
  'host-unreachable', // 7: host unknown
  'host-unreachable', // 8: source host isolated
  'prohibited', // 9: network administratively prohibited
  'prohibited', // 10: host administratively prohibited
  'net-unreachable', // 11: for this type of service
  'host-unreachable', // 12: for this type of service
  'prohibited', // 13: communication administratively prohibited
  'prohibited', // 14: host precedence violation
  'prohibited', // 15: precedence cutoff in effect
];

/** What every transport can identify its packet by (RFC 792). */
const QUOTED_TRANSPORT = 8;

/** An ICMP error as transports see it: a cursor, overwritten by the next. */
export class ReceivedError implements IpError {
  kind: IpErrorKind = 'host-unreachable';
  readonly source = new IpAddress();
  readonly destination = new IpAddress();
  protocol = 0;
  bytes = EMPTY;
  start = 0;
  end = 0;
  mtu = 0;

  /** Reads the ICMP message at `bytes[message..end)`; false if it is no error or quotes too little. */
  read(bytes: Uint8Array, message: number, end: number): boolean {
    const kind = kindOf(getType(bytes, message), getCode(bytes, message));
    const quoted = message + HEADER;
    if (kind === null || end - quoted < IPV4_HEADER + QUOTED_TRANSPORT || getVersion(bytes, quoted) !== 4)
      return false;
    const headerLength = getHeaderLength(bytes, quoted);
    if (headerLength < IPV4_HEADER || end - quoted < headerLength + QUOTED_TRANSPORT) return false;
    this.kind = kind;
    this.source.readIpv4(bytes, quoted + SOURCE);
    this.destination.readIpv4(bytes, quoted + DESTINATION);
    this.protocol = getProtocol(bytes, quoted);
    this.bytes = bytes;
    this.start = quoted + headerLength;
    this.end = end;
    this.mtu = kind === 'packet-too-big' ? getNextHopMtu(bytes, message) : 0;
    return true;
  }
}

function kindOf(type: number, code: number): IpErrorKind | null {
  switch (type) {
    case DESTINATION_UNREACHABLE:
      return UNREACHABLE[code] ?? null;
    case TIME_EXCEEDED:
      return code === CODE_REASSEMBLY_TIME ? 'reassembly-time-exceeded' : 'time-exceeded';
    case PARAMETER_PROBLEM:
      return 'parameter-problem';
    default:
      return null;
  }
}
