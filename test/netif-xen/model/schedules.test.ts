import { afterEach, describe, expect, it } from 'vitest';
import { BackRing, FrontRing } from '../../../src/netif/xen/ring.ts';
import { SeededRandom } from '../../../src/time/index.ts';
import { exploreOne } from './explore.ts';
import { MUTANTS } from './mutants.ts';
import { randomModel, runModels } from './random.ts';
import { runSchedules } from './schedules.ts';

const RESPONSE_EVENT = 3;
const REQUEST_EVENT = 1;
const { arm: frontArm } = FrontRing.prototype;
const { arm: backArm } = BackRing.prototype;

describe('random schedules', { timeout: 120_000 }, () => {
  afterEach(() => {
    FrontRing.prototype.arm = frontArm;
    BackRing.prototype.arm = backArm;
  });

  it('of whole netifs lose nothing', () => {
    const { frames, interrupts } = runSchedules(1, 1000);
    expect(frames).toBeGreaterThan(10_000);
    expect(interrupts).toBeGreaterThan(1000);
  });

  it('find a frontend that does not look again after it asked for an event', () => {
    FrontRing.prototype.arm = function (this: FrontRing, count: number): boolean {
      Atomics.store(this.words, RESPONSE_EVENT, (this.responseConsumer + count) | 0);
      return false;
    };
    expect(() => runSchedules(1, 20_000)).toThrow(/frames of the .* arrived/);
  });

  it('find a backend that does not look again after it asked for an event', () => {
    BackRing.prototype.arm = function (this: BackRing, count: number): boolean {
      Atomics.store(this.words, REQUEST_EVENT, (this.requestConsumer + count) | 0);
      return false;
    };
    expect(() => runSchedules(1, 20_000)).toThrow(/frames of the .* arrived/);
  });

  it('of the ring alone, access by access, lose nothing', () => {
    expect(runModels(1, 500).steps).toBeGreaterThan(10_000);
  });

  it('of the ring alone find every mutant', () => {
    const random = new SeededRandom(1);
    for (const [name, options] of Object.entries(MUTANTS)) {
      let found = false;
      for (let n = 0; n < 20_000 && !found; n++) {
        found = exploreOne(options, random, randomModel(random).bias).violation !== null;
      }
      expect(found, name).toBe(true);
    }
  });
});
