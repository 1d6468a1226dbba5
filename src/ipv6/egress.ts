import type { IpAddress } from '../address/index.ts';
import type { NeighbourCache } from '../arp/index.ts';
import { allocate, copy, get32 } from '../bytes/index.ts';
import { ETHERTYPE_IPV6, type Ethernet } from '../ethernet/index.ts';
import { type Loopback, Outbox } from '../internet/index.ts';
import type { IpErrorKind } from '../ip.ts';
import { Frame } from '../netif/netif.ts';
import type { Clock, Random } from '../time/index.ts';
import { Identification } from './identification.ts';
import type { Ipv6Path } from './path.ts';
import {
  FRAGMENT_HEADER,
  getNextHeader,
  HEADER,
  MIN_MTU,
  NEXT_FRAGMENT,
  NEXT_HEADER,
  setPayloadLength,
  writeFragmentHeader,
} from './wire.ts';

export interface EgressCounters {
  ip6OutRequests: number;
  ip6OutNoRoutes: number;
  ip6OutFragReqds: number;
  ip6OutFragOKs: number;
  ip6OutFragCreates: number;
}

export interface EgressOptions {
  readonly ethernet: Ethernet;
  readonly neighbours: NeighbourCache<IpAddress>;
  readonly loopback: Loopback;
  readonly clock: Clock;
  readonly random: Random;
  readonly hopLimit: number;
  /** Tells the transport that a packet of its own could not be sent; header at `bytes[0]`. */
  readonly onUndeliverable: (bytes: Uint8Array, end: number, kind: IpErrorKind) => void;
}

/** What all paths share on the way out: the link, memory for packets that must wait, and the epoch. */
export class Egress {
  readonly ethernet: Ethernet;
  readonly neighbours: NeighbourCache<IpAddress>;
  readonly loopback: Loopback;
  readonly clock: Clock;
  readonly identification: Identification;
  readonly outbox: Outbox;
  /** Keys flow labels. */
  readonly flowKey: number;
  readonly onUndeliverable: (bytes: Uint8Array, end: number, kind: IpErrorKind) => void;
  readonly counters: EgressCounters = {
    ip6OutRequests: 0,
    ip6OutNoRoutes: 0,
    ip6OutFragReqds: 0,
    ip6OutFragOKs: 0,
    ip6OutFragCreates: 0,
  };
  /** Of the link: the device's, or less if a router says so (RFC 4861 §6.3.4). */
  mtu: number;
  /** As configured, or a router's word. */
  hopLimit: number;
  /** Moves on whenever routes, addresses or path MTUs change: paths compare it and look again. */
  epoch = 0;

  constructor({ ethernet, neighbours, loopback, clock, random, hopLimit, onUndeliverable }: EgressOptions) {
    this.ethernet = ethernet;
    this.neighbours = neighbours;
    this.loopback = loopback;
    this.clock = clock;
    this.identification = new Identification(random);
    this.flowKey = random.next32();
    this.hopLimit = hopLimit;
    this.mtu = Math.min(ethernet.netif.mtu, 65_535);
    this.outbox = new Outbox(ethernet, ETHERTYPE_IPV6, HEADER);
    this.onUndeliverable = onUndeliverable;
  }

  /** Takes a router's MTU for the link, if it is one that this link can have. */
  limitMtu(mtu: number): void {
    if (mtu < MIN_MTU || mtu > this.ethernet.netif.mtu || mtu === this.mtu) return;
    this.mtu = mtu;
    this.epoch++;
  }

  /** Takes a router's word on how far packets may go (RFC 4861 §6.3.4). */
  limitHops(hopLimit: number): void {
    if (hopLimit === this.hopLimit) return;
    this.hopLimit = hopLimit;
    this.epoch++;
  }

  /** Sends a whole packet, header at `frame.bytes[0]`, to `path`'s neighbour, which is known; in fragments of `mtu` if it must. */
  send(frame: Frame, path: Ipv6Path, mtu: number): void {
    if (frame.end > mtu && frame.segmentSize === 0) this.#sendFragments(frame, path, mtu);
    else this.outbox.send(frame, path);
  }

  /** RFC 8200 §4.5, of a packet without extension headers, which ours are. */
  #sendFragments(packet: Frame, path: Ipv6Path, mtu: number): void {
    this.counters.ip6OutFragReqds++;
    this.outbox.complete(packet);
    const { bytes, end: total } = packet;
    const most = (mtu - HEADER - FRAGMENT_HEADER) & ~7;
    const identification = this.identification.next(path.source, path.destination);
    const protocol = getNextHeader(bytes, 0);
    for (let at = HEADER; at < total; at += most) {
      const end = Math.min(at + most, total);
      const length = HEADER + FRAGMENT_HEADER + end - at;
      const fragment = new Frame(allocate(length));
      fragment.end = length;
      const { bytes: out } = fragment;
      copy(out, 0, bytes, 0, HEADER);
      setPayloadLength(out, 0, length - HEADER);
      out[NEXT_HEADER] = NEXT_FRAGMENT;
      writeFragmentHeader(out, HEADER, protocol, at - HEADER, end < total, identification);
      copy(out, HEADER + FRAGMENT_HEADER, bytes, at, end);
      this.outbox.send(fragment, path);
      this.counters.ip6OutFragCreates++;
    }
    this.counters.ip6OutFragOKs++;
  }
}

/** A stateless flow label (RFC 6437 §3) of a flow whose ports, if it has such, are at `transport`. */
export function flowLabel(key: number, bytes: Uint8Array, transport: number, hasPorts: boolean): number {
  const hash = Math.imul(hasPorts ? key ^ get32(bytes, transport) : key, 0x9e3779b1);
  // Zero would say that there is none.
  return (hash >>> 12) | 1;
}
