/**
 * Where the state of a parked connection is: a string of bytes. It is the one
 * container of the engine that has next to no header, belongs to the garbage
 * collector like everything else, and leaves no holes behind when it goes; a
 * typed array costs more by itself than what is kept here.
 *
 * A class says once what its state is, for both ways, in a method
 * `carry(fields)`: `this.x = fields.int(this.x)`. To a packer that hands the
 * value over, from an unpacker it takes it back.
 */
export interface Fields {
  bit(value: boolean): boolean;
  /** An int32; where it is `usual`, that costs a bit. */
  int(value: number, usual?: number): number;
  /** A whole number from 0 to 2^53. */
  count(value: number): number;
  /** Any number, times above all; where it is `usual`, that costs a bit. */
  real(value: number, usual?: number): number;
}

/** More than all fields of a connection could take. */
const CAPACITY = 2048;
const MOST_BITS = 1024;
const MOST_REALS = 128;

/** What the first byte of an unusual real says; from `KNOWN` on, which of the reals before it it equals. */
const WHOLE = 0;
const RAW = 1;
const KNOWN = 2;

/** The bytes of a double, for both ways. */
const REAL = new Float64Array(1);
const REAL_BYTES = new Uint8Array(REAL.buffer);

/** Takes fields and makes a record of them: bytes from the front, bits from the end. */
export class Packer implements Fields {
  readonly #bytes = new Uint8Array(CAPACITY);
  #length = 0;
  readonly #bits = new Uint8Array(MOST_BITS / 8);
  #bitCount = 0;
  /** Several of a connection's times are the same moment. */
  readonly #reals = new Float64Array(MOST_REALS);
  #realCount = 0;

  bit(value: boolean): boolean {
    const at = this.#bitCount++;
    const mask = 1 << (at & 7);
    if (value) this.#bits[at >>> 3]! |= mask;
    else this.#bits[at >>> 3]! &= ~mask;
    return value;
  }

  int(value: number, usual = 0): number {
    const difference = (value - usual) | 0;
    if (this.bit(difference !== 0)) this.#varint(difference);
    return value;
  }

  count(value: number): number {
    if (!this.bit(value !== 0)) return value;
    let left = value;
    while (left >= 0x80) {
      this.#bytes[this.#length++] = (left % 0x80) | 0x80;
      left = Math.floor(left / 0x80);
    }
    this.#bytes[this.#length++] = left;
    return value;
  }

  real(value: number, usual = 0): number {
    const isUsual = value === usual || (Number.isNaN(value) && Number.isNaN(usual));
    if (!this.bit(!isUsual)) return value;
    if (value === (value | 0)) {
      this.#bytes[this.#length++] = WHOLE;
      this.#varint(value);
      return value;
    }
    for (let i = 0; i < this.#realCount; i++) {
      if (this.#reals[i] !== value) continue;
      this.#bytes[this.#length++] = KNOWN + i;
      return value;
    }
    this.#reals[this.#realCount++] = value;
    this.#bytes[this.#length++] = RAW;
    REAL[0] = value;
    for (let i = 0; i < 8; i++) this.#bytes[this.#length++] = REAL_BYTES[i]!;
    return value;
  }

  /** Small numbers of either sign take few bytes. */
  #varint(value: number): void {
    let left = ((value << 1) ^ (value >> 31)) >>> 0;
    while (left >= 0x80) {
      this.#bytes[this.#length++] = (left & 0x7f) | 0x80;
      left >>>= 7;
    }
    this.#bytes[this.#length++] = left;
  }

  /** The record of all that was handed over since the last one. */
  finish(): string {
    for (let i = (this.#bitCount + 7) >>> 3; i > 0; i--) this.#bytes[this.#length++] = this.#bits[i - 1]!;
    const view = this.#bytes.subarray(0, this.#length);
    this.#length = 0;
    this.#bitCount = 0;
    this.#realCount = 0;
    return String.fromCharCode.apply(null, view as unknown as number[]);
  }
}

/** Hands out what a packer took, in the same order; the values that it is given are of no account. */
export class Unpacker implements Fields {
  #record = '';
  #at = 0;
  #bit = 0;
  readonly #reals = new Float64Array(MOST_REALS);
  #realCount = 0;

  begin(record: string): void {
    this.#record = record;
    this.#at = 0;
    this.#bit = 0;
    this.#realCount = 0;
  }

  bit(_value?: boolean): boolean {
    const at = this.#bit++;
    return (this.#record.charCodeAt(this.#record.length - 1 - (at >>> 3)) & (1 << (at & 7))) !== 0;
  }

  int(_value: number, usual = 0): number {
    return this.bit() ? (usual + this.#varint()) | 0 : usual;
  }

  count(_value: number): number {
    if (!this.bit()) return 0;
    let value = 0;
    for (let scale = 1; ; scale *= 0x80) {
      const byte = this.#record.charCodeAt(this.#at++);
      value += (byte & 0x7f) * scale;
      if (byte < 0x80) return value;
    }
  }

  real(_value: number, usual = 0): number {
    if (!this.bit()) return usual;
    const kind = this.#record.charCodeAt(this.#at++);
    if (kind === WHOLE) return this.#varint();
    if (kind >= KNOWN) return this.#reals[kind - KNOWN]!;
    for (let i = 0; i < 8; i++) REAL_BYTES[i] = this.#record.charCodeAt(this.#at++);
    const value = REAL[0]!;
    this.#reals[this.#realCount++] = value;
    return value;
  }

  #varint(): number {
    let value = 0;
    for (let shift = 0; ; shift += 7) {
      const byte = this.#record.charCodeAt(this.#at++);
      value |= (byte & 0x7f) << shift;
      if (byte < 0x80) return (value >>> 1) ^ -(value & 1);
    }
  }
}
