import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { IpAddress } from '../../src/address/index.ts';
import { allocate } from '../../src/bytes/index.ts';
import {
  allocateSummable,
  complement,
  copyAndSum,
  fold,
  pseudoHeaderSum,
  releaseSummable,
  sum,
  update16,
} from '../../src/checksum/index.ts';
import { RangePool } from '../../src/checksum/pool.ts';
import { sumShort, sumWords } from '../../src/checksum/portable.ts';
import { loadSimd } from '../../src/checksum/simd.ts';
import { portableSummer, type Summer, simdSummer } from '../../src/checksum/summer.ts';

/** RFC 1071 §1, word by word, with arbitrary precision. */
function reference(bytes: Uint8Array, initial = 0): number {
  let total = BigInt(initial);
  for (let i = 0; i < bytes.length; i++) total += BigInt(bytes[i]!) << (i % 2 === 0 ? 8n : 0n);
  while (total > 0xffffn) total = (total & 0xffffn) + (total >> 16n);
  return Number(total);
}

/** `length` bytes of a pattern that differs in every place. */
function pattern(length: number, seed = 1): Uint8Array {
  const bytes = allocate(length);
  let state = seed;
  for (let i = 0; i < length; i++) {
    state = (Math.imul(state, 1103515245) + 12345) & 0x7fffffff;
    bytes[i] = state >>> 16;
  }
  return bytes;
}

const simd = loadSimd();

const summers: [string, Summer | null][] = [
  ['portable', portableSummer()],
  ['SIMD', simd === null ? null : simdSummer(simd)],
];

describe.each(summers)('%s sum', (_, summer) => {
  const { sum, copyAndSum, allocateSummable } = summer!;

  it('is the reference’s for any bytes, place and initial sum', () => {
    fc.assert(
      fc.property(
        fc.uint8Array({ maxLength: 600 }),
        fc.nat(70),
        fc.nat(70),
        fc.nat(0xffffffff),
        (data, before, after, initial) => {
          const bytes = allocate(before + data.length + after).fill(0xa5);
          bytes.set(data, before);
          const expected = reference(data, initial);
          expect(sum(bytes, before, before + data.length, initial)).toBe(expected);
          const target = allocate(bytes.length).fill(0x5a);
          expect(copyAndSum(target, after, bytes, before, before + data.length, initial)).toBe(expected);
          expect(target.subarray(after, after + data.length)).toEqual(
            bytes.subarray(before, before + data.length),
          );
          expect(target.subarray(0, after).every((byte) => byte === 0x5a)).toBe(true);
          expect(target.subarray(after + data.length).every((byte) => byte === 0x5a)).toBe(true);
        },
      ),
    );
  });

  it('is right at every alignment and every length up to 200', () => {
    const ordinary = pattern(300);
    const summable = allocateSummable(300);
    summable.set(ordinary);
    for (let start = 0; start < 17; start++) {
      for (let length = 0; length <= 200; length++) {
        const expected = reference(ordinary.subarray(start, start + length));
        expect(sum(ordinary, start, start + length)).toBe(expected);
        expect(sum(summable, start, start + length)).toBe(expected);
      }
    }
  });

  it('is right inside a view that begins at an odd place', () => {
    const whole = pattern(4001);
    for (const begin of [1, 2, 3, 5]) {
      const view = whole.subarray(begin);
      expect(sum(view, 3, 3000)).toBe(reference(view.subarray(3, 3000)));
    }
  });

  it.each([1460, 65535, 65536, 65537, 131_073, 400_001])('is right for %i bytes', (length) => {
    const bytes = pattern(length, length);
    expect(sum(bytes, 0, length)).toBe(reference(bytes));
    expect(sum(bytes, 1, length)).toBe(reference(bytes.subarray(1)));
    expect(sum(bytes.fill(0xff), 0, length)).toBe(reference(bytes));
  });

  it.each([0, 2, 20, 100, 1500])('of %i zero bytes is the initial sum', (length) => {
    const zeros = allocate(length).fill(0);
    expect(sum(zeros, 0, length)).toBe(0);
    expect(sum(zeros, 0, length, 0x1234)).toBe(0x1234);
    expect(sum(zeros, 0, length, 0xffff)).toBe(0xffff);
    expect(sum(zeros, 0, length, 0x10000)).toBe(1);
  });

  it.each([2, 20, 100, 1500])('of %i bytes of ones is 0xffff, never 0', (length) => {
    const ones = allocate(length).fill(0xff);
    expect(sum(ones, 0, length)).toBe(0xffff);
    expect(sum(ones, 0, length, 0xffff)).toBe(0xffff);
  });

  it('copies into summable memory and out of it', () => {
    const source = pattern(3000);
    const area = allocateSummable(3000);
    expect(copyAndSum(area, 40, source, 100, 1661, 7)).toBe(reference(source.subarray(100, 1661), 7));
    const target = allocate(3000);
    expect(copyAndSum(target, 1, area, 40, 1601)).toBe(reference(source.subarray(100, 1661)));
    expect(target.subarray(1, 1562)).toEqual(source.subarray(100, 1661));
  });
});

