/** What is sent again, and when it may go: lost segments, and probes for those that may be (RFC 5681, RFC 6675, RFC 8985). */
import type { Moment } from '../time/index.ts';
import { FAST } from './recovery/recovery.ts';
import { NONE } from './recovery/segment-pool.ts';
import type { Emitter, Sender } from './sender.ts';
import { advance, distance } from './sequence.ts';
import { ACK, FIN } from './wire.ts';

const NEVER = Number.POSITIVE_INFINITY;

/** Sends lost segments again as far as window and pacing let them go; false if the device is full. */
export function sendLost(sender: Sender, time: Moment, via: Emitter): boolean {
  const { recovery } = sender;
  if (recovery.holdsRepair && mayHold(sender)) return true;
  const { scoreboard } = recovery;
  const { pool } = scoreboard;
  for (let id = scoreboard.lost.head; id !== NONE; id = scoreboard.lost.head) {
    if (sender.isPaced(time)) return true;
    const sequence = pool.sequence[id]!;
    const { pipe } = sender;
    const room = sender.congestion.window - pipe;
    const length = distance(pool.end[id]!, sequence);
    // With nothing in flight one segment may go whatever the window: nothing else would ever open it.
    if (pipe > 0 && room < Math.min(sender.segment, length)) {
      sender.holdBack();
      return true;
    }
    // A peer that shrank its window gets no more than it says it takes; probes go on by the timer.
    const windowRoom = distance(advance(sender.una, sender.window), sequence);
    if (windowRoom <= 0 && sender.window > 0) return true;
    if (sender.window === 0 && sequence !== sender.una) return true;
    if (!retransmit(sender, id, time, via, sender.quantum(room))) return false;
  }
  return true;
}

/** RFC 5682 §2.1 step 2b: only if there is new data that may go; else the timeout is taken at its word. */
function mayHold(sender: Sender): boolean {
  return sender.unsent > 0 && sender.nextLength() > 0;
}

/** Sends the lost segment `id` again, at most `most` bytes of it; false if the device is full. */
function retransmit(sender: Sender, id: number, time: Moment, via: Emitter, most: number): boolean {
  const { recovery } = sender;
  const { scoreboard } = recovery;
  const { pool } = scoreboard;
  const sequence = pool.sequence[id]!;
  const length = Math.min(distance(pool.end[id]!, sequence), most);
  if (!emitAgain(sender, sequence, length, time, via)) return false;
  sender.pathProbe?.repeated(sequence, time.now);
  scoreboard.retransmitted(id, advance(sequence, length), time.now);
  recovery.onRetransmitted(length, time, id === scoreboard.first);
  sender.pace(length, time);
  return true;
}

/** Emits sequence numbers that were sent before, our FIN among them where it is the last. */
function emitAgain(sender: Sender, sequence: number, length: number, time: Moment, via: Emitter): boolean {
  const hasFin = sender.finSent && advance(sequence, length) === sender.next;
  const payload = hasFin ? length - 1 : length;
  if (!via.emit(hasFin ? FIN | ACK : ACK, sequence, distance(sequence, sender.una), payload)) return false;
  sender.segmentsSent++;
  sender.lastSentAt = time.now;
  return true;
}

/** In recovery, nothing has come back for two round trips: the retransmission itself is gone. */
function repeatFirst(sender: Sender, time: Moment, via: Emitter): void {
  const { recovery } = sender;
  const { scoreboard } = recovery;
  const first = scoreboard.first;
  if (first === NONE || scoreboard.headIsSacked) return;
  scoreboard.trimTo(first, sender.segment);
  if (scoreboard.isInFlight(first)) scoreboard.markLost(first);
  if (!retransmit(sender, first, time, via, sender.segment)) return;
  recovery.onRecoveryProbeSent(sender.una, sender.next, time);
}

/** A tail loss probe is due (RFC 8985 §7.3). */
export function sendLossProbe(sender: Sender, time: Moment, via: Emitter, selective: boolean): void {
  const { recovery } = sender;
  const { scoreboard } = recovery;
  recovery.probeAt = NEVER;
  if (recovery.phase === FAST) {
    repeatFirst(sender, time, via);
    return;
  }
  const windowRoom = sender.window - sender.outstanding;
  if (sender.unsent > 0 && windowRoom >= Math.min(sender.unsent, sender.segment)) {
    if (sender.sendNew(Math.min(sender.unsent, sender.segment), time, via, selective)) {
      recovery.onProbeSent(sender.una, sender.next, false, 0, time);
    }
    return;
  }
  let last = scoreboard.last;
  if (last === NONE || !scoreboard.isInFlight(last)) return;
  const { pool } = scoreboard;
  const excess = distance(pool.end[last]!, pool.sequence[last]!) - sender.segment;
  if (excess > 0) {
    scoreboard.trimTo(last, excess);
    last = scoreboard.last;
  }
  const sequence = pool.sequence[last]!;
  const length = distance(pool.end[last]!, sequence);
  if (!emitAgain(sender, sequence, length, time, via)) return;
  scoreboard.probed(last, time.now);
  recovery.onProbeSent(sender.una, sender.next, true, length, time);
}

/** The path takes less than it did: what is in flight above that size is gone (RFC 1191 §6.4). */
export function markOversizedLost(sender: Sender): void {
  const { scoreboard } = sender.recovery;
  const { pool } = scoreboard;
  for (let id = scoreboard.inFlight.head; id !== NONE; ) {
    const following = pool.next[id]!;
    if (distance(pool.end[id]!, pool.sequence[id]!) > sender.segment) scoreboard.markLost(id);
    id = following;
  }
}
