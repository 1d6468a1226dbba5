import { fold } from './arithmetic.ts';

/**
 * The sum of `bytes[start..end)` in plain JavaScript, 16 bits at a time: the
 * fastest way for a header, and the reference for the others.
 */
export function sumShort(bytes: Uint8Array, start: number, end: number, initial: number): number {
  let total = initial;
  let i = start;
  const pairs = end - 1;
  for (; i < pairs; i += 2) total += (bytes[i]! << 8) | bytes[i + 1]!;
  if (i < end) total += bytes[i]! << 8;
  return fold(total);
}

const LITTLE_ENDIAN = new Uint8Array(new Uint16Array([1]).buffer)[0] === 1;

/** Words summed before a fold: 2^14 of them stay below 2^31, so V8 keeps the total a small integer. */
const ROUND = 1 << 13;

/** The buffer looked at last, as words: a receive slab is summed many times. */
let words: Uint32Array = new Uint32Array(0);

/**
 * The same as {@link sumShort} for long data where there is no SIMD: 32 bits
 * at a time through a view of the whole buffer.
 *
 * The view is aligned to four bytes of the buffer, `start` need not be. So a
 * byte counts by the parity of its place in the buffer: low half of a word at
 * an even place, as the little-endian view reads it; if `start` is even too,
 * the result is swapped (RFC 1071 §2 (B)).
 */
export function sumWords(bytes: Uint8Array, start: number, end: number, initial: number): number {
  const base = bytes.byteOffset;
  if (!LITTLE_ENDIAN) return sumShort(bytes, start, end, initial);
  if (words.buffer !== bytes.buffer) words = new Uint32Array(bytes.buffer, 0, bytes.buffer.byteLength >>> 2);
  const view = words;
  const lastWord = Math.min((base + end) >>> 2, view.length);
  let place = base + start;
  let total = 0;
  for (; (place & 3) !== 0 && place < base + end; place++) total += weigh(bytes[place - base]!, place);
  let word = place >>> 2;
  while (word < lastWord) {
    const stop = Math.min(word + ROUND, lastWord);
    let low = 0;
    for (; word < stop; word++) {
      const value = view[word]!;
      low += (value & 0xffff) + (value >>> 16);
    }
    total += low;
    place = word << 2;
  }
  for (; place < base + end; place++) total += weigh(bytes[place - base]!, place);
  const folded = fold(total);
  const even = ((base + start) & 1) === 0;
  return fold(initial + (even ? ((folded & 0xff) << 8) | (folded >>> 8) : folded));
}

function weigh(byte: number, place: number): number {
  return (place & 1) === 0 ? byte : byte << 8;
}
