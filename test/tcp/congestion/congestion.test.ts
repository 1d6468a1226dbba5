import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { AckSample, Congestion } from '../../../src/tcp/congestion/congestion.ts';
import { Cubic } from '../../../src/tcp/congestion/cubic.ts';
import { NewReno } from '../../../src/tcp/congestion/newreno.ts';

const SEGMENT = 1000;

function sample(bytes: number, now: number, rttMs = 100): AckSample {
  return {
    bytes,
    now,
    rttMs,
    smoothedRttMs: rttMs,
    minimumRttMs: rttMs,
    una: Math.trunc(now) | 0,
    next: (Math.trunc(now) + rttMs) | 0,
    inFlight: 0,
  };
}

/** Rounds of one window each, one ACK per two segments, at a steady RTT. */
function runRounds(congestion: Congestion, rounds: number, from: number, rttMs: number): number {
  let now = from;
  for (let round = 0; round < rounds; round++) {
    const acks = Math.max(1, Math.floor(congestion.window / (2 * SEGMENT)));
    for (let i = 0; i < acks; i++) congestion.onAck(sample(2 * SEGMENT, now + (i * rttMs) / acks, rttMs));
    now += rttMs;
  }
  return now;
}

const ALGORITHMS: [string, () => Congestion][] = [
  ['NewReno', () => new NewReno(SEGMENT, 10 * SEGMENT)],
  ['CUBIC', () => new Cubic(SEGMENT, 10 * SEGMENT)],
];

describe.each(ALGORITHMS)('%s', (_name, make) => {
  it('doubles per round trip in slow start (RFC 5681 §3.1)', () => {
    const congestion = make();
    runRounds(congestion, 3, 0, 100);
    expect(congestion.window).toBeGreaterThanOrEqual(75 * SEGMENT);
    expect(congestion.window).toBeLessThanOrEqual(80 * SEGMENT);
  });

  it('halves no lower than two segments, and restarts from one after a timeout (RFC 5681 equation 4)', () => {
    const congestion = make();
    congestion.onTimeout(10 * SEGMENT, 0);
    expect(congestion.window).toBe(SEGMENT);
    expect(congestion.threshold).toBeGreaterThanOrEqual(5 * SEGMENT);
    congestion.onLoss(SEGMENT, 0);
    expect(congestion.threshold).toBe(2 * SEGMENT);
  });

  it('puts a wrong reduction back', () => {
    const congestion = make();
    runRounds(congestion, 2, 0, 100);
    const { window, threshold } = congestion;
    congestion.save();
    congestion.onTimeout(window, 200);
    congestion.undo();
    expect(congestion.window).toBe(window);
    expect(congestion.threshold).toBe(threshold);
  });

  it('grows no further than the initial window after an idle time (RFC 5681 §4.1)', () => {
    const congestion = make();
    runRounds(congestion, 5, 0, 100);
    congestion.onIdle(10 * SEGMENT, 10_000);
    expect(congestion.window).toBe(10 * SEGMENT);
  });

  it('is a number of at least one segment whatever happens, and shrinks on loss only', () => {
    const event = fc.oneof(
      {
        weight: 8,
        arbitrary: fc.record({
          kind: fc.constant('ack' as const),
          bytes: fc.integer({ min: 1, max: 60_000 }),
        }),
      },
      { weight: 1, arbitrary: fc.constant({ kind: 'loss' as const, bytes: 0 }) },
      { weight: 1, arbitrary: fc.constant({ kind: 'timeout' as const, bytes: 0 }) },
      { weight: 1, arbitrary: fc.constant({ kind: 'idle' as const, bytes: 0 }) },
      { weight: 1, arbitrary: fc.constant({ kind: 'mark' as const, bytes: 0 }) },
      { weight: 1, arbitrary: fc.constant({ kind: 'undo' as const, bytes: 0 }) },
    );
    fc.assert(
      fc.property(fc.array(fc.tuple(event, fc.nat(3000)), { maxLength: 200 }), (events) => {
        const congestion = make();
        let now = 0;
        for (const [{ kind, bytes }, passed] of events) {
          now += passed;
          const before = congestion.window;
          if (kind === 'ack') {
            congestion.onAck(sample(bytes, now));
            expect(congestion.window).toBeGreaterThanOrEqual(before);
          } else if (kind === 'loss') {
            congestion.save();
            congestion.onLoss(before, now);
            // The window follows by proportional rate reduction.
            congestion.window = congestion.threshold;
          } else if (kind === 'timeout') {
            congestion.save();
            congestion.onTimeout(before, now);
          } else if (kind === 'idle') {
            congestion.onIdle(10 * SEGMENT, now);
          } else if (kind === 'mark') {
            congestion.onCongestionMark(before, now);
          } else {
            congestion.undo();
          }
          expect(congestion.window).toBeGreaterThanOrEqual(SEGMENT);
          expect(Number.isFinite(congestion.window)).toBe(true);
          expect(congestion.threshold).toBeGreaterThanOrEqual(2 * SEGMENT);
        }
      }),
    );
  });
});

