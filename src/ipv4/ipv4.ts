import { IpAddress, type Prefix } from '../address/index.ts';
import { EMPTY } from '../bytes/index.ts';
import { NetError } from '../errors.ts';
import { type Loopback, RecentlyAsked } from '../internet/index.ts';
import {
  type IpError,
  type IpErrorKind,
  type IpPath,
  type IpProtocol,
  type PacketObserver,
  PROTOCOL_UDP,
} from '../ip.ts';
import type { Frame } from '../netif/netif.ts';
import type { Clock, Random, TimerWheel } from '../time/index.ts';
import { Egress } from './egress.ts';
import { PROTOCOL_IGMP } from './igmp.ts';
import { Link, type LinkOptions, type LinkReceiver } from './link.ts';
import { Ipv4Packet } from './packet.ts';
import { Ipv4Path, type Way, type WayFinder } from './path.ts';
import { PathMtuCache, plateauBelow } from './path-mtu.ts';
import { Reassembly } from './reassembly.ts';
import { RoutingTable } from './routes.ts';
import { addressToward, selectSource } from './source.ts';
import { checkOptions, isSoundHeader, isWireSource, OPTIONS_GOOD, OPTIONS_SOURCE_ROUTE } from './validate.ts';
import { findWay } from './ways.ts';
import {
  DESTINATION,
  getFlagsFragment,
  getHeaderLength,
  getProtocol,
  getTotalLength,
  HEADER,
  MAX_PACKET,
  MIN_LINK_MTU,
  MORE_FRAGMENTS,
  OFFSET_MASK,
  SOURCE,
} from './wire.ts';

/** Destinations whose paths are shared; a path that falls out lives on with its connections. */
const PATHS = 256;

export interface Ipv4Counters {
  ipInReceives: number;
  ipInHdrErrors: number;
  /** Not for us, or from an address that nobody has. */
  ipInAddrErrors: number;
  ipInUnknownProtos: number;
  /** Sound packets that policy drops: source-routed ones. */
  ipInDiscards: number;
  ipInDelivers: number;
  ipInMcastPkts: number;
}

/** Who answers packets that cannot be delivered: ICMP. */
export interface ErrorSender {
  protocolUnreachable(packet: Ipv4Packet): void;
  parameterProblem(packet: Ipv4Packet, pointer: number): void;
  reassemblyTimeExceeded(packet: Ipv4Packet): void;
}

/**
 * RFC 1122 §3.3.4.2. `strong`: packets to an address are taken only from the
 * interface that has it, and leave only by the interface of their source.
 * `weak`: any interface takes packets to any address of ours, and the route alone
 * decides where packets leave.
 */
export type HostModel = 'strong' | 'weak';

/** A router, which takes packets that are for others. */
export interface Ipv4Forwarder {
  /**
   * A sound packet from a link, `isForUs` or not: true if it is dealt with. Packets
   * that are not for us are counted and dropped if it is not.
   */
  take(packet: Ipv4Packet, link: Link, isForUs: boolean): boolean;
}

export interface Ipv4Options {
  readonly clock: Clock;
  readonly timers: TimerWheel;
  readonly random: Random;
  readonly defaultTtl: number;
  readonly loopback: Loopback;
  readonly hostModel: HostModel;
  /** Takes what one transport threw, so that the others still have their turn. */
  readonly onException: (error: unknown) => void;
}

/** The internet protocol (RFC 791, RFC 1122 §3) of a host with any number of interfaces and a loopback. */
export class Ipv4 implements LinkReceiver, WayFinder {
  /** In the order in which they were added; one that went down has no address. */
  readonly links: Link[] = [];
  readonly counters: Ipv4Counters = {
    ipInReceives: 0,
    ipInHdrErrors: 0,
    ipInAddrErrors: 0,
    ipInUnknownProtos: 0,
    ipInDiscards: 0,
    ipInDelivers: 0,
    ipInMcastPkts: 0,
  };
  readonly routes = new RoutingTable();
  /** Null on a host that forwards nothing. */
  forwarder: Ipv4Forwarder | null = null;
  /** Null as long as there is no raw socket. */
  observer: PacketObserver | null = null;
  readonly egress: Egress;
  readonly reassembly: Reassembly;
  readonly pathMtu: PathMtuCache;
  readonly #onException: (error: unknown) => void;
  /** RFC 1122 §3.3.4.2. */
  readonly strong: boolean;
  /** By protocol number, and the same in order of registration. */
  readonly #protocols: (IpProtocol | undefined)[] = new Array(256).fill(undefined);
  readonly #registered: IpProtocol[] = [];
  readonly #paths = new Map<number, Ipv4Path>();
  readonly #asked = new RecentlyAsked();
  readonly #packet = new Ipv4Packet();
  readonly #error = new Undeliverable();
  #errors: ErrorSender | null = null;

