import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { FrameSplitter, LENGTH, LONGEST } from '../../src/netif/stream/framing.ts';

function framed(...frames: Uint8Array[]): Buffer {
  return Buffer.concat(
    frames.map((frame) => {
      const length = Buffer.alloc(LENGTH);
      length.writeUInt32BE(frame.length);
      return Buffer.concat([length, frame]);
    }),
  );
}

function splitter(longest = 2000) {
  const frames: Buffer[] = [];
  const skipped: number[] = [];
  const splits = new FrameSplitter(longest, {
    frame: (bytes, start, end) => frames.push(Buffer.from(bytes.slice(start, end))),
    skipped: (length) => skipped.push(length),
  });
  return { splits, frames, skipped };
}

describe('frames behind their lengths', () => {
  it('are the same however the stream is cut', () => {
    const arbitrary = fc.array(fc.uint8Array({ minLength: 1, maxLength: 300 }), { maxLength: 12 });
    fc.assert(
      fc.property(arbitrary, fc.array(fc.integer({ min: 1, max: 90 }), { minLength: 1 }), (sent, cuts) => {
        const { splits, frames } = splitter();
        const stream = framed(...sent);
        for (let at = 0, i = 0; at < stream.length; i++) {
          const end = Math.min(at + cuts[i % cuts.length]!, stream.length);
          expect(splits.push(Uint8Array.from(stream.subarray(at, end)))).toBe(true);
          at = end;
        }
        expect(frames).toEqual(sent.map((frame) => Buffer.from(frame)));
      }),
    );
  });

  it('are skipped where they are too long, and the next is found', () => {
    const { splits, frames, skipped } = splitter(100);
    const stream = framed(Buffer.alloc(101, 1), Buffer.alloc(100, 2));
    expect(splits.push(stream.subarray(0, 50))).toBe(true);
    expect(splits.push(stream.subarray(50))).toBe(true);
    expect(skipped).toEqual([101]);
    expect(frames).toEqual([Buffer.alloc(100, 2)]);
  });

  it.each([0, LONGEST + 1, 0xffffffff])('end with a length of %d', (length) => {
    const { splits } = splitter();
    const head = Buffer.alloc(4);
    head.writeUInt32BE(length);
    expect(splits.push(head)).toBe(false);
  });

  it('begin anew after a reset', () => {
    const { splits, frames } = splitter();
    splits.push(framed(Buffer.alloc(50)).subarray(0, 20));
    splits.reset();
    splits.push(framed(Buffer.alloc(30, 3)));
    expect(frames).toEqual([Buffer.alloc(30, 3)]);
  });
});
