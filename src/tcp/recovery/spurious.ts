/** What was no loss: duplicates that the peer reports (RFC 2883), F-RTO (RFC 5682), and taking a reduction back. */
import { after } from '../sequence.ts';
import { type AckEvent, FAST, OPEN, type Recovery } from './recovery.ts';
import type { Delivery } from './scoreboard.ts';

export function takeDuplicateReports(recovery: Recovery, event: AckEvent): void {
  if (event.duplicateBytes === 0) return;
  recovery.duplicateReports++;
  if (recovery.phase === OPEN && recovery.probe.takesDuplicate()) return;
  recovery.rack.onDuplicateReported(event.next);
  // Before anything was sent again, a duplicate is the network's.
  if (recovery.undoBytes <= 0 || !after(event.duplicateEnd, recovery.undoFloor)) return;
  recovery.undoBytes -= event.duplicateBytes;
  if (recovery.canUndo && recovery.undoBytes <= 0) undo(recovery);
}

/**
 * F-RTO (RFC 5682 §3.1 with SACK, §2.1 without): the first ACK after a timeout
 * lets new data out instead of repeating everything; if what was sent before
 * the timeout arrives by itself, nothing was lost.
 */
export function judgeTimeout(recovery: Recovery, event: AckEvent, delivery: Delivery): void {
  const original = delivery.oldestOriginalSentAt;
  // Without SACK, the first ACK may be for what had come before the timeout, above a hole that is
  // repaired now; only one that the new data did not turn into a duplicate tells (RFC 5682 §2.1 step 3).
  const isProof = event.selective || (recovery.holdsRepair && event.acknowledged > 0);
  if (isProof && original >= 0 && original < recovery.timedOutAt) {
    recovery.isJudging = false;
    recovery.holdsRepair = false;
    if (recovery.canUndo) undo(recovery);
    return;
  }
  if (event.acknowledged > 0 && !recovery.holdsRepair) {
    recovery.holdsRepair = true;
    return;
  }
  recovery.isJudging = false;
  recovery.holdsRepair = false;
}

export function undo(recovery: Recovery): void {
  recovery.spuriousRecoveries++;
  recovery.canUndo = false;
  recovery.congestion.undo();
  // Where the report comes late, nothing is left to be mended.
  if (recovery.phase === OPEN) return;
  if (recovery.phase === FAST) recovery.rack.reorderingSeen = true;
  recovery.scoreboard.unmarkLost();
  recovery.leave();
}
