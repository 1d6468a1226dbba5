import { allocate, copy, EMPTY } from '../bytes/index.ts';
import type { Loopback } from '../internet/index.ts';
import type { IpErrorKind } from '../ip.ts';
import { Frame } from '../netif/netif.ts';
import type { Clock, Random } from '../time/index.ts';
import { fragmentPayload } from './fragment.ts';
import { Identification } from './identification.ts';
import type { Link } from './link.ts';
import type { Ipv4Path } from './path.ts';
import {
  fixedSum,
  getProtocol,
  getTotalLength,
  getTrafficClass,
  getTtl,
  HEADER,
  MORE_FRAGMENTS,
  writeHeader,
} from './wire.ts';

export interface EgressCounters {
  ipOutRequests: number;
  ipOutNoRoutes: number;
  ipOutFragReqds: number;
  ipOutFragOKs: number;
  ipOutFragCreates: number;
}

export interface EgressOptions {
  readonly loopback: Loopback;
  readonly clock: Clock;
  readonly random: Random;
  readonly defaultTtl: number;
  /** Tells the transport that a packet of its own could not be sent; header at `bytes[0]`. */
  readonly onUndeliverable: (bytes: Uint8Array, end: number, kind: IpErrorKind) => void;
}

/** What all paths share on the way out, whatever link they take: the loopback, identifications, and the epoch. */
export class Egress {
  readonly loopback: Loopback;
  readonly clock: Clock;
  readonly identification: Identification;
  readonly defaultTtl: number;
  readonly onUndeliverable: (bytes: Uint8Array, end: number, kind: IpErrorKind) => void;
  readonly counters: EgressCounters = {
    ipOutRequests: 0,
    ipOutNoRoutes: 0,
    ipOutFragReqds: 0,
    ipOutFragOKs: 0,
    ipOutFragCreates: 0,
  };
  /** Moves on whenever routes, addresses or path MTUs change: paths compare it and look again. */
  epoch = 0;
  readonly #stray = new Frame(EMPTY);

  constructor({ loopback, clock, random, defaultTtl, onUndeliverable }: EgressOptions) {
    this.loopback = loopback;
    this.clock = clock;
    this.identification = new Identification(random);
    this.defaultTtl = defaultTtl;
    this.onUndeliverable = onUndeliverable;
  }

  /** Memory for a packet that has no link to wait for. */
  hold(total: number): Frame {
    const frame = this.#stray.reset(allocate(total), 0, total);
    frame.start = HEADER;
    return frame;
  }

  /** Sends a whole packet, header at `frame.bytes[0]`, by `link` to `path`'s neighbour, which is known; in fragments of `mtu` if it must. */
  send(frame: Frame, path: Ipv4Path, link: Link, mtu: number): void {
    if (frame.end > mtu && frame.segmentSize === 0) this.#sendFragments(frame, path, link, mtu);
    else link.outbox.send(frame, path);
  }

  /** RFC 791 §3.2's fragmentation procedure. */
  #sendFragments(packet: Frame, path: Ipv4Path, { outbox }: Link, mtu: number): void {
    this.counters.ipOutFragReqds++;
    outbox.complete(packet);
    const { bytes } = packet;
    const total = getTotalLength(bytes, 0);
    const payload = fragmentPayload(mtu);
    const source = path.source.w3;
    const destination = path.destination.w3;
    const protocol = getProtocol(bytes, 0);
    const identification = this.identification.next(source, destination, protocol);
    const sum = fixedSum(source, destination);
    for (let at = HEADER; at < total; at += payload) {
      const end = Math.min(at + payload, total);
      const length = HEADER + end - at;
      const fragment = new Frame(allocate(length));
      fragment.end = length;
      const flags = (end < total ? MORE_FRAGMENTS : 0) | ((at - HEADER) >> 3);
      const { bytes: out } = fragment;
      writeHeader(
        out,
        0,
        source,
        destination,
        sum,
        getTrafficClass(bytes, 0),
        length,
        identification,
        flags,
        getTtl(bytes, 0),
        protocol,
      );
      copy(out, HEADER, bytes, at, end);
      outbox.send(fragment, path);
      this.counters.ipOutFragCreates++;
    }
    this.counters.ipOutFragOKs++;
  }
}
