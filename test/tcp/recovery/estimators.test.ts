import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ProportionalRate } from '../../../src/tcp/recovery/prr.ts';
import { Rack } from '../../../src/tcp/recovery/rack.ts';
import { RttEstimator } from '../../../src/tcp/recovery/rtt.ts';
import { Delivery, Scoreboard } from '../../../src/tcp/recovery/scoreboard.ts';
import { SegmentPool } from '../../../src/tcp/recovery/segment-pool.ts';

describe('RttEstimator (RFC 6298)', () => {
  it('starts with the initial timeout, and from the first sample with SRTT = R, RTTVAR = R/2 (§2.2)', () => {
    const rtt = new RttEstimator(1000, 0, 60_000);
    expect(rtt.timeoutMs).toBe(1000);
    expect(rtt.hasSample).toBe(false);
    rtt.sample(100);
    expect(rtt).toMatchObject({ smoothedMs: 100, varianceMs: 50, timeoutMs: 300 });
  });

  it('moves by alpha 1/8 and beta 1/4, variance first (§2.3)', () => {
    const rtt = new RttEstimator(1000, 0, 60_000);
    rtt.sample(100);
    rtt.sample(180);
    expect(rtt.varianceMs).toBeCloseTo(0.75 * 50 + 0.25 * 80);
    expect(rtt.smoothedMs).toBeCloseTo(110);
    expect(rtt.timeoutMs).toBeCloseTo(110 + 4 * 57.5);
  });

  it('doubles up to the ceiling (§5.5), and stays between floor and ceiling', () => {
    fc.assert(
      fc.property(
        fc.array(fc.double({ min: 0, max: 200_000, noNaN: true }), { minLength: 1, maxLength: 40 }),
        fc.nat(80),
        (samples, backoffs) => {
          const rtt = new RttEstimator(1000, 200, 60_000);
          for (const sample of samples) rtt.sample(sample);
          expect(rtt.timeoutMs).toBeGreaterThanOrEqual(200);
          expect(rtt.timeoutMs).toBeLessThanOrEqual(60_000);
          expect(rtt.backedOffMs(backoffs)).toBe(Math.min(rtt.timeoutMs * 2 ** backoffs, 60_000));
          expect(rtt.minimumMs).toBeCloseTo(Math.max(0.001, Math.min(...samples)));
        },
      ),
    );
  });

  it('takes 3 s after a lost SYN, until there is a sample (§5.7)', () => {
    const rtt = new RttEstimator(1000, 200, 60_000);
    rtt.restartAfterLostSyn();
    expect(rtt.timeoutMs).toBe(3000);
    rtt.sample(10);
    rtt.restartAfterLostSyn();
    expect(rtt.timeoutMs).toBeLessThan(3000);
  });

  it('does not take the 1 ms granule of timestamps for the least RTT', () => {
    const rtt = new RttEstimator(1000, 200, 60_000);
    rtt.sample(0.25);
    rtt.sampleCoarse(0);
    expect(rtt.minimumMs).toBe(0.25);
    expect(rtt.smoothedMs).toBeGreaterThan(0.25);
  });
});

describe('ProportionalRate (RFC 6937)', () => {
  const SEGMENT = 1000;

  it('sends in proportion: what leaves over a recovery is ssthresh, not a burst at its end', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 8, max: 200 }),
        fc.double({ min: 0.3, max: 0.9, noNaN: true }),
        (flight, beta) => {
          const rate = new ProportionalRate();
          const threshold = Math.round(flight * SEGMENT * beta);
          rate.begin(flight * SEGMENT);
          // One segment is lost; all others are delivered one by one.
          let pipe = (flight - 1) * SEGMENT;
          let sent = 0;
          for (let delivered = 1; delivered < flight; delivered++) {
            pipe -= SEGMENT;
            const window = rate.windowAfter(SEGMENT, pipe, threshold, SEGMENT, false);
            expect(window).toBeGreaterThanOrEqual(pipe);
            let burst = 0;
            while (window - pipe >= SEGMENT) {
              pipe += SEGMENT;
              sent += SEGMENT;
              burst++;
              rate.onSent(SEGMENT);
            }
            expect(burst).toBeLessThanOrEqual(2);
            expect(sent, 'never ahead of the proportion').toBeLessThanOrEqual(
              Math.ceil((delivered * SEGMENT * threshold) / (flight * SEGMENT)) + SEGMENT,
            );
          }
          expect(Math.abs(pipe - threshold), 'lands on ssthresh').toBeLessThanOrEqual(2 * SEGMENT);
        },
      ),
    );
  });

  it('lets the fast retransmit out whatever the numbers (§3)', () => {
    const rate = new ProportionalRate();
    rate.begin(10 * SEGMENT);
    const pipe = 9 * SEGMENT;
    expect(rate.windowAfter(0, pipe, SEGMENT, SEGMENT, false)).toBeGreaterThanOrEqual(pipe + SEGMENT);
  });

  it('below ssthresh, sends no more than was delivered unless the ACK was safe (conservative bound)', () => {
    const rate = new ProportionalRate();
    rate.begin(10 * SEGMENT);
    rate.onSent(SEGMENT);
    expect(rate.windowAfter(2 * SEGMENT, SEGMENT, 7 * SEGMENT, SEGMENT, false)).toBe(3 * SEGMENT);
    rate.onSent(2 * SEGMENT);
    expect(rate.windowAfter(SEGMENT, SEGMENT, 7 * SEGMENT, SEGMENT, true)).toBe(3 * SEGMENT);
  });
});

