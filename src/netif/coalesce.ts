import { EMPTY, get16, get32, set16, set32 } from '../bytes/index.ts';
import { firstUnsound, fold, sum, update16 } from '../checksum/index.ts';
import {
  CHECKSUM_VERIFIED,
  ETHERNET_HEADER,
  type Frame,
  type NetifCounters,
  type NetifHandler,
} from './netif.ts';

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
/** As many as one packet has of the usual length, and more. */
const MOST_SEGMENTS = 64;

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
 *
 * Each segment's checksum is verified by itself, but the payloads of a run are
 * summed at its end, while they lie behind each other: there they have to be
 * moved to where sums are quick only once. A segment that proves damaged is left
 * out then, and what came behind it is a run of its own.
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
  /** Sums, unfolded, of what the headers have alike: the IPv4 header's, and pseudo-header and TCP header's. */
  #ipSum = 0;
  #tcpSum = 0;
  /** For each segment, what its payload must complete: the sum of pseudo-header and TCP header. */
  readonly #headerSums = new Int32Array(MOST_SEGMENTS);
  /** Segments that were left out of the run that is being closed, damaged as they were. */
  damaged = 0;
  /** Ports and following sequence number of the latest data segment: what would go on with it. */
  #ports = 0;
  #next = 0;
  #push = 0;
  readonly #kept = new Int32Array((MOST_HEADERS + 3) >>> 2);
  /** The run's memory; words of it, wherever they begin, are read faster through a view. */
  #bytes: Uint8Array = EMPTY;
  #viewed: Uint8Array = EMPTY;
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
    const view = this.#words();
    const kept = this.#kept;
    const from = this.overlay;
    for (let i = 0; i < this.headers; i += 4) kept[i >>> 2] = view.getInt32(from + i);
  }

  /** The run's memory as words. */
  #words(): DataView {
    const bytes = this.#bytes;
    if (bytes !== this.#viewed) {
      this.#viewed = bytes;
      this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
    }
    return this.#view;
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
    // Its payload has room for the headers of what follows it, should it be damaged.
    if (!follows || payload < headers || (bytes[tcp + 13]! & ~PSH) !== ACK) return false;
    if (headers < ETHERNET_HEADER + ipHeader + TCP_HEADER) return false;
    const isIpv4 = ipHeader === IPV4_HEADER;
    const length = end - ip;
    if (get16(bytes, isIpv4 ? ip + 2 : ip + 4) !== (isIpv4 ? length : length - IPV6_HEADER)) return false;
    if (isIpv4 && sum(bytes, ip, tcp) !== 0xffff) return false;
    this.#bytes = bytes;
    this.start = start;
    this.end = end;
    this.headers = headers;
    this.#ipHeader = ipHeader;
    this.#sumHeaders(ip, tcp);
    const sequences = get16(bytes, tcp + 4) + get16(bytes, tcp + 6) + get16(bytes, tcp + 16);
    this.#headerSums[0] = this.#tcpSum + (end - tcp) + sequences + (bytes[tcp + 13]! & PSH);
    this.#segmentSize = payload;
    this.#segments = 1;
    this.#push = bytes[tcp + 13]! & PSH;
    this.isFull = this.#push !== 0;
    return true;
  }

  /** The run's first frame has been copied to `bytes` at `start`. */
  moveTo(bytes: Uint8Array, start: number): void {
    this.#bytes = bytes;
    this.end += start - this.start;
    this.start = start;
  }

  /** Whether the frame `bytes[start..end)` looks as if it went on with the run: worth to be read at `overlay`. */
  mayGoOn(bytes: Uint8Array, start: number, end: number): boolean {
    const tcp = start + ETHERNET_HEADER + this.#ipHeader;
    if (end - start <= this.headers || end - start > this.headers + this.#segmentSize) return false;
    return get32(bytes, tcp + 4) === this.#next && get32(bytes, tcp) === this.#ports;
  }

  /** Whether the frame that was read at `overlay`, up to `end`, belongs to the run. It is taken in if so, and `restore` completes that. */
  extend(end: number): boolean {
    const at = this.overlay;
    const payload = end - this.end;
    if (payload <= 0 || payload > this.#segmentSize || !this.#matches(at, end)) return false;
    const tcp = at + ETHERNET_HEADER + this.#ipHeader;
    this.#headerSums[this.#segments] = this.#headerSum(tcp, payload);
    this.#push = this.#view.getUint8(tcp + 13) & PSH;
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
      this.#push !== 0 ||
      payload < this.#segmentSize ||
      length + this.#segmentSize > LARGEST_PACKET ||
      this.#segments === MOST_SEGMENTS;
  }

  /**
   * Ends the run, if there is one, and hands it to `handler` as `frame`, without what is damaged of it,
   * while `isOpen` says yes. Whether any of it is kept.
   */
  handOver(
    frame: Frame,
    counters: NetifCounters,
    handler: Pick<NetifHandler, 'receive'>,
    isOpen: () => boolean,
  ): boolean {
    let isKept = false;
    for (let hasMore = this.isOpen; hasMore; ) {
      hasMore = this.close(frame);
      counters.rxErrors += this.damaged;
      if (frame.start < frame.end && isOpen()) handler.receive(frame);
      if (frame.retained) isKept = true;
    }
    return isKept;
  }

  /**
   * Ends the run: `frame` shows it, as one packet, or what comes before a damaged
   * segment. While the answer is true there is more to come; call again when it
   * has been dealt with. An empty frame has nothing to show.
   */
  close(frame: Frame): boolean {
    const bytes = this.#bytes;
    const { start, end, headers } = this;
    const segments = this.#segments;
    const size = this.#segmentSize;
    const payload = start + headers;
    this.damaged = 0;
    // Of a single one, the transport makes sure.
    const sound = segments === 1 ? 1 : firstUnsound(bytes, payload, end, size, this.#headerSums);
    this.#segments = 0;
    if (sound === segments) {
      this.#show(frame, start, end, segments, this.#push);
      return false;
    }
    this.damaged = 1;
    this.#show(frame, start, payload + sound * size, sound, 0);
    if (sound === segments - 1) return false;
    // What follows takes the place of the damaged one with its headers.
    this.#segments = segments - sound - 1;
    this.start = payload + (sound + 1) * size - headers;
    bytes.copyWithin(this.start, start, payload);
    const sequence = this.start + ETHERNET_HEADER + this.#ipHeader + 4;
    set32(bytes, sequence, get32(bytes, sequence) + (sound + 1) * size);
    this.#headerSums.copyWithin(0, sound + 1, segments);
    return true;
  }

  /** `frame` is `[start, end)`, a packet of so many segments. */
  #show(frame: Frame, start: number, end: number, segments: number, push: number): void {
    const bytes = this.#bytes;
    if (segments === 0) {
      frame.reset(bytes, start, start);
      return;
    }
    frame.reset(bytes, start, end);
    const ip = start + ETHERNET_HEADER;
    const tcp = ip + this.#ipHeader;
    this.#setLength(bytes, ip, end - ip);
    bytes[tcp + 13] = ACK | push;
    if (segments > 1) {
      frame.checksum = CHECKSUM_VERIFIED;
      frame.segmentSize = this.#segmentSize;
      return;
    }
    // By itself, it is as it came.
    const others = this.#tcpSum + push + (end - tcp) + get16(bytes, tcp + 4) + get16(bytes, tcp + 6);
    set16(bytes, tcp + 16, this.#headerSums[0]! - others);
  }

  #setLength(bytes: Uint8Array, ip: number, length: number): void {
    if (this.#ipHeader === IPV4_HEADER) {
      set16(bytes, ip + 10, update16(get16(bytes, ip + 10), get16(bytes, ip + 2), length));
      set16(bytes, ip + 2, length);
    } else {
      set16(bytes, ip + 4, length - IPV6_HEADER);
    }
  }

  /** Sums up what the headers of a run have alike, from its first frame's. */
  #sumHeaders(ip: number, tcp: number): void {
    const bytes = this.#bytes;
    const isIpv4 = tcp - ip === IPV4_HEADER;
    const addresses = sum(bytes, isIpv4 ? ip + 12 : ip + 8, tcp);
    // Without length, identification and checksum.
    if (isIpv4) this.#ipSum = addresses + get16(bytes, ip) + get16(bytes, ip + 6) + get16(bytes, ip + 8);
    // Without sequence number, PSH and checksum.
    let total = TCP + addresses + get16(bytes, tcp) + get16(bytes, tcp + 2);
    for (let at = tcp + 8; at < this.start + this.headers; at += 2) total += get16(bytes, at);
    this.#tcpSum = total - get16(bytes, tcp + 16) - (bytes[tcp + 13]! & PSH);
  }

  /** Sum of the pseudo-header and the TCP header at `tcp`, the length of whose packet is known to be right. */
  #headerSum(tcp: number, payload: number): number {
    const view = this.#view;
    const length = this.headers - ETHERNET_HEADER - this.#ipHeader + payload;
    return (
      this.#tcpSum +
      length +
      view.getUint16(tcp + 4) +
      view.getUint16(tcp + 6) +
      (view.getUint8(tcp + 13) & PSH) +
      view.getUint16(tcp + 16)
    );
  }

  /**
   * Whether the frame from `at` to `end` has the headers of the first, where two packets of one stream have
   * them alike, is next in order, and is as long as it says.
   */
  #matches(at: number, end: number): boolean {
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
      const length = view.getUint16(at + 16);
      const others = length + view.getUint16(at + 18) + view.getUint16(at + 24);
      if (length !== end - at - ETHERNET_HEADER || fold(this.#ipSum + others) !== 0xffff) return false;
      rest += 6;
    } else {
      // The rest of the flow label; then the length.
      if (view.getInt16(at + 16) !== view.getInt16(start + 16)) return false;
      if (view.getUint16(at + 18) !== end - at - tcp) return false;
    }
    for (let i = rest; i < tcp; i += 4) if (view.getInt32(at + i) !== view.getInt32(start + i)) return false;
    for (let i = tcp + TCP_HEADER; i < headers; i += 4) {
      if (view.getInt32(at + i) !== view.getInt32(start + i)) return false;
    }
    return true;
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
