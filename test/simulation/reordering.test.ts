import { expect, it } from 'vitest';
import { simulate } from '../../bench/loss/simulate.ts';

const RTT_MS = 40;
const RATE_BPS = 10e6;
const DURATION_MS = 20_000;

/**
 * Nothing is lost, and a fifth of all packets is late by up to a round trip. The
 * first packets that are overtaken look like losses to RFC 8985, which learns from
 * the duplicates that are reported; from then on nothing is sent again.
 */
it.each([
  ['an eighth', 1 / 8, 10],
  ['seven eighths', 7 / 8, 60],
] as const)(
  '20%% of the packets late by %s of a round trip: nothing is repeated once that is known',
  async (_, share, most) => {
    const repeatedAtMs: number[] = [];
    let startMs = -1;
    const result = await simulate(
      {
        bottleneck: { rateBps: RATE_BPS, queueBytes: 800_000 },
        way: { delayMs: RTT_MS / 2, reorder: { probability: 0.2, delayMs: RTT_MS * share } },
        back: { delayMs: RTT_MS / 2 },
      },
      RATE_BPS * (1448 / 1514),
      {
        seed: 1,
        durationMs: DURATION_MS,
        tcp: {
          // Less than path and queue hold, so that nothing overflows.
          receiveBuffer: 200_000,
          onTrace: ({ event, timeMs }) => {
            if (startMs < 0) startMs = timeMs;
            if (event === 'retransmit') repeatedAtMs.push(timeMs - startMs);
          },
        },
      },
    );
    expect(result).toMatchObject({ lost: 0, overflowed: 0, timeouts: 0 });
    expect(result.needless).toBeLessThanOrEqual(most);
    // Every reduction was found to be wrong, and taken back.
    expect(result.undone).toBe(result.recoveries);
    expect(repeatedAtMs.filter((at) => at > DURATION_MS / 2)).toEqual([]);
    expect(result.share).toBeGreaterThan(0.98);
  },
  60_000,
);