describe('Rack (RFC 8985 §6)', () => {
  const setup = () => {
    const pool = new SegmentPool();
    const scoreboard = new Scoreboard(pool);
    const delivery = new Delivery();
    const rtt = new RttEstimator(1000, 200, 60_000);
    const rack = new Rack(pool);
    rtt.sample(40);
    /** Segment `i` is sent at `i` ms. */
    for (let i = 0; i < 10; i++) scoreboard.push(100 * i, 100 * (i + 1), { now: i });
    const sack = (from: number, to: number, now: number): void => {
      delivery.begin(scoreboard);
      scoreboard.sack(100 * from, 100 * to, delivery);
      rack.update(delivery, { now }, rtt, 0);
    };
    const lost = (): number => scoreboard.lostBytes / 100;
    return { pool, scoreboard, rtt, rack, sack, lost };
  };

  it('waits a quarter of the least RTT for what was sent before the latest delivered', () => {
    const { rack, scoreboard, rtt, sack, lost } = setup();
    sack(3, 4, 43);
    // Segment 0 was sent 43 ms ago: RTT 40, window 10.
    expect(rack.detect(scoreboard, { now: 43 }, rtt, false)).toBeCloseTo(7);
    expect(lost()).toBe(0);
    expect(rack.detect(scoreboard, { now: 50 }, rtt, false)).toBeCloseTo(1);
    expect(lost()).toBe(1);
    rack.detect(scoreboard, { now: 52 }, rtt, false);
    expect(lost()).toBe(3);
    expect(rack.detect(scoreboard, { now: 1000 }, rtt, false)).toBe(0);
    expect(lost(), 'never what was sent after').toBe(3);
  });

  it('does not wait once enough was SACKed and no reordering was seen', () => {
    const { rack, scoreboard, rtt, sack, lost } = setup();
    sack(3, 6, 45);
    expect(rack.detect(scoreboard, { now: 45 }, rtt, true)).toBe(0);
    expect(lost()).toBe(3);
  });

  it('waits again where reordering was seen', () => {
    const { rack, scoreboard, rtt, sack, lost } = setup();
    sack(5, 6, 45);
    sack(2, 3, 45);
    expect(rack.reorderingSeen).toBe(true);
    expect(rack.detect(scoreboard, { now: 45 }, rtt, true)).toBeGreaterThan(0);
    expect(lost()).toBe(0);
  });

  it('widens its window once per round trip with a D-SACK, up to one SRTT, and forgets after 16 recoveries', () => {
    const { rack, scoreboard, rtt, sack, lost } = setup();
    sack(9, 10, 49);
    rack.onDuplicateReported(1000);
    rack.onDuplicateReported(1000);
    // Twice a quarter: 20 ms. Segment 0 is lost at 0 + 40 + 20.
    expect(rack.detect(scoreboard, { now: 59 }, rtt, false)).toBeCloseTo(1);
    for (let i = 0; i < 16; i++) rack.onRecoveryEnd();
    // Once a quarter again.
    expect(rack.detect(scoreboard, { now: 50 }, rtt, false)).toBeCloseTo(1);
    expect(lost()).toBe(1);
  });

  it('does not believe an answer to a retransmission that came faster than any RTT', () => {
    const { pool, rack, scoreboard, rtt, lost } = setup();
    const delivery = new Delivery();
    scoreboard.markLost(scoreboard.first);
    scoreboard.retransmitted(scoreboard.first, 100, 50);
    delivery.begin(scoreboard);
    scoreboard.acknowledge(100, delivery);
    rack.update(delivery, { now: 55 }, rtt, 100);
    rack.detect(scoreboard, { now: 100 }, rtt, true);
    expect(lost()).toBe(0);
    expect(pool.live).toBe(9);
  });
});
