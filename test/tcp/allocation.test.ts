import { describe, expect, it } from 'vitest';
import { loneConnection } from '../../bench/support.ts';
import { allocate } from '../../src/bytes/index.ts';
import { ACK } from '../../src/tcp/wire.ts';

const SEGMENT = 1448;
const COUNT = 1000;
/** Rounds to be compiled, and rounds of which the leanest counts: whatever else the process does adds to one. */
const WARM_UP = 80;
const ROUNDS = 40;

/** Heap bytes that each of `COUNT` operations leaves behind, once the code is compiled. */
function garbage(round: () => void, prepare: () => void = () => {}): number {
  for (let i = 0; i < WARM_UP; i++) {
    prepare();
    round();
  }
  let least = Number.POSITIVE_INFINITY;
  for (let i = 0; i < ROUNDS; i++) {
    prepare();
    const before = process.memoryUsage().heapUsed;
    round();
    const grown = process.memoryUsage().heapUsed - before;
    // A collection in the middle would count backwards.
    if (grown >= 0) least = Math.min(least, grown);
  }
  return least / COUNT;
}

describe('what the hot paths leave to the garbage collector', () => {
  it('is nothing but the time of each batch for segments in order that a listener is lent', () => {
    const { connection, inject, flush } = loneConnection();
    const { receiver, sender } = connection;
    let lent = 0;
    connection.borrower = {
      lend: (view) => {
        lent += view.length;
      },
    };
    const each = garbage(() => {
      for (let i = 0; i < COUNT; i++) {
        inject(ACK, receiver.next, sender.next, SEGMENT);
        if (i % 32 === 31) flush();
      }
      flush();
    });
    expect(lent).toBe((WARM_UP + ROUNDS) * COUNT * SEGMENT);
    // One object would be 16 bytes at least, a view of the segment more than 100.
    expect(each).toBeLessThan(12);
  });

  it('is no object for a pure ACK: a few boxed numbers', () => {
    // A round takes longer than a short path's round trip; pacing would cut it up.
    const { connection, inject, flush } = loneConnection({ pacing: false });
    const { sender } = connection;
    const data = allocate(2 * SEGMENT * COUNT);
    const each = garbage(
      () => {
        for (let i = 0; i < COUNT; i++) inject(ACK, 0, (sender.una + 2 * SEGMENT) | 0, 0);
        flush();
      },
      () => {
        inject(ACK, 0, sender.next, 0);
        sender.congestion.window = 2 * data.length;
        connection.send(data);
        flush();
      },
    );
    expect(sender.outstanding).toBe(0);
    expect(each).toBeLessThan(96);
  });
});
