import { describe, expect, it } from 'vitest';
import {
  allCells,
  cellName,
  impairments,
  matches,
  queueBytes,
  responseShare,
} from '../../bench/loss/cell.ts';
import {
  geometricMean,
  grids,
  markdownTable,
  median,
  ratioOfMeans,
  standardError,
} from '../../bench/loss/report.ts';
import { simulateCell } from '../../bench/loss/simulate.ts';
import { merge, withSection } from '../../bench/loss/store.ts';
import { duelRatio, type LinuxResult, linuxTables } from '../../bench/loss/tables.ts';
import { SeededRandom } from '../../src/time/index.ts';
import { randomFraction } from '../../src/time/random.ts';

describe('the grid of the loss table', () => {
  it('has every kind, loss and RTT once, without bursts of nothing', () => {
    const names = allCells().map(cellName);
    expect(new Set(names).size).toBe(names.length);
    expect(names).toHaveLength(3 * 5 * 4 - 4);
    expect(names).toContain('reorder/0%/300');
    expect(names).not.toContain('burst/0%/1');
  });

  it('finds cells by pattern', () => {
    const found = (pattern: string): string[] =>
      allCells()
        .filter((cell) => matches(cell, pattern))
        .map(cellName);
    expect(found('random/1%/20')).toEqual(['random/1%/20']);
    expect(found('burst/0.1')).toHaveLength(4);
    expect(found('*/*/300')).toHaveLength(14);
  });

  it('loses in bursts as much as at random', () => {
    const { way } = impairments({ kind: 'burst', loss: 0.03, rttMs: 20 });
    const { enter, exit } = way.burst!;
    expect(enter / (enter + exit)).toBeCloseTo(0.03, 10);
  });

  it('gives the bottleneck one BDP of queue, or the floor', () => {
    expect(queueBytes(100)).toBe(1_250_000);
    expect(queueBytes(1)).toBe(50 * 1514);
  });

  it("knows Reno's and CUBIC's response", () => {
    expect(responseShare({ kind: 'random', loss: 0.01, rttMs: 100 }, 'newreno')).toBeCloseTo(0.0148, 3);
    expect(responseShare({ kind: 'random', loss: 0.001, rttMs: 300 }, 'cubic')).toBeGreaterThan(
      1.9 * responseShare({ kind: 'random', loss: 0.001, rttMs: 300 }, 'newreno'),
    );
    expect(responseShare({ kind: 'random', loss: 0, rttMs: 1 }, 'cubic')).toBe(1);
  });
});

describe('a simulated transfer', () => {
  const cell = { kind: 'random', loss: 0.01, rttMs: 20 } as const;

  it('is the same for the same seed, and another for another', async () => {
    const first = await simulateCell(cell, 'cubic', 1, 3000);
    expect(await simulateCell(cell, 'cubic', 1, 3000)).toEqual(first);
    expect(await simulateCell(cell, 'cubic', 2, 3000)).not.toEqual(first);
  });

  it('fills a clean link, and sends nothing twice without need', async () => {
    const clean = await simulateCell({ ...cell, loss: 0 }, 'cubic', 1, 5000);
    expect(clean.share).toBeGreaterThan(0.9);
    expect(clean.share).toBeLessThanOrEqual(1.01);
    expect(clean.needless).toBe(0);
    expect(clean.lost).toBe(0);
  });
});

