import { get16, set16 } from '../../bytes/index.ts';
import { complement, fold, sum, update16 } from '../../checksum/index.ts';
import { CHECKSUM_PARTIAL, ETHERNET_HEADER, type Frame } from '../netif.ts';

/*
 * UDP segmentation offload: the kernel and we pass datagrams of one size that
 * follow each other as one frame, with the headers of the first. The layers
 * above know datagrams only, so they are put together and cut apart here.
 */

const UDP = 17;
const UDP_HEADER = 8;
const UDP_LENGTH = 4;
const UDP_CHECKSUM = 6;
const IPV4 = 0x0800;
const IPV6 = 0x86dd;
const IPV4_HEADER = 20;
const IPV6_HEADER = 40;
const PLAIN_IPV4 = 0x45;
const LARGEST_PACKET = 65_535;
/** As many as any kernel cuts (`UDP_MAX_SEGMENTS`). */
const MOST_DATAGRAMS = 64;
/** Ethernet, IPv6 and UDP. */
const MOST_HEADERS = ETHERNET_HEADER + IPV6_HEADER + UDP_HEADER;

/** Bytes of the IP header of a UDP datagram without IP options and fragments; 0 for anything else. */
function plainIpHeader(bytes: Uint8Array, start: number, end: number): number {
  const ip = start + ETHERNET_HEADER;
  const type = get16(bytes, start + 12);
  if (type === IPV4) {
    if (end - ip < IPV4_HEADER + UDP_HEADER || bytes[ip] !== PLAIN_IPV4) return 0;
    return (get16(bytes, ip + 6) & 0xbfff) === 0 && bytes[ip + 9] === UDP ? IPV4_HEADER : 0;
  }
  if (type !== IPV6 || end - ip < IPV6_HEADER + UDP_HEADER) return 0;
  return bytes[ip]! >>> 4 === 6 && bytes[ip + 6] === UDP ? IPV6_HEADER : 0;
}

/** Makes the IP packet at `ip`, which `end` ends, as long as it is; its UDP checksum stays partial. */
function setLengths(bytes: Uint8Array, ip: number, ipHeader: number, end: number): void {
  const udp = ip + ipHeader;
  const length = end - udp;
  if (ipHeader === IPV4_HEADER) {
    set16(bytes, ip + 10, update16(get16(bytes, ip + 10), get16(bytes, ip + 2), end - ip));
    set16(bytes, ip + 2, end - ip);
  } else {
    set16(bytes, ip + 4, length);
  }
  // The field holds the pseudo-header's sum, with the length in it.
  const sumOfOthers = get16(bytes, udp + UDP_CHECKSUM) + (~get16(bytes, udp + UDP_LENGTH) & 0xffff);
  set16(bytes, udp + UDP_CHECKSUM, fold(sumOfOthers + length));
  set16(bytes, udp + UDP_LENGTH, length);
}

/** Datagrams on their way out, held back until another kind of frame comes or the turn ends. */
export class HeldDatagrams {
  /** The frame is `bytes[start..end)`. */
  readonly start: number;
  end: number;
  /** Distance from the start to the UDP header. */
  checksumStart = 0;
  /** Data bytes of each but the last. */
  size = 0;
  count = 0;
  readonly #bytes: Uint8Array;
  #ipHeader = 0;
  #isFull = false;

  /** @param bytes memory for the frame from `start` on, 64 KiB and an Ethernet header at least */
  constructor(bytes: Uint8Array, start: number) {
    this.#bytes = bytes;
    this.start = start;
    this.end = start;
  }

  get isFull(): boolean {
    return this.#isFull;
  }

