import { describe, expect, it } from 'vitest';
import { ViewCache } from '../../src/bytes/index.ts';

describe('ViewCache', () => {
  it('gives the same stretch of the same array the same view', () => {
    const cache = new ViewCache(5);
    const [one, two] = [new Uint8Array(4096), new Uint8Array(4096)];
    const view = cache.view(one, 100, 300);
    expect([view.byteOffset, view.length, view.buffer]).toEqual([100, 200, one.buffer]);
    expect(cache.view(one, 100, 300)).toBe(view);
    expect(cache.view(one, 100, 301)).not.toBe(view);
    expect(cache.view(two, 100, 300).buffer).toBe(two.buffer);
  });

  it('keeps views of the eight arrays asked for last, and no memory of others', () => {
    const cache = new ViewCache(9);
    const arrays = Array.from({ length: 9 }, () => new Uint8Array(4096));
    const ask = (i: number): Uint8Array[] => [
      cache.view(arrays[i]!, i, 50),
      cache.view(arrays[i]!, 100 + i, 2000),
    ];
    const first = arrays.slice(0, 8).map((_, i) => ask(i));
    for (let i = 0; i < 8; i++) for (const [j, view] of ask(i).entries()) expect(view).toBe(first[i]![j]);
    ask(8);
    for (let i = 1; i < 8; i++) for (const [j, view] of ask(i).entries()) expect(view).toBe(first[i]![j]);
    const again = ask(0);
    for (const [j, view] of again.entries()) expect(view).not.toBe(first[0]![j]);
  });

  it('copies a stretch, short or long', () => {
    const cache = new ViewCache(5);
    const source = Uint8Array.from({ length: 100 }, (_, i) => i);
    for (const length of [3, 32, 33, 90]) {
      const target = new Uint8Array(100);
      cache.copy(target, 5, source, 7, 7 + length);
      expect(target.subarray(5, 5 + length)).toEqual(source.subarray(7, 7 + length));
      expect(target[5 + length]).toBe(0);
    }
  });
});
