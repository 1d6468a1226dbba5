import { IpAddress } from '../address/index.ts';
import { allocate, copy, set16 } from '../bytes/index.ts';
import { complement, sum } from '../checksum/index.ts';
import { type FragmentedDatagram, type FragmentKey, FragmentStore } from '../internet/index.ts';
import { PROTOCOL_TCP } from '../ip.ts';
import { CHECKSUM_PARTIAL, Frame } from '../netif/netif.ts';
import type { Clock, TimerWheel } from '../time/index.ts';
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
/** A first fragment of TCP shorter than its header hides the flags from filters (RFC 1858 §3). */
const TCP_HEADER = 20;

export interface ReassemblyCounters {
  readonly ipReasmReqds: number;
  readonly ipReasmOKs: number;
  /** Datagrams given up: time, overlap, limits. */
  readonly ipReasmFails: number;
  /** Fragments that no honest sender or router makes. */
  readonly ipReasmBadFragments: number;
}

/** The datagram of the fragment that is looked at. */
class Key implements FragmentKey {
  readonly source = new IpAddress();
  readonly destination = new IpAddress();
  protocol = 0;
  identification = 0;
}

/** Reassembly of IPv4 datagrams (RFC 791 §3.2, RFC 815) within fixed limits. */
export class Reassembly {
  readonly #store: FragmentStore;
  readonly #key = new Key();
  readonly #whole = new Frame(new Uint8Array(0));

  /** `onTimeout` gets the first fragment of a datagram that timed out, if it came. */
  constructor(
    clock: Clock,
    timers: TimerWheel,
    onTimeout: (bytes: Uint8Array, header: number, end: number) => void,
  ) {
    this.#store = new FragmentStore(clock, timers, TIMEOUT_MS, ({ bytes, header, end }) =>
      onTimeout(bytes, header, end),
    );
  }

  get counters(): ReassemblyCounters {
    const { requests, completed, failed, bad } = this.#store.counters;
    return {
      ipReasmReqds: requests,
      ipReasmOKs: completed,
      ipReasmFails: failed,
      ipReasmBadFragments: bad,
    };
  }

  /** Bytes that are kept. */
  get bytes(): number {
    return this.#store.bytes;
  }

  get size(): number {
    return this.#store.size;
  }

  /**
   * Takes a fragment, header (sound) at `frame.start`. Answers the datagram if
   * this was the last piece of it: a frame with an IPv4 header of its own at
   * `start`, in memory that nobody reuses.
   */
  accept(frame: Frame): Frame | null {
    const { counters } = this.#store;
    counters.requests++;
    const { bytes, start: header } = frame;
    const headerLength = getHeaderLength(bytes, header);
    const word = getFlagsFragment(bytes, header);
    const start = (word & OFFSET_MASK) << 3;
    const payload = header + headerLength;
    const more = (word & MORE_FRAGMENTS) !== 0;
    const protocol = getProtocol(bytes, header);
    if (!isPlausible(protocol, headerLength, start, frame.end - payload, more)) {
      counters.bad++;
      return null;
    }
    const key = this.#key;
    key.source.readIpv4(bytes, header + SOURCE);
    key.destination.readIpv4(bytes, header + DESTINATION);
    key.protocol = protocol;
    key.identification = getIdentification(bytes, header);
    const datagram = this.#store.accept(key, frame, payload, start, more);
    return datagram === null ? null : this.#join(datagram);
  }

  clear(): void {
    this.#store.clear();
  }

  #join(datagram: FragmentedDatagram): Frame {
    const { total } = datagram;
    const first = datagram.first!;
    const length = HEADER + total;
    const bytes = allocate(length);
    // The header of the first fragment speaks for all; options have been looked at and end here.
    copy(bytes, 0, first.bytes, first.header, first.header + HEADER);
    bytes[VERSION_IHL] = 0x45;
    set16(bytes, TOTAL_LENGTH, length);
    set16(bytes, FLAGS_FRAGMENT, 0);
    set16(bytes, CHECKSUM, 0);
    set16(bytes, CHECKSUM, complement(sum(bytes, 0, HEADER)));
    datagram.copyTo(bytes, HEADER);
    const whole = this.#whole.reset(bytes, 0, length);
    // A device that vouched for a fragment cannot have summed the datagram: the
    // transport does, unless the sender left the sum to a device that cut before it summed.
    if (first.partialStart >= 0) {
      whole.checksum = CHECKSUM_PARTIAL;
      whole.checksumStart = HEADER + first.partialStart;
      whole.checksumOffset = first.partialOffset;
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
