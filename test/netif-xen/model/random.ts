import { type Random, randomBelow, randomFraction, SeededRandom } from '../../../src/time/index.ts';
import { exploreOne, type ModelOptions } from './explore.ts';

/** Work of some shape on a ring that is small enough to be full all the time. */
export function randomModel(random: Random): { options: ModelOptions; bias: number } {
  const packet = 1 + randomBelow(random, 3);
  return {
    options: {
      size: packet === 1 && randomBelow(random, 2) === 0 ? 2 : 4,
      packet,
      requests: packet * (1 + randomBelow(random, 4)),
      batch: 1 + randomBelow(random, 4),
      first: randomBelow(random, 4) === 0 ? 0x7fffffff - randomBelow(random, 4) : -randomBelow(random, 4),
    },
    // Now and then one end hardly gets its turn.
    bias: 0.05 + 0.9 * randomFraction(random),
  };
}

/** Throws at the first schedule in which something is wrong. */
export function runModels(seed: number, schedules: number): { schedules: number; steps: number } {
  const random = new SeededRandom(seed);
  let steps = 0;
  for (let n = 0; n < schedules; n++) {
    const { options, bias } = randomModel(random);
    const { states, violation } = exploreOne(options, random, bias);
    if (violation !== null) throw new Error(`schedule ${n} of seed ${seed}: ${violation}`);
    steps += states;
  }
  return { schedules, steps };
}
