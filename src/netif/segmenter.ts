import { EMPTY, get16, get32, set16, set32 } from '../bytes/index.ts';
import { complement, fold, sum } from '../checksum/index.ts';
import { ETHERNET_HEADER, type Frame } from './netif.ts';

const FIN = 0x01;
const PSH = 0x08;
const CWR = 0x80;
const VERSION_6 = 6;
const DONT_FRAGMENT = 0x4000;
/** The IPv6 length leaves the header out. */
const IPV6_HEADER = 40;
const ETHERTYPE_VLAN = 0x8100;
const VLAN_TAG = 4;
/** Of Ethernet with a tag, IPv6 and TCP with full options. */
export const MOST_HEADERS = ETHERNET_HEADER + VLAN_TAG + IPV6_HEADER + 60;

/**
 * Cuts a frame of several TCP segments into ordinary frames, for devices that
 * know no others: at the last moment, so that the layers above did their work
 * once for all of them. The payload stays where it is. Each frame's headers are
 * written in front of its part of it, over bytes that were sent before.
 */
export class Segmenter {
  /** The frame that `next` made is `bytes[start..end)`. */
  start = 0;
  end = 0;
  #bytes: Uint8Array = EMPTY;
  /** Words of it, wherever they begin. */
  #view = new DataView(EMPTY.buffer, 0, 0);
  /** The headers that each frame begins with. */
  readonly #pattern = new Int32Array((MOST_HEADERS + 3) >>> 2);
  /** Where the whole begins and ends, and the next segment's payload. */
  #first = 0;
  #last = 0;
  #payload = 0;
  #size = 0;
  /** Distances from the frame's start. */
  #ip = 0;
  #tcp = 0;
  #headers = 0;
  #isIpv6 = false;
  #sequence = 0;
  #flags = 0;
  #identification = 0;
  #mayBeCut = false;
  /** Sums, unfolded, of what all segments have alike: pseudo-header and TCP header; IPv4 header. */
  #tcpSum = 0;
  #ipSum = 0;

  /** Bytes of each frame before its payload. */
  get headers(): number {
    return this.#headers;
  }

  /** Bytes of the frame that is made next. */
  get nextLength(): number {
    return this.#headers + Math.min(this.#size, this.#last - this.#payload);
  }

  /** Whether frames are left to make. */
  get hasMore(): boolean {
    return this.#payload < this.#last;
  }

  /** Takes on `frame`, all of `bytes[start..end)`: TCP with a partial checksum and a `segmentSize`. */
  begin(frame: Frame, start: number, end: number): void {
    const { bytes, checksumStart: tcp } = frame;
    if (bytes !== this.#bytes) {
      this.#bytes = bytes;
      this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
    }
    this.#first = start;
    this.#last = end;
    this.#size = frame.segmentSize;
    const link = get16(bytes, start + 12) === ETHERTYPE_VLAN ? ETHERNET_HEADER + VLAN_TAG : ETHERNET_HEADER;
    const ip = start + link;
    this.#ip = link;
    this.#tcp = tcp - start;
    this.#headers = this.#tcp + (bytes[tcp + 12]! >>> 4) * 4;
    this.#payload = start + this.#headers;
    this.#isIpv6 = bytes[ip]! >>> 4 === VERSION_6;
    this.#sequence = get32(bytes, tcp + 4);
    this.#flags = bytes[tcp + 13]!;
    // The field holds the pseudo-header's sum, with the length of the whole: that is taken off again.
    const pseudo = get16(bytes, tcp + 16) + (~fold(end - tcp) & 0xffff);
    set32(bytes, tcp + 4, 0);
    bytes[tcp + 13] = 0;
    set16(bytes, tcp + 16, 0);
    this.#tcpSum = sum(bytes, tcp, start + this.#headers, pseudo);
    if (!this.#isIpv6) {
      this.#identification = get16(bytes, ip + 4);
      this.#mayBeCut = (get16(bytes, ip + 6) & DONT_FRAGMENT) === 0;
      set16(bytes, ip + 2, 0);
      set16(bytes, ip + 4, 0);
      set16(bytes, ip + 10, 0);
      this.#ipSum = sum(bytes, ip, tcp);
    }
    // Two bytes are left behind the last word: every header but Ethernet's is whole words.
    const words = (this.#headers - 2) >>> 2;
    for (let i = 0; i < words; i++) this.#pattern[i] = this.#view.getInt32(start + i * 4);
    this.#pattern[words] = this.#view.getInt16(start + words * 4);
  }

  /** Makes the next frame, its headers in front of its payload. */
  next(): void {
    const payload = this.#payload;
    this.start = payload - this.#headers;
    this.#cut(this.#bytes, this.#view, this.start);
    this.end = this.#payload;
  }

  /** As {@link next}, with the headers at `at` of other memory: `bytes[start..end)` is the payload only. */
  nextApart(bytes: Uint8Array, view: DataView, at: number): void {
    this.start = this.#payload;
    this.#cut(bytes, view, at);
    this.end = this.#payload;
  }

  /** Writes the next frame's headers and moves on. */
  #cut(bytes: Uint8Array, view: DataView, at: number): void {
    const payload = this.#payload;
    const headers = this.#headers;
    const isFirst = payload === this.#first + headers;
    const end = Math.min(payload + this.#size, this.#last);
    const pattern = this.#pattern;
    const words = (headers - 2) >>> 2;
    for (let i = 0; i < words; i++) view.setInt32(at + i * 4, pattern[i]!);
    view.setInt16(at + headers - 2, pattern[words]!);
    const ip = at + this.#ip;
    const tcp = at + this.#tcp;
    const ipLength = end - payload + headers - this.#ip;
    // RFC 3168 §6.1.2: CWR belongs to the first, PSH and FIN to the last.
    let flags = this.#flags;
    if (!isFirst) flags &= ~CWR;
    if (end < this.#last) flags &= ~(PSH | FIN);
    const sequence = (this.#sequence + (payload - this.#first - headers)) | 0;
    const tcpLength = end - payload + headers - this.#tcp;
    const fixed = this.#tcpSum + tcpLength + flags + (sequence >>> 16) + (sequence & 0xffff);
    view.setInt32(tcp + 4, sequence);
    bytes[tcp + 13] = flags;
    view.setInt16(tcp + 16, complement(sum(this.#bytes, payload, end, fixed)));
    if (this.#isIpv6) set16(bytes, ip + 4, ipLength - IPV6_HEADER);
    else this.#writeIpv4(bytes, ip, ipLength);
    this.#payload = end;
  }

  #writeIpv4(bytes: Uint8Array, ip: number, length: number): void {
    const identification = this.#identification;
    set16(bytes, ip + 2, length);
    set16(bytes, ip + 4, identification);
    set16(bytes, ip + 10, complement(fold(this.#ipSum + length + identification)));
    // RFC 6864 §4.2: what may be cut on its way needs a number of its own.
    if (this.#mayBeCut) this.#identification = (identification + 1) & 0xffff;
  }
}
