import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Delivery, Scoreboard } from '../../../src/tcp/recovery/scoreboard.ts';
import {
  LOST,
  NONE,
  RETRANSMITTED,
  SACKED,
  type SegmentList,
  SegmentPool,
} from '../../../src/tcp/recovery/segment-pool.ts';
import { advance, distance } from '../../../src/tcp/sequence.ts';

type ByteState = 'flight' | 'lost' | 'sacked';

/** What a scoreboard is to know, byte by byte. */
class Model {
  una = 0;
  next = 0;
  readonly bytes = new Map<number, ByteState>();

  count(state: ByteState): number {
    let count = 0;
    for (const other of this.bytes.values()) if (other === state) count++;
    return count;
  }

  change(from: ByteState, to: ByteState, left = this.una, right = this.next): number {
    let changed = 0;
    for (let at = left; at < right; at++) {
      if (this.bytes.get(at) !== from) continue;
      this.bytes.set(at, to);
      changed++;
    }
    return changed;
  }
}

function walk(pool: SegmentPool, list: SegmentList): number[] {
  const ids: number[] = [];
  let previous = NONE;
  for (let id = list.head; id !== NONE; id = pool.next[id]!) {
    expect(pool.previous[id]).toBe(previous);
    expect(ids.length, 'a list without a loop').toBeLessThan(10_000);
    ids.push(id);
    previous = id;
  }
  expect(list.tail).toBe(previous);
  return ids;
}

/** The scoreboard says of every byte what the model says, and its lists are sound. */
function compare(scoreboard: Scoreboard, model: Model, base: number): void {
  const { pool } = scoreboard;
  const seen = new Map<number, ByteState>();
  const note = (ids: number[], state: ByteState, flag: number): void => {
    for (const id of ids) {
      expect(pool.flags[id]! & (SACKED | LOST), `flags of a segment ${state}`).toBe(flag);
      const left = distance(pool.sequence[id]!, base);
      const right = distance(pool.end[id]!, base);
      expect(right).toBeGreaterThan(left);
      for (let at = left; at < right; at++) {
        expect(seen.has(at), `byte ${at} in one segment only`).toBe(false);
        seen.set(at, state);
      }
    }
  };
  const flight = walk(pool, scoreboard.inFlight);
  const lost = walk(pool, scoreboard.lost);
  note(flight, 'flight', 0);
  note(lost, 'lost', LOST);
  for (const [at, state] of model.bytes) {
    if (state === 'sacked') expect(seen.has(at), `SACKed byte ${at} on no list`).toBe(false);
    else expect(seen.get(at), `byte ${at}`).toBe(state);
  }
  expect(seen.size).toBe(model.count('flight') + model.count('lost'));
  expect(scoreboard.sackedBytes).toBe(model.count('sacked'));
  expect(scoreboard.lostBytes).toBe(model.count('lost'));
  expect(scoreboard.count).toBe(flight.length + lost.length + scoreboard.sackedCount);
  expect(pool.live).toBe(scoreboard.count);
}

const step = fc.oneof(
  { weight: 4, arbitrary: fc.record({ kind: fc.constant('push' as const), a: fc.nat(60), b: fc.nat(3) }) },
  { weight: 3, arbitrary: fc.record({ kind: fc.constant('sack' as const), a: fc.nat(300), b: fc.nat(120) }) },
  {
    weight: 2,
    arbitrary: fc.record({ kind: fc.constant('acknowledge' as const), a: fc.nat(90), b: fc.nat(0) }),
  },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant('lose' as const), a: fc.nat(4), b: fc.nat(0) }) },
  { weight: 3, arbitrary: fc.record({ kind: fc.constant('repeat' as const), a: fc.nat(50), b: fc.nat(0) }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('timeout' as const), a: fc.nat(0), b: fc.nat(0) }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('renege' as const), a: fc.nat(0), b: fc.nat(0) }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('undo' as const), a: fc.nat(0), b: fc.nat(0) }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('probe' as const), a: fc.nat(20), b: fc.nat(0) }) },
);