  /** Whether `source[start..end)` may be held: a datagram whose checksum is partial. It is, if it goes on with what is. */
  add(source: Uint8Array, start: number, end: number): boolean {
    const ipHeader = plainIpHeader(source, start, end);
    if (ipHeader === 0) return false;
    const headers = ETHERNET_HEADER + ipHeader + UDP_HEADER;
    const length = end - start - headers;
    if (length <= 0 || get16(source, start + headers - UDP_HEADER + UDP_LENGTH) !== length + UDP_HEADER)
      return false;
    const bytes = this.#bytes;
    if (this.count === 0) {
      bytes.set(source.subarray(start, end), this.start);
      this.end = this.start + end - start;
      this.#ipHeader = ipHeader;
      this.checksumStart = ETHERNET_HEADER + ipHeader;
      this.size = length;
      this.count = 1;
      this.#isFull = false;
      return true;
    }
    if (ipHeader !== this.#ipHeader || length > this.size || !this.#isOfSameFlow(source, start)) return false;
    if (this.end + length - this.start - ETHERNET_HEADER > LARGEST_PACKET) return false;
    bytes.set(source.subarray(start + headers, end), this.end);
    this.end += length;
    this.count++;
    this.#isFull = length < this.size || this.count === MOST_DATAGRAMS;
    return true;
  }

  /** Ends the frame: its lengths are those of the whole. */
  finish(): void {
    if (this.count > 1) setLengths(this.#bytes, this.start + ETHERNET_HEADER, this.#ipHeader, this.end);
  }

  clear(): void {
    this.count = 0;
  }

  /** All headers alike but for lengths, identification and checksums. */
  #isOfSameFlow(source: Uint8Array, start: number): boolean {
    const bytes = this.#bytes;
    const own = this.start;
    const isIpv4 = this.#ipHeader === IPV4_HEADER;
    for (let i = 0; i < 16; i += 2) if (get16(bytes, own + i) !== get16(source, start + i)) return false;
    const first = isIpv4 ? ETHERNET_HEADER + 6 : ETHERNET_HEADER + 2;
    for (let i = first; i < this.checksumStart + 4; i += 2) {
      const isLengthOrSum = isIpv4 ? i === ETHERNET_HEADER + 10 : i === ETHERNET_HEADER + 4;
      if (!isLengthOrSum && get16(bytes, own + i) !== get16(source, start + i)) return false;
    }
    return true;
  }
}

/** Cuts a frame of several datagrams that the kernel sent. */
export class DatagramCutter {
  readonly #headers = new Uint8Array(MOST_HEADERS);
  #headerLength = 0;
  #ipHeader = 0;
  #identification = 0;
  /** Data bytes of each datagram but the last, and where the next and all of them begin and end. */
  #size = 0;
  #data = 0;
  #end = 0;
  #bytes: Uint8Array;

  constructor() {
    this.#bytes = this.#headers;
  }

  /** False for a frame that is not what it says: UDP with a partial checksum. */
  begin(frame: Frame): boolean {
    const { bytes, start, end } = frame;
    this.#ipHeader = plainIpHeader(bytes, start, end);
    const udp = start + ETHERNET_HEADER + this.#ipHeader;
    const isPartial = frame.checksum === CHECKSUM_PARTIAL && frame.checksumOffset === UDP_CHECKSUM;
    if (this.#ipHeader === 0 || !isPartial || frame.checksumStart !== udp) return false;
    if (get16(bytes, udp + UDP_LENGTH) !== end - udp) return false;
    this.#headerLength = udp + UDP_HEADER - start;
    this.#headers.set(bytes.subarray(start, udp + UDP_HEADER));
    this.#identification = get16(bytes, start + ETHERNET_HEADER + 4);
    this.#size = frame.segmentSize;
    this.#bytes = bytes;
    this.#data = start + this.#headerLength;
    this.#end = end;
    return this.#data < end;
  }

  get hasMore(): boolean {
    return this.#data < this.#end;
  }

  /** Bytes of the frame that `next` makes. */
  get nextLength(): number {
    return this.#headerLength + Math.min(this.#size, this.#end - this.#data);
  }

  /** The next datagram where it is, its headers over bytes that were shown before. */
  next(frame: Frame): void {
    this.#show(frame, this.#bytes, this.#data - this.#headerLength);
  }

  /** The next datagram copied to `at` of `bytes`, since someone keeps what lies before it. */
  nextApart(frame: Frame, bytes: Uint8Array, at: number): void {
    const length = this.nextLength - this.#headerLength;
    bytes.set(this.#bytes.subarray(this.#data, this.#data + length), at + this.#headerLength);
    this.#show(frame, bytes, at);
  }

  #show(frame: Frame, bytes: Uint8Array, start: number): void {
    const length = this.nextLength;
    const end = start + length;
    const ip = start + ETHERNET_HEADER;
    const udp = ip + this.#ipHeader;
    for (let i = 0; i < this.#headerLength; i++) bytes[start + i] = this.#headers[i]!;
    setLengths(bytes, ip, this.#ipHeader, end);
    if (this.#ipHeader === IPV4_HEADER) {
      set16(bytes, ip + 4, this.#identification);
      this.#identification = (this.#identification + 1) & 0xffff;
      set16(bytes, ip + 10, 0);
      set16(bytes, ip + 10, complement(sum(bytes, ip, udp)));
    }
    frame.reset(bytes, start, end);
    frame.checksum = CHECKSUM_PARTIAL;
    frame.checksumStart = udp;
    frame.checksumOffset = UDP_CHECKSUM;
    this.#data += length - this.#headerLength;
  }
}
