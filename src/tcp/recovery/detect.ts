/** What is lost: by duplicate ACKs (RFC 6582), by SACKed bytes (RFC 6675), by time (RFC 8985). */
import type { Moment } from '../../time/index.ts';
import { atOrAfter, before, distance } from '../sequence.ts';
import { type AckEvent, OPEN, type Recovery } from './recovery.ts';
import type { Delivery } from './scoreboard.ts';
import { NONE, RETRANSMITTED } from './segment-pool.ts';

const NEVER = Number.POSITIVE_INFINITY;

/** Without SACK blocks, each duplicate ACK says that some segment left the network. */
export function countDuplicates(recovery: Recovery, event: AckEvent, delivery: Delivery): void {
  if (event.acknowledged > 0) {
    recovery.duplicateAcks = 0;
    if (recovery.presumed > 0) {
      // What was presumed delivered is acknowledged time.now; it must not count twice.
      const counted = Math.min(
        recovery.presumed,
        Math.max(0, event.acknowledged - recovery.congestion.segment),
      );
      recovery.presumed = atOrAfter(event.una, event.next) ? 0 : recovery.presumed - counted;
      delivery.delivered = Math.max(0, delivery.delivered - counted);
    }
  } else if (event.duplicate && before(event.una, event.next)) {
    recovery.duplicateAcks++;
    if (!event.selective) {
      const { segment } = recovery.congestion;
      const outstanding = distance(event.next, event.una);
      // RFC 5681 §3.2: who only repeats itself stands for no more than what was in flight when it began.
      if (recovery.duplicateAcks === 1) recovery.presumable = outstanding;
      const most = Math.max(0, Math.min(outstanding, recovery.presumable) - segment);
      const presumed = Math.min(recovery.presumed + segment, Math.max(most, recovery.presumed));
      delivery.delivered += presumed - recovery.presumed;
      recovery.congestion.rate?.onPresumed(presumed - recovery.presumed);
      recovery.presumed = presumed;
    }
  }
}

export function detect(recovery: Recovery, event: AckEvent, time: Moment): void {
  recovery.reorderAt = NEVER;
  const { scoreboard } = recovery;
  const { duplicateThreshold } = recovery.config;
  if (!event.selective) {
    // RFC 6582 §3.2 step 2: duplicates of what was repaired already must not start another recovery.
    if (recovery.phase === OPEN && recovery.endKnown && atOrAfter(event.una, recovery.end))
      recovery.endKnown = false;
    const fresh = !recovery.endKnown;
    if (recovery.phase === OPEN && recovery.duplicateAcks >= duplicateThreshold && fresh)
      markFirstLost(recovery);
    return;
  }
  const enough =
    scoreboard.sackedCount >= duplicateThreshold ||
    scoreboard.sackedBytes > (duplicateThreshold - 1) * recovery.congestion.segment;
  if (recovery.config.rack) {
    const urgent = recovery.phase !== OPEN || enough;
    const remaining = recovery.rack.detect(scoreboard, time, recovery.rtt, urgent);
    if (remaining > 0) recovery.reorderAt = time.now + remaining;
  } else if (enough) {
    markByCount(recovery);
  }
}

/** RFC 6675 IsLost by bytes: what lies more than the threshold below the highest SACKed byte. */
function markByCount(recovery: Recovery): void {
  const { scoreboard } = recovery;
  const margin = (recovery.config.duplicateThreshold - 1) * recovery.congestion.segment;
  const pool = scoreboard.pool;
  for (let id = scoreboard.inFlight.head; id !== NONE; ) {
    const following = pool.next[id]!;
    // What was sent again already is left to the timeout: it lies below the highest SACKed byte anyway.
    if ((pool.flags[id]! & RETRANSMITTED) === 0) {
      if (distance(scoreboard.highestSacked, pool.end[id]!) < margin) break;
      scoreboard.markLost(id);
    }
    id = following;
  }
}

export function markFirstLost(recovery: Recovery): void {
  const { scoreboard } = recovery;
  const first = scoreboard.first;
  if (first === NONE || !scoreboard.isInFlight(first)) return;
  scoreboard.trimTo(first, recovery.congestion.segment);
  scoreboard.markLost(first);
}
