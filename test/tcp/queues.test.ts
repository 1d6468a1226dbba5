import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Frame, Pieces } from '../../src/netif/netif.ts';
import { PayloadKeeper, ReceiveQueue, SMALL_PAYLOAD } from '../../src/tcp/receive-queue.ts';
import { SendQueue } from '../../src/tcp/send-queue.ts';
import { pattern } from '../support/packets.ts';

describe('SendQueue', () => {
  it('gives any stretch of what was pushed and not released, as a byte array would', () => {
    const step = fc.oneof(
      fc.record({ kind: fc.constant('push' as const), bytes: fc.nat(40) }),
      fc.record({ kind: fc.constant('release' as const), bytes: fc.nat(60) }),
      fc.record({ kind: fc.constant('copy' as const), bytes: fc.nat(50), offset: fc.nat(100) }),
    );
    fc.assert(
      fc.property(fc.array(step, { maxLength: 300 }), (steps) => {
        const queue = new SendQueue();
        let model: number[] = [];
        let position = 0;
        for (const { kind, bytes, ...rest } of steps) {
          if (kind === 'push') {
            const chunk = pattern(bytes, position);
            position += bytes;
            queue.push(chunk);
            model.push(...chunk);
          } else if (kind === 'release') {
            const released = Math.min(bytes, model.length);
            queue.release(released);
            model = model.slice(released);
          } else {
            const offset = Math.min((rest as { offset: number }).offset, model.length);
            const length = Math.min(bytes, model.length - offset);
            const target = new Uint8Array(length + 2).fill(0xee);
            queue.copyTo(target, 1, offset, length);
            expect([...target]).toEqual([0xee, ...model.slice(offset, offset + length), 0xee]);
          }
          expect(queue.length).toBe(model.length);
        }
      }),
    );
  });

  it('takes chunks by reference: nothing is copied before it is sent', () => {
    const queue = new SendQueue();
    const chunk = Uint8Array.of(1, 2, 3);
    queue.push(chunk);
    chunk[1] = 9;
    const target = new Uint8Array(3);
    queue.copyTo(target, 0, 0, 3);
    expect([...target]).toEqual([1, 9, 3]);
  });

  it('shows a stretch in pieces as it would copy it, or nothing of it', () => {
    const queue = new SendQueue();
    for (const [i, length] of [5000, 3000, 100, 9000, 4000].entries()) queue.push(pattern(length, i));
    queue.release(1000);
    const copied = new Uint8Array(21_000);
    queue.copyTo(copied, 0, 0, 20_100);
    const pieces = new Pieces();
    const gather = (offset: number, length: number): Uint8Array | null => {
      const bytes = new Uint8Array(10 + length);
      if (!queue.gatherTo(pieces, 10, offset, length)) return null;
      pieces.copyTo(bytes);
      pieces.clear();
      return bytes.subarray(10);
    };
    expect(gather(0, 4000)).toEqual(copied.subarray(0, 4000));
    expect(gather(1000, 6000)).toEqual(copied.subarray(1000, 7000));
    expect(gather(7100, 13_000)).toEqual(copied.subarray(7100, 20_100));
    // The chunk of 100 bytes is among them; the end of one is too short.
    expect(gather(0, 20_100)).toBe(null);
    expect(gather(3000, 3000)).toBe(null);
    expect(pieces.count).toBe(0);
    queue.clear();
    queue.push(pattern(2500, 9));
    expect(gather(100, 2100)).toEqual(pattern(2500, 9).subarray(100, 2200));
  });

  it('is empty after clear, and usable', () => {
    const queue = new SendQueue();
    queue.push(pattern(10));
    queue.release(3);
    queue.clear();
    expect(queue.length).toBe(0);
    queue.push(Uint8Array.of(7));
    const target = new Uint8Array(1);
    queue.copyTo(target, 0, 0, 1);
    expect(target[0]).toBe(7);
  });
});

describe('ReceiveQueue', () => {
  it('gives back what was pushed in order, in pieces of at most what was asked for', () => {
    const step = fc.oneof(
      fc.record({ push: fc.integer({ min: 1, max: 700 }) }),
      fc.record({ take: fc.integer({ min: 1, max: 900 }) }),
    );
    fc.assert(
      fc.property(fc.array(step, { maxLength: 300 }), (steps) => {
        const queue = new ReceiveQueue();
        const keeper = new PayloadKeeper();
        let pushed = 0;
        let taken = 0;
        for (const action of steps) {
          if ('push' in action) {
            const bytes = pattern(action.push, pushed);
            const memory = Uint8Array.from([0xaa, ...bytes, 0xbb]);
            const frame = new Frame(memory);
            keeper.keep(frame, 1, 1 + action.push);
            queue.push(keeper.bytes, keeper.start, keeper.end);
            pushed += action.push;
            // What is not retained is overwritten by the next frame.
            if (!frame.retained) memory.fill(0xcc);
            expect(frame.retained).toBe(action.push >= SMALL_PAYLOAD);
          } else {
            const chunk = queue.take(action.take);
            if (pushed === taken) {
              expect(chunk).toBeNull();
              continue;
            }
            expect(chunk!.length).toBeGreaterThan(0);
            expect(chunk!.length).toBeLessThanOrEqual(action.take);
            expect(Buffer.compare(chunk!, pattern(chunk!.length, taken))).toBe(0);
            taken += chunk!.length;
          }
          expect(queue.length).toBe(pushed - taken);
          expect(queue.cost).toBeGreaterThanOrEqual(queue.length);
        }
      }),
    );
  });

  it('holds single bytes side by side: a peer that sends them cannot make it keep an object for each', () => {
    const queue = new ReceiveQueue();
    const keeper = new PayloadKeeper();
    for (let i = 0; i < 10_000; i++) {
      keeper.keep(new Frame(Uint8Array.of(i)), 0, 1);
      queue.push(keeper.bytes, keeper.start, keeper.end);
    }
    expect(queue.length).toBe(10_000);
    expect(queue.cost).toBeLessThan(12_000);
  });
});
