import { describe, expect, it } from 'vitest';
import { allocate, get32, wordsOf } from '../../src/bytes/index.ts';

describe('wordsOf', () => {
  it('shows all of the bytes and no others, big-endian', () => {
    const whole = allocate(32).fill(0);
    const bytes = whole.subarray(7, 21);
    wordsOf(bytes).setInt32(3, 0x89abcdef | 0);
    expect(get32(whole, 10)).toBe(0x89abcdef | 0);
    expect(wordsOf(bytes).byteLength).toBe(14);
    expect(() => wordsOf(bytes).setInt32(11, 0)).toThrow(RangeError);
  });

  it('keeps the views of two arrays that take turns, and never mixes arrays up', () => {
    const arrays = Array.from({ length: 4 }, (_, i) => allocate(8).fill(i));
    expect(wordsOf(arrays[0]!)).toBe(wordsOf(arrays[0]!));
    const views = [wordsOf(arrays[0]!), wordsOf(arrays[1]!)];
    for (let i = 0; i < 6; i++) expect(wordsOf(arrays[i % 2]!)).toBe(views[i % 2]);
    for (let i = 0; i < 24; i++) {
      const index = (i * 7 + (i >> 2)) % 4;
      expect(wordsOf(arrays[index]!).getUint8(0)).toBe(index);
      expect(wordsOf(arrays[index]!).buffer).toBe(arrays[index]!.buffer);
    }
  });
});
