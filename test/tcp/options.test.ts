import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import * as options from '../../src/tcp/options.ts';
import { option } from './support/lab.ts';

/** Parses `bytes`, between bytes that would be read as options if they were reached. */
function parse(
  bytes: readonly number[],
  trap: readonly number[] = [2, 4, 0xde, 0xad],
): options.SegmentOptions {
  const memory = Uint8Array.from([...trap, ...bytes, ...trap, ...trap, ...trap]);
  const parsed = new options.SegmentOptions();
  parsed.parse(memory, trap.length, trap.length + bytes.length);
  return parsed;
}

describe('options', () => {
  it('are read in any order and padding (RFC 9293 §3.2)', () => {
    const kinds = [option.mss(1460), option.scale(7), [...option.sackPermitted], option.timestamps(-5, 9)];
    fc.assert(
      fc.property(fc.shuffledSubarray(kinds, { minLength: 4 }), fc.nat(3), (order, padding) => {
        const bytes = order.flatMap((bytes_) => [...new Array<number>(padding).fill(1), ...bytes_]);
        expect(parse([...bytes, 0, 2, 4, 0, 1])).toMatchObject({
          mss: 1460,
          windowScale: 7,
          sackPermitted: true,
          hasTimestamps: true,
          timestampValue: -5,
          timestampEcho: 9,
        });
      }),
    );
  });

  it('that are absent leave nothing of the segment before', () => {
    const parsed = parse([
      ...option.mss(1),
      ...option.scale(3),
      ...option.sackPermitted,
      ...option.timestamps(1, 2),
    ]);
    parsed.parse(new Uint8Array(0), 0, 0);
    expect(parsed).toMatchObject({
      mss: -1,
      windowScale: -1,
      sackPermitted: false,
      hasTimestamps: false,
      sackBlocks: 0,
    });
  });

  it('never make it read past their end, whatever they are (RFC 9293 §3.2, MUST-7)', () => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 0, max: 10 }), { maxLength: 40 }), (bytes) => {
        expect(parse(bytes, [3, 3, 7, 1])).toEqual(parse(bytes));
      }),
      { numRuns: 2000 },
    );
  });

  it.each([
    ['MSS', [2, 3, 9]],
    ['MSS', [2, 5, 9, 9, 9]],
    ['window scale', [3, 2]],
    ['window scale', [3, 4, 1, 1]],
    ['SACK permitted', [4, 3, 1]],
    ['timestamps', [8, 9, 0, 0, 0, 1, 0, 0, 0]],
    ['SACK', [5, 9, 0, 0, 0, 1, 0, 0, 0]],
    ['SACK', [5, 2]],
  ])('of a wrong length are not taken: %s %j', (_name, bytes) => {
    expect(parse([...bytes, ...option.scale(5)])).toMatchObject({
      mss: -1,
      windowScale: 5,
      sackPermitted: false,
      hasTimestamps: false,
      sackBlocks: 0,
    });
  });

  it('cap a shift of more than 14 (RFC 7323 §2.3)', () => {
    expect(parse(option.scale(15)).windowScale).toBe(14);
    expect(parse(option.scale(255)).windowScale).toBe(14);
    expect(parse(option.scale(14)).windowScale).toBe(14);
  });

  it('hold up to four SACK blocks (RFC 2018 §3)', () => {
    const blocks = [1, 2, 3, 4].map((i) => [i * 10, i * 10 + 5] as const);
    const parsed = parse(option.sack(...blocks));
    expect(parsed.sackBlocks).toBe(4);
    expect([...parsed.sackLeft]).toEqual([10, 20, 30, 40]);
    expect([...parsed.sackRight]).toEqual([15, 25, 35, 45]);
  });

  it('are read back as they were written', () => {
    const bytes = new Uint8Array(64);
    let at = options.writeMss(bytes, 0, 8960);
    at = options.writeSackPermitted(bytes, at);
    at = options.writeTimestamps(bytes, at, -1, 0x7fffffff);
    at = options.writeWindowScale(bytes, at, 14);
    expect(at % 4).toBe(0);
    expect(parse([...bytes.subarray(0, at)])).toMatchObject({
      mss: 8960,
      windowScale: 14,
      sackPermitted: true,
      timestampValue: -1,
      timestampEcho: 0x7fffffff,
    });
    expect(options.sackLength(3) + options.TIMESTAMPS_LENGTH).toBe(40);
    expect(options.sackLength(4)).toBeLessThanOrEqual(40);
    expect(options.sackLength(0)).toBe(0);
  });
});
