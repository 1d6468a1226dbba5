import type { IpAddress } from '../address/index.ts';
import { type Random, randomBelow } from '../time/index.ts';

/** As Linux's `icmp_msgs_per_sec` and `icmp_msgs_burst`. */
const PER_SECOND = 1000;
const BURST = 50;
/** One destination's share. */
const EACH_PER_SECOND = 10;
const EACH_BURST = 10;
/** Destinations share a bucket by hash. */
const BUCKETS = 256;

/**
 * How many ICMP errors may leave (RFC 1812 §4.3.2.8): a global rate, and one
 * per destination. The global one is drained by random amounts, so that a
 * stranger cannot use it to count what others made us send (the side channel of
 * "SAD DNS", CVE-2020-25705).
 */
export class ErrorLimiter {
  readonly #random: Random;
  readonly #key: number;
  #tokens = BURST;
  #at = 0;
  readonly #eachTokens = new Float64Array(BUCKETS).fill(EACH_BURST);
  readonly #eachAt = new Float64Array(BUCKETS);

  constructor(random: Random) {
    this.#random = random;
    this.#key = random.next32();
  }

  take(destination: IpAddress, nowMs: number): boolean {
    const bucket = (Math.imul(destination.hash() ^ this.#key, 0x9e3779b1) >>> 16) % BUCKETS;
    const each = Math.min(
      EACH_BURST,
      this.#eachTokens[bucket]! + ((nowMs - this.#eachAt[bucket]!) * EACH_PER_SECOND) / 1000,
    );
    this.#eachTokens[bucket] = each;
    this.#eachAt[bucket] = nowMs;
    if (each < 1) return false;
    this.#tokens = Math.min(BURST, this.#tokens + ((nowMs - this.#at) * PER_SECOND) / 1000);
    this.#at = nowMs;
    if (this.#tokens < 1) return false;
    this.#eachTokens[bucket] = each - 1;
    this.#tokens -= 1 + randomBelow(this.#random, 3) * 0.5;
    return true;
  }
}
