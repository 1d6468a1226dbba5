import { blake2s } from '@noble/hashes/blake2.js';
import type { IpAddress } from '../address/index.ts';
import { get32, set16, set32 } from '../bytes/index.ts';
import type { Random } from '../time/random.ts';

const KEY_LENGTH = 32;
/** RFC 6528 §3: M ticks every 4 microseconds. */
const TICKS_PER_MS = 250;

/**
 * Initial sequence numbers and timestamp offsets (RFC 6528, RFC 7323 §5.4): a
 * clock plus a keyed hash of the four-tuple, so that nobody off the path can
 * guess them, and a new incarnation of a connection starts above the old one.
 */
export class SequenceGenerator {
  readonly #key = new Uint8Array(KEY_LENGTH);
  readonly #tuple = new Uint8Array(36);

  constructor(random: Random) {
    for (let i = 0; i < KEY_LENGTH; i += 4) set32(this.#key, i, random.next32());
  }

  /** Sets `isn` and `timestampOffset` of the returned record, which is reused. */
  generate(
    local: IpAddress,
    localPort: number,
    remote: IpAddress,
    remotePort: number,
    now: number,
  ): { isn: number; timestampOffset: number } {
    const tuple = this.#tuple;
    local.writeIpv6(tuple, 0);
    remote.writeIpv6(tuple, 16);
    set16(tuple, 32, localPort);
    set16(tuple, 34, remotePort);
    const hash = blake2s(tuple, { key: this.#key, dkLen: 8 });
    RESULT.isn = (get32(hash, 0) + Math.trunc((now * TICKS_PER_MS) % 2 ** 32)) | 0;
    RESULT.timestampOffset = get32(hash, 4);
    return RESULT;
  }
}

const RESULT = { isn: 0, timestampOffset: 0 };
