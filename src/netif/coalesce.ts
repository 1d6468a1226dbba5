import { EMPTY, get16, get32, set16 } from '../bytes/index.ts';
import { sum, update16 } from '../checksum/index.ts';
import { CHECKSUM_VERIFIED, ETHERNET_HEADER, type Frame } from './netif.ts';

const IPV4 = 0x0800;
const IPV6 = 0x86dd;
const IPV4_HEADER = 20;
const IPV6_HEADER = 40;
const TCP_HEADER = 20;
const TCP = 6;
const ACK = 0x10;
const PSH = 0x08;
/** In the word with data offset, flags and window. */
const PSH_IN_WORD = PSH << 16;
/** Version 4 and a header without options. */
const PLAIN_IPV4 = 0x45;
/** A packet's length is 16 bits wide. */
const LARGEST_PACKET = 65_535;
/** Headers at most: Ethernet, IPv6, TCP with full options. */
const MOST_HEADERS = ETHERNET_HEADER + IPV6_HEADER + 60;

/**
 * Receive coalescing for devices that know only ordinary frames: segments of
 * one connection that follow on each other become one frame of several
 * segments, so that the layers above do their work once for all of them.
 *
 * No payload is moved. The caller reads each frame to where its payload follows
 * the run's: its headers fall on the end of that, which is kept aside meanwhile
 * (`aside`, `restore`). As with Linux's GRO, only what could be cut apart again
 * into the same packets is put together: all headers equal but for lengths,
 * identification, sequence number and PSH, and every checksum right.
 */
export class Coalescer {
  /** The run is `bytes[start..end)` of the memory that is read into; empty while there is none. */
  start = 0;
  end = 0;
  /** Bytes of headers that each of its frames begins with. */
  headers = 0;
  /** Nothing more fits behind the latest frame. */
  isFull = false;
  #ipHeader = 0;
  #segmentSize = 0;
  #segments = 0;
  /** Addresses and protocol of the pseudo-header, unfolded. */
  #pseudo = 0;
  /** Ports and following sequence number of the latest data segment: what would go on with it. */
  #ports = 0;
  #next = 0;
  #push = 0;
  readonly #kept = new Int32Array((MOST_HEADERS + 3) >>> 2);
  /** The run's memory; words of it, wherever they begin, are read faster through a view. */
  #bytes: Uint8Array = EMPTY;
  #view = new DataView(EMPTY.buffer, 0, 0);

  get isOpen(): boolean {
    return this.#segments > 0;
  }

  /** Where the next frame is to be read to: its payload then follows the run's. */
  get overlay(): number {
    return this.end - this.headers;
  }

  /** Keeps what the headers of a frame read at `overlay` will overwrite. */
  aside(): void {
    const view = this.#view;
    const kept = this.#kept;
    const from = this.overlay;
    for (let i = 0; i < this.headers; i += 4) kept[i >>> 2] = view.getInt32(from + i);
  }

  restore(): void {
    const view = this.#view;
    const kept = this.#kept;
    const to = this.overlay;
    // The last word may reach into the payload behind, by two bytes that are not to be touched.
    const whole = this.headers & ~3;
    for (let i = 0; i < whole; i += 4) view.setInt32(to + i, kept[i >>> 2]!);
    if (whole < this.headers) view.setInt16(to + whole, kept[whole >>> 2]! >>> 16);
  }

