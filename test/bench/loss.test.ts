import { describe, expect, it } from 'vitest';
import {
  allCells,
  cellName,
  impairments,
  matches,
  queueBytes,
  responseShare,
} from '../../bench/loss/cell.ts';
import { geometricMean, grids, markdownTable, median, spread } from '../../bench/loss/report.ts';
import { simulateCell } from '../../bench/loss/simulate.ts';
import { merge, withSection } from '../../bench/loss/store.ts';

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

  it('take the median and the spread around it', () => {
    expect(median([5, 1, 3])).toBe(3);
    expect(median([1, 2, 3, 10])).toBe(2.5);
    expect(spread([90, 100, 120])).toBeCloseTo(0.2, 10);
    expect(geometricMean([0.5, 2, 8])).toBeCloseTo(2, 10);
  });
});
