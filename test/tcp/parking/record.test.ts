import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type Fields, Packer, Unpacker } from '../../../src/tcp/parking/record.ts';

type Value =
  | { readonly kind: 'bit'; readonly value: boolean }
  | { readonly kind: 'int'; readonly value: number; readonly usual: number }
  | { readonly kind: 'count'; readonly value: number }
  | { readonly kind: 'real'; readonly value: number; readonly usual: number };

const int32 = fc.integer({ min: -(2 ** 31), max: 2 ** 31 - 1 });
const real = fc.oneof(
  fc.double(),
  fc.constantFrom(0, 1, -1, 12.5, 2 ** 31, -(2 ** 31), Number.POSITIVE_INFINITY, Number.NaN),
);
const value: fc.Arbitrary<Value> = fc.oneof(
  fc.record({ kind: fc.constant('bit' as const), value: fc.boolean() }),
  fc.record({ kind: fc.constant('int' as const), value: int32, usual: int32 }),
  fc.record({ kind: fc.constant('count' as const), value: fc.maxSafeNat() }),
  fc.record({ kind: fc.constant('real' as const), value: real, usual: real }),
);

function carry(values: readonly Value[], fields: Fields, isPacking: boolean): (number | boolean)[] {
  return values.map((each) => {
    if (each.kind === 'bit') return fields.bit(isPacking ? each.value : false);
    const given = isPacking ? each.value : 0;
    if (each.kind === 'count') return fields.count(given);
    return each.kind === 'int' ? fields.int(given, each.usual) : fields.real(given, each.usual);
  });
}

describe('a record', () => {
  it('gives back what was put in, one after the other with the same packer', () => {
    const packer = new Packer();
    const unpacker = new Unpacker();
    fc.assert(
      fc.property(fc.array(value, { maxLength: 100 }), (values) => {
        // The sign of a zero is nothing that anyone asks for.
        const plain = (each: number | boolean): number | boolean => (each === 0 ? 0 : each);
        const wanted = values.map((each) => plain(each.value));
        expect(carry(values, packer, true).map(plain)).toEqual(wanted);
        const record = packer.finish();
        unpacker.begin(record);
        expect(carry(values, unpacker, false).map(plain)).toEqual(wanted);
      }),
      { numRuns: 500 },
    );
  });

  it('takes a bit for what is usual, and one byte for a moment that it has already', () => {
    const packer = new Packer();
    for (let i = 0; i < 8; i++) packer.real(Number.POSITIVE_INFINITY, Number.POSITIVE_INFINITY);
    for (let i = 0; i < 8; i++) packer.int(536, 536);
    expect(packer.finish()).toHaveLength(2);
    for (let i = 0; i < 8; i++) packer.real(1234.5678);
    expect(packer.finish()).toHaveLength(1 + 9 + 7);
  });
});
