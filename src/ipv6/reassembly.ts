import { IpAddress } from '../address/index.ts';
import { allocate, copy } from '../bytes/index.ts';
import { type FirstFragment, type FragmentedDatagram, FragmentStore } from '../internet/index.ts';
import { CHECKSUM_PARTIAL, Frame } from '../netif/netif.ts';
import type { Clock, TimerWheel } from '../time/index.ts';
import type { HeaderChain } from './extensions.ts';
import type { Ipv6Packet } from './packet.ts';
import {
  FRAGMENT_HEADER,
  FRAGMENT_OFFSET,
  getFragmentWord,
  getIdentification,
  HEADER,
  MAX_PAYLOAD,
  MORE_FRAGMENTS,
  NEXT_HEADER,
  OFFSET_MASK,
  PAYLOAD_LENGTH,
  setPayloadLength,
} from './wire.ts';

/** RFC 8200 §4.5. */
const TIMEOUT_MS = 60_000;

export interface ReassemblyCounters {
  readonly ip6ReasmReqds: number;
  readonly ip6ReasmOKs: number;
  /** Packets given up: time, overlap, limits. */
  readonly ip6ReasmFails: number;
  /** Fragments that no honest sender makes. */
  readonly ip6ReasmBadFragments: number;
}

/** Answers of {@link Reassembly.fault} that are not the pointer of a parameter problem. */
export const FRAGMENT_SOUND = -1;
export const FRAGMENT_EMPTY = -2;

/** Whether the fragment header at `at` is that of a packet that is whole (RFC 6946). */
export function isAtomic(bytes: Uint8Array, at: number): boolean {
  return (getFragmentWord(bytes, at) & (OFFSET_MASK | MORE_FRAGMENTS)) === 0;
}

/** Whether the fragment header at `at` is that of a first fragment. */
export function isFirst(bytes: Uint8Array, at: number): boolean {
  return (getFragmentWord(bytes, at) & OFFSET_MASK) === 0;
}

/** Reassembly of IPv6 packets (RFC 8200 §4.5) within fixed limits. */
export class Reassembly {
  readonly #store: FragmentStore;
  readonly #key = {
    source: IpAddress.ANY_IPV6,
    destination: IpAddress.ANY_IPV6,
    protocol: 0,
    identification: 0,
  };
  readonly #whole = new Frame(new Uint8Array(0));

  /** `onTimeout` gets the first fragment of a packet that timed out, if it came. */
  constructor(clock: Clock, timers: TimerWheel, onTimeout: (first: FirstFragment) => void) {
    this.#store = new FragmentStore(clock, timers, TIMEOUT_MS, onTimeout);
  }

  get counters(): ReassemblyCounters {
    const { requests, completed, failed, bad } = this.#store.counters;
    return {
      ip6ReasmReqds: requests,
      ip6ReasmOKs: completed,
      ip6ReasmFails: failed,
      ip6ReasmBadFragments: bad,
    };
  }

  /** Bytes that are kept. */
  get bytes(): number {
    return this.#store.bytes;
  }

  get size(): number {
    return this.#store.size;
  }

  /** Counts the fragment whose fragment header is at `at`, and looks for what makes it unusable. */
  fault(packet: Ipv6Packet, at: number): number {
    const { counters } = this.#store;
    counters.requests++;
    const { bytes } = packet.frame;
    const word = getFragmentWord(bytes, at);
    const length = packet.end - at - FRAGMENT_HEADER;
    let fault = FRAGMENT_SOUND;
    if (length === 0) fault = FRAGMENT_EMPTY;
    // RFC 8200 §4.5: all but the last are whole units of eight, and the packet is no longer than its length field can say.
    else if ((word & MORE_FRAGMENTS) !== 0 && (length & 7) !== 0) fault = PAYLOAD_LENGTH;
    else if (at - packet.header - HEADER + (word & OFFSET_MASK) + length > MAX_PAYLOAD) {
      fault = at - packet.header + FRAGMENT_OFFSET;
    }
    if (fault !== FRAGMENT_SOUND) counters.bad++;
    return fault;
  }

  /**
   * Takes a sound fragment, `chain` at its fragment header. Answers the packet if
   * this was the last piece of it: a frame with an IPv6 header of its own at
   * `start`, without fragment header, in memory that nobody reuses.
   */
  accept(packet: Ipv6Packet, chain: HeaderChain): Frame | null {
    const { frame } = packet;
    const { bytes } = frame;
    const word = getFragmentWord(bytes, chain.at);
    const key = this.#key;
    key.source = packet.source;
    key.destination = packet.destination;
    key.identification = getIdentification(bytes, chain.at);
    const payload = chain.at + FRAGMENT_HEADER;
    const more = (word & MORE_FRAGMENTS) !== 0;
    const datagram = this.#store.accept(key, frame, payload, word & OFFSET_MASK, more);
    return datagram === null ? null : this.#join(datagram);
  }

  clear(): void {
    this.#store.clear();
  }

  #join(datagram: FragmentedDatagram): Frame | null {
    const first = datagram.first!;
    // The unfragmentable part of the first fragment speaks for all.
    const fragment = first.payload - FRAGMENT_HEADER;
    const unfragmentable = fragment - first.header;
    const length = unfragmentable + datagram.total;
    const { counters } = this.#store;
    // Headers in front may differ from fragment to fragment, so it is only known now.
    if (length - HEADER > MAX_PAYLOAD) {
      counters.completed--;
      counters.failed++;
      return null;
    }
    const bytes = allocate(length);
    copy(bytes, 0, first.bytes, first.header, fragment);
    setPayloadLength(bytes, 0, length - HEADER);
    bytes[nextHeaderOf(first)] = first.bytes[fragment]!;
    datagram.copyTo(bytes, unfragmentable);
    const whole = this.#whole.reset(bytes, 0, length);
    if (first.partialStart >= 0) {
      whole.checksum = CHECKSUM_PARTIAL;
      whole.checksumStart = unfragmentable + first.partialStart;
      whole.checksumOffset = first.partialOffset;
    }
    return whole;
  }
}

/** Where, from the IPv6 header on, the byte is that names the fragment header. The chain before it has been walked before. */
function nextHeaderOf({ bytes, header, payload }: FirstFragment): number {
  const fragment = payload - FRAGMENT_HEADER;
  let named = NEXT_HEADER;
  for (let at = header + HEADER; at < fragment; ) {
    named = at - header;
    at += (bytes[at + 1]! + 1) << 3;
  }
  return named;
}