describe('NewReno in congestion avoidance (RFC 5681 §3.1)', () => {
  it('adds one segment per round trip', () => {
    const reno = new NewReno(SEGMENT, 10 * SEGMENT);
    reno.onLoss(40 * SEGMENT);
    reno.window = reno.threshold;
    expect(reno.window).toBe(20 * SEGMENT);
    runRounds(reno, 10, 0, 100);
    expect(reno.window / SEGMENT).toBeGreaterThanOrEqual(29);
    expect(reno.window / SEGMENT).toBeLessThanOrEqual(30);
  });
});

describe('CUBIC (RFC 9438)', () => {
  /** A flow that lost at `maximum` segments, at time 0. */
  const afterLoss = (maximum: number): Cubic => {
    const cubic = new Cubic(SEGMENT, maximum * SEGMENT);
    cubic.onLoss(maximum * SEGMENT);
    cubic.window = cubic.threshold;
    return cubic;
  };

  it('keeps 0.7 of the window (§4.6)', () => {
    expect(afterLoss(1000).threshold).toBeCloseTo(700 * SEGMENT);
  });

  it('is back at W_max after K = cbrt(W_max · 0.3 / 0.4) seconds, flat there, and convex beyond (§4.2)', () => {
    const maximum = 1000;
    const k = Math.cbrt((maximum * 0.3) / 0.4);
    const cubic = afterLoss(maximum);
    const rttMs = 100;
    const at = (seconds: number): number => 0.4 * (seconds - k) ** 3 + maximum;
    let now = 0;
    for (const seconds of [2, 5, 8, k, k + 2, k + 4]) {
      now = runRounds(cubic, Math.round((seconds * 1000 - now) / rttMs), now, rttMs);
      // The target is one RTT ahead, and reached over the next.
      expect(cubic.window / SEGMENT).toBeGreaterThan(at(now / 1000 - 0.2) - 3);
      expect(cubic.window / SEGMENT).toBeLessThan(at(now / 1000 + 0.2) + 3);
    }
  });

  it('grows by the clock, not by the round trip: half the RTT, the same window after the same time (§4.2)', () => {
    const [near, far] = [afterLoss(2000), afterLoss(2000)];
    runRounds(near, 250, 0, 20);
    runRounds(far, 50, 0, 100);
    expect(near.window / far.window).toBeGreaterThan(0.97);
    expect(near.window / far.window).toBeLessThan(1.03);
  });

  it('is no slower than Reno on a short path (§4.3)', () => {
    const cubic = afterLoss(20);
    const start = cubic.window;
    // At 5 ms, 200 rounds take one second, in which the cubic function alone would hardly have moved.
    runRounds(cubic, 200, 0, 5);
    const alpha = (3 * 0.3) / 1.7;
    expect((cubic.window - start) / SEGMENT).toBeGreaterThan(0.9 * (6 + (200 - 6 / alpha)));
  });

  it('makes room for new flows: W_max after a loss below the old maximum is lower (§4.7)', () => {
    const cubic = afterLoss(1000);
    cubic.onLoss(cubic.window);
    cubic.window = cubic.threshold;
    // W_max is 700 · 0.85 = 595 now: the plateau is reached there.
    const k = Math.cbrt((595 - 490) / 0.4);
    runRounds(cubic, Math.round(k * 10), 0, 100);
    expect(Math.abs(cubic.window / SEGMENT - 595)).toBeLessThan(8);
  });

  it('does not count idle time as time of growth (§4.9 of RFC 9438, §5.8)', () => {
    const cubic = afterLoss(1000);
    runRounds(cubic, 1, 0, 100);
    const before = cubic.window;
    cubic.onIdle(2000 * SEGMENT);
    runRounds(cubic, 1, 3_600_000, 100);
    expect(cubic.window).toBeLessThan(before * 1.1);
  });
});
