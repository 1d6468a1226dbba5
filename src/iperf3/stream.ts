import type { Endpoint } from '../stack.ts';

/** What a stream has moved since it began. */
export interface StreamCounts {
  readonly bytes: number;
  readonly retransmits: number;
  /** UDP: datagrams sent, or the highest number received. */
  readonly packets: number;
  /** UDP, of the receiver. */
  readonly lost: number;
  readonly outOfOrder: number;
}

export const NO_COUNTS: StreamCounts = { bytes: 0, retransmits: 0, packets: 0, lost: 0, outOfOrder: 0 };

export function difference(later: StreamCounts, earlier: StreamCounts): StreamCounts {
  return {
    bytes: later.bytes - earlier.bytes,
    retransmits: later.retransmits - earlier.retransmits,
    packets: later.packets - earlier.packets,
    lost: later.lost - earlier.lost,
    outOfOrder: later.outOfOrder - earlier.outOfOrder,
  };
}

export function sum(counts: readonly StreamCounts[]): StreamCounts {
  return counts.reduce(
    (total, each) => ({
      bytes: total.bytes + each.bytes,
      retransmits: total.retransmits + each.retransmits,
      packets: total.packets + each.packets,
      lost: total.lost + each.lost,
      outOfOrder: total.outOfOrder + each.outOfOrder,
    }),
    NO_COUNTS,
  );
}

/** One data stream of a test, sending or receiving. */
export interface TestStream {
  readonly id: number;
  readonly sends: boolean;
  readonly local: Endpoint;
  readonly remote: Endpoint;
  readonly counts: StreamCounts;
  /** UDP, of the receiver (RFC 3550 §6.4.1). */
  readonly jitterMs: number;
  /** TCP, of the sender; 0 where the stack does not tell. */
  readonly cwnd: number;
  readonly rttMs: number;
  /** Moves data until `stop`, or the budget is spent; rejects if the stream fails before. */
  run(): Promise<void>;
  /** The test is over: nothing more is sent, and what still comes does not count. */
  stop(): void;
  /** After `stop`: ends the stream in order, so that a peer that waits for a whole block reads on to an end. */
  end(): void;
  close(): void;
}
