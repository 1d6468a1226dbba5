import { IpAddress } from '../address/index.ts';
import { copy, get16, get32, set16, set32 } from '../bytes/index.ts';
import { complement, pseudoHeaderSum, sum } from '../checksum/index.ts';
import { PROTOCOL_TCP } from '../ip.ts';
import {
  IDENTIFICATION,
  IPV4_CHECKSUM,
  DESTINATION as IPV4_DESTINATION,
  SOURCE as IPV4_SOURCE,
  TOTAL_LENGTH,
} from '../ipv4/index.ts';
import { IPV6_DESTINATION, IPV6_HEADER, IPV6_SOURCE, PAYLOAD_LENGTH } from '../ipv6/index.ts';
import { CHECKSUM_PARTIAL, type Frame } from '../netif/netif.ts';
import { tcpWire } from '../tcp/index.ts';
import type { Exit } from './exit.ts';
import type { Hop } from './hop.ts';

const source = new IpAddress();
const destination = new IpAddress();

/** Whether there is a TCP header at `tcp`, with something behind it to cut. */
export function isCuttable(bytes: Uint8Array, tcp: number, end: number): boolean {
  if (end - tcp < tcpWire.HEADER) return false;
  const headerLength = tcpWire.headerLength(bytes, tcp);
  return headerLength >= tcpWire.HEADER && tcp + headerLength < end;
}

/** Leaves the TCP checksum of the packet at `bytes[at]`, TCP header `transport` behind it, to the device. */
export function leaveChecksum(frame: Frame, at: number, transport: number): void {
  readAddresses(frame.bytes, at);
  const tcp = at + transport;
  const length = frame.end - tcp;
  set16(frame.bytes, tcp + tcpWire.CHECKSUM, pseudoHeaderSum(source, destination, PROTOCOL_TCP, length));
  frame.checksum = CHECKSUM_PARTIAL;
  frame.checksumStart = tcp;
  frame.checksumOffset = tcpWire.CHECKSUM;
}

function readAddresses(bytes: Uint8Array, header: number): void {
  if (bytes[header]! >>> 4 === 4) {
    source.readIpv4(bytes, header + IPV4_SOURCE);
    destination.readIpv4(bytes, header + IPV4_DESTINATION);
  } else {
    source.readIpv6(bytes, header + IPV6_SOURCE);
    destination.readIpv6(bytes, header + IPV6_DESTINATION);
  }
}

/**
 * Cuts a packet of several TCP segments, IP header at `whole.bytes[0]` and TCP
 * header at `transport`, as a device would (segmentation offload): every segment
 * has both headers, its own sequence number, length and checksum; FIN and PSH are
 * the last one's, CWR the first one's (RFC 3168 §6.1.2). How many went out; the
 * rest found no room.
 */
export function sendSegments(whole: Frame, transport: number, exit: Exit, hop: Hop): number {
  const { bytes, end, segmentSize } = whole;
  const isIpv4 = bytes[0]! >>> 4 === 4;
  const payload = transport + tcpWire.headerLength(bytes, transport);
  const first = get32(bytes, transport + tcpWire.SEQUENCE);
  let sent = 0;
  for (let from = payload; from < end; from += segmentSize) {
    const to = Math.min(from + segmentSize, end);
    const frame = exit.reserve(payload + to - from, hop);
    if (frame === null) return sent;
    const { at } = exit;
    const { bytes: out } = frame;
    copy(out, at, bytes, 0, payload);
    copy(out, at + payload, bytes, from, to);
    const length = payload + to - from;
    if (isIpv4) {
      set16(out, at + TOTAL_LENGTH, length);
      set16(out, at + IDENTIFICATION, get16(bytes, IDENTIFICATION) + sent);
      set16(out, at + IPV4_CHECKSUM, 0);
      set16(out, at + IPV4_CHECKSUM, complement(sum(out, at, at + transport)));
    } else {
      set16(out, at + PAYLOAD_LENGTH, length - IPV6_HEADER);
    }
    const tcp = at + transport;
    set32(out, tcp + tcpWire.SEQUENCE, first + from - payload);
    if (to < end) out[tcp + tcpWire.FLAGS]! &= ~(tcpWire.FIN | tcpWire.PSH);
    if (from > payload) out[tcp + tcpWire.FLAGS]! &= ~tcpWire.CWR;
    leaveChecksum(frame, at, transport);
    exit.commit(frame, hop);
    sent++;
  }
  return sent;
}