  constructor({ clock, timers, random, defaultTtl, loopback, hostModel, onException }: Ipv4Options) {
    this.#onException = onException;
    this.strong = hostModel === 'strong';
    this.egress = new Egress({
      loopback,
      clock,
      random,
      defaultTtl,
      onUndeliverable: (bytes, end, kind) => this.#reportUndeliverable(bytes, end, kind),
    });
    this.pathMtu = new PathMtuCache(clock, timers, () => {
      this.egress.epoch++;
    });
    this.reassembly = new Reassembly(clock, timers, (bytes, header, end) => {
      const packet = new Ipv4Packet();
      packet.frame.reset(bytes, header, end);
      this.#errors?.reassemblyTimeExceeded(packet.read(packet.frame, false, null));
    });
    // IGMP is a matter of the link that its packets come by.
    this.register({
      protocol: PROTOCOL_IGMP,
      receive: (packet) => {
        if (packet instanceof Ipv4Packet) packet.link?.igmp.receive(packet);
      },
      error: () => false,
      flush: () => {},
      writable: () => {},
    });
  }

  /** Our address on the first link. */
  get address(): Prefix | null {
    return this.links[0]?.address ?? null;
  }

  /** One more Ethernet, which has no address yet. */
  addLink(options: LinkOptions): Link {
    const link = new Link(options, this);
    this.links.push(link);
    return link;
  }

  /** A link is gone, and with it its address and routes. */
  removeLink(link: Link): void {
    link.address = null;
    link.igmp.groups.close();
    this.routes.removeLink(link);
    this.#routesChanged();
  }

  /** Told when an address of ours was taken or given up. */
  onAddress: (() => void) | null = null;

  /** Who sends ICMP errors. */
  reportTo(errors: ErrorSender): void {
    this.#errors = errors;
  }

  register(protocol: IpProtocol): void {
    this.#protocols[protocol.protocol] = protocol;
    this.#registered.push(protocol);
  }

  /** Our address on a link, with the connected route; null for none. Paths from an address that is gone have no way any more. */
  setAddress(link: Link, address: Prefix | null): void {
    if (link.address !== null) this.routes.remove(link.address, link);
    link.address = address;
    if (address !== null) {
      this.routes.add(address, null, link);
      // Switches and routers note who told them.
      link.igmp.groups.repeat();
    }
    this.#routesChanged();
    this.onAddress?.();
  }

  /** Sends no packets of more than `mtu` bytes by `link`, if that is less than its device takes; null for no limit. */
  limitMtu(link: Link, mtu: number | null): void {
    const most = Math.min(link.ethernet.netif.mtu, MAX_PACKET);
    link.mtu = mtu === null ? most : Math.min(mtu, most);
    this.#routesChanged();
  }

  addRoute(prefix: Prefix, gateway: IpAddress | null, link: Link, metric?: number): void {
    this.routes.add(prefix, gateway, link, metric);
    this.#routesChanged();
  }

  /** Of `link`, or of every link. Whether there was one. */
  removeRoute(prefix: Prefix, link?: Link): boolean {
    const removed = this.routes.remove(prefix, link);
    this.#routesChanged();
    return removed;
  }

  isLocal(address: IpAddress): boolean {
    return address.isIpv4 && (address.isLoopback || this.linkOf(address) !== null);
  }

  /** The link that has `address`. */
  linkOf(address: IpAddress): Link | null {
    const { links } = this;
    for (let i = 0; i < links.length; i++) if (links[i]!.has(address)) return links[i]!;
    return null;
  }

  isBroadcast(address: IpAddress): boolean {
    if (address.isLimitedBroadcast) return true;
    for (let i = 0; i < this.links.length; i++) if (this.links[i]!.isDirectedBroadcast(address)) return true;
    return false;
  }

