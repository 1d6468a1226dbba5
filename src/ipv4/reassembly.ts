import { allocate, copy, get32, set16 } from '../bytes/index.ts';
import { complement, sum } from '../checksum/index.ts';
import { PROTOCOL_TCP } from '../ip.ts';
import { CHECKSUM_PARTIAL, Frame } from '../netif/netif.ts';
import { type Clock, Timer, type TimerWheel } from '../time/index.ts';
import {
  CHECKSUM,
  DESTINATION,
  FLAGS_FRAGMENT,
  getFlagsFragment,
  getHeaderLength,
  getIdentification,
  getProtocol,
  HEADER,
  MAX_HEADER,
  MAX_PACKET,
  MIN_LINK_MTU,
  MORE_FRAGMENTS,
  OFFSET_MASK,
  SOURCE,
  TOTAL_LENGTH,
  VERSION_IHL,
} from './wire.ts';

/** RFC 1122 §3.3.2 asks for 60 to 120 s; Linux's 30 s, since identifications wrap sooner at today's rates (RFC 4963). */
const TIMEOUT_MS = 30_000;
/** A datagram that was given up is remembered this long, so that its stragglers do not begin it anew. */
const REFUSE_MS = 2000;
/** Unfinished datagrams, and their bytes; the oldest make room. */
const DATAGRAMS = 256;
const TOTAL_BYTES = 4 << 20;
/** A 64 KiB datagram takes 119 fragments at an MTU of 576. */
const FRAGMENTS = 128;
/** A first fragment of TCP shorter than its header hides the flags from filters (RFC 1858 §3). */
const TCP_HEADER = 20;

export interface ReassemblyCounters {
  ipReasmReqds: number;
  ipReasmOKs: number;
  /** Datagrams given up: time, overlap, limits. */
  ipReasmFails: number;
  /** Fragments that no honest sender or router makes. */
  ipReasmBadFragments: number;
}

interface Piece {
  readonly bytes: Uint8Array;
  /** The payload in `bytes`. */
  readonly from: number;
  /** Where it belongs in the datagram's payload: `[start, end)`. */
  readonly start: number;
  readonly end: number;
}

interface Datagram {
  readonly source: number;
  readonly destination: number;
  readonly protocol: number;
  readonly identification: number;
  deadline: number;
  /** Sorted by `start`, without overlap. */
  pieces: Piece[];
  received: number;
  /** Payload length once the last fragment is here, else -1. */
  total: number;
  /** The fragment at offset 0, and where its header begins. */
  first: Uint8Array | null;
  firstHeader: number;
  firstEnd: number;
  /** The first fragment came with its transport checksum unfinished. */
  partialAt: number;
  refused: boolean;
}

/**
 * Reassembly of IPv4 datagrams (RFC 791 §3.2, RFC 815) within fixed limits.
 * Fragments are kept as views of the frames they came in, and copied once, when
 * the datagram is whole. One that overlaps another ends the datagram: no
 * fragmenting sender or router makes such (RFC 5722 for IPv6, and the same
 * attacks on IPv4: RFC 1858, RFC 8900 §3.7); an exact repetition is ignored.
 */
export class Reassembly {
  readonly counters: ReassemblyCounters = {
    ipReasmReqds: 0,
    ipReasmOKs: 0,
    ipReasmFails: 0,
    ipReasmBadFragments: 0,
  };
  readonly #clock: Clock;
  readonly #timer: Timer;
  readonly #onTimeout: (bytes: Uint8Array, header: number, end: number) => void;
  /** Oldest first. Few enough to search. */
  #datagrams: Datagram[] = [];
  #bytes = 0;
  readonly #whole = new Frame(new Uint8Array(0));

  /** `onTimeout` gets the first fragment of a datagram that timed out, if it came. */
  constructor(
    clock: Clock,
    timers: TimerWheel,
    onTimeout: (bytes: Uint8Array, header: number, end: number) => void,
  ) {
    this.#clock = clock;
    this.#timer = new Timer(timers, this);
    this.#onTimeout = onTimeout;
  }

