import { describe, expect, it } from 'vitest';
import { TCP_DEFAULTS } from '../../src/tcp/config.ts';
import { Receiver } from '../../src/tcp/receiver.ts';

const MIB = 1 << 20;
const RTT = { smoothedMs: 100 };

describe('the receive window (dynamic right-sizing, Fisk and Feng 2001)', () => {
  it('grows where more than half of it is taken in a round trip, to twice that and what may be added', () => {
    const receiver = new Receiver(TCP_DEFAULTS);
    expect(receiver.limit).toBe(MIB);
    receiver.taken(600_000, { now: 1000 }, RTT);
    expect(receiver.limit).toBe(MIB);
    receiver.taken(600_000, { now: 1100 }, RTT);
    expect(receiver.limit).toBe(2 * 1_200_000 + 2 * (1_200_000 - MIB / 2) + 16 * receiver.peerSegment);
  });

  it('stays where an application reads less, or as much in a longer time', () => {
    const receiver = new Receiver(TCP_DEFAULTS);
    for (let now = 1000; now < 5000; now += 100) receiver.taken(200_000, { now }, RTT);
    expect(receiver.limit).toBe(MIB);
  });

  it('never passes the largest buffer, and does not move where it is not tuned', () => {
    for (const [options, most] of [
      [{ receiveBuffer: 2 * MIB }, 2 * MIB],
      [{ receiveBuffer: 2 * MIB, autoTuning: false }, 2 * MIB],
      [{ receiveBuffer: 20_000 }, 20_000],
    ] as const) {
      const receiver = new Receiver({ ...TCP_DEFAULTS, ...options });
      for (let now = 1000; now < 2000; now += 100) receiver.taken(10 * MIB, { now }, RTT);
      expect(receiver.limit).toBe(most);
    }
  });
});
