import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Frame } from '../../src/netif/netif.ts';
import { Reassembly } from '../../src/tcp/reassembly.ts';
import { PayloadKeeper, ReceiveQueue } from '../../src/tcp/receive-queue.ts';
import { advance, distance } from '../../src/tcp/sequence.ts';

const SPACE = 3000;

/** The bytes of a segment: where they are from, and in which segment they came, so that the first is told from a copy. */
function segment(length: number, from: number, tag: number): { frame: Frame; start: number } {
  const memory = new Uint8Array(length + 3).fill(0xee);
  for (let i = 0; i < length; i++) memory[i + 3] = ((from + i) * 31 + tag * 7) & 255;
  return { frame: new Frame(memory), start: 3 };
}

function takeAll(queue: ReceiveQueue): number[] {
  const bytes: number[] = [];
  for (let chunk = queue.take(1e9); chunk !== null; chunk = queue.take(1e9)) bytes.push(...chunk);
  return bytes;
}

describe('Reassembly', () => {
  it('agrees with a map of bytes, whatever overlaps, and wherever the numbers wrap', () => {
    const step = fc.oneof(
      { weight: 5, arbitrary: fc.record({ left: fc.nat(SPACE), length: fc.integer({ min: 1, max: 900 }) }) },
      { weight: 1, arbitrary: fc.record({ drain: fc.nat(600) }) },
    );
    const base = fc.constantFrom(0, 2 ** 31 - 1500, -1500, -(2 ** 31), 12345);
    fc.assert(
      fc.property(base, fc.array(step, { maxLength: 40 }), (base_, steps) => {
        const reassembly = new Reassembly();
        const keeper = new PayloadKeeper();
        const queue = new ReceiveQueue();
        const model = new Map<number, number>();
        let next = 0;
        steps.forEach((action, tag) => {
          if ('drain' in action) {
            // In-order data comes up to `to`, and what follows it is drained.
            const to = next + action.drain;
            for (let i = next; i < to; i++) model.delete(i);
            const expected: number[] = [];
            let end = to;
            for (; model.has(end); end++) {
              expected.push(model.get(end)!);
              model.delete(end);
            }
            const answer = reassembly.drain(advance(base_, to), queue);
            expect(distance(answer, base_)).toBe(end);
            expect(takeAll(queue)).toEqual(expected);
            next = end;
          } else {
            const left = Math.max(action.left, next + 1);
            const right = left + action.length;
            const { frame, start } = segment(action.length, left, tag);
            let fresh = 0;
            for (let i = left; i < right; i++) {
              if (model.has(i)) continue;
              model.set(i, (i * 31 + tag * 7) & 255);
              fresh++;
            }
            const took = reassembly.insert(advance(base_, left), advance(base_, right), frame, start, keeper);
            expect(took).toBe(fresh);
          }
          expect(reassembly.bytes).toBe(model.size);
          expect(reassembly.cost).toBeGreaterThanOrEqual(model.size);
          expect(
            reassembly.runs.map((run) => [distance(run.left, base_), distance(run.right, base_)]),
          ).toEqual(runsOf(model));
          for (const run of reassembly.recent) expect(reassembly.runs).toContain(run);
          expect(new Set(reassembly.recent).size).toBe(reassembly.recent.length);
        });
      }),
    );
  });

  it('names the run of the latest segment first (RFC 2018 §4)', () => {
    const reassembly = new Reassembly();
    const keeper = new PayloadKeeper();
    const put = (left: number, right: number): void => {
      const { frame, start } = segment(right - left, left, 0);
      reassembly.insert(left, right, frame, start, keeper);
    };
    put(10, 20);
    put(50, 60);
    put(30, 40);
    const recent = (): number[][] => reassembly.recent.map((run) => [run.left, run.right]);
    expect(recent()).toEqual([
      [30, 40],
      [50, 60],
      [10, 20],
    ]);
    put(20, 25);
    expect(recent()[0]).toEqual([10, 25]);
    put(25, 30);
    expect(recent()).toEqual([
      [10, 40],
      [50, 60],
    ]);
    // A copy of what is held is the latest too.
    put(52, 55);
    expect(recent()[0]).toEqual([50, 60]);
  });

  it('finds the first overlap, for D-SACK (RFC 2883 §4.2)', () => {
    const reassembly = new Reassembly();
    const { frame, start } = segment(10, 10, 0);
    reassembly.insert(10, 20, frame, start, new PayloadKeeper());
    expect(reassembly.overlap(0, 10)).toBeNull();
    expect(reassembly.overlap(20, 30)).toBeNull();
    expect(reassembly.overlap(0, 12)).toEqual({ left: 10, right: 12 });
    expect(reassembly.overlap(15, 40)).toEqual({ left: 15, right: 20 });
  });

  it('counts what tiny pieces really cost', () => {
    const reassembly = new Reassembly();
    const keeper = new PayloadKeeper();
    for (let i = 0; i < 100; i++) {
      const { frame, start } = segment(1, i, 0);
      reassembly.insert(2 * i, 2 * i + 1, frame, start, keeper);
    }
    expect(reassembly.bytes).toBe(100);
    expect(reassembly.cost).toBeGreaterThan(100 * 100);
  });
});

function runsOf(model: Map<number, number>): number[][] {
  const runs: number[][] = [];
  for (const at of [...model.keys()].sort((a, b) => a - b)) {
    const last = runs.at(-1);
    if (last !== undefined && last[1] === at) last[1] = at + 1;
    else runs.push([at, at + 1]);
  }
  return runs;
}
