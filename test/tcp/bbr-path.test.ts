import { describe, expect, it } from 'vitest';
import type { BbrState } from '../../src/tcp/congestion/bbr-state.ts';
import { BottleneckPath, type Moment, type PathFlow } from './bbr-path.ts';

const FAST = 100e6;
const LONG = 60_000;

function statesIn(moments: readonly Moment[]): BbrState[] {
  return moments.map(({ state }) => state).filter((state, i, all) => state !== all[i - 1]);
}

function quantile(values: readonly number[], share: number): number {
  return values.toSorted((a, b) => a - b)[Math.floor(share * (values.length - 1))]!;
}

describe('BBR alone at a bottleneck of 100 Mbit/s with one bandwidth-delay product of queue', () => {
  it.each([20, 100])(
    'uses at least nine tenths of it at %i ms, and leaves the queue empty but for its probes',
    (rttMs) => {
      const path = new BottleneckPath({ rateBps: FAST, rttMs });
      const flow = path.open('bbr');
      const moments = flow.watch(20_000, 10);
      expect(flow.acked / 20_000).toBeGreaterThan(0.9 * path.capacity);
      const rtts = moments.slice(500).map((moment) => moment.rttMs);
      expect(quantile(rtts, 0.5)).toBeLessThan(1.05 * rttMs);
      // ProbeBW_UP, and its queue's way out.
      expect(quantile(rtts, 0.75)).toBeLessThan(1.25 * rttMs);
      expect(path.timeouts).toBe(0);
    },
    LONG,
  );

  it.each([20, 100])(
    'uses at least 0.85 of it at %i ms when one frame of a hundred is lost',
    (rttMs) => {
      let share = 0;
      for (const seed of [1, 2]) {
        const path = new BottleneckPath({ rateBps: FAST, rttMs, loss: 0.01, seed });
        const flow = path.open('bbr');
        // Startup may take noise for a full queue; a few cycles find the rest.
        path.run(8000);
        share += flow.rateOver(8000) / path.capacity / 2;
        expect(path.timeouts).toBe(0);
        // The frames are lost, not late.
        expect(flow.connection.sender.recovery.spuriousRecoveries).toBe(0);
      }
      expect(share).toBeGreaterThan(0.85);
    },
    LONG,
  );

  it(
    'finds the bandwidth within 2%, then drains, slows down and cruises (§5.3)',
    () => {
      const path = new BottleneckPath({ rateBps: 50e6, rttMs: 40, queueBdp: 2 });
      const flow = path.open('bbr');
      const moments = flow.watch(10_000, 1);
      expect(statesIn(moments).slice(0, 6)).toEqual([
        'startup',
        'drain',
        // The queue is gone already: ProbeBW_DOWN ends with the next ACK.
        'probe-bw-cruise',
        'probe-bw-refill',
        'probe-bw-up',
        'probe-bw-down',
      ]);
      expect(Math.abs(flow.bbr.model.maxBw / path.capacity - 1)).toBeLessThan(0.02);
      expect(Math.abs(flow.bbr.minRttMs / 40 - 1)).toBeLessThan(0.02);
      expect(path.overflowed).toBe(0);
      const gains = new Map(
        moments.map(({ state, pacingRate }) => [state, pacingRate / flow.bbr.model.maxBw]),
      );
      expect(gains.get('drain')).toBeCloseTo(0.5 * 0.99, 1);
      expect(gains.get('probe-bw-down')).toBeCloseTo(0.9 * 0.99, 2);
      expect(gains.get('probe-bw-cruise')).toBeCloseTo(0.99, 2);
      expect(gains.get('probe-bw-up')).toBeCloseTo(1.25 * 0.99, 2);
    },
    LONG,
  );

  it(
    'goes into ProbeRTT about every 5 s, for at least 200 ms, with half of the product in flight (§5.3.4)',
    () => {
      const path = new BottleneckPath({ rateBps: 50e6, rttMs: 40 });
      const flow = path.open('bbr');
      const moments = flow.watch(32_000, 2);
      const begins = moments.filter(
        ({ state }, i) => state === 'probe-rtt' && moments[i - 1]!.state !== 'probe-rtt',
      );
      expect(begins.length).toBeGreaterThanOrEqual(5);
      expect(begins.length).toBeLessThanOrEqual(6);
      const product = flow.bbr.model.maxBw * flow.bbr.minRttMs;
      for (const begin of begins) {
        const from = moments.indexOf(begin);
        const until = moments.findIndex(({ state }, i) => i > from && state !== 'probe-rtt');
        if (until < 0) continue;
        const during = moments.slice(from, until);
        const low = during.filter(({ inFlight }) => inFlight <= 0.5 * product);
        expect(low.at(-1)!.at - low[0]!.at).toBeGreaterThanOrEqual(198);
        expect(during.at(-1)!.at - begin.at).toBeLessThan(500);
        expect(moments[until]!.state).toBe('probe-bw-cruise');
        // The window is back at once.
        expect(moments[until]!.cwnd).toBeGreaterThan(1.2 * product);
      }
      const gaps = begins.slice(1).map(({ at }, i) => at - begins[i]!.at);
      for (const gap of gaps) {
        expect(gap).toBeGreaterThan(5000);
        expect(gap).toBeLessThan(6000);
      }
    },
    LONG,
  );

  it(
    'keeps four segments in flight where the product is less than one',
    () => {
      const path = new BottleneckPath({ rateBps: 2e6, rttMs: 2, queueBdp: 20 });
      const flow = path.open('bbr');
      path.run(3000);
      expect(flow.rateOver(5000)).toBeGreaterThan(0.95 * path.capacity);
      expect(flow.bbr.window).toBeGreaterThanOrEqual(flow.bbr.minPipeCwnd);
    },
    LONG,
  );

  it(
    'finds ten times the bandwidth, and gets used to a tenth again',
    () => {
      const path = new BottleneckPath({ rateBps: 10e6, rttMs: 40 });
      const flow = path.open('bbr');
      path.run(6000);
      expect(flow.bbr.model.maxBw).toBeLessThan(1.02 * path.capacity);
      path.setRate(100e6);
      path.run(8000);
      expect(flow.bbr.model.maxBw).toBeGreaterThan(0.9 * 10 * path.capacity);
      path.setRate(10e6);
      path.run(500);
      // Losses tell at once; the filter of the maximum follows after two cycles.
      expect(flow.bbr.model.bwShortterm).toBeLessThan(6 * path.capacity);
      path.run(10_000);
      expect(flow.bbr.model.maxBw).toBeLessThan(1.3 * path.capacity);
      expect(flow.rateOver(3000)).toBeGreaterThan(0.85 * path.capacity);
    },
    LONG,
  );

  it(
    'comes back after the line was cut',
    () => {
      const path = new BottleneckPath({ rateBps: 50e6, rttMs: 40 });
      const flow = path.open('bbr');
      path.run(4000);
      path.left.netif.set({ transmit: { loss: 1 } });
      path.run(1500);
      expect(path.timeouts).toBeGreaterThan(0);
      expect(flow.bbr.window).toBe(flow.bbr.segment);
      path.setRate(50e6);
      path.run(3000);
      expect(flow.rateOver(3000)).toBeGreaterThan(0.85 * path.capacity);
    },
    LONG,
  );

  it.each([
    ['without RACK', { rack: false }, 0.9],
    ['without timestamps', { timestamps: false }, 0.9],
    ['where others are not paced', { pacing: false }, 0.9],
    // One hole is found per round trip, and the rest by timeout.
    ['without SACK', { sack: false }, 0.5],
  ])('works %s', { timeout: LONG }, (_, tcp, least) => {
    const path = new BottleneckPath({ rateBps: 20e6, rttMs: 20, tcp, loss: 0.001 });
    const flow = path.open('bbr');
    path.run(3000);
    expect(flow.rateOver(7000)).toBeGreaterThan(least * path.capacity);
    expect(flow.bbr.model.maxBw).toBeLessThan(1.05 * path.capacity);
  });

  it('takes a reordering path for what it is', { timeout: LONG }, () => {
    const path = new BottleneckPath({ rateBps: 50e6, rttMs: 40 });
    path.left.netif.set({
      transmit: { rateBps: 50e6, delayMs: 20, queueBytes: 1e6, reorder: { probability: 0.02, delayMs: 15 } },
    });
    const flow = path.open('bbr');
    path.run(3000);
    expect(flow.rateOver(5000)).toBeGreaterThan(0.9 * path.capacity);
  });
});