describe('tables', () => {
  it('are Markdown', () => {
    expect(markdownTable(['a', 'b'], [['1', '2']])).toBe('| a | b |\n| --- | ---: |\n| 1 | 2 |');
  });

  it('leave the cells out that were not run', () => {
    const cells = [
      { kind: 'random', loss: 0.01, rttMs: 1 },
      { kind: 'random', loss: 0.1, rttMs: 20 },
    ] as const;
    expect(grids(cells, cellName)).toBe(
      '**random**\n\n| loss | 1 ms | 20 ms |\n| --- | ---: | ---: |\n' +
        '| 1% | random/1%/1 |  |\n| 10% |  | random/10%/20 |',
    );
  });

  it('keep their place on a page, and what was not measured again', () => {
    const page = 'a\n<!-- x -->\nold\n<!-- /x -->\nb';
    expect(withSection(page, 'x', 'new')).toBe('a\n<!-- x -->\n\nnew\n\n<!-- /x -->\nb');
    expect(() => withSection(page, 'y', 'new')).toThrow(/no place for y/);
    const merged = merge(['a1', 'b1'], ['b2', 'c2'], (result) => result[0]!);
    expect(merged).toEqual(['a1', 'b2', 'c2']);
  });

  it('take the median, and the error of a mean', () => {
    expect(median([5, 1, 3])).toBe(3);
    expect(median([1, 2, 3, 10])).toBe(2.5);
    expect(geometricMean([0.5, 2, 8])).toBeCloseTo(2, 10);
    expect(standardError([1, 2, 3, 4])).toBeCloseTo(Math.sqrt(5 / 3 / 4), 10);
    expect(standardError([7])).toBe(0);
  });
});

describe('a ratio of means', () => {
  it('owes nothing to luck that both had', () => {
    const luck = [1, 10, 3, 40, 7];
    const { ratio, error } = ratioOfMeans(
      luck.map((value) => 1.2 * value),
      luck,
    );
    expect(ratio).toBeCloseTo(1.2, 10);
    expect(error).toBeCloseTo(0, 10);
  });

  it('is off by about its error', () => {
    const random = new SeededRandom(3);
    const draw = (): number =>
      Array.from({ length: 12 }, () => randomFraction(random)).reduce((a, b) => a + b);
    let squares = 0;
    let claimed = 0;
    const trials = 400;
    for (let trial = 0; trial < trials; trial++) {
      const runs = Array.from({ length: 10 }, draw);
      const { ratio, error } = ratioOfMeans(
        runs.map((value) => value + draw()),
        runs.map((value) => value + draw()),
      );
      squares += Math.log(ratio) ** 2;
      claimed += error;
    }
    expect(claimed / trials / Math.sqrt(squares / trials)).toBeGreaterThan(0.85);
    expect(claimed / trials / Math.sqrt(squares / trials)).toBeLessThan(1.15);
  });

  it('stands in the table with what falls short, and is of runs that both have', () => {
    const cells = [
      { kind: 'random', loss: 0.01, rttMs: 20 },
      { kind: 'random', loss: 0.01, rttMs: 100 },
      { kind: 'random', loss: 0.03, rttMs: 100 },
    ] as const;
    const result = (cell: (typeof cells)[number], duel: string, run: number, mbps: number): LinuxResult => ({
      cell: cellName(cell),
      duel,
      run,
      result: { goodputBps: mbps * 1e6, retransmits: 0, needless: 0, lost: 0, overflowed: 0, refused: 0 },
    });
    const results: LinuxResult[] = [];
    for (const run of [1, 2, 3, 4]) {
      for (const cell of cells) results.push(result(cell, 'linux → linux', run, 10 * run));
      for (const cell of cells) results.push(result(cell, 'linux → ours', run, 10 * run));
      results.push(result(cells[0], 'ours → linux', run, 12 * run));
      results.push(result(cells[1], 'ours → linux', run, 8 * run));
      // Below by half, but as much off from run to run.
      results.push(result(cells[2], 'ours → linux', run, run === 3 ? 45 : 2 * run));
    }
    results.push(result(cells[0], 'ours → linux', 5, 1e6));
    expect(duelRatio(results, cells[0], 'ours → linux', 'linux → linux').ratio).toBeCloseTo(1.2, 10);
    const page = linuxTables(cells, results);
    expect(page).toContain(
      '2 of 3 cells reach 1.0 within two standard errors; below that: random/1%/100 (0.80 ± 0%). ' +
        'Below 0.9 by more than two standard errors: random/1%/100 (0.80 ± 0%).',
    );
    expect(page).toContain('3 of 3 cells reach 1.0 within two standard errors; below that: none.');
    expect(page).toContain('25.0 ± 26%');
  });
});
