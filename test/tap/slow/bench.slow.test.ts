import { describe, expect, it } from 'vitest';
import { MODES, race, usualContestants } from '../../../bench/tap/race.ts';
import { chart, printTables } from '../../../bench/tap/report.ts';
import { canTap } from '../support/kernel-host.ts';

const reason = canTap();

describe.skipIf(reason !== null)(`the bench over TAP${reason === null ? '' : ` (${reason})`}`, () => {
  it('measures the floor, the kernel and us in every mode, and draws them', async () => {
    const progress: string[] = [];
    const results = await race({
      rounds: 1,
      seconds: 0.2,
      modes: MODES,
      contestants: usualContestants([]),
      onProgress: (_done, _total, what) => progress.push(what),
    });
    expect(results).toHaveLength(MODES.length * 6);
    for (const { rate, toFloor, samples, contestant, mode } of results) {
      expect(rate, `${contestant.name} ${mode}`).toBeGreaterThan(0);
      expect(toFloor).toBeGreaterThan(0);
      expect(samples[0]!.failures, `${contestant.name} ${mode}`).toBe(0);
      if (contestant.role === 'floor') expect(toFloor).toBe(1);
    }
    expect(progress.at(-1)).toBe('done');
    const titles: string[] = [];
    printTables(results, (_table, title) => titles.push(title));
    expect(titles).toHaveLength(2 * MODES.length);
    expect(chart(results)).toMatch(/^<svg.*mirage-net-direct/s);
  });
});
