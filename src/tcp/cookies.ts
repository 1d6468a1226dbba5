import type { IpAddress } from '../address/index.ts';
import { set16, set32 } from '../bytes/index.ts';
import type { Random } from '../time/random.ts';
import { SipHash } from './siphash.ts';

/** The four-tuple, the peer's number, the tick, the size. */
const INPUT_LENGTH = 45;
/** A cookie names one of eight sizes; the next smaller one is taken. */
const SIZES = [88, 536, 1200, 1220, 1360, 1440, 1460, 8940] as const;
/** The clock in a cookie ticks every 64 s, and a cookie is good for two ticks. */
const TICK_MS = 64_000;
const TICKS = 32;

/** What a cookie in a timestamp tells of the SYN's options. */
export interface CookieOptions {
  /** -1: no window scaling. */
  windowScale: number;
  sackPermitted: boolean;
  ecn: boolean;
}

/** Bits of the timestamp that carry options: 4 for the scale (15: none), SACK, ECN. */
const OPTION_BITS = 6;
const OPTION_MASK = (1 << OPTION_BITS) - 1;
const NO_SCALE = 15;

/**
 * SYN cookies (RFC 4987 §3.6): where the SYN queue is full, the initial sequence
 * number itself carries what the SYN said, under a keyed hash, and the options
 * hide in the low bits of our timestamp. Nothing is kept until the ACK comes.
 */
export class SynCookies {
  readonly #input = new Uint8Array(INPUT_LENGTH);
  readonly #hash: SipHash;

  constructor(random: Random) {
    this.#hash = SipHash.withRandomKey(random);
  }

  /** The ISN that answers a SYN. */
  make(
    local: IpAddress,
    localPort: number,
    remote: IpAddress,
    remotePort: number,
    peerInitial: number,
    mss: number,
    now: number,
  ): number {
    const tick = Math.floor(now / TICK_MS);
    let size = 0;
    while (size + 1 < SIZES.length && SIZES[size + 1]! <= mss) size++;
    const mac = this.#mac(local, localPort, remote, remotePort, peerInitial, tick, size);
    return ((tick % TICKS) << 27) | (size << 24) | mac;
  }

  /** The MSS of the SYN that `cookie` answered, or 0 if it answered none lately. */
  check(
    local: IpAddress,
    localPort: number,
    remote: IpAddress,
    remotePort: number,
    peerInitial: number,
    cookie: number,
    now: number,
  ): number {
    const current = Math.floor(now / TICK_MS);
    const age = (current - (cookie >>> 27) + 2 * TICKS) % TICKS;
    if (age > 1) return 0;
    const size = (cookie >>> 24) & 7;
    const mac = this.#mac(local, localPort, remote, remotePort, peerInitial, current - age, size);
    return mac === (cookie & 0xffffff) ? SIZES[size]! : 0;
  }

  #mac(
    local: IpAddress,
    localPort: number,
    remote: IpAddress,
    remotePort: number,
    peerInitial: number,
    tick: number,
    size: number,
  ): number {
    const input = this.#input;
    local.writeIpv6(input, 0);
    remote.writeIpv6(input, 16);
    set16(input, 32, localPort);
    set16(input, 34, remotePort);
    set32(input, 36, peerInitial);
    set32(input, 40, tick);
    input[44] = size;
    this.#hash.digest(input);
    return this.#hash.low & 0xffffff;
  }
}

/** `timestamp` or a little less, with the options of a SYN in its low bits. */
export function hideOptions(timestamp: number, options: CookieOptions): number {
  const scale = options.windowScale < 0 ? NO_SCALE : options.windowScale;
  const bits = scale | (options.sackPermitted ? 16 : 0) | (options.ecn ? 32 : 0);
  const hidden = (timestamp & ~OPTION_MASK) | bits;
  // Never ahead of the clock: a timestamp that goes back would be dropped by PAWS.
  return ((hidden - timestamp) | 0) > 0 ? (hidden - OPTION_MASK - 1) | 0 : hidden;
}

/** The options that {@link hideOptions} put into an echoed timestamp. */
export function revealOptions(echo: number): CookieOptions {
  const scale = echo & 15;
  return {
    windowScale: scale === NO_SCALE ? -1 : scale,
    sackPermitted: (echo & 16) !== 0,
    ecn: (echo & 32) !== 0,
  };
}
