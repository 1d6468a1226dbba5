import type { IpAddress } from '../address/index.ts';
import type { FirstFragment } from '../internet/index.ts';
import type { IpProtocol, PacketObserver } from '../ip.ts';
import type { Frame } from '../netif/netif.ts';
import type { Clock, TimerWheel } from '../time/index.ts';
import {
  CHAIN_COMPLETE,
  CHAIN_CUT,
  CHAIN_EMPTY,
  CHAIN_FRAGMENT,
  CHAIN_PROBLEM,
  type ChainEnd,
  HeaderChain,
  PROBLEM_FIELD,
  PROBLEM_INCOMPLETE_CHAIN,
  PROBLEM_NEXT_HEADER,
} from './extensions.ts';
import type { Link } from './link.ts';
import { NEIGHBOUR_ADVERTISEMENT } from './ndp-wire.ts';
import { Ipv6Packet } from './packet.ts';
import { FRAGMENT_EMPTY, FRAGMENT_SOUND, isAtomic, isFirst, Reassembly } from './reassembly.ts';
import { isLinkLocal, isNeverOnWire } from './scope.ts';
import {
  FRAGMENT_HEADER,
  getNextHeader,
  getPayloadLength,
  getVersion,
  HEADER,
  PROTOCOL_ICMPV6,
} from './wire.ts';

export interface ReceiveCounters {
  ip6InReceives: number;
  ip6InHdrErrors: number;
  /** Not for us, or from an address that nobody has. */
  ip6InAddrErrors: number;
  ip6InUnknownProtos: number;
  /** Less came than the header says. */
  ip6InTruncatedPkts: number;
  /** Sound packets that a limit or an option drops. */
  ip6InDiscards: number;
  ip6InDelivers: number;
  ip6InMcastPkts: number;
  /** Packets that were whole, with a fragment header (RFC 6946). */
  ip6InAtomicFragments: number;
}

/** Who answers packets that cannot be delivered: ICMPv6. */
export interface ErrorSender {
  /** `pointer` is from the IPv6 header on; `evenToGroup` where a group's packet is answered too. */
  parameterProblem(packet: Ipv6Packet, code: number, pointer: number, evenToGroup: boolean): void;
  reassemblyTimeExceeded(packet: Ipv6Packet): void;
}

/** A router, which takes packets that are for others. */
export interface Ipv6Forwarder {
  /** A packet that is not for us: true if it is dealt with, else it is counted and dropped. */
  take(packet: Ipv6Packet, link: Link): boolean;
}

/** What happens to a received packet: checks, extension headers, reassembly, and the transport. */
export class Receiver {
  readonly counters: ReceiveCounters = {
    ip6InReceives: 0,
    ip6InHdrErrors: 0,
    ip6InAddrErrors: 0,
    ip6InUnknownProtos: 0,
    ip6InTruncatedPkts: 0,
    ip6InDiscards: 0,
    ip6InDelivers: 0,
    ip6InMcastPkts: 0,
    ip6InAtomicFragments: 0,
  };
  readonly reassembly: Reassembly;
  errors: ErrorSender | null = null;
  /** Null on a host that forwards nothing. */
  forwarder: Ipv6Forwarder | null = null;
  /** Null as long as there is no raw socket. */
  observer: PacketObserver | null = null;
  readonly #links: readonly Link[];
  readonly #strong: boolean;
  readonly #protocols: readonly (IpProtocol | undefined)[];
  readonly #packet = new Ipv6Packet();
  readonly #chain = new HeaderChain();

  /** `protocols` by number; `strong` as in RFC 1122 §3.3.4.2: packets to an address of another link are refused. */
  constructor(
    links: readonly Link[],
    strong: boolean,
    protocols: readonly (IpProtocol | undefined)[],
    clock: Clock,
    timers: TimerWheel,
  ) {
    this.#links = links;
    this.#strong = strong;
    this.#protocols = protocols;
    this.reassembly = new Reassembly(clock, timers, (first) => this.#timedOut(first));
  }

  /** A frame from the wire, `start` at the IPv6 header. */
  receive(link: Link, frame: Frame, toLinkGroup: boolean): void {
    const { counters } = this;
    counters.ip6InReceives++;
    const { bytes, start } = frame;
    if (frame.end - start < HEADER || getVersion(bytes, start) !== 6) {
      counters.ip6InHdrErrors++;
      return;
    }
    const end = start + HEADER + getPayloadLength(bytes, start);
    if (end > frame.end) {
      counters.ip6InTruncatedPkts++;
      return;
    }
    // RFC 2464 §3: what follows is padding.
    frame.end = end;
    const packet = this.#packet.read(frame, toLinkGroup, link);
    if (!this.#isForUs(packet, link)) {
      if (this.forwarder?.take(packet, link) !== true) counters.ip6InAddrErrors++;
      return;
    }
    this.#unfold(packet);
  }

  /** A packet of our own to ourselves: without extension headers, and in one piece. */
  receiveLooped(frame: Frame): void {
    this.counters.ip6InReceives++;
    const packet = this.#packet.read(frame, false, null);
    if (this.#links.length > 1 && isLinkLocal(packet.destination)) this.#findZone(packet);
    this.#unfold(packet);
  }

  #isForUs(packet: Ipv6Packet, { addresses, groups }: Link): boolean {
    const { source, destination } = packet;
    // RFC 4291 §2.7: no packet comes from a group; ::1 and IPv4 in IPv6 clothes never come by a wire.
    if (source.isMulticast || isNeverOnWire(source) || isNeverOnWire(destination)) return false;
    // Nobody else has an address of ours; who says so by an advertisement is heard, and contradicted.
    if (this.#isOurs(source) && !isAdvertisement(packet)) return false;
    if (packet.isGroup) {
      this.counters.ip6InMcastPkts++;
      return groups.has(destination);
    }
    // A link multicast to one host's address is a mistake, as for IPv4 (RFC 1122 §3.3.6).
    if (packet.toLinkGroup) return false;
    return addresses.isAssigned(destination) || (!this.#strong && this.#isOurs(destination));
  }

  #isOurs(address: IpAddress): boolean {
    const links = this.#links;
    for (let i = 0; i < links.length; i++) if (links[i]!.addresses.isAssigned(address)) return true;
    return false;
  }

  /** A packet to ourselves lost the zone of its addresses on the way. */
  #findZone(packet: Ipv6Packet): void {
    for (const { index, addresses } of this.#links) {
      packet.setZone(index);
      if (addresses.isAssigned(packet.destination)) return;
    }
  }

  /** Walks the extension headers, joins fragments, and delivers. */
  #unfold(packet: Ipv6Packet): void {
    const chain = this.#chain;
    let { bytes } = packet.frame;
    let end = chain.walk(bytes, packet.header, packet.end, packet.isGroup);
    if (end === CHAIN_FRAGMENT) {
      if (isAtomic(bytes, chain.at)) {
        // RFC 6946 §4: never mixed with fragments of the same identification.
        this.counters.ip6InAtomicFragments++;
        end = chain.skipFragment(packet.end);
        packet.fragmented = true;
      } else {
        const whole = this.#collect(packet);
        if (whole === null) return;
        packet.read(whole, packet.toLinkGroup, packet.link);
        packet.fragmented = true;
        bytes = whole.bytes;
        end = chain.walk(bytes, packet.header, packet.end, packet.isGroup);
      }
      // A fragment in a fragment helps nobody but who evades filters.
      if (end === CHAIN_FRAGMENT) {
        this.counters.ip6InDiscards++;
        return;
      }
    }
    this.#finish(packet, end);
  }

