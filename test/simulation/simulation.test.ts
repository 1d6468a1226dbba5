import { describe, expect, it } from 'vitest';
import { simulate } from './simulate.ts';

const SEEDS = 100;

describe('the simulator', () => {
  it(`finds nothing wrong in ${SEEDS} seeds`, async () => {
    for (let seed = 0; seed < SEEDS; seed++) {
      const { violations } = await simulate(seed);
      expect(violations, `replay: npx tsx test/simulation/run.ts --verbose ${seed}`).toEqual([]);
    }
    // Some seconds of work, and more where others work too.
  }, 90_000);

  it('does the same for the same seed', async () => {
    for (let seed = 1000; seed < 1020; seed++) {
      const first = await simulate(seed);
      const second = await simulate(seed);
      expect(second).toEqual(first);
      expect(first.frames).toBeGreaterThan(0);
    }
  });

  it('does something else for another seed', async () => {
    const digests = new Set<number>();
    for (let seed = 2000; seed < 2020; seed++) digests.add((await simulate(seed)).digest);
    expect(digests.size).toBe(20);
  });
});
