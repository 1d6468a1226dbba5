/** What an acknowledgment does to the sending half (RFC 9293 §3.10.7.4, fifth check). */
import type { Moment } from '../time/index.ts';
import { takeSacks } from './recovery/sacks.ts';
import type { Delivery } from './recovery/scoreboard.ts';
import type { Segment } from './segment.ts';
import type { Sender } from './sender.ts';
import { after, atOrBefore, before, distance } from './sequence.ts';

const NEVER = Number.POSITIVE_INFINITY;

/**
 * Takes the acknowledgment, window and SACK blocks of an acceptable ACK
 * (RFC 9293 §3.10.7.4, fifth check). Returns by how many bytes of the queue the
 * peer has moved on.
 */
export function takeAck(
  sender: Sender,
  segment: Segment,
  delivery: Delivery,
  selective: boolean,
  echoOld: boolean,
  echoRttMs: number,
  time: Moment,
): number {
  const { recovery } = sender;
  const { scoreboard } = recovery;
  const ack = segment.acknowledgment;
  const before_ = sender.una;
  const wasOutstanding = sender.outstanding;
  const window = segment.window << sender.shift;
  const sameWindow = window === sender.window;
  // RFC 5681 §2: what makes an ACK a duplicate.
  const duplicate = ack === before_ && segment.length === 0 && sameWindow;
  if (after(ack, sender.next)) acceptProbe(sender, ack);

  updateWindow(sender, segment, ack, window);
  sender.checkApplicationLimited(time);
  delivery.begin(scoreboard);
  scoreboard.rate?.begin(sender.limited, selective, time.now);
  const reach = Math.max(sender.maxWindow, 0xffff);
  const duplicateBytes = selective
    ? takeSacks(segment.options, ack, sender.una, sender.next, reach, scoreboard, delivery)
    : 0;
  let moved = 0;
  if (after(ack, before_)) {
    scoreboard.acknowledge(ack, delivery);
    moved = release(sender, ack);
  }
  const event = ACK_EVENT;
  event.una = sender.una;
  event.next = sender.next;
  event.acknowledged = distance(sender.una, before_);
  event.duplicate = duplicate;
  event.duplicateBytes = duplicateBytes;
  event.duplicateEnd = segment.options.sackRight[0]!;
  event.echoIsBeforeRetransmission = echoOld;
  event.echoRttMs = echoRttMs;
  event.selective = selective;
  event.limited = sender.validation.mayGrow(sender.congestion.window, sender.congestion.threshold);
  if (event.acknowledged > 0) {
    sender.limited = false;
    validate(sender, event.acknowledged, time);
  }
  sender.congestion.segment = sender.segment;
  if (wasOutstanding > 0 || recovery.awaitsReport) recovery.onAck(event, delivery, time);
  if (sender.window === 0 || sender.persistRetries > 0) {
    // Someone is there: whatever the window, the connection is not given up.
    sender.persistRetries = 0;
    recovery.retries = 0;
  }
  return moved;
}

/** RFC 7661, after SND.UNA has moved on by `acknowledged` bytes. */
function validate(sender: Sender, acknowledged: number, time: Moment): void {
  const validation = sender.validation;
  const { congestion, recovery, una, next } = sender;
  validation.acknowledged(acknowledged, una, next, sender.pipe, time, recovery.rtt);
  const isValidated = validation.isValidated(congestion.window);
  congestion.pipeAck = isValidated ? Number.POSITIVE_INFINITY : validation.pipeAck;
  if (!isValidated && validation.isStale(time)) {
    congestion.onUnused(sender.config.initialWindow * sender.segment);
  }
}

/** The byte of a window probe was taken. */
function acceptProbe(sender: Sender, ack: number): void {
  if (sender.finQueued && !sender.finSent && sender.unsent === 0) sender.finSent = true;
  sender.next = ack;
  sender.probeSent = false;
}

function updateWindow(sender: Sender, segment: Segment, ack: number, window: number): void {
  const sequence = segment.sequence;
  // The first clause goes beyond RFC 9293 §3.10.7.4: an ACK that moves SND.UNA is news whatever its
  // sequence number (a retransmission's is low), and the old window above it would overrun the peer.
  if (
    after(ack, sender.una) ||
    before(sender.windowSequence, sequence) ||
    (sender.windowSequence === sequence && atOrBefore(sender.windowAcknowledgment, ack))
  ) {
    if (window > 0 && (sender.window === 0 || sender.persistBackoffs > 0)) {
      sender.persistBackoffs = 0;
      sender.persistAt = NEVER;
    }
    sender.window = window;
    sender.windowSequence = sequence;
    sender.windowAcknowledgment = ack;
    if (window > sender.maxWindow) sender.maxWindow = window;
  }
}

/** Everything below `ack` is done with. Returns the bytes of data among it. */
function release(sender: Sender, ack: number): number {
  let bytes = distance(ack, sender.una);
  // Our FIN took a sequence number and no byte of the queue.
  if (sender.finSent && ack === sender.next) bytes--;
  sender.una = ack;
  if (atOrBefore(sender.smallEnd, ack)) sender.smallOutstanding = false;
  if (bytes > 0) {
    sender.queue.release(bytes);
    sender.bytesAcknowledged += bytes;
  }
  return bytes;
}

/** One ACK is handled at a time: one event for all connections. */
const ACK_EVENT = {
  una: 0,
  next: 0,
  acknowledged: 0,
  duplicate: false,
  duplicateBytes: 0,
  duplicateEnd: 0,
  echoIsBeforeRetransmission: false,
  echoRttMs: -1,
  selective: false,
  limited: false,
};
