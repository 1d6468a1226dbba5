import { sha256 } from '@noble/hashes/sha2.js';
import { IpAddress, type MacAddress, type Prefix } from '../address/index.ts';

/**
 * Interface identifiers that are the same whenever a network is visited, and
 * unlike on every other (RFC 7217 §5): a hash of the prefix, the interface, how
 * often the address was taken already, and a secret.
 */
export class InterfaceIds {
  readonly #secret: Uint8Array;
  readonly #mac: MacAddress;

  constructor(secret: Uint8Array, mac: MacAddress) {
    this.#secret = secret;
    this.#mac = mac;
  }

  /** An address of a prefix of 64 bits, for the `attempt`th time. */
  address(prefix: Prefix, attempt: number): IpAddress {
    const { w0, w1 } = prefix.network;
    const input = new Uint8Array(8 + 6 + 1 + this.#secret.length);
    const scratch = new IpAddress().setWords(w0, w1, 0, 0);
    const words = new Uint8Array(16);
    scratch.writeIpv6(words, 0);
    input.set(words.subarray(0, 8), 0);
    this.#mac.write(input, 8);
    input[14] = attempt;
    input.set(this.#secret, 15);
    const digest = sha256(input);
    const address = new IpAddress().readIpv6(digest, 0);
    address.setWords(w0, w1, address.w2, address.w3);
    // RFC 7217 §5, RFC 5453: reserved identifiers are passed over.
    return isReserved(address) ? this.address(prefix, attempt + 0x40) : address;
  }
}

/** Subnet-router anycast (RFC 4291 §2.6.1), reserved anycast (RFC 2526), IANA's Ethernet block (RFC 9542 §2.2.2). */
function isReserved({ w2, w3 }: IpAddress): boolean {
  if (w2 === 0 && w3 === 0) return true;
  if (w2 === (0xfdffffff | 0) && w3 >>> 0 >= 0xffffff80) return true;
  return w2 === 0x02005eff && w3 >>> 24 === 0xfe;
}
