import type { IpAddress } from '../address/index.ts';
import { set16 } from '../bytes/index.ts';
import type { Random } from '../time/random.ts';
import { SipHash } from './siphash.ts';

const TUPLE_LENGTH = 36;
/** RFC 6528 §3: M ticks every 4 microseconds. */
const TICKS_PER_MS = 250;

/**
 * Initial sequence numbers and timestamp offsets (RFC 6528, RFC 7323 §5.4): a
 * clock plus a keyed hash of the four-tuple (any pseudorandom function will do), so that nobody off the path can
 * guess them, and a new incarnation of a connection starts above the old one.
 */
export class SequenceGenerator {
  readonly #tuple = new Uint8Array(TUPLE_LENGTH);
  readonly #hash: SipHash;

  constructor(random: Random) {
    this.#hash = SipHash.withRandomKey(random);
  }

  /** Sets `isn` and `timestampOffset` of the returned record, which is reused. */
  generate(
    local: IpAddress,
    localPort: number,
    remote: IpAddress,
    remotePort: number,
    now: number,
  ): { isn: number; timestampOffset: number } {
    const input = this.#tuple;
    local.writeIpv6(input, 0);
    remote.writeIpv6(input, 16);
    set16(input, 32, localPort);
    set16(input, 34, remotePort);
    const hash = this.#hash;
    hash.digest(input);
    RESULT.isn = (hash.low + Math.trunc((now * TICKS_PER_MS) % 2 ** 32)) | 0;
    RESULT.timestampOffset = hash.high;
    return RESULT;
  }
}

const RESULT = { isn: 0, timestampOffset: 0 };
