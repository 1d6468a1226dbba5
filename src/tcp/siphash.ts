import { get32 } from '../bytes/index.ts';
import type { Random } from '../time/random.ts';

/** Words are little-endian. */
function word(bytes: Uint8Array, at: number): number {
  const w = get32(bytes, at);
  return (w >>> 24) | ((w >>> 8) & 0xff00) | ((w << 8) & 0xff0000) | (w << 24) | 0;
}

/**
 * SipHash-2-4 (Aumasson and Bernstein, 2012): a keyed hash for short inputs, in
 * pairs of int32. Who does not know the key cannot guess what it answers, and it
 * costs a fraction of a cryptographic digest, which a flood of SYNs would have
 * computed for each.
 */
export class SipHash {
  readonly #key: Int32Array;
  /** The latest answer. */
  low = 0;
  high = 0;

  /** `key`: four words. */
  constructor(key: Int32Array) {
    this.#key = key;
  }

  static withRandomKey(random: Random): SipHash {
    return new SipHash(Int32Array.from({ length: 4 }, () => random.next32()));
  }

  /** Hashes all of `bytes`; the answer is in `low` and `high`. */
  digest(bytes: Uint8Array): void {
    const key = this.#key;
    let v0l = key[0]! ^ 0x70736575;
    let v0h = key[1]! ^ 0x736f6d65;
    let v1l = key[2]! ^ 0x6e646f6d;
    let v1h = key[3]! ^ 0x646f7261;
    let v2l = key[0]! ^ 0x6e657261;
    let v2h = key[1]! ^ 0x6c796765;
    let v3l = key[2]! ^ 0x79746573;
    let v3h = key[3]! ^ 0x74656462;
    const { length } = bytes;
    const whole = length & ~7;
    for (let at = 0; at <= whole + 8; at += 8) {
      let ml = 0;
      let mh = 0;
      let rounds = 2;
      if (at < whole) {
        ml = word(bytes, at);
        mh = word(bytes, at + 4);
      } else if (at === whole) {
        // What is left, and the length in the last byte.
        for (let i = 0; i < (length & 7); i++) {
          if (i < 4) ml |= bytes[at + i]! << (8 * i);
          else mh |= bytes[at + i]! << (8 * (i - 4));
        }
        mh |= length << 24;
      } else {
        v2l ^= 0xff;
        rounds = 4;
      }
      v3l ^= ml;
      v3h ^= mh;
      for (; rounds > 0; rounds--) {
        let l = (v0l + v1l) | 0;
        v0h = (v0h + v1h + (l >>> 0 < v0l >>> 0 ? 1 : 0)) | 0;
        v0l = l;
        l = (v1l << 13) | (v1h >>> 19);
        let h = (v1h << 13) | (v1l >>> 19);
        v1l = l ^ v0l;
        v1h = h ^ v0h;
        // Rotated by 32: the halves change places.
        l = v0l;
        v0l = v0h;
        v0h = l;
        l = (v2l + v3l) | 0;
        v2h = (v2h + v3h + (l >>> 0 < v2l >>> 0 ? 1 : 0)) | 0;
        v2l = l;
        l = (v3l << 16) | (v3h >>> 16);
        h = (v3h << 16) | (v3l >>> 16);
        v3l = l ^ v2l;
        v3h = h ^ v2h;
        l = (v0l + v3l) | 0;
        v0h = (v0h + v3h + (l >>> 0 < v0l >>> 0 ? 1 : 0)) | 0;
        v0l = l;
        l = (v3l << 21) | (v3h >>> 11);
        h = (v3h << 21) | (v3l >>> 11);
        v3l = l ^ v0l;
        v3h = h ^ v0h;
        l = (v2l + v1l) | 0;
        v2h = (v2h + v1h + (l >>> 0 < v2l >>> 0 ? 1 : 0)) | 0;
        v2l = l;
        l = (v1l << 17) | (v1h >>> 15);
        h = (v1h << 17) | (v1l >>> 15);
        v1l = l ^ v2l;
        v1h = h ^ v2h;
        l = v2l;
        v2l = v2h;
        v2h = l;
      }
      v0l ^= ml;
      v0h ^= mh;
    }
    this.low = v0l ^ v1l ^ v2l ^ v3l;
    this.high = v0h ^ v1h ^ v2h ^ v3h;
  }
}
