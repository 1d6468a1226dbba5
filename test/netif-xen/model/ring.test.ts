import { describe, expect, it } from 'vitest';
import { exploreAll, type ModelOptions } from './explore.ts';
import { MUTANTS } from './mutants.ts';

/** Small enough to go through all of it in a second or two. */
const BOUNDS: Readonly<Record<string, ModelOptions>> = {
  'two entries, four requests': { size: 2, requests: 4, packet: 1, batch: 1 },
  'two entries, five requests, told of every second answer': { size: 2, requests: 5, packet: 1, batch: 2 },
  'four entries, six requests in packets of two': { size: 4, requests: 6, packet: 2, batch: 1 },
  'four entries, packets of three, told of three answers': { size: 4, requests: 6, packet: 3, batch: 3 },
  'counters that wrap at 2^31': { size: 2, requests: 4, packet: 1, batch: 1, first: 0x7ffffffe },
  'counters that wrap at 2^32': { size: 2, requests: 4, packet: 1, batch: 1, first: -2 },
};

describe('every interleaving of the two ends, access by access', { timeout: 60_000 }, () => {
  for (const [name, options] of Object.entries(BOUNDS)) {
    it(`loses no wake-up and overwrites nothing: ${name}`, () => {
      const { states, violation } = exploreAll(options);
      expect(violation).toBeNull();
      // The bound is not so small that nothing happens in it.
      expect(states).toBeGreaterThan(1000);
    });
  }
});

describe('the check can fail', () => {
  for (const [name, options] of Object.entries(MUTANTS)) {
    it(`catches ${name}`, () => {
      expect(exploreAll(options).violation).not.toBeNull();
    });
  }
});