  path(destination: IpAddress, source?: IpAddress): IpPath {
    const from = selectSource(this, destination, source);
    const cached = this.#paths.get(destination.w3);
    if (cached?.source.equals(from) && cached.destination.scope === destination.scope && cached.routed) {
      return cached;
    }
    const path = new Ipv4Path(this.egress, this, from === source ? from.copy() : from, destination.copy());
    if (!path.routed) throw new NetError('ENETUNREACH', { syscall: 'connect', address: `${destination}` });
    if (!this.#asked.isRepeated(destination)) return path;
    this.#paths.delete(destination.w3);
    if (this.#paths.size >= PATHS) this.#paths.delete(this.#paths.keys().next().value!);
    this.#paths.set(destination.w3, path);
    return path;
  }

  /** {@link path}, but from the address of `link`, and by it where the destination is a group. */
  pathBy(link: Link, destination: IpAddress, source?: IpAddress): IpPath {
    const scoped = destination.copy();
    if (destination.isMulticast || destination.isLimitedBroadcast) scoped.scope = link.index;
    const from = source === undefined || source.isUnspecified ? link.address?.address : source;
    if (from === undefined && !destination.isLimitedBroadcast) {
      throw new NetError('ENETUNREACH', {
        syscall: 'connect',
        address: `${destination}`,
        reason: 'no address on this interface',
      });
    }
    return this.path(scoped, from);
  }

  /** The source that a packet to `destination` would have, null if it has no way. */
  sourceOf(destination: IpAddress): IpAddress | null {
    const source = destination.isLoopback ? destination : addressToward(this, destination);
    return source !== null && this.hasWay(destination, source) ? source : null;
  }

  /** Whether {@link path} would find a way. */
  hasWay(destination: IpAddress, source: IpAddress): boolean {
    return (
      !destination.isUnspecified && this.isLocal(source) && this.findWay(destination, source).kind !== 'none'
    );
  }

  findWay(destination: IpAddress, source: IpAddress): Way {
    return findWay(this, destination, source);
  }

  /** A frame from the wire, `start` at the IPv4 header. */
  receiveFrom(link: Link, frame: Frame, toLinkGroup: boolean): void {
    const { counters } = this;
    counters.ipInReceives++;
    const { bytes, start } = frame;
    if (!isSoundHeader(bytes, start, frame.end)) {
      counters.ipInHdrErrors++;
      return;
    }
    // RFC 894: what follows is padding.
    frame.end = start + getTotalLength(bytes, start);
    const packet = this.#packet.read(frame, toLinkGroup, link);
    const { destination } = packet;
    const mayBeUnspecified =
      destination.isLimitedBroadcast || (destination.isMulticast && packet.protocol === PROTOCOL_IGMP);
    const { forwarder } = this;
    const isForUs = isWireSource(bytes, start, mayBeUnspecified) && this.#isForUs(packet, link);
    if (!isForUs && forwarder === null) {
      counters.ipInAddrErrors++;
      return;
    }
    if (packet.headerLength > HEADER) {
      const options = checkOptions(bytes, start, packet.headerLength);
      if (options !== OPTIONS_GOOD) {
        if (options === OPTIONS_SOURCE_ROUTE) {
          counters.ipInDiscards++;
        } else {
          counters.ipInHdrErrors++;
          this.#errors?.parameterProblem(packet, options);
        }
        return;
      }
    }
    if (forwarder !== null) {
      if (forwarder.take(packet, link, isForUs)) return;
      if (!isForUs) {
        counters.ipInAddrErrors++;
        return;
      }
    }
    if ((getFlagsFragment(bytes, start) & (MORE_FRAGMENTS | OFFSET_MASK)) !== 0) {
      const whole = this.reassembly.accept(frame);
      if (whole === null) return;
      packet.read(whole, toLinkGroup, link);
    }
    this.#deliver(packet);
  }

  /** A packet of our own to ourselves. */
  receiveLooped(frame: Frame): void {
    this.counters.ipInReceives++;
    const packet = this.#packet.read(frame, false, null);
    packet.isGroup = packet.destination.isMulticast;
    this.#deliver(packet);
  }

  /**
   * An ICMP error about a packet with our source (header, sound as far as it was
   * quoted, in `error.bytes`): goes to the transport that sent it, and lowers the
   * path MTU if that transport vouches for it (RFC 5927 §7.2). `quotedLength` is
   * the packet's total length.
   */
  deliverError(error: IpError, quotedLength: number): void {
    const transport = this.#protocols[error.protocol];
    if (transport === undefined) return;
    if (error.kind !== 'packet-too-big') {
      transport.error(error);
      return;
    }
    const { w3 } = error.destination;
    const way = this.findWay(error.destination, error.source);
    if (way.kind !== 'link' || way.group !== null) return;
    // RFC 1191 §5, §7: the router's word, or the next plateau below what did not fit.
    const mtu = error.mtu > 0 ? error.mtu : plateauBelow(Math.min(way.mtu, quotedLength));
    // RFC 1191 §3: never raised by a message, and no link is narrower than 68.
    if (mtu >= way.mtu || mtu < MIN_LINK_MTU) return;
    if (transport.error(error)) this.pathMtu.lower(w3, mtu);
  }

  /** A batch of received packets is over. */
  flush(): void {
    for (const protocol of this.#registered) {
      try {
        protocol.flush();
      } catch (error) {
        this.#onException(error);
      }
    }
  }

  /** The device, or the loopback, has room again. */
  writable(): void {
    let hasRoom = false;
    for (const link of this.links) if (link.outbox.drain()) hasRoom = true;
    if (!hasRoom) return;
    for (const protocol of this.#registered) {
      try {
        protocol.writable();
      } catch (error) {
        this.#onException(error);
      }
    }
  }

  close(): void {
    for (const { igmp } of this.links) igmp.groups.close();
    this.reassembly.clear();
    this.pathMtu.clear();
    this.#paths.clear();
  }

  #deliver(packet: Ipv4Packet): void {
    const { frame } = packet;
    frame.start = packet.header + packet.headerLength;
    const observed = this.observer?.observe(packet) === true;
    const transport = this.#protocols[packet.protocol];
    if (transport === undefined) {
      if (observed) {
        this.counters.ipInDelivers++;
        return;
      }
      this.counters.ipInUnknownProtos++;
      this.#errors?.protocolUnreachable(packet);
      return;
    }
    this.counters.ipInDelivers++;
    transport.receive(packet);
  }

  /** RFC 1122 §3.2.1.3: our own address, a broadcast on our link, or a group that we are in (RFC 1112 §7.2). */
  #isForUs(packet: Ipv4Packet, link: Link): boolean {
    const { destination, source } = packet;
    packet.isGroup = destination.isMulticast || link.isBroadcast(destination);
    // Nobody else has an address of ours, and no single host a broadcast address.
    if (this.linkOf(source) !== null || link.isBroadcast(source)) return false;
    if (destination.isMulticast) {
      this.counters.ipInMcastPkts++;
      return link.igmp.groups.has(destination);
    }
    if (packet.isGroup) return true;
    // RFC 1122 §3.3.6: a link broadcast to one host's address is a mistake.
    if (packet.toLinkGroup) return false;
    // RFC 2131 §4.1: a server may send its offer to the address that it offers, whatever we asked for.
    if (link.address === null && this.forwarder === null && packet.protocol === PROTOCOL_UDP) return true;
    return link.has(destination) || (!this.strong && this.linkOf(destination) !== null);
  }

  #routesChanged(): void {
    this.egress.epoch++;
    this.#paths.clear();
  }

  #reportUndeliverable(bytes: Uint8Array, end: number, kind: IpErrorKind): void {
    const error = this.#error;
    error.kind = kind;
    error.source.readIpv4(bytes, SOURCE);
    error.destination.readIpv4(bytes, DESTINATION);
    error.protocol = getProtocol(bytes, 0);
    error.bytes = bytes;
    error.start = getHeaderLength(bytes, 0);
    error.end = end;
    this.#protocols[error.protocol]?.error(error);
  }
}

/** Our own word on a packet that did not leave: a cursor, reused. */
class Undeliverable implements IpError {
  kind: IpErrorKind = 'neighbour-unreachable';
  readonly source = new IpAddress();
  readonly destination = new IpAddress();
  protocol = 0;
  bytes = EMPTY;
  start = 0;
  end = 0;
  readonly mtu = 0;
}
