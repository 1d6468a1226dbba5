import { set16 } from '../bytes/index.ts';
import { complement, sum } from '../checksum/index.ts';
import { CHECKSUM_NONE, CHECKSUM_PARTIAL, type Frame } from '../netif/netif.ts';

/** Distance of UDP's checksum field, which alone has a word for "no checksum". */
const UDP_CHECKSUM = 6;

/**
 * Finishes a partial checksum in software: where the packet is cut before a
 * device could, or goes to a device that does not.
 */
export function completeChecksum(frame: Frame): void {
  if (frame.checksum !== CHECKSUM_PARTIAL) return;
  const { bytes, checksumStart, checksumOffset } = frame;
  const checksum = complement(sum(bytes, checksumStart, frame.end));
  // RFC 768, RFC 8200 §8.1: a checksum of zero is sent as all ones.
  set16(
    bytes,
    checksumStart + checksumOffset,
    checksum === 0 && checksumOffset === UDP_CHECKSUM ? 0xffff : checksum,
  );
  frame.checksum = CHECKSUM_NONE;
}
