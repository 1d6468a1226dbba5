import { IpAddress, type Prefix } from '../address/index.ts';
import { type AddressConflict, Neighbour } from '../arp/index.ts';
import { EMPTY } from '../bytes/index.ts';
import { NetError } from '../errors.ts';
import type { Ethernet } from '../ethernet/index.ts';
import { type Loopback, RecentlyAsked } from '../internet/index.ts';
import type { IpError, IpErrorKind, IpPath, IpProtocol } from '../ip.ts';
import type { Frame } from '../netif/netif.ts';
import type { Clock, Random, TimerWheel } from '../time/index.ts';
import { AddressMap } from './address-map.ts';
import { Egress } from './egress.ts';
import { type Ipv6Configuration, Link, type LinkReceiver } from './link.ts';
import type { OwnAddress } from './own-address.ts';
import { Ipv6Path, type Way, type WayFinder } from './path.ts';
import { PathMtuCache } from './path-mtu.ts';
import { type ErrorSender, Receiver } from './receiver.ts';
import type { Route } from './routes.ts';
import { isLinkLocal, isNeverOnWire, LOCALHOST, multicastMac, SCOPE_LINK, scopeOf } from './scope.ts';
import { selectSource, sortDestinations } from './select.ts';
import { DESTINATION, getNextHeader, HEADER, MIN_MTU, SOURCE } from './wire.ts';

/** Destinations whose paths are shared; a path that falls out lives on with its connections. */
const PATHS = 1024;
/** Multicast stays on the link unless the application says otherwise (RFC 3493 §5.2). */
const MULTICAST_HOPS = 1;

export interface Ipv6Options {
  readonly clock: Clock;
  readonly timers: TimerWheel;
  readonly random: Random;
  readonly hopLimit: number;
  readonly loopback: Loopback;
  /** RFC 1122 §3.3.4.2's strong model: packets are taken and sent only by the link of our address in them. */
  readonly strong: boolean;
  readonly onConflict: (conflict: AddressConflict, by: Link) => void;
}

export interface Ipv6LinkOptions {
  /** Of the interface; also the zone of its link-local addresses. */
  readonly index: number;
  readonly ethernet: Ethernet;
  readonly metric: number;
  readonly configuration: Ipv6Configuration;
}

/** A route, and the link that it leads out by. */
export interface LinkRoute {
  readonly route: Route;
  readonly link: Link;
}

/** The internet protocol, version 6 (RFC 8200, RFC 8504), of a host with any number of interfaces and a loopback. */
export class Ipv6 implements LinkReceiver, WayFinder {
  /** In the order in which they were added; one that went down has no addresses. */
  readonly links: Link[] = [];
  readonly egress: Egress;
  readonly pathMtu: PathMtuCache;
  readonly receiver: Receiver;
  readonly #options: Ipv6Options;
  readonly #protocols: (IpProtocol | undefined)[] = new Array(256).fill(undefined);
  readonly #paths: AddressMap<Ipv6Path>;
  readonly #asked = new RecentlyAsked();
  readonly #error = new Undeliverable();

