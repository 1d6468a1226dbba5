import { copy } from '../bytes/index.ts';
import { complement, copyAndSum, pseudoHeaderSum, sum } from '../checksum/index.ts';
import { type CommitOptions, type IpPath, PROTOCOL_UDP } from '../ip.ts';
import { CHECKSUM_PARTIAL } from '../netif/netif.ts';
import * as wire from './wire.ts';

/** Datagrams larger than the MTU are cut by whoever must: routers may fragment too (RFC 1122 §4.1.3, §3.3.3). */
export const MAY_FRAGMENT: CommitOptions = { dontFragment: false };

/** Largest length that a 16-bit length field holds. */
const MAX_LENGTH = 0xffff;

/**
 * Most data bytes of one datagram on `path`: 65,507 over IPv4, whose total
 * length counts its header (RFC 791 §3.1); 65,527 over IPv6 (RFC 8200 §3).
 */
export function maxData(path: IpPath): number {
  return MAX_LENGTH - wire.HEADER - (path.destination.isIpv4 ? path.headerLength : 0);
}

/** Builds one datagram in the device's memory and sends it; false if the device is full. */
export function transmit(
  path: IpPath,
  sourcePort: number,
  destinationPort: number,
  data: Uint8Array,
  options: CommitOptions = MAY_FRAGMENT,
): boolean {
  const length = wire.HEADER + data.length;
  const frame = path.reserve(PROTOCOL_UDP, length);
  if (frame === null) return false;
  const { bytes, start } = frame;
  wire.setSourcePort(bytes, start, sourcePort);
  wire.setDestinationPort(bytes, start, destinationPort);
  wire.setLength(bytes, start, length);
  const pseudo = pseudoHeaderSum(path.source, path.destination, PROTOCOL_UDP, length);
  // A device sums what is in one frame, so a datagram that will be fragmented is summed here.
  if (path.transmit.checksum === 'partial' && path.headerLength + length <= path.mtu) {
    copy(bytes, start + wire.HEADER, data, 0, data.length);
    wire.setChecksum(bytes, start, pseudo);
    frame.checksum = CHECKSUM_PARTIAL;
    frame.checksumStart = start;
    frame.checksumOffset = wire.CHECKSUM_OFFSET;
  } else {
    wire.setChecksum(bytes, start, 0);
    const header = sum(bytes, start, start + wire.HEADER, pseudo);
    const total = copyAndSum(bytes, start + wire.HEADER, data, 0, data.length, header);
    // RFC 768: a computed checksum of zero is transmitted as all ones; zero says that there is none.
    wire.setChecksum(bytes, start, complement(total) || 0xffff);
  }
  path.commit(frame, options);
  return true;
}
