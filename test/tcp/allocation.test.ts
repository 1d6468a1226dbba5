import { describe, expect, it } from 'vitest';
import { type LoneOptions, loneConnection } from '../../bench/support.ts';
import { allocate } from '../../src/bytes/index.ts';
import type { TcpOptions } from '../../src/tcp/index.ts';
import { ACK } from '../../src/tcp/wire.ts';

const SEGMENT = 1448;
const LARGE = 40 * SEGMENT;
const COUNT = 1000;
/** Frames that a device hands up at once. */
const BATCH = 32;
/** Rounds to be compiled, and rounds of which the leanest counts: whatever else the process does adds to one. */
const WARM_UP = 80;
const ROUNDS = 40;
/** Where other work keeps the compiler waiting, it takes more rounds until nothing is left behind; what is left for good stays. */
const MOST_ROUNDS = 400;
/** Less than the smallest object has, 16, by as much as one in a batch would make. */
const NOTHING = 0.99;
/** What a batch may leave, however many segments it has: the clock is read at its beginning and its end, the timer may be set. */
const PER_BATCH = 64;
/** A view of the application's bytes that go with a segment, where they are not all of what was written at once. */
const VIEW = 104;

/** How many rounds the latest measurement had. */
let played = 0;

/** Heap bytes that a round leaves behind, once the code is compiled. */
function leanest(round: () => void, prepare: () => void): number {
  for (let i = 0; i < WARM_UP; i++) {
    prepare();
    round();
  }
  let least = Number.POSITIVE_INFINITY;
  played = WARM_UP;
  for (let i = 0; i < ROUNDS || (i < MOST_ROUNDS && least >= NOTHING * COUNT); i++, played++) {
    prepare();
    const before = process.memoryUsage().heapUsed;
    round();
    const grown = process.memoryUsage().heapUsed - before;
    // A collection in the middle would count backwards.
    if (grown >= 0) least = Math.min(least, grown);
  }
  return least;
}

/** The same, without what measuring it leaves behind. */
function garbage(round: () => void, prepare: () => void = () => {}): number {
  const own = leanest(
    () => {},
    () => {},
  );
  return leanest(round, prepare) - own;
}

/** Initial numbers so low and so high that both ends stay below and above 2^31 in all that is sent here. */
const RANGES = [
  { name: 'low', peerIsn: 1, isHigh: false },
  { name: 'high', peerIsn: -0x70000000, isHigh: true },
] as const;

/** A connection whose own numbers are below or above 2^31 too. */
function connect(range: (typeof RANGES)[number], tcp: TcpOptions = {}, options: LoneOptions = {}) {
  for (let seed = 1; ; seed++) {
    const lone = loneConnection(tcp, { ...options, peerIsn: range.peerIsn, seed });
    const { next } = lone.connection.sender;
    // Far enough from the edge for what follows.
    const isThere = range.isHigh ? next < -0x40000000 : next > 0 && next < 0x30000000;
    if (isThere) return lone;
    lone.connection.abort();
  }
}

describe.each(RANGES)(
  'what the hot paths leave to the garbage collector, $name sequence numbers',
  (range) => {
    it.each([
      ['plain segments', SEGMENT, BATCH],
      ['segments of many', LARGE, BATCH / 4],
    ])('is nothing for %s in order that a listener is lent, but once a batch', (_, size, batch) => {
      const { connection, inject, flush } = connect(range);
      const { receiver, sender } = connection;
      let lent = 0;
      connection.borrower = {
        lend: (view) => {
          lent += view.length;
        },
      };
      // So that no round takes the numbers to the other half.
      const count = size === SEGMENT ? COUNT : COUNT / 8;
      const left = garbage(() => {
        for (let i = 0; i < count; i++) {
          inject(ACK, receiver.next, sender.next, size);
          if (i % batch === batch - 1) flush();
        }
        flush();
      });
      expect(lent).toBe(played * count * size);
      expect(left / count).toBeLessThan(NOTHING + PER_BATCH / batch);
    });

    it('is nothing for a pure ACK', () => {
      // A round takes longer than a short path's round trip; pacing would cut it up.
      const { connection, inject, flush } = connect(range, { pacing: false });
      const { receiver, sender } = connection;
      const data = allocate(2 * SEGMENT * COUNT);
      const left = garbage(
        () => {
          for (let i = 0; i < COUNT; i++) inject(ACK, receiver.next, (sender.una + 2 * SEGMENT) | 0, 0);
          flush();
        },
        () => {
          inject(ACK, receiver.next, sender.next, 0);
          sender.congestion.window = 2 * data.length;
          connection.send(data);
          flush();
        },
      );
      expect(sender.outstanding).toBe(0);
      expect(left / COUNT).toBeLessThan(NOTHING);
    });

    it.each([
      ['writes that are a segment each', 0, SEGMENT, 0],
      ['plain segments', 0, SEGMENT * COUNT, VIEW],
      ['segments that the device cuts', 65_550, LARGE * 60, VIEW],
    ])('is one view at most for %s that are sent', (_, segmentation, length, most) => {
      const { connection, inject, flush } = connect(range, { pacing: false }, { segmentation });
      const { receiver, sender } = connection;
      const data = allocate(length);
      const writes = length === SEGMENT ? COUNT : 1;
      let segments = 0;
      const left = garbage(
        () => {
          const before = sender.segmentsSent;
          flush();
          segments = sender.segmentsSent - before;
        },
        () => {
          sender.congestion.window = 4 * length * writes;
          // A flow in full swing always has something in flight.
          inject(ACK, receiver.next, (sender.next - SEGMENT) | 0, 0);
          flush();
          for (let i = 0; i < writes; i++) connection.send(data);
        },
      );
      expect(segments).toBeGreaterThanOrEqual(writes * Math.floor(length / 65_000));
      expect(left / segments).toBeLessThan(most + NOTHING);
    });
  },
);
