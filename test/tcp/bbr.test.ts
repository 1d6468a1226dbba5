import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Bbr } from '../../src/tcp/congestion/bbr.ts';
import { AckAggregation } from '../../src/tcp/congestion/bbr-aggregation.ts';
import { TwoCycleMax, WindowedMax } from '../../src/tcp/congestion/bbr-filter.ts';
import { MinRtt } from '../../src/tcp/congestion/bbr-rtt.ts';
import { FullBandwidth } from '../../src/tcp/congestion/bbr-startup.ts';
import { RateSample } from '../../src/tcp/recovery/rate.ts';
import { Delivery, Scoreboard } from '../../src/tcp/recovery/scoreboard.ts';
import { SegmentPool } from '../../src/tcp/recovery/segment-pool.ts';
import { SeededRandom } from '../../src/time/index.ts';

const SEGMENT = 1000;

describe('the filters', () => {
  it('keep a maximum no sample of the window exceeds by more than its successors allow', () => {
    const samples = fc.array(fc.record({ step: fc.nat(3), value: fc.nat(100) }), { maxLength: 200 });
    fc.assert(
      fc.property(samples, (list) => {
        const filter = new WindowedMax();
        const seen: { at: number; value: number }[] = [];
        let at = 0;
        for (const { step, value } of list) {
          at += step;
          seen.push({ at, value });
          const best = filter.update(value, at, 10);
          // Never above what is in the window, never below the newest.
          const inWindow = seen.filter((sample) => at - sample.at <= 10);
          expect(best).toBeLessThanOrEqual(Math.max(...inWindow.map((sample) => sample.value)));
          expect(best).toBeGreaterThanOrEqual(value);
        }
      }),
    );
  });

  it('remember the bandwidth of the present and the previous cycle (§5.5.6)', () => {
    const filter = new TwoCycleMax();
    filter.update(10);
    filter.advance();
    filter.update(4);
    expect(filter.best).toBe(10);
    filter.advance();
    expect(filter.best).toBe(4);
    // A cycle without samples does not push the last ones out.
    filter.advance();
    filter.advance();
    expect(filter.best).toBe(4);
  });

  it('take a lower RTT at once, and a higher one when the old is 10 s old (§5.3.4.3)', () => {
    const rtt = new MinRtt();
    rtt.update(50, 1000);
    rtt.update(40, 2000);
    expect(rtt.minRttMs).toBe(40);
    rtt.update(60, 7001);
    expect(rtt.isProbeDue).toBe(true);
    expect(rtt.minRttMs).toBe(40);
    rtt.update(60, 7002);
    expect(rtt.isProbeDue).toBe(false);
    rtt.update(61, 12_001);
    expect(rtt.minRttMs).toBe(60);
  });

  it('count as extra what comes acknowledged faster than the bandwidth (§5.5.9)', () => {
    const aggregation = new AckAggregation();
    aggregation.restart(0);
    // 10 bytes per ms: 100 are expected after 10 ms, and 400 come.
    aggregation.update(400, 10, 10_000, 1, true, 10);
    expect(aggregation.extraAcked).toBe(400);
    aggregation.update(400, 10, 10_000, 1, true, 20);
    expect(aggregation.extraAcked).toBe(700);
    aggregation.update(100, 10, 10_000, 5, true, 1000);
    expect(aggregation.extraAcked).toBe(700);
    aggregation.update(100, 10, 10_000, 12, true, 2000);
    expect(aggregation.extraAcked).toBe(100);
    aggregation.update(5000, 10, 600, 12, true, 2001);
    expect(aggregation.extraAcked).toBe(600);
  });
});

describe('the full pipe estimator (§5.3.1.2)', () => {
  function round(full: FullBandwidth, deliveryRate: number, isAppLimited = false): boolean {
    full.check(Object.assign(new RateSample(), { deliveryRate, isAppLimited }));
    return full.now;
  }

  it('takes three rounds that grow by less than a quarter for a full pipe', () => {
    const full = new FullBandwidth();
    expect([10, 20, 40, 45, 48, 49].map((rate) => round(full, rate))).toEqual([
      false,
      false,
      false,
      false,
      false,
      true,
    ]);
    full.reset(49);
    expect(full.reached).toBe(true);
    expect(full.now).toBe(false);
  });

  it('does not count rounds in which the application left room', () => {
    const full = new FullBandwidth();
    round(full, 40);
    for (let i = 0; i < 10; i++) expect(round(full, 5, true)).toBe(false);
  });
});

/**
 * A flow in rounds of `rttMs`: what the window allows is sent at the start of a
 * round, at most `capacity` segments of it arrive, one ACK each, at its end.
 */
class Rounds {
  readonly bbr = new Bbr(SEGMENT, 10 * SEGMENT, new SeededRandom(5));
  readonly scoreboard = new Scoreboard(new SegmentPool(), this.bbr.rate);
  readonly #delivery = new Delivery();
  now = 1000;
  #una = 0;
  #next = 0;

  get inFlight(): number {
    return this.#next - this.#una - this.scoreboard.sackedBytes - this.scoreboard.lostBytes;
  }

