import { sha256 } from '@noble/hashes/sha2.js';
import type { IpAddress } from '../address/index.ts';
import { get32, set16, set32 } from '../bytes/index.ts';
import type { Random } from '../time/random.ts';

const TUPLE_LENGTH = 36;
/** With the tuple it fits one block of SHA-256. */
const KEY_LENGTH = 16;
/** RFC 6528 §3: M ticks every 4 microseconds. */
const TICKS_PER_MS = 250;

/**
 * Initial sequence numbers and timestamp offsets (RFC 6528, RFC 7323 §5.4): a
 * clock plus a keyed hash of the four-tuple, so that nobody off the path can
 * guess them, and a new incarnation of a connection starts above the old one.
 */
export class SequenceGenerator {
  /** The four-tuple, then the key. */
  readonly #input = new Uint8Array(TUPLE_LENGTH + KEY_LENGTH);

  constructor(random: Random) {
    for (let i = 0; i < KEY_LENGTH; i += 4) set32(this.#input, TUPLE_LENGTH + i, random.next32());
  }

  /** Sets `isn` and `timestampOffset` of the returned record, which is reused. */
  generate(
    local: IpAddress,
    localPort: number,
    remote: IpAddress,
    remotePort: number,
    now: number,
  ): { isn: number; timestampOffset: number } {
    const input = this.#input;
    local.writeIpv6(input, 0);
    remote.writeIpv6(input, 16);
    set16(input, 32, localPort);
    set16(input, 34, remotePort);
    const hash = sha256(input);
    RESULT.isn = (get32(hash, 0) + Math.trunc((now * TICKS_PER_MS) % 2 ** 32)) | 0;
    RESULT.timestampOffset = get32(hash, 4);
    return RESULT;
  }
}

const RESULT = { isn: 0, timestampOffset: 0 };