describe('an application that leaves room', () => {
  /** `bytes` every `everyMs`, for `ms`. */
  function trickle(path: BottleneckPath, flow: PathFlow, bytes: number, everyMs: number, ms: number): number {
    let most = 0;
    for (let passed = 0; passed < ms; passed += everyMs) {
      flow.connection.send(new Uint8Array(bytes));
      path.run(everyMs);
      most = Math.max(most, flow.bbr.model.maxBw);
    }
    return most;
  }

  it('does not make the bandwidth look larger than it is, nor leave Startup', { timeout: LONG }, () => {
    const path = new BottleneckPath({ rateBps: FAST, rttMs: 20 });
    const flow = path.open('bbr', false);
    path.run(100);
    const most = trickle(path, flow, 20_000, 50, 4000);
    expect(most).toBeLessThan(1.02 * path.capacity);
    expect(flow.bbr.state).toBe('startup');
    expect(flow.bbr.fullBw.reached).toBe(false);
  });

  it('does not make it look smaller than it was', { timeout: LONG }, () => {
    const path = new BottleneckPath({ rateBps: 20e6, rttMs: 20 });
    const flow = path.open('bbr');
    path.run(4000);
    flow.drain();
    const most = trickle(path, flow, 5000, 50, 8000);
    expect(most).toBeLessThan(1.02 * path.capacity);
    expect(flow.bbr.model.maxBw).toBeGreaterThan(0.98 * path.capacity);
  });

  it('needs no ProbeRTT after a pause, and goes on at full rate (§5.4)', { timeout: LONG }, () => {
    const path = new BottleneckPath({ rateBps: 20e6, rttMs: 20 });
    const flow = path.open('bbr');
    path.run(4000);
    flow.drain();
    const cwnd = flow.bbr.window;
    path.run(7000);
    flow.resume();
    const moments = flow.watch(1000, 1);
    expect(moments.some(({ state }) => state === 'probe-rtt')).toBe(false);
    expect(moments[0]!.cwnd).toBeGreaterThanOrEqual(cwnd);
    expect(moments[0]!.pacingRate).toBeCloseTo(0.99 * flow.bbr.model.maxBw, 0);
    expect(flow.rateOver(1000)).toBeGreaterThan(0.9 * path.capacity);
  });
});

