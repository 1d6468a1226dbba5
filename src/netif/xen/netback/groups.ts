import { get16, get32 } from '../../../bytes/index.ts';

/** Most addresses that a frontend may have (as in Linux). */
const MOST = 64;

/** The group addresses that a frontend wants to receive, where it asked for a filter. */
export class GroupFilter {
  readonly #addresses = new Set<number>();

  /** From the words of extra info, in the byte order of the machine. False if there are too many. */
  add(high: number, low: number): boolean {
    const key = keyOf(high, low);
    if (this.#addresses.size >= MOST && !this.#addresses.has(key)) return false;
    this.#addresses.add(key);
    return true;
  }

  remove(high: number, low: number): void {
    this.#addresses.delete(keyOf(high, low));
  }

  /** Whether the frontend is to have the frame at `start`: all but those for other groups. */
  passes(bytes: Uint8Array, start: number): boolean {
    if ((bytes[start]! & 1) === 0) return true;
    const high = get16(bytes, start);
    const low = get32(bytes, start + 2);
    if (high === 0xffff && low === -1) return true;
    return this.#addresses.has(high * 2 ** 32 + (low >>> 0));
  }
}

/** The address as a number: its bytes as they stand in memory, the first the highest. */
function keyOf(high: number, low: number): number {
  const bytes = [high, high >>> 8, low, low >>> 8, low >>> 16, low >>> 24];
  return bytes.reduce((key, byte) => key * 256 + (byte & 0xff), 0);
}
