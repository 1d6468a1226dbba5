import { describe, expect, it } from 'vitest';
import { type LostPacket, RateEstimator } from '../../src/tcp/recovery/rate.ts';
import { Delivery, Scoreboard } from '../../src/tcp/recovery/scoreboard.ts';
import { SegmentPool } from '../../src/tcp/recovery/segment-pool.ts';

const SEGMENT = 1000;
const MIN_RTT = 100;

/** A sender of segments of 1000 bytes that notes what its estimator tells; times and sequence numbers are given. */
class Trace {
  readonly lost: LostPacket[] = [];
  readonly restarts: number[] = [];
  readonly rate = new RateEstimator({
    onRestartFromIdle: (now) => this.restarts.push(now),
    onPacketLost: (packet) => this.lost.push({ ...packet }),
  });
  readonly pool = new SegmentPool();
  readonly scoreboard = new Scoreboard(this.pool, this.rate);
  readonly #delivery = new Delivery();
  #next = 0;

  send(at: number, bytes = SEGMENT): void {
    this.scoreboard.push(this.#next, this.#next + bytes, { now: at });
    this.#next += bytes;
  }

  ack(at: number, una: number, sacks: readonly (readonly [number, number])[] = [], selective = true) {
    this.rate.begin(false, selective, at);
    this.#delivery.begin(this.scoreboard);
    for (const [left, right] of sacks) this.scoreboard.sack(left, right, this.#delivery);
    this.scoreboard.acknowledge(una, this.#delivery);
    return { ...this.rate.generate(MIN_RTT) };
  }

  loseFirst(): number {
    const id = this.scoreboard.inFlight.head;
    this.scoreboard.markLost(id);
    return id;
  }
}

describe('delivery rate samples (draft-ietf-ccwg-bbr §4.1)', () => {
  it('measure over one round trip, from the ACK before the segment was sent to its own', () => {
    const trace = new Trace();
    for (const at of [0, 10, 20, 30]) trace.send(at);
    // Nothing was in flight: the interval starts with the transmission.
    expect(trace.ack(100, 1000)).toMatchObject({ interval: 100, delivered: 1000, deliveryRate: 10 });
    trace.send(100);
    expect(trace.ack(110, 2000)).toMatchObject({ sendElapsed: 10, ackElapsed: 110, delivered: 2000 });
    trace.ack(120, 3000);
    trace.ack(130, 4000);
    // Sent at 100, when 1000 bytes were delivered, the latest at 100; the newest of those was sent at 0.
    expect(trace.ack(200, 5000)).toMatchObject({
      priorDelivered: 1000,
      priorTime: 100,
      sendElapsed: 100,
      ackElapsed: 100,
      delivered: 4000,
      deliveryRate: 40,
    });
  });

  it('take the newest of the segments that one ACK delivers', () => {
    const trace = new Trace();
    for (const at of [0, 10, 20, 30]) trace.send(at);
    expect(trace.ack(130, 4000)).toMatchObject({
      sendElapsed: 30,
      ackElapsed: 130,
      delivered: 4000,
      txInFlight: 4000,
      deliveryRate: 4000 / 130,
    });
  });

  it('are no faster than the segments were sent, however the ACKs are squeezed together', () => {
    const trace = new Trace();
    trace.send(0);
    trace.send(0);
    trace.ack(150, 1000);
    for (const at of [150, 200, 250]) trace.send(at);
    trace.ack(299, 2000);
    trace.ack(300, 4000);
    // 4000 bytes came acknowledged within 200 ms, but took 250 ms to be sent.
    expect(trace.ack(350, 5000)).toMatchObject({
      sendElapsed: 250,
      ackElapsed: 200,
      deliveryRate: 4000 / 250,
    });
  });

  it('count what is selectively acknowledged, once', () => {
    const trace = new Trace();
    for (let i = 0; i < 4; i++) trace.send(0);
    expect(trace.ack(100, 0, [[2000, 4000]])).toMatchObject({ delivered: 2000 });
    expect(trace.rate.delivered).toBe(2000);
    trace.ack(110, 1000, [[2000, 4000]]);
    expect(trace.rate.delivered).toBe(3000);
    expect(trace.ack(120, 4000)).toMatchObject({ delivered: 4000, deliveryRate: 4000 / 120 });
    expect(trace.rate.delivered).toBe(4000);
  });

  it('give no rate where the interval is shorter than any round trip', () => {
    const trace = new Trace();
    trace.send(0);
    const id = trace.loseFirst();
    trace.scoreboard.retransmitted(id, 1000, 300);
    // The original, late.
    expect(trace.ack(310, 1000)).toMatchObject({ hasData: true, interval: 10, deliveryRate: 0 });
  });

  it("are the application's until what was in flight when it ran out of data is delivered", () => {
    const trace = new Trace();
    trace.send(0);
    trace.send(0);
    trace.rate.markAppLimited(2000);
    trace.send(50);
    expect(trace.ack(100, 2000)).toMatchObject({ isAppLimited: false });
    expect(trace.rate.appLimited).toBe(2000);
    trace.send(100);
    expect(trace.ack(150, 3000)).toMatchObject({ isAppLimited: true });
    expect(trace.rate.appLimited).toBe(0);
    trace.send(150);
    expect(trace.ack(200, 4000)).toMatchObject({ isAppLimited: true });
    expect(trace.ack(250, 5000)).toMatchObject({ isAppLimited: false });
  });

  it('start over, and say so, when something is sent after idleness', () => {
    const trace = new Trace();
    trace.send(0);
    trace.ack(100, 1000);
    trace.rate.markAppLimited(0);
    trace.send(5000);
    trace.send(5000);
    expect(trace.restarts).toEqual([5000]);
    expect(trace.ack(5100, 3000)).toMatchObject({ interval: 100, delivered: 2000, deliveryRate: 20 });
  });

  it('tell how much was lost since the segment was sent', () => {
    const trace = new Trace();
    for (let i = 0; i < 5; i++) trace.send(i);
    trace.loseFirst();
    trace.loseFirst();
    trace.send(60);
    expect(trace.lost).toMatchObject([
      { size: 1000, txInFlight: 1000, lost: 1000, startsRange: false },
      { size: 1000, txInFlight: 2000, lost: 2000, startsRange: false },
    ]);
    expect(trace.ack(110, 0, [[2000, 3000]])).toMatchObject({ lost: 2000, txInFlight: 3000 });
    // Sent after the losses, with 3000 still in flight before it.
    expect(trace.ack(160, 0, [[5000, 6000]])).toMatchObject({ lost: 0, txInFlight: 4000 });
    expect(trace.rate.lost).toBe(2000);
  });

  it('tell where a new range of losses begins', () => {
    const trace = new Trace();
    for (let i = 0; i < 4; i++) trace.send(i);
    trace.ack(100, 0, [[1000, 2000]]);
    trace.loseFirst();
    trace.loseFirst();
    trace.loseFirst();
    expect(trace.lost.map(({ startsRange }) => startsRange)).toEqual([false, true, false]);
  });

  it('keep what was noted of a large segment for each of its parts', () => {
    const trace = new Trace();
    trace.send(0);
    trace.send(10, 4000);
    // Its last 1000 bytes arrive alone: the rest was sent with 4000 bytes in flight, its first part.
    expect(trace.ack(110, 1000, [[4000, 5000]])).toMatchObject({ txInFlight: 5000, sendElapsed: 10 });
    trace.loseFirst();
    expect(trace.lost).toMatchObject([{ size: 3000, txInFlight: 4000 }]);
  });

  it('count duplicate ACKs where there is no SACK, once', () => {
    const trace = new Trace();
    for (let i = 0; i < 4; i++) trace.send(0);
    trace.rate.begin(false, false, 100);
    trace.rate.onPresumed(1000);
    expect(trace.rate.generate(MIN_RTT)).toMatchObject({ hasData: false, deliveryRate: 0 });
    trace.rate.begin(false, false, 101);
    trace.rate.onPresumed(2000);
    expect(trace.rate.delivered).toBe(3000);
    const id = trace.loseFirst();
    trace.scoreboard.retransmitted(id, 1000, 110);
    // The hole is filled, and what the duplicates stood for is acknowledged with it. What was sent
    // before came when it came: the retransmission says nothing of the rate.
    expect(trace.ack(220, 4000, [], false)).toMatchObject({ delivered: 1000, deliveryRate: 0 });
    expect(trace.rate.delivered).toBe(4000);
  });

  it('cost nothing where nobody asks for them', () => {
    const pool = new SegmentPool();
    const scoreboard = new Scoreboard(pool);
    for (let i = 0; i < 1000; i++) scoreboard.push(i * 1000, (i + 1) * 1000, { now: i });
    expect(pool.delivered.length).toBe(0);
    // From here on they are kept, for all records.
    const trace = new Scoreboard(pool, new Trace().rate);
    trace.push(0, 1000, { now: 0 });
    expect(pool.delivered.length).toBe(pool.sequence.length);
    for (let i = 1; i < 2000; i++) trace.push(i * 1000, (i + 1) * 1000, { now: i });
    expect(pool.txInFlight.length).toBe(pool.sequence.length);
  });
});