  /** The whole packet if this was the last fragment of it. */
  #collect(packet: Ipv6Packet): Frame | null {
    const chain = this.#chain;
    const { bytes } = packet.frame;
    const { at } = chain;
    const fault = this.reassembly.fault(packet, at);
    if (fault !== FRAGMENT_SOUND) {
      this.counters.ip6InHdrErrors++;
      if (fault !== FRAGMENT_EMPTY) this.errors?.parameterProblem(packet, PROBLEM_FIELD, fault, false);
      return null;
    }
    if (isFirst(bytes, at) && this.#isChainCut(packet)) {
      // RFC 7112 §5: a first fragment has all headers, or filters would be blind.
      this.counters.ip6InHdrErrors++;
      this.errors?.parameterProblem(packet, PROBLEM_INCOMPLETE_CHAIN, 0, false);
      return null;
    }
    return this.reassembly.accept(packet, chain);
  }

  /** Whether the headers behind the fragment header go on behind the fragment. Leaves the chain where it was. */
  #isChainCut(packet: Ipv6Packet): boolean {
    const chain = this.#chain;
    const { at, nextHeaderAt } = chain;
    const end = chain.skipFragment(packet.end);
    const cut = end === CHAIN_CUT || (end === CHAIN_COMPLETE && chain.at + 8 > packet.end);
    chain.at = at;
    chain.nextHeaderAt = nextHeaderAt;
    return cut;
  }

  #finish(packet: Ipv6Packet, end: ChainEnd): void {
    const chain = this.#chain;
    const { counters } = this;
    switch (end) {
      case CHAIN_COMPLETE:
        this.#deliver(packet);
        return;
      case CHAIN_PROBLEM:
        counters.ip6InHdrErrors++;
        this.errors?.parameterProblem(packet, chain.code, chain.pointer, chain.evenToGroup);
        return;
      case CHAIN_CUT:
        counters.ip6InTruncatedPkts++;
        return;
      case CHAIN_EMPTY:
        return;
      default:
        counters.ip6InDiscards++;
    }
  }

  #deliver(packet: Ipv6Packet): void {
    const { frame } = packet;
    const chain = this.#chain;
    packet.protocol = frame.bytes[chain.nextHeaderAt]!;
    packet.transport = chain.at;
    frame.start = chain.at;
    const observed = this.observer?.observe(packet) === true;
    const transport = this.#protocols[packet.protocol];
    if (transport === undefined) {
      if (observed) {
        this.counters.ip6InDelivers++;
        return;
      }
      this.counters.ip6InUnknownProtos++;
      // RFC 8200 §4.
      this.errors?.parameterProblem(packet, PROBLEM_NEXT_HEADER, chain.nextHeaderAt - packet.header, false);
      return;
    }
    this.counters.ip6InDelivers++;
    transport.receive(packet);
  }

  #timedOut({ bytes, header, end, payload }: FirstFragment): void {
    const packet = new Ipv6Packet();
    packet.frame.reset(bytes, header, end);
    packet.read(packet.frame, false, null);
    if (this.#links.length > 1 && isLinkLocal(packet.destination)) this.#findZone(packet);
    packet.protocol = bytes[payload - FRAGMENT_HEADER]!;
    packet.transport = payload;
    this.errors?.reassemblyTimeExceeded(packet);
  }
}

/** Whether a packet without extension headers is a neighbour advertisement. */
function isAdvertisement({ frame, header, end }: Ipv6Packet): boolean {
  return (
    getNextHeader(frame.bytes, header) === PROTOCOL_ICMPV6 &&
    header + HEADER < end &&
    frame.bytes[header + HEADER] === NEIGHBOUR_ADVERTISEMENT
  );
}