describe('several flows', () => {
  const shares = (path: BottleneckPath, flows: readonly PathFlow[], ms: number): number[] => {
    const before = flows.map(({ acked }) => acked);
    path.run(ms);
    return flows.map(({ acked }, i) => (acked - before[i]!) / ms / path.capacity);
  };

  it('share alike: two of BBR, the second a second later', { timeout: LONG }, () => {
    const path = new BottleneckPath({ rateBps: 50e6, rttMs: 20 });
    const first = path.open('bbr');
    path.run(1000);
    const [a, b] = shares(path, [first, path.open('bbr')], 30_000) as [number, number];
    expect((a + b) ** 2 / (2 * (a * a + b * b))).toBeGreaterThan(0.9);
    expect(a + b).toBeGreaterThan(0.9);
  });

  it.each([1, 4])('starve nobody: CUBIC beside BBR, products of queue: %i', { timeout: LONG }, (queueBdp) => {
    const path = new BottleneckPath({ rateBps: 50e6, rttMs: 20, queueBdp });
    const cubic = path.open('cubic');
    path.run(1000);
    const both = shares(path, [path.open('bbr'), cubic], 30_000);
    for (const share of both) expect(share).toBeGreaterThan(0.15);
    expect(both[0]! + both[1]!).toBeGreaterThan(0.9);
  });
});
