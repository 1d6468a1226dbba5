import { describe, expect, it } from 'vitest';
import { MOST_PIECES, Pieces } from '../../src/netif/netif.ts';
import { pattern } from '../support/packets.ts';

describe('Pieces', () => {
  it('show where a payload is, and copy it to where it would be', () => {
    const pieces = new Pieces();
    const [one, two] = [pattern(5000), pattern(6000, 7)];
    expect(pieces.add(one, 100, 5000)).toBe(true);
    expect(pieces.add(two, 0, 2048)).toBe(true);
    pieces.at = 66;
    const bytes = new Uint8Array(66 + 4900 + 2048 + 1).fill(0xee);
    pieces.copyTo(bytes);
    expect(bytes.subarray(0, 66).every((byte) => byte === 0xee)).toBe(true);
    expect(bytes.subarray(66, 4966)).toEqual(Uint8Array.from(one.subarray(100)));
    expect(bytes.subarray(4966, 7014)).toEqual(Uint8Array.from(two.subarray(0, 2048)));
    expect(bytes[7014]).toBe(0xee);
  });

  it('are neither short, nor many, nor beyond the end of what is there', () => {
    const pieces = new Pieces();
    const chunk = new Uint8Array(4096);
    expect(pieces.add(chunk, 0, 2047)).toBe(false);
    expect(pieces.add(chunk, 4000, 8000)).toBe(false);
    for (let i = 0; i < MOST_PIECES; i++) expect(pieces.add(chunk, 0, 4096)).toBe(true);
    expect(pieces.add(chunk, 0, 4096)).toBe(false);
    expect(pieces.count).toBe(MOST_PIECES);
  });

  it('let go of the memory when they are cleared', () => {
    const pieces = new Pieces();
    const chunk = new Uint8Array(4096);
    pieces.add(chunk, 0, 4096);
    pieces.clear();
    expect(pieces.count).toBe(0);
    expect(pieces.chunks).not.toContain(chunk);
  });

  it('do not take a chunk that was given away', () => {
    const chunk = new Uint8Array(4096);
    structuredClone(chunk.buffer, { transfer: [chunk.buffer] });
    expect(new Pieces().add(chunk, 0, 4096)).toBe(false);
  });
});
