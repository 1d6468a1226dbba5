import { allocate, copy, ViewCache } from '../bytes/index.ts';
import { fold } from './arithmetic.ts';
import { RangePool } from './pool.ts';
import { sumShort, sumWords } from './portable.ts';
import type { Simd } from './simd.ts';

/*
 * Which way is fastest, by length. Measured on the reference machine in ns
 * (Node 20; bench/checksum.bench.ts has the current figures):
 *
 *   bytes                         20    40    64    96   256   1460  65520
 *   16 bits at a time             10    25    36    53   133    738  32400
 *   32 bits at a time             39    46    49    55    97    413  16300
 *   copied to WebAssembly, SIMD   68    74    72    75    77    109   1760
 *   SIMD in place                 27    33    33    35    36     60   1180
 *
 * Finding out where an array lies (`bytes.buffer`) costs 12 ns of the last two.
 */

/** Bytes from which a copy into WebAssembly memory pays. */
const SIMD_FROM = 112;
/** Bytes from which SIMD pays on data that lies there already. */
const SIMD_IN_PLACE_FROM = 56;
/** Bytes from which words pay where there is no SIMD. */
const WORDS_FROM = 112;

/** Bytes copied into WebAssembly memory at a time: even, so that words stay words. */
const SCRATCH = 64 * 1024;

/** The sums, and memory that they are quick on. */
export interface Summer {
  sum(bytes: Uint8Array, start: number, end: number, initial?: number): number;
  copyAndSum(
    target: Uint8Array,
    offset: number,
    source: Uint8Array,
    start: number,
    end: number,
    initial?: number,
  ): number;
  firstUnsound(bytes: Uint8Array, start: number, end: number, size: number, headers: Int32Array): number;
  allocateSummable(size: number): Uint8Array;
  releaseSummable(bytes: Uint8Array): void;
}

export function portableSummer(): Summer {
  const sum = (bytes: Uint8Array, start: number, end: number, initial = 0): number =>
    end - start < WORDS_FROM ? sumShort(bytes, start, end, initial) : sumWords(bytes, start, end, initial);
  return {
    sum,
    copyAndSum(target, offset, source, start, end, initial = 0) {
      if (end - start < WORDS_FROM) return copyShort(target, offset, source, start, end, initial);
      copy(target, offset, source, start, end);
      return sum(target, offset, offset + end - start, initial);
    },
    firstUnsound(bytes, start, end, size, headers) {
      let index = 0;
      for (let at = start; at < end; at += size, index++) {
        if (sum(bytes, at, Math.min(at + size, end), headers[index]) !== 0xffff) return index;
      }
      return index;
    },
    allocateSummable: allocate,
    releaseSummable() {},
  };
}

export function simdSummer({ memory, sum: sumAt }: Simd): Summer {
  const { buffer } = memory;
  const pool = new RangePool(SCRATCH, memory.length);
  /** A receive slab is summed at the same place again and again. */
  const views = new ViewCache(9);

  /** Through the scratch area, a piece at a time. */
  const sumCopied = (bytes: Uint8Array, start: number, end: number, initial: number): number => {
    let total = initial;
    for (let at = start; at < end; at += SCRATCH) {
      const length = Math.min(SCRATCH, end - at);
      memory.set(views.view(bytes, at, at + length), 0);
      total += sumAt(0, length);
    }
    return fold(total);
  };

  const sum = (bytes: Uint8Array, start: number, end: number, initial = 0): number => {
    const length = end - start;
    if (length < SIMD_IN_PLACE_FROM) return sumShort(bytes, start, end, initial);
    if (bytes.buffer === buffer) {
      const at = bytes.byteOffset + start;
      return fold(initial + sumAt(at, at + length));
    }
    if (length < SIMD_FROM) return sumShort(bytes, start, end, initial);
    return sumCopied(bytes, start, end, initial);
  };

  return {
    sum,
    copyAndSum(target, offset, source, start, end, initial = 0) {
      const length = end - start;
      if (length < SIMD_FROM) return copyShort(target, offset, source, start, end, initial);
      copy(target, offset, source, start, end);
      return sum(target, offset, offset + length, initial);
    },
    firstUnsound(bytes, start, end, size, headers) {
      let at = bytes.byteOffset + start;
      if (bytes.buffer !== buffer) {
        at = 0;
        memory.set(bytes.subarray(start, end), 0);
      }
      const last = at + end - start;
      let index = 0;
      for (; at < last; at += size, index++) {
        if (fold(headers[index]! + sumAt(at, Math.min(at + size, last))) !== 0xffff) return index;
      }
      return index;
    },
    allocateSummable(size) {
      const at = pool.take(size);
      return at < 0 ? allocate(size) : new Uint8Array(buffer, at, size);
    },
    releaseSummable(bytes) {
      if (bytes.buffer === buffer) pool.give(bytes.byteOffset, bytes.length);
    },
  };
}

/** Copies and sums in one pass over the data. */
function copyShort(
  target: Uint8Array,
  offset: number,
  source: Uint8Array,
  start: number,
  end: number,
  initial: number,
): number {
  let total = initial;
  let i = start;
  let o = offset;
  const pairs = end - 1;
  for (; i < pairs; i += 2, o += 2) {
    const high = source[i]!;
    const low = source[i + 1]!;
    target[o] = high;
    target[o + 1] = low;
    total += (high << 8) | low;
  }
  if (i < end) {
    const high = source[i]!;
    target[o] = high;
    total += high << 8;
  }
  return fold(total);
}
