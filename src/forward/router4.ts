import { IpAddress } from '../address/index.ts';
import { ETHERTYPE_IPV4, TokenBucket } from '../ethernet/index.ts';
import type { Icmp } from '../icmp/index.ts';
import { PROTOCOL_TCP } from '../ip.ts';
import {
  DONT_FRAGMENT,
  getFlagsFragment,
  type Ipv4,
  type Ipv4Forwarder,
  type Ipv4Link,
  Ipv4Packet,
  MORE_FRAGMENTS,
  OFFSET_MASK,
} from '../ipv4/index.ts';
import { tcpWire } from '../tcp/index.ts';
import type { Clock } from '../time/index.ts';
import { IPV4_HOP } from './edits.ts';
import { type Edit, Exit, Workbench } from './exit.ts';
import { sendFragments } from './fragments.ts';
import { Hop } from './hop.ts';
import type { Napt } from './napt.ts';
import { isCuttable, sendSegments } from './segments.ts';

/** Destinations whose next hop is remembered. */
const HOPS = 4096;
/** RFC 1812 §5.2.7.2 wants redirects limited; hosts that do not follow them cost us no more than this. */
const REDIRECTS_PER_SECOND = 10;
const REDIRECT_BURST = 20;

export interface RouterCounters {
  /** Packets passed on. */
  forwarded: number;
  /** Packets that no router may pass on: from or to addresses that stay on their link, or that nobody has. */
  refused: number;
  noRoutes: number;
  ttlExceeded: number;
  tooBig: number;
  /** Packets for which there was no room. */
  discards: number;
  /** Packets whose next hop did not answer. */
  unreachable: number;
  redirects: number;
  /** Packets of several segments cut here because the device does not. */
  segmented: number;
  fragmented: number;
}

export function routerCounters(): RouterCounters {
  return {
    forwarded: 0,
    refused: 0,
    noRoutes: 0,
    ttlExceeded: 0,
    tooBig: 0,
    discards: 0,
    unreachable: 0,
    redirects: 0,
    segmented: 0,
    fragmented: 0,
  };
}

export interface Ipv4RouterOptions {
  readonly ipv4: Ipv4;
  readonly icmp: Icmp;
  readonly clock: Clock;
  /** Translates addresses and ports; null to route only. */
  readonly napt: Napt | null;
}

interface KnownHop {
  readonly hop: Hop;
  readonly link: Ipv4Link;
  readonly exit: Exit;
  readonly nextHop: number;
}

/** Forwarding of IPv4 packets between the interfaces of a host (RFC 1812 §5). */
export class Ipv4Router implements Ipv4Forwarder {
  readonly counters = routerCounters();
  readonly #ipv4: Ipv4;
  readonly #icmp: Icmp;
  readonly #clock: Clock;
  readonly #napt: Napt | null;
  readonly #exits = new Map<Ipv4Link, Exit>();
  readonly #hops = new Map<number, KnownHop>();
  #epoch = -1;
  readonly #bench = new Workbench();
  readonly #redirects = new TokenBucket(REDIRECTS_PER_SECOND, REDIRECT_BURST);

  constructor({ ipv4, icmp, clock, napt }: Ipv4RouterOptions) {
    this.#ipv4 = ipv4;
    this.#icmp = icmp;
    this.#clock = clock;
    this.#napt = napt;
  }

  take(packet: Ipv4Packet, link: Ipv4Link, isForUs: boolean): boolean {
    const napt = this.#napt;
    if (isForUs) return napt !== null && !packet.isGroup && this.#takeTranslated(packet, link, napt);
    // A link broadcast to a single address is a mistake (RFC 1812 §5.3.4).
    if (packet.toLinkGroup || !this.#mayPass(packet) || napt?.isOutside(link) === true) {
      this.counters.refused++;
      return false;
    }
    const known = this.#reach(packet);
    if (known === null) return true;
    if (napt?.isOutside(known.link) === true) {
      if (!this.#makeWhole(packet, link)) return true;
      const edit = napt.outbound(packet);
      if (edit !== null) this.#send(packet, known, edit);
      return true;
    }
    if (known.link === link) this.#redirect(packet, link, known);
    this.#send(packet, known, IPV4_HOP);
    return true;
  }

  /** A packet to an address of ours that may belong to a host behind us. */
  #takeTranslated(packet: Ipv4Packet, link: Ipv4Link, napt: Napt): boolean {
    if (!napt.isOutsideAddress(packet.destination)) return false;
    if (isFragment(packet)) {
      // Whose it is shows when it is whole; what is ours goes on from there.
      const whole = this.#ipv4.reassembly.accept(packet.frame);
      if (whole === null) return true;
      packet.read(whole, packet.toLinkGroup, link);
    }
    const edit = napt.inbound(packet, link);
    if (edit === null) return false;
    if (edit === 'refused') return true;
    const known = this.#reach(packet, napt.insideAddress);
    if (known !== null) this.#send(packet, known, edit);
    return true;
  }

