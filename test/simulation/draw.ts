import { type Random, randomBelow, randomFraction } from '../../src/time/index.ts';

/** Choices of a seed. Every question takes from the same stream, so the order of questions is part of the seed. */
export class Draw {
  readonly random: Random;

  constructor(random: Random) {
    this.random = random;
  }

  chance(probability: number): boolean {
    return randomFraction(this.random) < probability;
  }

  /** An integer in [least, most]. */
  integer(least: number, most: number): number {
    return least + randomBelow(this.random, most - least + 1);
  }

  real(least: number, most: number): number {
    return least + randomFraction(this.random) * (most - least);
  }

  /** An integer in [least, most], every order of magnitude as likely as any other. */
  magnitude(least: number, most: number): number {
    return Math.round(least * (most / least) ** randomFraction(this.random));
  }

  pick<T>(choices: readonly T[]): T {
    return choices[randomBelow(this.random, choices.length)]!;
  }
}
