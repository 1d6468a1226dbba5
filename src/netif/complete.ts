import { set16 } from '../bytes/index.ts';
import { complement, sum } from '../checksum/index.ts';
import { CHECKSUM_NONE, CHECKSUM_PARTIAL, type Frame } from './netif.ts';

const UDP_CHECKSUM = 6;

/**
 * The checksum of a frame whose field holds the pseudo-header sum only:
 * that sum is part of the bytes that are summed. In UDP (whose field is at 6)
 * zero means "none", and 0xffff, the same number in one's complement, is sent
 * for it (RFC 768); in TCP zero is a checksum like any other.
 */
export function partialChecksum(
  bytes: Uint8Array,
  checksumStart: number,
  checksumOffset: number,
  end: number,
): number {
  const checksum = complement(sum(bytes, checksumStart, end));
  return checksum === 0 && checksumOffset === UDP_CHECKSUM ? 0xffff : checksum;
}

/** Writes the checksum that the device would have, up to `end`; nothing to do without `CHECKSUM_PARTIAL`. */
export function completeChecksum(
  frame: Pick<Frame, 'bytes' | 'checksum' | 'checksumStart' | 'checksumOffset'>,
  end: number,
): void {
  if (frame.checksum !== CHECKSUM_PARTIAL) return;
  const { bytes, checksumStart, checksumOffset } = frame;
  set16(bytes, checksumStart + checksumOffset, partialChecksum(bytes, checksumStart, checksumOffset, end));
  frame.checksum = CHECKSUM_NONE;
}
