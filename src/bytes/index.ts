/**
 * Big-endian accessors over a byte array, and the allocation of byte memory.
 *
 * The accessors are plain functions that V8 inlines; a `DataView` would be an
 * object per buffer and cannot be had for free on a reused slab. 32-bit values
 * are *signed* (`int32`), so they stay small integers in V8 and never allocate;
 * `>>> 0` gives the unsigned value where one is printed.
 */

export { ViewCache } from './views.ts';
export { wordsOf } from './words.ts';

export function get16(bytes: Uint8Array, offset: number): number {
  return (bytes[offset]! << 8) | bytes[offset + 1]!;
}

export function set16(bytes: Uint8Array, offset: number, value: number): void {
  bytes[offset] = value >>> 8;
  bytes[offset + 1] = value;
}

/** The 32 bits at `offset` as a signed integer. */
export function get32(bytes: Uint8Array, offset: number): number {
  return (bytes[offset]! << 24) | (bytes[offset + 1]! << 16) | (bytes[offset + 2]! << 8) | bytes[offset + 3]!;
}

export function set32(bytes: Uint8Array, offset: number, value: number): void {
  bytes[offset] = value >>> 24;
  bytes[offset + 1] = value >>> 16;
  bytes[offset + 2] = value >>> 8;
  bytes[offset + 3] = value;
}

interface BufferLike {
  allocUnsafeSlow(size: number): Uint8Array;
}

const HostBuffer = (globalThis as { Buffer?: BufferLike }).Buffer;

/**
 * `size` bytes of memory of their own, contents undefined. A `Buffer` where the
 * host has one (so that views of it handed to an application are Buffers too),
 * else a `Uint8Array`.
 */
export const allocate: (size: number) => Uint8Array = HostBuffer
  ? (size) => HostBuffer.allocUnsafeSlow(size)
  : (size) => new Uint8Array(size);

/** No bytes. */
export const EMPTY: Uint8Array = allocate(0);

/**
 * Copies `source[start..end)` to `target` at `offset`. Short copies are cheaper
 * as a loop than as a call into the runtime.
 */
export function copy(
  target: Uint8Array,
  offset: number,
  source: Uint8Array,
  start: number,
  end: number,
): void {
  const length = end - start;
  if (length <= 32) {
    for (let i = 0; i < length; i++) target[offset + i] = source[start + i]!;
  } else if (start === 0 && end === source.length) {
    target.set(source, offset);
  } else {
    target.set(source.subarray(start, end), offset);
  }
}
