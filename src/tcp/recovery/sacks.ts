import type { SegmentOptions } from '../options.ts';
import { after, atOrAfter, atOrBefore, before, distance, later } from '../sequence.ts';
import type { Delivery, Scoreboard } from './scoreboard.ts';

/**
 * Marks on the scoreboard what the SACK blocks of an ACK tell (RFC 2018), as far
 * as they lie above `una` and the ACK and below `next`. Returns the bytes that the
 * first block reports as received twice (RFC 2883 §5); a report that lies more
 * than `window` below the ACK is no report of this connection's.
 */
export function takeSacks(
  options: SegmentOptions,
  ack: number,
  una: number,
  next: number,
  window: number,
  scoreboard: Scoreboard,
  delivery: Delivery,
): number {
  const { sackBlocks, sackLeft, sackRight } = options;
  const floor = later(ack, una);
  let duplicateBytes = 0;
  for (let i = 0; i < sackBlocks; i++) {
    const left = sackLeft[i]!;
    const right = sackRight[i]!;
    if (!after(right, left) || after(right, next)) continue;
    if (i === 0 && isDuplicateReport(options, ack, window)) {
      duplicateBytes = distance(right, left);
    } else if (after(right, floor)) {
      scoreboard.sack(later(left, floor), right, delivery);
    }
  }
  return duplicateBytes;
}

/** Whether the first block lies below the ACK, or within the second block (RFC 2883 §4). */
function isDuplicateReport(options: SegmentOptions, ack: number, window: number): boolean {
  const { sackBlocks, sackLeft, sackRight } = options;
  const left = sackLeft[0]!;
  const right = sackRight[0]!;
  if (atOrBefore(right, ack)) return distance(ack, left) <= window;
  return sackBlocks > 1 && atOrAfter(left, sackLeft[1]!) && !before(sackRight[1]!, right);
}
