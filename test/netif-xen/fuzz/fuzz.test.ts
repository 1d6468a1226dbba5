import { describe, expect, it } from 'vitest';
import { fuzz } from './fuzz.ts';

describe('a hand that changes the rings under both ends', () => {
  it('makes them give up with a reason, never throw, never leave what is granted', async () => {
    const { reasons, frames, connections } = await fuzz(1, 5000);
    expect(connections).toBeGreaterThan(250);
    expect(frames).toBeGreaterThan(500);
    expect(reasons.size).toBeGreaterThan(8);
  }, 60_000);
});