  /** Answers how many segments were sent. */
  run(rttMs: number, capacity: number): number {
    const { bbr, scoreboard } = this;
    const count = Math.max(1, Math.floor((bbr.window - this.inFlight) / SEGMENT));
    for (let i = 0; i < count; i++, this.#next += SEGMENT) {
      scoreboard.push(this.#next, this.#next + SEGMENT, {
        now: this.now + (i * rttMs) / (count + 1),
      });
    }
    const end = this.now + rttMs;
    const arrives = Math.min(count, capacity);
    for (let i = 0; i < arrives; i++) this.#ack(end + (i * rttMs) / (arrives + 1), rttMs);
    this.now = end + rttMs;
    return count;
  }

  #ack(at: number, rttMs: number): void {
    this.bbr.rate.begin(true, true, at);
    this.#delivery.begin(this.scoreboard);
    this.#una += SEGMENT;
    this.scoreboard.acknowledge(this.#una, this.#delivery);
    this.bbr.onAck({
      bytes: SEGMENT,
      now: at,
      rttMs,
      smoothedRttMs: rttMs,
      minimumRttMs: rttMs,
      una: this.#una,
      next: this.#next,
      inFlight: this.inFlight,
    });
  }

  loseAll(): void {
    this.scoreboard.markAllLost();
  }
}

describe('BBR', () => {
  it('starts with the initial window, paced over the round trip (§5.6.2)', () => {
    const flow = new Rounds();
    expect(flow.bbr.window).toBe(10 * SEGMENT);
    flow.run(100, 10);
    expect(flow.bbr.pacingRate).toBeGreaterThanOrEqual((2.77 * 10 * SEGMENT) / 100);
    expect(flow.bbr.state).toBe('startup');
    const { window } = flow.bbr;
    flow.run(100, 1000);
    expect(flow.bbr.window).toBeGreaterThan(1.5 * window);
  });

  it('treats a mark in Startup as a full queue (§3.7)', () => {
    const flow = new Rounds();
    for (let i = 0; i < 2; i++) flow.run(100, 1000);
    expect(flow.bbr.state).toBe('startup');
    flow.bbr.save();
    flow.bbr.onCongestionMark(flow.inFlight, flow.now);
    flow.run(100, 1000);
    expect(flow.bbr.fullBw.reached).toBe(true);
    expect(flow.bbr.state).not.toBe('startup');
    expect(flow.bbr.model.inflightLongterm).toBeLessThan(Number.POSITIVE_INFINITY);
  });

  it('restarts from one segment after a timeout, and has its window back when all is repaired (§5.6.4.4)', () => {
    const flow = new Rounds();
    for (let i = 0; i < 2; i++) flow.run(100, 1000);
    const { window } = flow.bbr;
    flow.bbr.save();
    flow.bbr.onTimeout();
    expect(flow.bbr.window).toBe(SEGMENT);
    flow.bbr.onRecoveryEnd();
    expect(flow.bbr.window).toBe(window);
  });

  it('goes back to Startup when the losses that ended it were none (§5.5.11.2)', () => {
    const flow = new Rounds();
    for (let i = 0; i < 2; i++) flow.run(100, 1000);
    const { window } = flow.bbr;
    flow.bbr.save();
    flow.bbr.onCongestionMark(flow.inFlight, flow.now);
    flow.bbr.onLoss();
    flow.run(100, 1000);
    expect(flow.bbr.state).not.toBe('startup');
    flow.bbr.undo();
    expect(flow.bbr.state).toBe('startup');
    expect(flow.bbr.fullBw.reached).toBe(false);
    expect(flow.bbr.model.inflightLongterm).toBe(Number.POSITIVE_INFINITY);
    expect(flow.bbr.window).toBeGreaterThanOrEqual(window);
  });

  it('lowers what it sends after a round with losses outside of probing, by 0.7 at most (§5.5.10.3)', () => {
    const flow = new Rounds();
    for (let i = 0; i < 30 && !flow.bbr.state.startsWith('probe-bw'); i++) flow.run(100, 40);
    expect(flow.bbr.state).toMatch(/down|cruise/);
    const { maxBw } = flow.bbr.model;
    flow.bbr.onLoss();
    for (let i = 0; i < 3; i++) flow.run(100, 40);
    const { bwShortterm, inflightShortterm } = flow.bbr.model;
    expect(bwShortterm).toBeLessThan(Number.POSITIVE_INFINITY);
    expect(bwShortterm).toBeGreaterThanOrEqual(0.7 * maxBw);
    expect(flow.bbr.window).toBeLessThanOrEqual(Math.max(inflightShortterm, flow.bbr.minPipeCwnd));
  });

  it('never has a window below four segments, whatever is lost', () => {
    const flow = new Rounds();
    flow.run(100, 10);
    flow.bbr.onLoss();
    flow.loseAll();
    flow.run(100, 1);
    expect(flow.bbr.window).toBeGreaterThanOrEqual(4 * SEGMENT);
    expect(flow.bbr.pacingRate).toBeGreaterThan(0);
  });
});