  /**
   * Whether the frame `bytes[start..end)` begins a run: a full segment that goes on
   * with the one before it, so that interleaved connections are left alone.
   */
  begin(bytes: Uint8Array, start: number, end: number): boolean {
    const ip = start + ETHERNET_HEADER;
    const ipHeader = plainIpHeader(bytes, start, end);
    if (ipHeader === 0) {
      this.#ports = 0;
      return false;
    }
    const tcp = ip + ipHeader;
    const headers = ETHERNET_HEADER + ipHeader + (bytes[tcp + 12]! >>> 4) * 4;
    const payload = end - start - headers;
    const ports = get32(bytes, tcp);
    const sequence = get32(bytes, tcp + 4);
    const follows = ports === this.#ports && sequence === this.#next;
    this.#ports = ports;
    this.#next = (sequence + payload) | 0;
    if (!follows || payload <= 0 || (bytes[tcp + 13]! & ~PSH) !== ACK) return false;
    if (headers < ETHERNET_HEADER + ipHeader + TCP_HEADER) return false;
    const addresses = ipHeader === IPV4_HEADER ? ip + 12 : ip + 8;
    this.#pseudo = TCP + sum(bytes, addresses, tcp);
    this.start = start;
    this.headers = headers;
    this.#ipHeader = ipHeader;
    if (!this.#isIntact(bytes, start, end)) return false;
    this.end = end;
    if (bytes !== this.#bytes) {
      this.#bytes = bytes;
      this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
    }
    this.#segmentSize = payload;
    this.#segments = 1;
    this.#push = bytes[tcp + 13]! & PSH;
    this.isFull = this.#push !== 0;
    return true;
  }

  /** Whether the frame that was read at `overlay`, up to `end`, belongs to the run. It is taken in if so, and `restore` completes that. */
  extend(bytes: Uint8Array, end: number): boolean {
    const at = this.overlay;
    const payload = end - this.end;
    if (payload <= 0 || payload > this.#segmentSize) return false;
    if (!this.#matches(at) || !this.#isIntact(bytes, at, end)) return false;
    this.#push = bytes[at + ETHERNET_HEADER + this.#ipHeader + 13]! & PSH;
    this.#next = (this.#next + payload) | 0;
    this.#segments++;
    return true;
  }

  /** After `restore`: the run reaches up to `end`. */
  grow(end: number): void {
    const payload = end - this.end;
    this.end = end;
    const length = end - this.start - ETHERNET_HEADER;
    this.isFull =
      this.#push !== 0 || payload < this.#segmentSize || length + this.#segmentSize > LARGEST_PACKET;
  }

  /** Ends the run: `frame` shows it, as one packet. */
  close(bytes: Uint8Array, frame: Frame): void {
    const { start, end } = this;
    frame.reset(bytes, start, end);
    frame.checksum = CHECKSUM_VERIFIED;
    if (this.#segments > 1) {
      const ip = start + ETHERNET_HEADER;
      const length = end - ip;
      frame.segmentSize = this.#segmentSize;
      if (this.#ipHeader === IPV4_HEADER) {
        set16(bytes, ip + 10, update16(get16(bytes, ip + 10), get16(bytes, ip + 2), length));
        set16(bytes, ip + 2, length);
      } else {
        set16(bytes, ip + 4, length - IPV6_HEADER);
      }
      bytes[ip + this.#ipHeader + 13] = ACK | this.#push;
    }
    this.#segments = 0;
  }

  /** Headers as the first frame's, where two packets of one stream have them alike, and next in order. */
  #matches(at: number): boolean {
    const view = this.#view;
    const { start, headers } = this;
    const tcp = ETHERNET_HEADER + this.#ipHeader;
    if (
      view.getInt32(at + tcp + 4) !== this.#next ||
      view.getInt32(at + tcp) !== this.#ports ||
      view.getInt32(at + tcp + 8) !== view.getInt32(start + tcp + 8) ||
      // Data offset, flags but PSH, window.
      (view.getInt32(at + tcp + 12) | PSH_IN_WORD) !== (view.getInt32(start + tcp + 12) | PSH_IN_WORD)
    ) {
      return false;
    }
    // Ethernet, and the first two bytes of the IP header.
    for (let i = 0; i < 16; i += 4) if (view.getInt32(at + i) !== view.getInt32(start + i)) return false;
    let rest = 20;
    if (this.#ipHeader === IPV4_HEADER) {
      // Flags, TTL and protocol; then the checksum.
      if (view.getInt32(at + rest) !== view.getInt32(start + rest)) return false;
      rest += 6;
    } else {
      // The rest of the flow label; then the length.
      if (view.getInt16(at + 16) !== view.getInt16(start + 16)) return false;
    }
    for (let i = rest; i < tcp; i += 4) if (view.getInt32(at + i) !== view.getInt32(start + i)) return false;
    for (let i = tcp + TCP_HEADER; i < headers; i += 4) {
      if (view.getInt32(at + i) !== view.getInt32(start + i)) return false;
    }
    return true;
  }

  /** Length and checksums of the frame `bytes[start..end)` are right. */
  #isIntact(bytes: Uint8Array, start: number, end: number): boolean {
    const ip = start + ETHERNET_HEADER;
    const tcp = ip + this.#ipHeader;
    if (this.#ipHeader === IPV4_HEADER) {
      if (get16(bytes, ip + 2) !== end - ip || sum(bytes, ip, tcp) !== 0xffff) return false;
    } else if (get16(bytes, ip + 4) !== end - tcp) {
      return false;
    }
    return sum(bytes, tcp, end, this.#pseudo + end - tcp) === 0xffff;
  }
}

/** Bytes of the IP header if the frame is TCP over IP without options or fragments, and long enough to look at; else 0. */
function plainIpHeader(bytes: Uint8Array, start: number, end: number): number {
  const ip = start + ETHERNET_HEADER;
  if (end - ip < IPV4_HEADER + TCP_HEADER) return 0;
  const ethertype = get16(bytes, start + 12);
  if (ethertype === IPV4) {
    // Nothing of the fragment word but "don't fragment".
    const isPlain = bytes[ip] === PLAIN_IPV4 && (get16(bytes, ip + 6) & 0xbfff) === 0;
    return isPlain && bytes[ip + 9] === TCP ? IPV4_HEADER : 0;
  }
  if (ethertype !== IPV6 || end - ip < IPV6_HEADER + TCP_HEADER) return 0;
  return bytes[ip]! >>> 4 === 6 && bytes[ip + 6] === TCP ? IPV6_HEADER : 0;
}
