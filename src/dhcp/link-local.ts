import type { MacAddress } from '../address/index.ts';
import { IpAddress } from '../address/index.ts';
import { randomBelow, SeededRandom } from '../time/index.ts';

/** RFC 3927 §2.1: 169.254/16 without its first and last 256 addresses. */
const FIRST = 0xa9fe0100;
const COUNT = 0xfe00;
/** RFC 3927 §9: after so many conflicts, one attempt per minute. */
const MAX_CONFLICTS = 10;
const RATE_LIMIT_MS = 60_000;

export const LINK_LOCAL_LENGTH = 16;

/** Which addresses of 169.254/16 to try (RFC 3927), always the same ones for one MAC address. */
export class LinkLocalAddresses {
  readonly #random: SeededRandom;
  #conflicts = 0;
  #address: IpAddress;

  constructor(mac: MacAddress) {
    this.#random = new SeededRandom(mac.low ^ (mac.high << 16));
    this.#address = this.#draw();
  }

  get address(): IpAddress {
    return this.#address;
  }

  /** The address is taken: picks another, and says how long to wait before it is tried. */
  conflict(): number {
    this.#conflicts++;
    this.#address = this.#draw();
    return this.#conflicts > MAX_CONFLICTS ? RATE_LIMIT_MS : 0;
  }

  #draw(): IpAddress {
    return IpAddress.ipv4(FIRST + randomBelow(this.#random, COUNT));
  }
}
