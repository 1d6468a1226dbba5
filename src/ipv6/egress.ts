import { allocate, copy, EMPTY, get32 } from '../bytes/index.ts';
import type { Loopback } from '../internet/index.ts';
import type { IpErrorKind } from '../ip.ts';
import { Frame } from '../netif/netif.ts';
import type { Clock, Random } from '../time/index.ts';
import { Identification } from './identification.ts';
import type { Link } from './link.ts';
import type { Ipv6Path } from './path.ts';
import {
  FRAGMENT_HEADER,
  getNextHeader,
  HEADER,
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
  readonly loopback: Loopback;
  readonly clock: Clock;
  readonly random: Random;
  readonly hopLimit: number;
  /** Tells the transport that a packet of its own could not be sent; header at `bytes[0]`. */
  readonly onUndeliverable: (bytes: Uint8Array, end: number, kind: IpErrorKind) => void;
}

/** What all paths share on the way out, whatever link they take: the loopback, identifications, and the epoch. */
export class Egress {
  readonly loopback: Loopback;
  readonly clock: Clock;
  readonly identification: Identification;
  /** Of packets to ourselves. */
  readonly hopLimit: number;
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
  /** Moves on whenever routes, addresses or path MTUs change: paths compare it and look again. */
  epoch = 0;
  readonly #stray = new Frame(EMPTY);

  constructor({ loopback, clock, random, hopLimit, onUndeliverable }: EgressOptions) {
    this.loopback = loopback;
    this.clock = clock;
    this.identification = new Identification(random);
    this.flowKey = random.next32();
    this.hopLimit = hopLimit;
    this.onUndeliverable = onUndeliverable;
  }

  /** Memory for a packet that has no link to wait for. */
  hold(total: number): Frame {
    const frame = this.#stray.reset(allocate(total), 0, total);
    frame.start = HEADER;
    return frame;
  }

  /** Sends a whole packet, header at `frame.bytes[0]`, by `link` to `path`'s neighbour, which is known; in fragments of `mtu` if it must. */
  send(frame: Frame, path: Ipv6Path, link: Link, mtu: number): void {
    if (frame.end > mtu && frame.segmentSize === 0) this.#sendFragments(frame, path, link, mtu);
    else link.outbox.send(frame, path);
  }

  /** RFC 8200 §4.5, of a packet without extension headers, which ours are. */
  #sendFragments(packet: Frame, path: Ipv6Path, { outbox }: Link, mtu: number): void {
    this.counters.ip6OutFragReqds++;
    outbox.complete(packet);
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
      outbox.send(fragment, path);
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
