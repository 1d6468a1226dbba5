import type { IpAddress } from '../address/index.ts';
import { get16 } from '../bytes/index.ts';
import { ETHERTYPE_IPV6 } from '../ethernet/index.ts';
import type { Icmpv6 } from '../icmp/index.ts';
import { PROTOCOL_TCP } from '../ip.ts';
import {
  AddressMap,
  FRAGMENT_HEADER,
  getNextHeader,
  IPV6_HEADER,
  type Ipv6,
  type Ipv6Forwarder,
  type Ipv6Link,
  Ipv6Packet,
  isLinkLocal,
  NEXT_DESTINATION_OPTIONS,
  NEXT_FRAGMENT,
  NEXT_HOP_BY_HOP,
  NEXT_ROUTING,
} from '../ipv6/index.ts';
import { tcpWire } from '../tcp/index.ts';
import type { Random } from '../time/index.ts';
import { IPV6_HOP } from './edits.ts';
import { Exit, Workbench } from './exit.ts';
import { Hop } from './hop.ts';
import { routerCounters } from './router4.ts';
import { isCuttable, sendSegments } from './segments.ts';

/** Destinations whose next hop is remembered. */
const HOPS = 4096;

export interface Ipv6RouterOptions {
  readonly ipv6: Ipv6;
  readonly icmpv6: Icmpv6;
  readonly random: Random;
}

interface KnownHop {
  readonly hop: Hop;
  readonly link: Ipv6Link;
  readonly exit: Exit;
  readonly nextHop: IpAddress;
}

/** Forwarding of IPv6 packets between the interfaces of a host (RFC 8200 §3, RFC 4443). */
export class Ipv6Router implements Ipv6Forwarder {
  readonly counters = routerCounters();
  readonly #ipv6: Ipv6;
  readonly #icmpv6: Icmpv6;
  readonly #exits = new Map<Ipv6Link, Exit>();
  readonly #hops: AddressMap<KnownHop>;
  #epoch = -1;
  readonly #bench = new Workbench();

  constructor({ ipv6, icmpv6, random }: Ipv6RouterOptions) {
    this.#ipv6 = ipv6;
    this.#icmpv6 = icmpv6;
    this.#hops = new AddressMap(random);
  }

  take(packet: Ipv6Packet, link: Ipv6Link): boolean {
    const { counters } = this;
    if (packet.toLinkGroup || !this.#mayPass(packet)) {
      counters.refused++;
      return false;
    }
    findTransport(packet);
    if (packet.hopLimit <= 1) {
      counters.ttlExceeded++;
      this.#icmpv6.timeExceeded(packet);
      return true;
    }
    // RFC 4291 §2.5.6: stays on its link; RFC 4443 §3.1 has a word for it.
    if (isLinkLocal(packet.source)) {
      counters.refused++;
      this.#icmpv6.beyondScope(packet);
      return true;
    }
    const known = this.#hop(packet.destination);
    if (known === null) {
      counters.noRoutes++;
      this.#icmpv6.noRoute(packet);
      return true;
    }
    if (known.link === link && link.router?.redirect(packet, known.nextHop) === true) counters.redirects++;
    this.#send(packet, known);
    return true;
  }

  #mayPass({ source, destination }: Ipv6Packet): boolean {
    if (source.isUnspecified || source.isMulticast || source.isLoopback || source.isIpv4) return false;
    if (destination.isUnspecified || destination.isMulticast || destination.isLoopback) return false;
    return !destination.isIpv4 && !isLinkLocal(destination) && !this.#ipv6.isLocal(source);
  }

  #send(packet: Ipv6Packet, { hop, exit }: KnownHop): void {
    const { frame, header, end } = packet;
    const { counters } = this;
    const { segmentSize } = frame;
    const total = end - header;
    const isSegments = segmentSize > 0;
    if (isSegments && !(packet.protocol === PROTOCOL_TCP && isCuttable(frame.bytes, packet.transport, end))) {
      counters.discards++;
      return;
    }
    const longest = isSegments
      ? Math.min(
          total,
          packet.transport - header + tcpWire.headerLength(frame.bytes, packet.transport) + segmentSize,
        )
      : total;
    // RFC 8200 §4.5: only the source cuts.
    if (longest > hop.mtu) {
      counters.tooBig++;
      this.#icmpv6.packetTooBig(packet, hop.mtu);
      return;
    }
    const tcp = isSegments ? packet.transport - header : -1;
    let sent: boolean;
    if (!isSegments || exit.cuts(total)) {
      sent = exit.pass(frame, header, end, hop, IPV6_HOP, tcp);
    } else {
      counters.segmented++;
      const prepared = this.#bench.prepare(frame, header, end, IPV6_HOP);
      sent = sendSegments(prepared, packet.transport - header, exit, hop) > 0;
    }
    if (sent) counters.forwarded++;
    else counters.discards++;
  }

  #hop(destination: IpAddress): KnownHop | null {
    const { epoch } = this.#ipv6.egress;
    if (this.#epoch !== epoch || this.#hops.size >= HOPS) {
      this.#epoch = epoch;
      this.#hops.clear();
    }
    const known = this.#hops.get(destination);
    if (known !== undefined) return known;
    const found = this.#ipv6.route(destination);
    if (found === null) return null;
    const { link, route } = found;
    const nextHop = route.gateway ?? destination.copy();
    const obtain = () => link.ndp.cache.obtain(nextHop);
    const hop = new Hop(link.outbox, link.mtu, obtain, (bytes, end) => this.#unreachable(link, bytes, end));
    let exit = this.#exits.get(link);
    if (exit === undefined) {
      exit = new Exit(link.outbox, ETHERTYPE_IPV6);
      this.#exits.set(link, exit);
    }
    const made = { hop, link, exit, nextHop };
    this.#hops.set(destination, made);
    return made;
  }

  #unreachable(link: Ipv6Link, bytes: Uint8Array, end: number): void {
    this.counters.unreachable++;
    const packet = new Ipv6Packet();
    packet.frame.reset(bytes, 0, end);
    packet.read(packet.frame, false, link);
    findTransport(packet);
    this.#icmpv6.addressUnreachable(packet);
  }
}

/** Where the transport header is, as far as it can be told: errors about errors are never sent. */
function findTransport(packet: Ipv6Packet): void {
  const { frame, header, end } = packet;
  const { bytes } = frame;
  let next = getNextHeader(bytes, header);
  let at = header + IPV6_HEADER;
  for (let count = 0; count < 8 && at + FRAGMENT_HEADER <= end; count++) {
    if (next === NEXT_FRAGMENT) {
      // What is behind a later fragment's header cannot be known.
      if (get16(bytes, at + 2) >>> 3 !== 0) break;
      next = bytes[at]!;
      at += FRAGMENT_HEADER;
    } else if (next === NEXT_HOP_BY_HOP || next === NEXT_ROUTING || next === NEXT_DESTINATION_OPTIONS) {
      next = bytes[at]!;
      at += (bytes[at + 1]! + 1) << 3;
    } else {
      break;
    }
  }
  packet.protocol = next;
  packet.transport = Math.min(at, end);
}