  /** Bytes that are kept. */
  get bytes(): number {
    return this.#bytes;
  }

  get size(): number {
    return this.#datagrams.length;
  }

  /**
   * Takes a fragment, header (sound) at `frame.start`. Answers the datagram if
   * this was the last piece of it: a frame with an IPv4 header of its own at
   * `start`, in memory that nobody reuses.
   */
  accept(frame: Frame): Frame | null {
    this.counters.ipReasmReqds++;
    const { bytes, start: header } = frame;
    const headerLength = getHeaderLength(bytes, header);
    const word = getFlagsFragment(bytes, header);
    const start = (word & OFFSET_MASK) << 3;
    const length = frame.end - header - headerLength;
    const end = start + length;
    const more = (word & MORE_FRAGMENTS) !== 0;
    if (!isPlausible(getProtocol(bytes, header), headerLength, start, length, more)) {
      this.counters.ipReasmBadFragments++;
      return null;
    }
    const datagram = this.#find(bytes, header);
    if (datagram.refused) return null;
    const beyond = datagram.total >= 0 && (end > datagram.total || (!more && end !== datagram.total));
    const last = datagram.pieces.at(-1);
    if (beyond || (!more && last !== undefined && last.end > end)) {
      this.#refuse(datagram);
      return null;
    }
    const index = place(datagram.pieces, start, end);
    if (index === DUPLICATE) return null;
    if (index === OVERLAP || datagram.pieces.length >= FRAGMENTS) {
      this.#refuse(datagram);
      return null;
    }
    this.#makeRoom(length, datagram);
    frame.retain();
    datagram.pieces.splice(index, 0, { bytes, from: header + headerLength, start, end });
    datagram.received += length;
    this.#bytes += length;
    if (!more) datagram.total = end;
    if (start === 0) {
      datagram.first = bytes;
      datagram.firstHeader = header;
      datagram.firstEnd = frame.end;
      if (frame.checksum === CHECKSUM_PARTIAL) datagram.partialAt = frame.checksumOffset;
    }
    // Without overlaps, as many bytes as the length are all of them.
    return datagram.received === datagram.total ? this.#complete(datagram) : null;
  }

  clear(): void {
    this.#timer.cancel();
    this.#datagrams = [];
    this.#bytes = 0;
  }

  onTimer(): void {
    const now = this.#clock.now();
    const due = this.#datagrams.filter((datagram) => datagram.deadline <= now);
    for (const datagram of due) {
      this.#forget(datagram);
      if (datagram.refused) continue;
      this.counters.ipReasmFails++;
      // RFC 792, RFC 1122 §3.3.2: time exceeded, if fragment zero came.
      if (datagram.first !== null) this.#onTimeout(datagram.first, datagram.firstHeader, datagram.firstEnd);
    }
    this.#armForNext();
  }

  #armForNext(): void {
    let next = Number.POSITIVE_INFINITY;
    for (const { deadline } of this.#datagrams) next = Math.min(next, deadline);
    this.#timer.arm(next);
  }

  #find(bytes: Uint8Array, header: number): Datagram {
    const source = get32(bytes, header + SOURCE);
    const destination = get32(bytes, header + DESTINATION);
    const protocol = getProtocol(bytes, header);
    const identification = getIdentification(bytes, header);
    for (const datagram of this.#datagrams) {
      if (
        datagram.identification === identification &&
        datagram.source === source &&
        datagram.destination === destination &&
        datagram.protocol === protocol
      ) {
        return datagram;
      }
    }
    if (this.#datagrams.length >= DATAGRAMS) this.#discard(this.#datagrams[0]!);
    const datagram: Datagram = {
      source,
      destination,
      protocol,
      identification,
      deadline: this.#clock.now() + TIMEOUT_MS,
      pieces: [],
      received: 0,
      total: -1,
      first: null,
      firstHeader: 0,
      firstEnd: 0,
      partialAt: -1,
      refused: false,
    };
    this.#datagrams.push(datagram);
    if (!this.#timer.armed) this.#timer.arm(datagram.deadline);
    return datagram;
  }

  #makeRoom(length: number, keep: Datagram): void {
    while (this.#bytes + length > TOTAL_BYTES) {
      const oldest = this.#datagrams.find((datagram) => datagram !== keep && datagram.received > 0);
      if (oldest === undefined) return;
      this.#discard(oldest);
    }
  }

