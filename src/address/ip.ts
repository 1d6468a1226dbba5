import { get32, set32 } from '../bytes/index.ts';
import { formatIpv4, formatIpv6, parseIpv4, parseIpv6 } from './text.ts';

export type Family = 'IPv4' | 'IPv6';

/** Third word of an IPv4 address held as IPv4-mapped IPv6 (`::ffff:a.b.c.d`, RFC 4291 §2.5.5.2). */
const MAPPED = 0x0000ffff;

/**
 * An IPv4 or IPv6 address as four int32 words, IPv4 in its IPv4-mapped form, so
 * that the layers above the network need not know the family: they compare,
 * hash and sum words. (The `0xffff` of the mapped form adds nothing to a one's
 * complement sum, so even the pseudo-header sum is the same code for both.)
 *
 * The receive path reuses two instances per packet cursor and overwrites them;
 * whoever keeps one past the call takes a `copy()`. All others are never changed.
 */
export class IpAddress {
  w0 = 0;
  w1 = 0;
  w2 = 0;
  w3 = 0;
  /**
   * The link of a link-local IPv6 address, and of a multicast or broadcast destination:
   * index of the interface, 0 for the first (RFC 4007's default zone) and where it has no meaning.
   */
  scope = 0;

  static readonly ANY_IPV4 = IpAddress.ipv4(0);
  static readonly ANY_IPV6 = new IpAddress();
  static readonly BROADCAST_IPV4 = IpAddress.ipv4(-1);

  /** From the 32 bits of an IPv4 address. */
  static ipv4(word: number): IpAddress {
    return new IpAddress().setIpv4(word);
  }

  /**
   * Parses dotted-quad IPv4, or RFC 4291 §2.2 IPv6 text, which may have the number of an
   * interface as its zone (`fe80::1%2`, RFC 4007 §11); null if it is neither.
   */
  static tryParse(text: string): IpAddress | null {
    const v4 = parseIpv4(text);
    if (v4 !== null) return IpAddress.ipv4(v4);
    const percent = text.indexOf('%');
    const words = parseIpv6(percent < 0 ? text : text.slice(0, percent));
    if (words === null) return null;
    const address = new IpAddress().setWords(words[0], words[1], words[2], words[3]);
    if (percent < 0) return address;
    const zone = text.slice(percent + 1);
    const isZoned = address.w0 >>> 22 === 0x3fa || address.isMulticast;
    if (!isZoned || !/^[1-9]\d{0,3}$/.test(zone)) return null;
    address.scope = Number(zone) - 1;
    return address;
  }

  /** As {@link tryParse}, but throws `TypeError` naming the text. */
  static parse(text: string): IpAddress {
    const address = IpAddress.tryParse(text);
    if (address === null) throw new TypeError(`not an IP address: ${JSON.stringify(text)}`);
    return address;
  }

  setIpv4(word: number): this {
    return this.setWords(0, 0, MAPPED, word);
  }

  setWords(w0: number, w1: number, w2: number, w3: number): this {
    this.w0 = w0 | 0;
    this.w1 = w1 | 0;
    this.w2 = w2 | 0;
    this.w3 = w3 | 0;
    this.scope = 0;
    return this;
  }

  readIpv4(bytes: Uint8Array, offset: number): this {
    return this.setWords(0, 0, MAPPED, get32(bytes, offset));
  }

  readIpv6(bytes: Uint8Array, offset: number): this {
    return this.setWords(
      get32(bytes, offset),
      get32(bytes, offset + 4),
      get32(bytes, offset + 8),
      get32(bytes, offset + 12),
    );
  }

  writeIpv4(bytes: Uint8Array, offset: number): void {
    set32(bytes, offset, this.w3);
  }

  writeIpv6(bytes: Uint8Array, offset: number): void {
    set32(bytes, offset, this.w0);
    set32(bytes, offset + 4, this.w1);
    set32(bytes, offset + 8, this.w2);
    set32(bytes, offset + 12, this.w3);
  }

  copy(): IpAddress {
    const address = new IpAddress().setWords(this.w0, this.w1, this.w2, this.w3);
    address.scope = this.scope;
    return address;
  }

  /** The same address without {@link scope}, as it stands on a wire. */
  unscoped(): IpAddress {
    if (this.scope === 0) return this;
    return new IpAddress().setWords(this.w0, this.w1, this.w2, this.w3);
  }

  equals(other: IpAddress): boolean {
    return (
      this.w3 === other.w3 &&
      this.w2 === other.w2 &&
      this.w1 === other.w1 &&
      this.w0 === other.w0 &&
      this.scope === other.scope
    );
  }

  /** An int32 that spreads well over tables; not secret, so tables exposed to a peer mix a key in. */
  hash(): number {
    return Math.imul(this.w3 ^ Math.imul(this.w2 ^ this.w1 ^ this.w0, 0x45d9f3b), 0x9e3779b1);
  }

  get isIpv4(): boolean {
    return this.w2 === MAPPED && this.w1 === 0 && this.w0 === 0;
  }

  get family(): Family {
    return this.isIpv4 ? 'IPv4' : 'IPv6';
  }

  /** `0.0.0.0` or `::`. */
  get isUnspecified(): boolean {
    return this.w3 === 0 && this.w1 === 0 && this.w0 === 0 && (this.w2 === 0 || this.w2 === MAPPED);
  }

  /** `127.0.0.0/8` or `::1`. */
  get isLoopback(): boolean {
    if (this.isIpv4) return this.w3 >>> 24 === 127;
    return this.w0 === 0 && this.w1 === 0 && this.w2 === 0 && this.w3 === 1;
  }

  /** `224.0.0.0/4` or `ff00::/8`. */
  get isMulticast(): boolean {
    return this.isIpv4 ? this.w3 >>> 28 === 14 : this.w0 >>> 24 === 0xff;
  }

  /** `255.255.255.255`. Directed broadcasts are known to the interface only. */
  get isLimitedBroadcast(): boolean {
    return this.isIpv4 && this.w3 === -1;
  }

  /** RFC 5952 text for IPv6, with the number of its interface unless that is the first; dotted quad for IPv4. */
  toString(): string {
    if (this.isIpv4) return formatIpv4(this.w3);
    const text = formatIpv6(this.w0, this.w1, this.w2, this.w3);
    return this.scope === 0 ? text : `${text}%${this.scope + 1}`;
  }
}