describe('Scoreboard', () => {
  it('agrees with an array of bytes under any order of events, across the wrap-around', () => {
    const base = fc.constantFrom(0, -100, 2 ** 31 - 150, -(2 ** 31), 777);
    fc.assert(
      fc.property(base, fc.array(step, { maxLength: 60 }), (base_, steps) => {
        const pool = new SegmentPool();
        const scoreboard = new Scoreboard(pool);
        const delivery = new Delivery();
        const model = new Model();
        let now = 1;
        for (const { kind, a, b } of steps) {
          now++;
          delivery.begin(scoreboard);
          if (kind === 'push') {
            for (let i = 0; i <= b; i++) {
              const end = model.next + 1 + a;
              scoreboard.push(advance(base_, model.next), advance(base_, end), { now });
              for (let at = model.next; at < end; at++) model.bytes.set(at, 'flight');
              model.next = end;
            }
          } else if (kind === 'sack') {
            const left = model.una + Math.min(a, model.next - model.una);
            const right = Math.min(left + b, model.next);
            if (right <= left) continue;
            scoreboard.sack(advance(base_, left), advance(base_, right), delivery);
            const fresh =
              model.change('flight', 'sacked', left, right) + model.change('lost', 'sacked', left, right);
            expect(delivery.delivered).toBe(fresh);
          } else if (kind === 'acknowledge') {
            const una = Math.min(model.una + a, model.next);
            let fresh = 0;
            for (let at = model.una; at < una; at++) {
              if (model.bytes.get(at) !== 'sacked') fresh++;
              model.bytes.delete(at);
            }
            model.una = una;
            scoreboard.acknowledge(advance(base_, una), delivery);
            expect(delivery.delivered).toBe(fresh);
          } else if (kind === 'lose') {
            for (let i = 0; i <= a && scoreboard.inFlight.head !== NONE; i++) {
              const id = scoreboard.inFlight.head;
              const left = distance(pool.sequence[id]!, base_);
              model.change('flight', 'lost', left, distance(pool.end[id]!, base_));
              scoreboard.markLost(id);
            }
          } else if (kind === 'repeat') {
            const id = scoreboard.lost.head;
            if (id === NONE) continue;
            const left = distance(pool.sequence[id]!, base_);
            const right = Math.min(left + 1 + a, distance(pool.end[id]!, base_));
            scoreboard.retransmitted(id, advance(base_, right), now);
            model.change('lost', 'flight', left, right);
            expect(pool.flags[id]! & RETRANSMITTED).toBe(RETRANSMITTED);
            expect(pool.sentAt[id]).toBe(now);
            expect(scoreboard.inFlight.tail).toBe(id);
          } else if (kind === 'timeout') {
            scoreboard.markAllLost();
            model.change('flight', 'lost');
            const order = walk(pool, scoreboard.lost).map((id) => distance(pool.sequence[id]!, base_));
            expect(order, 'lowest first').toEqual([...order].sort((x, y) => x - y));
          } else if (kind === 'renege') {
            // As after a timeout: what was SACKed is in flight again, then lost with all the rest.
            scoreboard.forgetSacks();
            scoreboard.markAllLost();
            model.change('sacked', 'flight');
            model.change('flight', 'lost');
          } else if (kind === 'undo') {
            scoreboard.unmarkLost();
            model.change('lost', 'flight');
          } else {
            const { last } = scoreboard;
            if (last === NONE || !scoreboard.isInFlight(last)) continue;
            scoreboard.trimTo(last, 1 + a);
            scoreboard.probed(scoreboard.last, now);
            expect(scoreboard.inFlight.tail).toBe(scoreboard.last);
          }
          compare(scoreboard, model, base_);
        }
        scoreboard.clear();
        expect(pool.live, 'every record is given back').toBe(0);
      }),
      { numRuns: 150 },
    );
  });

  it('gives an RTT sample of segments sent once only (Karn, RFC 6298 §3)', () => {
    const scoreboard = new Scoreboard(new SegmentPool());
    const delivery = new Delivery();
    scoreboard.push(0, 100, { now: 10 });
    scoreboard.push(100, 200, { now: 20 });
    scoreboard.markLost(scoreboard.first);
    scoreboard.retransmitted(scoreboard.first, 100, 30);
    delivery.begin(scoreboard);
    scoreboard.acknowledge(100, delivery);
    expect(delivery).toMatchObject({ sampleSentAt: -1, latestSentAt: 30, latestRetransmitted: true });
    delivery.begin(scoreboard);
    scoreboard.acknowledge(200, delivery);
    expect(delivery).toMatchObject({ sampleSentAt: 20, latestSentAt: 20, latestRetransmitted: false });
  });

  it('uses the rings again that it has grown out of and into: a flight after a flight allocates nothing', () => {
    const pool = new SegmentPool();
    const scoreboard = new Scoreboard(pool);
    const delivery = new Delivery();
    const time = { now: 0 };
    const flight = (): void => {
      for (let i = 0; i < 1000; i++) scoreboard.push(i, i + 1, time);
      delivery.begin(scoreboard);
      scoreboard.acknowledge(1000, delivery);
    };
    flight();
    const lengths = [16, 32, 64, 128, 256, 512, 1024];
    const rings = lengths.map((length) => pool.takeOrder(length));
    for (const ring of rings) pool.giveOrder(ring);
    flight();
    // The same ones as before: none was made anew, none was lost.
    expect(lengths.map((length) => rings.indexOf(pool.takeOrder(length)))).toEqual([0, 1, 2, 3, 4, 5, 6]);
  });

  it('gives one of a part of a segment, too: large segments are acknowledged in parts', () => {
    const scoreboard = new Scoreboard(new SegmentPool());
    const delivery = new Delivery();
    scoreboard.push(0, 60_000, { now: 10 });
    delivery.begin(scoreboard);
    scoreboard.acknowledge(2896, delivery);
    expect(delivery).toMatchObject({ delivered: 2896, sampleSentAt: 10, latestSentAt: 10, latestEnd: 2896 });
  });

  it('sees reordering only in what is overtaken by an earlier ACK (RFC 8985 §6.2 step 3)', () => {
    const scoreboard = new Scoreboard(new SegmentPool());
    const delivery = new Delivery();
    for (let i = 0; i < 6; i++) scoreboard.push(100 * i, 100 * (i + 1), { now: i });
    // The first ACK tells of 100..200 cumulatively and of 300..400 and 500..600 selectively, highest first.
    delivery.begin(scoreboard);
    scoreboard.sack(500, 600, delivery);
    scoreboard.sack(300, 400, delivery);
    scoreboard.acknowledge(100, delivery);
    expect(delivery.reorderedBytes).toBe(0);
    delivery.begin(scoreboard);
    scoreboard.sack(400, 500, delivery);
    expect(delivery.reorderedBytes).toBe(100);
  });

  it('walks a growing SACK block no further than what is new (thousands of segments)', () => {
    const pool = new SegmentPool();
    const scoreboard = new Scoreboard(pool);
    const delivery = new Delivery();
    const count = 20_000;
    for (let i = 0; i < count; i++) scoreboard.push(i * 10, i * 10 + 10, { now: 0 });
    const begun = performance.now();
    for (let i = 2; i <= count; i++) {
      delivery.begin(scoreboard);
      scoreboard.sack(10, i * 10, delivery);
    }
    expect(scoreboard.sackedCount).toBe(count - 1);
    // A walk over all that is SACKed for each ACK would be 200 million steps.
    expect(performance.now() - begun).toBeLessThan(1000);
  });
});
