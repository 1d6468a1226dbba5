import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  advance,
  after,
  atOrAfter,
  atOrBefore,
  before,
  distance,
  earlier,
  later,
} from '../../src/tcp/sequence.ts';

const HALF = 2 ** 31;
const sequence = fc.integer({ min: -HALF, max: HALF - 1 });

describe('sequence numbers (RFC 9293 §3.4)', () => {
  it('compare by what was added, wherever the wrap-around lies', () => {
    fc.assert(
      fc.property(sequence, fc.integer({ min: -HALF + 1, max: HALF - 1 }), (a, delta) => {
        const b = advance(a, delta);
        expect(b).toBe(b | 0);
        expect(distance(b, a)).toBe(delta);
        expect(after(b, a)).toBe(delta > 0);
        expect(before(b, a)).toBe(delta < 0);
        expect(atOrAfter(b, a)).toBe(delta >= 0);
        expect(atOrBefore(b, a)).toBe(delta <= 0);
        expect(later(a, b)).toBe(delta > 0 ? b : a);
        expect(earlier(a, b)).toBe(delta < 0 ? b : a);
      }),
    );
  });
});
