import { expect, it } from 'vitest';
import { simulate } from '../simulation/simulate.ts';

const SEEDS = 100;

it(`simulated networks whose hosts all have a Xen card keep the invariants of TCP in ${SEEDS} seeds`, async () => {
  let frames = 0;
  for (let seed = 0; seed < SEEDS; seed++) {
    const result = await simulate(seed, { xen: true });
    expect(result.violations, `seed ${seed}`).toEqual([]);
    frames += result.frames;
  }
  expect(frames).toBeGreaterThan(30_000);
});
