import { IpAddress } from './ip.ts';

/** An address with a prefix length, as in `10.0.0.2/24`. The host bits are kept. */
export class Prefix {
  readonly address: IpAddress;
  /** In bits of the address's own family: 0–32 for IPv4, 0–128 for IPv6. */
  readonly length: number;

  constructor(address: IpAddress, length: number) {
    const most = address.isIpv4 ? 32 : 128;
    if (!Number.isInteger(length) || length < 0 || length > most) {
      throw new RangeError(`prefix length ${length} is not within 0..${most}`);
    }
    this.address = address;
    this.length = length;
  }

  /** Parses CIDR text; an address without `/` is a host (all bits). Throws `TypeError` or `RangeError`. */
  static parse(text: string): Prefix {
    const slash = text.indexOf('/');
    const address = IpAddress.parse(slash < 0 ? text : text.slice(0, slash));
    if (slash < 0) return new Prefix(address, address.isIpv4 ? 32 : 128);
    const bits = text.slice(slash + 1);
    if (!/^\d{1,3}$/.test(bits)) throw new TypeError(`not a prefix: ${JSON.stringify(text)}`);
    return new Prefix(address, Number(bits));
  }

  /** Whether `address` is of the same family and shares the first `length` bits. */
  contains(address: IpAddress): boolean {
    if (address.isIpv4 !== this.address.isIpv4) return false;
    const bits = this.address.isIpv4 ? this.length + 96 : this.length;
    const mine = this.address;
    return (
      ((mine.w0 ^ address.w0) & mask(bits)) === 0 &&
      ((mine.w1 ^ address.w1) & mask(bits - 32)) === 0 &&
      ((mine.w2 ^ address.w2) & mask(bits - 64)) === 0 &&
      ((mine.w3 ^ address.w3) & mask(bits - 96)) === 0
    );
  }

  /** The first address: host bits zero. */
  get network(): IpAddress {
    const bits = this.address.isIpv4 ? this.length + 96 : this.length;
    const { w0, w1, w2, w3 } = this.address;
    return new IpAddress().setWords(
      w0 & mask(bits),
      w1 & mask(bits - 32),
      w2 & mask(bits - 64),
      w3 & mask(bits - 96),
    );
  }

  /** The directed broadcast address of an IPv4 prefix shorter than /31 (RFC 922, RFC 3021), else null. */
  get broadcast(): IpAddress | null {
    if (!this.address.isIpv4 || this.length > 30) return null;
    return IpAddress.ipv4(this.address.w3 | ~mask(this.length));
  }

  toString(): string {
    return `${this.address}/${this.length}`;
  }
}

/** The first `bits` of a 32-bit word set; clamped to 0..32. */
function mask(bits: number): number {
  return bits <= 0 ? 0 : bits >= 32 ? -1 : -1 << (32 - bits);
}
