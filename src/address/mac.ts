import { get16, get32, set16, set32 } from '../bytes/index.ts';

/** A 48-bit Ethernet address, immutable. `high` has 16 bits, `low` is an int32. */
export class MacAddress {
  readonly high: number;
  readonly low: number;

  constructor(high: number, low: number) {
    this.high = high & 0xffff;
    this.low = low | 0;
  }

  static readonly BROADCAST = new MacAddress(0xffff, -1);
  static readonly ZERO = new MacAddress(0, 0);

  /** Reads the six bytes at `offset`. */
  static read(bytes: Uint8Array, offset: number): MacAddress {
    return new MacAddress(get16(bytes, offset), get32(bytes, offset + 2));
  }

  /** Parses `02:00:00:00:00:01` (also with `-`). Throws `TypeError` on anything else. */
  static parse(text: string): MacAddress {
    if (!/^[0-9a-f]{2}([:-])(?:[0-9a-f]{2}\1){4}[0-9a-f]{2}$/i.test(text)) {
      throw new TypeError(`not a MAC address: ${JSON.stringify(text)}`);
    }
    const octets = text.split(/[:-]/).map((octet) => Number.parseInt(octet, 16));
    const bytes = Uint8Array.from(octets);
    return MacAddress.read(bytes, 0);
  }

  /** A locally administered unicast address made of 32 random bits. */
  static local(random32: number): MacAddress {
    return new MacAddress(0x0242, random32);
  }

  write(bytes: Uint8Array, offset: number): void {
    set16(bytes, offset, this.high);
    set32(bytes, offset + 2, this.low);
  }

  /** Whether the six bytes at `offset` are this address. */
  matches(bytes: Uint8Array, offset: number): boolean {
    return get16(bytes, offset) === this.high && get32(bytes, offset + 2) === this.low;
  }

  equals(other: MacAddress): boolean {
    return this.high === other.high && this.low === other.low;
  }

  /** Group bit: multicast or broadcast (IEEE 802.3 §3.2.3). */
  get isGroup(): boolean {
    return (this.high & 0x0100) !== 0;
  }

  toString(): string {
    const hex = this.high.toString(16).padStart(4, '0') + (this.low >>> 0).toString(16).padStart(8, '0');
    return hex.replace(/..(?=.)/g, '$&:');
  }
}
