import { set16 } from '../bytes/index.ts';
import { complement, sum } from '../checksum/index.ts';
import { CHECKSUM_NONE, CHECKSUM_PARTIAL, type Frame } from './netif.ts';

/**
 * The checksum of a frame whose field holds the pseudo-header sum only:
 * that sum is part of the bytes that are summed. Zero is sent as 0xffff, the
 * same number in one's complement, since in UDP zero means "none" (RFC 768).
 */
export function partialChecksum(bytes: Uint8Array, checksumStart: number, end: number): number {
  return complement(sum(bytes, checksumStart, end)) || 0xffff;
}

/** Writes the checksum that the device would have, up to `end`; nothing to do without `CHECKSUM_PARTIAL`. */
export function completeChecksum(frame: Frame, end: number): void {
  if (frame.checksum !== CHECKSUM_PARTIAL) return;
  const { bytes, checksumStart, checksumOffset } = frame;
  set16(bytes, checksumStart + checksumOffset, partialChecksum(bytes, checksumStart, end));
  frame.checksum = CHECKSUM_NONE;
}