describe('the parts', () => {
  it('agree with each other', () => {
    const bytes = pattern(70_000);
    for (const [start, end] of [
      [0, 0],
      [0, 1],
      [1, 2],
      [3, 3],
      [2, 69_999],
      [3, 70_000],
      [1, 32_770],
    ] as const) {
      const expected = reference(bytes.subarray(start, end), 0xfffe);
      expect(sumShort(bytes, start, end, 0xfffe)).toBe(expected);
      expect(sumWords(bytes, start, end, 0xfffe)).toBe(expected);
    }
  });

  it('sum a buffer whose length is not a multiple of four', () => {
    const bytes = new Uint8Array(131).map((_, i) => i + 1);
    expect(sumWords(bytes, 0, 131, 0)).toBe(reference(bytes));
  });

  it('do without WebAssembly, and without SIMD', () => {
    expect(loadSimd({})).toBeNull();
    const refusing = {
      Module: class {
        constructor() {
          throw new Error('invalid opcode 0xfd');
        }
      },
      Instance: class {
        readonly exports: never;
        constructor() {
          throw new Error('not reached');
        }
      },
    };
    expect(loadSimd({ WebAssembly: refusing })).toBeNull();
  });

  it('use SIMD on Node', () => {
    expect(simd).not.toBeNull();
    expect(allocateSummable(64).buffer.byteLength).toBe(2 ** 20);
  });
});

describe('summable memory', () => {
  it('is distinct, is reused when it was given back, and is ordinary when none is left', () => {
    const areas: Uint8Array[] = [];
    for (
      let area = allocateSummable(66_000);
      area.buffer.byteLength === 2 ** 20;
      area = allocateSummable(66_000)
    ) {
      areas.push(area);
    }
    expect(areas.length).toBeGreaterThan(10);
    areas.forEach((area, i) => {
      area.fill(i);
    });
    expect(areas.every((area, i) => area[0] === i && area[65_999] === i)).toBe(true);
    const places = areas.map((area) => area.byteOffset);
    for (const area of areas) releaseSummable(area);
    releaseSummable(allocate(10));
    const again = allocateSummable(66_000);
    expect(places).toContain(again.byteOffset);
    releaseSummable(again);
  });

  it('comes from a pool that joins what is given back in any order', () => {
    fc.assert(
      fc.property(
        fc.array(fc.integer({ min: 0, max: 500 }), { maxLength: 30 }),
        fc.infiniteStream(fc.nat()),
        (sizes, order) => {
          const pool = new RangePool(64, 64 + 64 * 100);
          const held = sizes.map((size) => ({ size, at: pool.take(size) })).filter(({ at }) => at >= 0);
          while (held.length > 0) {
            const [range] = held.splice(order.next().value % held.length, 1);
            pool.give(range!.at, range!.size);
          }
          expect(pool.take(6400)).toBe(64);
          expect(pool.take(1)).toBe(-1);
        },
      ),
    );
  });
});

describe('header arithmetic', () => {
  it('folds sums of up to 2^53', () => {
    fc.assert(
      fc.property(fc.maxSafeNat(), (total) => {
        expect(fold(total)).toBe(reference(new Uint8Array(0), total));
      }),
    );
  });

  it('verifies RFC 1071’s example', () => {
    const words = Uint8Array.of(0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7);
    expect(sum(words, 0, 8)).toBe(0xddf2);
    expect(complement(sum(words, 0, 8))).toBe(0x220d);
  });

  it('makes headers whose sum is 0xffff', () => {
    const header = pattern(20);
    header[10] = 0;
    header[11] = 0;
    const field = complement(sum(header, 0, 20));
    header[10] = field >>> 8;
    header[11] = field;
    expect(sum(header, 0, 20)).toBe(0xffff);
  });

  it('sums pseudo-headers of both families', () => {
    const bytes = new Uint8Array(40);
    const source = IpAddress.parse('2001:db8::1:2');
    const destination = IpAddress.parse('fe80::ffff:3');
    source.writeIpv6(bytes, 0);
    destination.writeIpv6(bytes, 16);
    bytes[34] = 0x12;
    bytes[35] = 0x34;
    bytes[39] = 6;
    expect(pseudoHeaderSum(source, destination, 6, 0x1234)).toBe(reference(bytes));

    const four = Uint8Array.of(10, 0, 0, 1, 192, 168, 255, 2, 0, 17, 5, 0xb4);
    expect(pseudoHeaderSum(IpAddress.parse('10.0.0.1'), IpAddress.parse('192.168.255.2'), 17, 1460)).toBe(
      reference(four),
    );
  });

  it('updates a checksum as if it were made anew (RFC 1624)', () => {
    fc.assert(
      fc.property(
        fc.uint8Array({ minLength: 20, maxLength: 20 }),
        fc.nat(9),
        fc.nat(0xffff),
        (header, word, after) => {
          const before = (header[2 * word]! << 8) | header[2 * word + 1]!;
          const checksum = complement(sum(header, 0, 20));
          header[2 * word] = after >>> 8;
          header[2 * word + 1] = after;
          const updated = update16(checksum, before, after);
          expect(fold(updated + sum(header, 0, 20)) % 0xffff).toBe(0);
        },
      ),
    );
  });

  it('copies and sums by default from zero', () => {
    const target = allocate(3);
    expect(copyAndSum(target, 0, Uint8Array.of(1, 2, 3), 0, 3)).toBe(0x0402);
    expect([...target]).toEqual([1, 2, 3]);
  });
});