  constructor(options: Ipv6Options) {
    const { clock, timers, random, hopLimit, loopback, strong } = options;
    this.#options = options;
    this.#paths = new AddressMap(random);
    this.egress = new Egress({
      loopback,
      clock,
      random,
      hopLimit,
      onUndeliverable: (bytes, end, kind) => this.#reportUndeliverable(bytes, end, kind),
    });
    this.pathMtu = new PathMtuCache(clock, timers, random, () => {
      this.egress.epoch++;
    });
    this.receiver = new Receiver(this.links, strong, this.#protocols, clock, timers);
  }

  /** One more Ethernet. Throws `EINVAL` if it carries no 1280 bytes. */
  addLink(options: Ipv6LinkOptions): Link {
    const { clock, timers, random, hopLimit, onConflict } = this.#options;
    const link = new Link({
      ...options,
      clock,
      timers,
      random,
      hopLimit,
      receiver: this,
      onChange: () => this.#changed(),
      onConflict,
    });
    this.links.push(link);
    return link;
  }

  /** A link is gone, and with it its addresses and routes. */
  removeLink(link: Link): void {
    link.close();
    this.#changed();
  }

  /** The first link. */
  get link(): Link {
    return this.links[0]!;
  }

  /** Told when an address of ours was taken or given up, or a route changed. */
  onChange: (() => void) | null = null;

  /** Who sends ICMP errors. */
  reportTo(errors: ErrorSender): void {
    this.receiver.errors = errors;
  }

  register(protocol: IpProtocol): void {
    this.#protocols[protocol.protocol] = protocol;
  }

  addRoute(prefix: Prefix, gateway: IpAddress | null, link: Link, metric?: number): void {
    link.routes.add(prefix, gateway === null ? null : link.zoned(gateway), metric);
    this.#changed();
  }

  /** Of `link`, or of every link. Whether there was one. */
  removeRoute(prefix: Prefix, link?: Link): boolean {
    let removed = false;
    for (const candidate of link === undefined ? this.links : [link]) {
      if (candidate.routes.remove(prefix)) removed = true;
    }
    this.#changed();
    return removed;
  }

  isLocal(address: IpAddress): boolean {
    return !address.isIpv4 && (address.isLoopback || this.linkOf(address) !== null);
  }

  /** The link that has `address`. */
  linkOf(address: IpAddress): Link | null {
    const { links } = this;
    for (let i = 0; i < links.length; i++) if (links[i]!.addresses.isAssigned(address)) return links[i]!;
    return null;
  }

  /** The best route to `destination` (RFC 8200 leaves it to us; RFC 4191 §3.2, then the metric): of `only`, or of all links. */
  route(destination: IpAddress, only: Link | null = null): LinkRoute | null {
    let best: LinkRoute | null = null;
    for (const link of this.links) {
      if (only !== null && link !== only) continue;
      const route = link.routes.lookup(destination);
      if (route !== null && (best === null || isBetter({ route, link }, best))) best = { route, link };
    }
    return best;
  }

  path(destination: IpAddress, source?: IpAddress): IpPath {
    const from = this.#sourceFor(destination, source);
    const cached = this.#paths.get(destination);
    if (cached?.source.equals(from) && cached.routed) return cached;
    const path = new Ipv6Path(this.egress, this, from.copy(), destination.copy());
    if (!path.routed) throw new NetError('ENETUNREACH', { syscall: 'connect', address: `${destination}` });
    if (!this.#asked.isRepeated(destination)) return path;
    if (cached === undefined && this.#paths.size >= PATHS) this.#paths.deleteOldest();
    this.#paths.set(destination, path);
    return path;
  }

  /** {@link path}, but from an address of `link`, and by it where the destination is of its scope. */
  pathBy(link: Link, destination: IpAddress, source?: IpAddress): IpPath {
    const scoped = destination.copy();
    if (isBoundToLink(destination)) scoped.scope = link.index;
    if (source !== undefined && !source.isUnspecified) return this.path(scoped, source);
    const own = selectSource(link.addresses.all, scoped);
    if (own !== null) return this.path(scoped, own.address);
    throw new NetError('ENETUNREACH', {
      syscall: 'connect',
      address: `${destination}`,
      reason: 'no IPv6 address on this interface',
    });
  }

  /** Whether {@link path} would find a way. */
  hasWay(destination: IpAddress, source: IpAddress): boolean {
    return (
      !destination.isUnspecified && this.isLocal(source) && this.findWay(destination, source).kind !== 'none'
    );
  }

  /** The source that a packet to `destination` would have (RFC 6724 §5), null if it has no way. */
  sourceOf(destination: IpAddress): { readonly address: IpAddress; readonly deprecated: boolean } | null {
    if (destination.isUnspecified || destination.isIpv4) return null;
    if (this.isLocal(destination)) return { address: destination, deprecated: false };
    const own = this.#selectSource(destination);
    if (own === null || this.findWay(destination, own.address).kind === 'none') return null;
    return { address: own.address, deprecated: own.state === 'deprecated' };
  }

  findWay(destination: IpAddress, source: IpAddress): Way {
    if (isNeverOnWire(destination) && !destination.isLoopback) return { kind: 'none' };
    if (!this.isLocal(source)) return { kind: 'none' };
    if (this.isLocal(destination)) return { kind: 'loopback' };
    // RFC 4291 §2.5.3: ::1 stays inside.
    if (source.isLoopback) return { kind: 'none' };
    if (destination.isMulticast) return this.#wayToGroup(destination, source);
    const found = this.#routeFrom(destination, source);
    if (found === null) return { kind: 'none' };
    const { route, link } = found;
    return {
      kind: 'link',
      link,
      nextHop: route.gateway ?? destination,
      gateway: route.gateway !== null,
      group: null,
      mtu: Math.min(link.mtu, this.pathMtu.get(destination) ?? link.mtu),
      hopLimit: link.hopLimit,
    };
  }

  /** `destinations` of either family in the order in which to try them (RFC 6724 §6). */
  sort(
    destinations: readonly IpAddress[],
    ipv4Source: (destination: IpAddress) => IpAddress | null,
  ): IpAddress[] {
    return sortDestinations(destinations, (destination) => {
      if (!destination.isIpv4) return this.sourceOf(destination);
      const address = ipv4Source(destination);
      return address === null ? null : { address, deprecated: false };
    });
  }

  /** A frame from the wire, `start` at the IPv6 header. */
  receiveFrom(link: Link, frame: Frame, toLinkGroup: boolean): void {
    this.receiver.receive(link, frame, toLinkGroup);
  }

  /** A packet of our own to ourselves. */
  receiveLooped(frame: Frame): void {
    this.receiver.receiveLooped(frame);
  }

  /**
   * An ICMP error about a packet with our source (as far as it was quoted, in
   * `error.bytes`): goes to the transport that sent it, and lowers the path MTU if
   * that transport vouches for it (RFC 8201 §4, RFC 5927 §7.2).
   */
  deliverError(error: IpError): void {
    const transport = this.#protocols[error.protocol];
    if (transport === undefined) return;
    if (error.kind !== 'packet-too-big') {
      transport.error(error);
      return;
    }
    const way = this.findWay(error.destination, error.source);
    if (way.kind !== 'link' || way.group !== null) return;
    // RFC 8201 §4: no link of the internet is narrower than 1280, and no message raises the path MTU.
    if (error.mtu < MIN_MTU || error.mtu >= way.mtu) return;
    if (transport.error(error)) this.pathMtu.lower(error.destination, error.mtu);
  }

  /** A device, or the loopback, has room again: what waits here goes first. False if all are full again. */
  drain(): boolean {
    let hasRoom = false;
    for (const link of this.links) if (link.outbox.drain()) hasRoom = true;
    return hasRoom;
  }

  close(): void {
    for (const link of this.links) link.close();
    this.receiver.reassembly.clear();
    this.pathMtu.clear();
    this.#paths.clear();
  }

  #sourceFor(destination: IpAddress, source: IpAddress | undefined): IpAddress {
    if (destination.isUnspecified || destination.isIpv4) {
      throw new NetError('EINVAL', {
        syscall: 'connect',
        address: `${destination}`,
        reason: 'no IPv6 destination',
      });
    }
    if (source !== undefined && !source.isUnspecified) {
      if (this.isLocal(source)) return source;
      throw new NetError('EADDRNOTAVAIL', {
        syscall: 'bind',
        address: `${source}`,
        reason: 'not an address of ours',
      });
    }
    if (destination.isLoopback) return LOCALHOST;
    const own = this.#selectSource(destination);
    if (own !== null) return own.address;
    throw new NetError('ENETUNREACH', {
      syscall: 'connect',
      address: `${destination}`,
      reason: isLinkLocal(destination) ? 'no link-local address yet' : 'no IPv6 address yet',
    });
  }

  /** RFC 6724 §5, among the addresses of the link that the route leaves by, or, in the weak model, of others if that has none. */
  #selectSource(destination: IpAddress): OwnAddress | null {
    if (isBoundToLink(destination)) {
      return selectSource(this.#linkIn(destination.scope)?.addresses.all ?? [], destination);
    }
    const link = this.route(destination)?.link ?? null;
    const own = link === null ? null : selectSource(link.addresses.all, destination);
    if (own !== null && (this.#options.strong || scopeOf(own.address) > SCOPE_LINK)) return own;
    // What a link-local source sends comes back from no other link (RFC 4007 §9).
    const others = this.links.flatMap(({ addresses }) => addresses.all);
    const global = others.filter(({ address }) => !isLinkLocal(address));
    return selectSource(global, destination) ?? own;
  }

  #linkIn(zone: number): Link | null {
    return this.links.find((link) => link.index === zone) ?? null;
  }

  #routeFrom(destination: IpAddress, source: IpAddress): LinkRoute | null {
    const home = this.linkOf(source);
    if (isBoundToLink(destination)) {
      const link = this.#linkIn(destination.scope);
      return link === null || (this.#isTied(source) && link !== home) ? null : this.route(destination, link);
    }
    if (home !== null && this.#isTied(source)) return this.route(destination, home);
    return this.route(destination);
  }

  /** Whether packets from `source` leave only by its own link. */
  #isTied(source: IpAddress): boolean {
    return this.#options.strong || isLinkLocal(source);
  }

  #wayToGroup(destination: IpAddress, source: IpAddress): Way {
    const link = destination.scope === 0 ? this.linkOf(source) : this.#linkIn(destination.scope);
    if (link === null) return { kind: 'none' };
    const group = new Neighbour<IpAddress>(link.ndp, destination).makePermanent(multicastMac(destination));
    return {
      kind: 'link',
      link,
      nextHop: destination,
      gateway: false,
      group,
      mtu: link.mtu,
      hopLimit: MULTICAST_HOPS,
    };
  }

  #changed(): void {
    this.egress.epoch++;
    this.#paths.clear();
    this.onChange?.();
  }

  #reportUndeliverable(bytes: Uint8Array, end: number, kind: IpErrorKind): void {
    const error = this.#error;
    error.kind = kind;
    error.source.readIpv6(bytes, SOURCE);
    error.destination.readIpv6(bytes, DESTINATION);
    error.protocol = getNextHeader(bytes, 0);
    error.bytes = bytes;
    error.start = HEADER;
    error.end = end;
    this.#protocols[error.protocol]?.error(error);
  }
}

/** Whether the destination says itself which link it is on. */
function isBoundToLink(destination: IpAddress): boolean {
  return isLinkLocal(destination) || destination.isMulticast;
}

function isBetter(a: LinkRoute, b: LinkRoute): boolean {
  const lengths = a.route.prefix.length - b.route.prefix.length;
  if (lengths !== 0) return lengths > 0;
  const scores = a.link.routes.score(a.route) - b.link.routes.score(b.route);
  if (scores !== 0) return scores > 0;
  return (a.route.metric ?? a.link.metric) < (b.route.metric ?? b.link.metric);
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
