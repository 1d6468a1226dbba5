import { IpAddress, type Prefix } from '../address/index.ts';
import { type AddressConflict, Neighbour } from '../arp/index.ts';
import { EMPTY } from '../bytes/index.ts';
import { NetError } from '../errors.ts';
import { ETHERTYPE_IPV6, type Ethernet, type EtherProtocol } from '../ethernet/index.ts';
import { Loopback, type LoopbackHandler } from '../internet/index.ts';
import type { IpError, IpErrorKind, IpPath, IpProtocol } from '../ip.ts';
import type { Frame } from '../netif/netif.ts';
import type { Clock, Random, TimerWheel } from '../time/index.ts';
import { AddressMap } from './address-map.ts';
import { Egress } from './egress.ts';
import { type Ipv6Configuration, Link } from './link.ts';
import { Ipv6Path, type Way, type WayFinder } from './path.ts';
import { PathMtuCache } from './path-mtu.ts';
import { type ErrorSender, Receiver } from './receiver.ts';
import { isLinkLocal, isNeverOnWire, LOCALHOST, multicastMac } from './scope.ts';
import { selectSource, sortDestinations } from './select.ts';
import { DESTINATION, getNextHeader, HEADER, MIN_MTU, SOURCE } from './wire.ts';

/** Destinations whose paths are shared; a path that falls out lives on with its connections. */
const PATHS = 1024;
/** Multicast stays on the link unless the application says otherwise (RFC 3493 §5.2). */
const MULTICAST_HOPS = 1;

export interface Ipv6Options {
  readonly ethernet: Ethernet;
  readonly clock: Clock;
  readonly timers: TimerWheel;
  readonly random: Random;
  readonly hopLimit: number;
  readonly configuration: Ipv6Configuration;
  readonly loopback: LoopbackHandler;
  readonly onConflict: (conflict: AddressConflict) => void;
}

/** The internet protocol, version 6 (RFC 8200, RFC 8504), of a host with one interface and a loopback. */
export class Ipv6 implements EtherProtocol, WayFinder {
  readonly ethertype = ETHERTYPE_IPV6;
  readonly egress: Egress;
  readonly link: Link;
  readonly pathMtu: PathMtuCache;
  readonly receiver: Receiver;
  readonly #loopback: Loopback;
  readonly #protocols: (IpProtocol | undefined)[] = new Array(256).fill(undefined);
  readonly #paths: AddressMap<Ipv6Path>;
  readonly #error = new Undeliverable();

  constructor({
    ethernet,
    clock,
    timers,
    random,
    hopLimit,
    configuration,
    loopback,
    onConflict,
  }: Ipv6Options) {
    this.#loopback = new Loopback(clock, loopback);
    this.#paths = new AddressMap(random);
    this.link = new Link({
      ethernet,
      clock,
      timers,
      random,
      configuration,
      onChange: () => this.#changed(),
      onConflict,
      limitMtu: (mtu) => this.egress.limitMtu(mtu),
      limitHops: (hops) => this.egress.limitHops(hops),
    });
    this.egress = new Egress({
      ethernet,
      neighbours: this.link.ndp.cache,
      loopback: this.#loopback,
      clock,
      random,
      hopLimit,
      onUndeliverable: (bytes, end, kind) => this.#reportUndeliverable(bytes, end, kind),
    });
    this.pathMtu = new PathMtuCache(clock, timers, random, () => {
      this.egress.epoch++;
    });
    this.receiver = new Receiver(this.link, this.#protocols, clock, timers);
    ethernet.register(this);
  }

  get loopbackStalls(): number {
    return this.#loopback.stalls;
  }

  /** Who sends ICMP errors. */
  reportTo(errors: ErrorSender): void {
    this.receiver.errors = errors;
  }

  register(protocol: IpProtocol): void {
    this.#protocols[protocol.protocol] = protocol;
  }

  addRoute(prefix: Prefix, gateway: IpAddress | null): void {
    this.link.routes.add(prefix, gateway);
    this.#changed();
  }

  removeRoute(prefix: Prefix): boolean {
    const removed = this.link.routes.remove(prefix);
    this.#changed();
    return removed;
  }

  isLocal(address: IpAddress): boolean {
    return !address.isIpv4 && (address.isLoopback || this.link.addresses.isAssigned(address));
  }

  path(destination: IpAddress, source?: IpAddress): IpPath {
    const from = this.#sourceFor(destination, source);
    const cached = this.#paths.get(destination);
    if (cached?.source.equals(from) && cached.routed) return cached;
    const path = new Ipv6Path(this.egress, this, from.copy(), destination.copy());
    if (!path.routed) throw new NetError('ENETUNREACH', { syscall: 'connect', address: `${destination}` });
    if (cached === undefined && this.#paths.size >= PATHS) this.#paths.deleteOldest();
    this.#paths.set(destination, path);
    return path;
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
    const own = selectSource(this.link.addresses.all, destination);
    if (own === null || this.findWay(destination, own.address).kind === 'none') return null;
    return { address: own.address, deprecated: own.state === 'deprecated' };
  }

  /** Whether packets to `group` are taken. */
  hasGroup(group: IpAddress): boolean {
    return this.link.groups.has(group);
  }

  findWay(destination: IpAddress, source: IpAddress): Way {
    if (isNeverOnWire(destination) && !destination.isLoopback) return { kind: 'none' };
    if (!this.isLocal(source)) return { kind: 'none' };
    if (this.isLocal(destination)) return { kind: 'loopback' };
    // RFC 4291 §2.5.3: ::1 stays inside.
    if (source.isLoopback) return { kind: 'none' };
    const { mtu: linkMtu, hopLimit } = this.egress;
    if (destination.isMulticast) {
      const mac = multicastMac(destination);
      const group = new Neighbour<IpAddress>(this.link.ndp, destination).makePermanent(mac);
      return {
        kind: 'link',
        nextHop: destination,
        gateway: false,
        group,
        mtu: linkMtu,
        hopLimit: MULTICAST_HOPS,
      };
    }
    const route = this.link.routes.lookup(destination);
    if (route === null) return { kind: 'none' };
    return {
      kind: 'link',
      nextHop: route.gateway ?? destination,
      gateway: route.gateway !== null,
      group: null,
      mtu: Math.min(linkMtu, this.pathMtu.get(destination) ?? linkMtu),
      hopLimit,
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
  receive(frame: Frame, toLinkGroup: boolean): void {
    this.receiver.receive(frame, toLinkGroup);
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

  /** The device, or the loopback, has room again: what waits here goes first. False if it is full again. */
  drain(): boolean {
    return this.egress.outbox.drain();
  }

  close(): void {
    this.link.close();
    this.#loopback.close();
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
    const own = selectSource(this.link.addresses.all, destination);
    if (own !== null) return own.address;
    throw new NetError('ENETUNREACH', {
      syscall: 'connect',
      address: `${destination}`,
      reason: isLinkLocal(destination) ? 'no link-local address yet' : 'no IPv6 address yet',
    });
  }

  #changed(): void {
    this.egress.epoch++;
    this.#paths.clear();
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