  /** Where a packet goes that may live one hop longer; null if it goes nowhere, and its sender has been told. */
  #reach(packet: Ipv4Packet, destination: IpAddress = packet.destination): KnownHop | null {
    if (packet.hopLimit <= 1) {
      this.counters.ttlExceeded++;
      this.#icmp.timeExceeded(packet);
      return null;
    }
    const known = this.#hop(destination);
    if (known === null) {
      this.counters.noRoutes++;
      this.#icmp.netUnreachable(packet);
    }
    return known;
  }

  /** RFC 1812 §5.3.7: no martians; RFC 3927 §2.7: nothing that is meant for a link; RFC 2644: no broadcast of another link. */
  #mayPass({ source, destination }: Ipv4Packet): boolean {
    if (destination.isMulticast || this.#ipv4.isLocal(source) || this.#ipv4.isBroadcast(destination))
      return false;
    return isRoutable(source.w3) && isRoutable(destination.w3);
  }

  /** Joins a fragment with the others, since only the first one has ports. False as long as some are missing. */
  #makeWhole(packet: Ipv4Packet, link: Ipv4Link): boolean {
    if (!isFragment(packet)) return true;
    const whole = this.#ipv4.reassembly.accept(packet.frame);
    if (whole === null) return false;
    packet.read(whole, packet.toLinkGroup, link);
    return true;
  }

  #send(packet: Ipv4Packet, { hop, exit }: KnownHop, edit: Edit): void {
    const { frame, header, end } = packet;
    const { counters } = this;
    const { segmentSize } = frame;
    const total = end - header;
    const mayCut = (getFlagsFragment(frame.bytes, header) & DONT_FRAGMENT) === 0;
    const transport = packet.headerLength;
    const isSegments = segmentSize > 0;
    if (
      isSegments &&
      !(packet.protocol === PROTOCOL_TCP && isCuttable(frame.bytes, header + transport, end))
    ) {
      counters.discards++;
      return;
    }
    const longest = isSegments
      ? Math.min(total, transport + tcpWire.headerLength(frame.bytes, header + transport) + segmentSize)
      : total;
    if (longest > hop.mtu && !mayCut) {
      counters.tooBig++;
      this.#icmp.fragmentationNeeded(packet, hop.mtu);
      return;
    }
    if (!isSegments) {
      if (total <= hop.mtu) this.#count(exit.pass(frame, header, end, hop, edit));
      else this.#fragment(packet, hop, exit, edit);
      return;
    }
    if (longest <= hop.mtu && exit.cuts(total)) {
      this.#count(exit.pass(frame, header, end, hop, edit, transport));
      return;
    }
    const whole = this.#bench.prepare(frame, header, end, edit);
    // Without DF a router may cut anywhere; smaller segments serve the receiver better than fragments.
    if (longest > hop.mtu) whole.segmentSize -= longest - hop.mtu;
    counters.segmented++;
    this.#count(sendSegments(whole, transport, exit, hop) > 0);
  }

  #fragment({ frame, header, end }: Ipv4Packet, hop: Hop, exit: Exit, edit: Edit): void {
    const whole = this.#bench.prepare(frame, header, end, edit);
    exit.outbox.complete(whole);
    this.counters.fragmented++;
    this.#count(sendFragments(whole, exit, hop) > 0);
  }

  #count(sent: boolean): void {
    if (sent) this.counters.forwarded++;
    else this.counters.discards++;
  }

  /** RFC 1812 §5.2.7.2: the sender, on the same link, had better ask the next hop itself. */
  #redirect(packet: Ipv4Packet, link: Ipv4Link, { nextHop }: KnownHop): void {
    if (link.address?.contains(packet.source) !== true || !this.#redirects.take(this.#clock.now())) return;
    this.counters.redirects++;
    this.#icmp.redirect(packet, IpAddress.ipv4(nextHop));
  }

  #hop(destination: IpAddress): KnownHop | null {
    const { epoch } = this.#ipv4.egress;
    if (this.#epoch !== epoch || this.#hops.size >= HOPS) {
      this.#epoch = epoch;
      this.#hops.clear();
    }
    const known = this.#hops.get(destination.w3);
    if (known !== undefined) return known;
    const route = this.#ipv4.routes.lookup(destination);
    if (route === null || route.link.address === null) return null;
    const { link } = route;
    const nextHop = (route.gateway ?? destination).w3;
    const obtain = () => link.arp.cache.obtain(nextHop);
    const hop = new Hop(link.outbox, link.mtu, obtain, (bytes, end) => this.#unreachable(link, bytes, end));
    const found = { hop, link, exit: this.#exit(link), nextHop };
    this.#hops.set(destination.w3, found);
    return found;
  }

  #exit(link: Ipv4Link): Exit {
    let exit = this.#exits.get(link);
    if (exit === undefined) {
      exit = new Exit(link.outbox, ETHERTYPE_IPV4);
      this.#exits.set(link, exit);
    }
    return exit;
  }

  /** RFC 1812 §5.2.7.1: the next hop did not answer, as the sender is told. */
  #unreachable(link: Ipv4Link, bytes: Uint8Array, end: number): void {
    this.counters.unreachable++;
    const packet = new Ipv4Packet();
    packet.frame.reset(bytes, 0, end);
    packet.read(packet.frame, false, link);
    // A translated packet has our own address: its sender learns by its own timeout.
    if (!this.#ipv4.isLocal(packet.source)) this.#icmp.hostUnreachable(packet);
  }
}

function isFragment({ frame, header }: Ipv4Packet): boolean {
  return (getFlagsFragment(frame.bytes, header) & (MORE_FRAGMENTS | OFFSET_MASK)) !== 0;
}

/** Not "this network", loopback, link-local, multicast or class E. */
function isRoutable(address: number): boolean {
  const first = address >>> 24;
  return first !== 0 && first !== 127 && first < 224 && address >>> 16 !== 0xa9fe;
}