  #discard(datagram: Datagram): void {
    if (!datagram.refused) this.counters.ipReasmFails++;
    this.#forget(datagram);
  }

  /** Gives a datagram up, and ignores what still comes of it for a while. */
  #refuse(datagram: Datagram): void {
    this.counters.ipReasmFails++;
    this.#bytes -= datagram.received;
    datagram.pieces = [];
    datagram.received = 0;
    datagram.first = null;
    datagram.refused = true;
    datagram.deadline = Math.min(datagram.deadline, this.#clock.now() + REFUSE_MS);
    this.#armForNext();
  }

  #forget(datagram: Datagram): void {
    this.#bytes -= datagram.received;
    this.#datagrams.splice(this.#datagrams.indexOf(datagram), 1);
  }

  #complete(datagram: Datagram): Frame | null {
    this.#forget(datagram);
    const { first, firstHeader, total } = datagram;
    const length = HEADER + total;
    const bytes = allocate(length);
    // The header of the first fragment speaks for all; options have been looked at and end here.
    copy(bytes, 0, first!, firstHeader, firstHeader + HEADER);
    bytes[VERSION_IHL] = 0x45;
    set16(bytes, TOTAL_LENGTH, length);
    set16(bytes, FLAGS_FRAGMENT, 0);
    set16(bytes, CHECKSUM, 0);
    set16(bytes, CHECKSUM, complement(sum(bytes, 0, HEADER)));
    for (const piece of datagram.pieces) {
      copy(bytes, HEADER + piece.start, piece.bytes, piece.from, piece.from + piece.end - piece.start);
    }
    this.counters.ipReasmOKs++;
    const whole = this.#whole.reset(bytes, 0, length);
    // A device that vouched for a fragment cannot have summed the datagram: the
    // transport does, unless the sender left the sum to a device that cut before it summed.
    if (datagram.partialAt >= 0) {
      whole.checksum = CHECKSUM_PARTIAL;
      whole.checksumStart = HEADER;
      whole.checksumOffset = datagram.partialAt;
    }
    return whole;
  }
}

function isPlausible(
  protocol: number,
  headerLength: number,
  start: number,
  length: number,
  more: boolean,
): boolean {
  if (length === 0 || start + length > MAX_PACKET - HEADER) return false;
  if (more) {
    // RFC 791 §3.2: all but the last are whole units of eight.
    if ((length & 7) !== 0) return false;
    // No link carries less than 68 bytes, so no router cuts smaller than that.
    if (length < ((MIN_LINK_MTU - Math.min(headerLength, MAX_HEADER)) & ~7)) return false;
  }
  if (protocol === PROTOCOL_TCP) {
    // RFC 1858 §3 and §4, RFC 3128: a TCP header is not spread over fragments.
    if (start === 0 && length < TCP_HEADER) return false;
    if (start > 0 && start < TCP_HEADER) return false;
  }
  return true;
}

const DUPLICATE = -1;
const OVERLAP = -2;

/** Where a piece goes among the others; from the end, since most come in order. */
function place(pieces: readonly Piece[], start: number, end: number): number {
  let index = pieces.length;
  while (index > 0 && pieces[index - 1]!.start >= start) index--;
  const next = pieces[index];
  if (next !== undefined && next.start === start && next.end === end) return DUPLICATE;
  if (next !== undefined && next.start < end) return OVERLAP;
  if (index > 0 && pieces[index - 1]!.end > start) return OVERLAP;
  return index;
}
