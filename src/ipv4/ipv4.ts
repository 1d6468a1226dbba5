import { IpAddress, MacAddress, type Prefix } from '../address/index.ts';
import type { Arp, Neighbour } from '../arp/index.ts';
import { EMPTY } from '../bytes/index.ts';
import { NetError } from '../errors.ts';
import { ETHERTYPE_IPV4, type Ethernet, type EtherProtocol } from '../ethernet/index.ts';
import { Loopback, type LoopbackHandler } from '../internet/index.ts';
import type { IpError, IpErrorKind, IpPath, IpProtocol } from '../ip.ts';
import type { Frame } from '../netif/netif.ts';
import type { Clock, Random, TimerWheel } from '../time/index.ts';
import { Egress } from './egress.ts';
import { Igmp, multicastMac } from './igmp.ts';
import { Ipv4Packet } from './packet.ts';
import { Ipv4Path, type Way, type WayFinder } from './path.ts';
import { PathMtuCache, plateauBelow } from './path-mtu.ts';
import { Reassembly } from './reassembly.ts';
import { RoutingTable } from './routes.ts';
import { checkOptions, isSoundHeader, isWireSource, OPTIONS_GOOD, OPTIONS_SOURCE_ROUTE } from './validate.ts';
import {
  DESTINATION,
  getFlagsFragment,
  getHeaderLength,
  getProtocol,
  getTotalLength,
  HEADER,
  MIN_LINK_MTU,
  MORE_FRAGMENTS,
  OFFSET_MASK,
  SOURCE,
} from './wire.ts';

/** Destinations whose paths are shared; a path that falls out lives on with its connections. */
const PATHS = 256;
const LOCALHOST = IpAddress.parse('127.0.0.1');
/** RFC 1112 §6.1: multicast stays on the link unless the application says otherwise. */
const MULTICAST_TTL = 1;

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

export interface Ipv4Options {
  readonly ethernet: Ethernet;
  readonly arp: Arp;
  readonly clock: Clock;
  readonly timers: TimerWheel;
  readonly random: Random;
  readonly defaultTtl: number;
  readonly loopback: LoopbackHandler;
  /** Takes what one transport threw, so that the others still have their turn. */
  readonly onException: (error: unknown) => void;
}

/** The internet protocol (RFC 791, RFC 1122 §3) of a host with one interface and a loopback. */
export class Ipv4 implements EtherProtocol, WayFinder {
  readonly ethertype = ETHERTYPE_IPV4;
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
  readonly egress: Egress;
  readonly reassembly: Reassembly;
  readonly pathMtu: PathMtuCache;
  readonly igmp: Igmp;
  readonly #arp: Arp;
  readonly #onException: (error: unknown) => void;
  readonly #loopback: Loopback;
  readonly #broadcast: Neighbour;
  /** By protocol number, and the same in order of registration. */
  readonly #protocols: (IpProtocol | undefined)[] = new Array(256).fill(undefined);
  readonly #registered: IpProtocol[] = [];
  readonly #paths = new Map<number, Ipv4Path>();
  readonly #packet = new Ipv4Packet();
  readonly #error = new Undeliverable();
  #errors: ErrorSender | null = null;
  #address: Prefix | null = null;
  #directedBroadcast: IpAddress | null = null;

  constructor({ ethernet, arp, clock, timers, random, defaultTtl, loopback, onException }: Ipv4Options) {
    this.#arp = arp;
    this.#onException = onException;
    this.#loopback = new Loopback(clock, loopback);
    this.#broadcast = arp.permanent(-1, MacAddress.BROADCAST);
    this.egress = new Egress({
      ethernet,
      arp,
      loopback: this.#loopback,
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
      this.#errors?.reassemblyTimeExceeded(packet.read(packet.frame, false, false));
    });
    this.igmp = new Igmp({
      ethernet,
      clock,
      timers,
      random,
      source: () => this.#address?.address ?? null,
    });
    this.register(this.igmp);
    ethernet.register(this);
  }

  get address(): Prefix | null {
    return this.#address;
  }

  get loopbackStalls(): number {
    return this.#loopback.stalls;
  }

  /** Who sends ICMP errors. */
  reportTo(errors: ErrorSender): void {
    this.#errors = errors;
  }

  register(protocol: IpProtocol): void {
    this.#protocols[protocol.protocol] = protocol;
    this.#registered.push(protocol);
  }

  /** Our address on the link, with the connected route; null for none. Paths from an address that is gone have no way any more. */
  setAddress(address: Prefix | null): void {
    if (this.#address !== null) this.routes.remove(this.#address);
    this.#address = address;
    this.#directedBroadcast = address?.broadcast ?? null;
    if (address !== null) {
      this.routes.add(address, null);
      // Switches and routers note who told them.
      this.igmp.groups.repeat();
    }
    this.#routesChanged();
  }

  addRoute(prefix: Prefix, gateway: IpAddress | null): void {
    this.routes.add(prefix, gateway);
    this.#routesChanged();
  }

  removeRoute(prefix: Prefix): boolean {
    const removed = this.routes.remove(prefix);
    this.#routesChanged();
    return removed;
  }

  isLocal(address: IpAddress): boolean {
    return address.isIpv4 && (address.isLoopback || this.#address?.address.equals(address) === true);
  }

  isBroadcast(address: IpAddress): boolean {
    return address.isLimitedBroadcast || this.#directedBroadcast?.equals(address) === true;
  }

  path(destination: IpAddress, source?: IpAddress): IpPath {
    const from = this.#selectSource(destination, source);
    const cached = this.#paths.get(destination.w3);
    if (cached?.source.equals(from) && cached.routed) return cached;
    const path = new Ipv4Path(this.egress, this, from, destination.copy());
    if (!path.routed) throw new NetError('ENETUNREACH', { syscall: 'connect', address: `${destination}` });
    this.#paths.delete(destination.w3);
    if (this.#paths.size >= PATHS) this.#paths.delete(this.#paths.keys().next().value!);
    this.#paths.set(destination.w3, path);
    return path;
  }

  /** Whether {@link path} would find a way. */
  hasWay(destination: IpAddress, source: IpAddress): boolean {
    return (
      !destination.isUnspecified && this.isLocal(source) && this.findWay(destination, source).kind !== 'none'
    );
  }

  /** Whether packets to `group` are taken. */
  hasGroup(group: IpAddress): boolean {
    return this.igmp.groups.has(group);
  }

  findWay(destination: IpAddress, source: IpAddress): Way {
    if (!this.isLocal(source) && !source.isUnspecified) return { kind: 'none' };
    if (this.isLocal(destination)) return { kind: 'loopback' };
    // RFC 1122 §3.2.1.3 (g): loopback addresses stay inside.
    if (source.isLoopback) return { kind: 'none' };
    const { mtu: linkMtu, defaultTtl } = this.egress;
    if (this.isBroadcast(destination)) {
      return {
        kind: 'link',
        nextHop: destination.w3,
        group: this.#broadcast,
        mtu: linkMtu,
        mayFragment: false,
        ttl: defaultTtl,
      };
    }
    if (destination.isMulticast) {
      const group = this.#arp.permanent(destination.w3, multicastMac(destination));
      return {
        kind: 'link',
        nextHop: destination.w3,
        group,
        mtu: linkMtu,
        mayFragment: false,
        ttl: MULTICAST_TTL,
      };
    }
    const route = this.routes.lookup(destination);
    // An address of ours is needed to be answered, and to ask for neighbours.
    if (route === null || source.isUnspecified) return { kind: 'none' };
    return {
      kind: 'link',
      nextHop: (route.gateway ?? destination).w3,
      group: null,
      mtu: Math.min(linkMtu, this.pathMtu.get(destination.w3) ?? linkMtu),
      mayFragment: this.pathMtu.mayFragment(destination.w3),
      ttl: defaultTtl,
    };
  }

  /** A frame from the wire, `start` at the IPv4 header. */
  receive(frame: Frame, toLinkGroup: boolean): void {
    const { counters } = this;
    counters.ipInReceives++;
    const { bytes, start } = frame;
    if (!isSoundHeader(bytes, start, frame.end)) {
      counters.ipInHdrErrors++;
      return;
    }
    // RFC 894: what follows is padding.
    frame.end = start + getTotalLength(bytes, start);
    const packet = this.#packet.read(frame, toLinkGroup, false);
    const { destination } = packet;
    const mayBeUnspecified =
      destination.isLimitedBroadcast || (destination.isMulticast && packet.protocol === this.igmp.protocol);
    if (!isWireSource(bytes, start, mayBeUnspecified) || !this.#isForUs(packet)) {
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
    if ((getFlagsFragment(bytes, start) & (MORE_FRAGMENTS | OFFSET_MASK)) !== 0) {
      const whole = this.reassembly.accept(frame);
      if (whole === null) return;
      packet.read(whole, toLinkGroup, false);
    }
    this.#deliver(packet);
  }

  /** A packet of our own to ourselves. */
  receiveLooped(frame: Frame): void {
    this.counters.ipInReceives++;
    const packet = this.#packet.read(frame, false, true);
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
    if (!this.egress.outbox.drain()) return;
    for (const protocol of this.#registered) {
      try {
        protocol.writable();
      } catch (error) {
        this.#onException(error);
      }
    }
  }

  close(): void {
    this.igmp.groups.close();
    this.#loopback.close();
    this.reassembly.clear();
    this.pathMtu.clear();
    this.#paths.clear();
  }

  #deliver(packet: Ipv4Packet): void {
    const { frame } = packet;
    const transport = this.#protocols[packet.protocol];
    if (transport === undefined) {
      this.counters.ipInUnknownProtos++;
      this.#errors?.protocolUnreachable(packet);
      return;
    }
    this.counters.ipInDelivers++;
    frame.start = packet.header + packet.headerLength;
    transport.receive(packet);
  }

  /** RFC 1122 §3.2.1.3: our own address, a broadcast on our link, or a group that we are in (RFC 1112 §7.2). */
  #isForUs(packet: Ipv4Packet): boolean {
    const { destination, source } = packet;
    packet.isGroup = destination.isMulticast || this.isBroadcast(destination);
    const address = this.#address?.address;
    // Nobody else has our address, and no single host a broadcast address.
    if (address?.equals(source) || this.isBroadcast(source)) return false;
    if (destination.isMulticast) {
      this.counters.ipInMcastPkts++;
      return this.hasGroup(destination);
    }
    if (packet.isGroup) return true;
    // RFC 1122 §3.3.6: a link broadcast to one host's address is a mistake.
    return !packet.toLinkGroup && address?.equals(destination) === true;
  }

  #selectSource(destination: IpAddress, source: IpAddress | undefined): IpAddress {
    const address = `${destination}`;
    if (destination.isUnspecified || !destination.isIpv4) {
      throw new NetError('EINVAL', { syscall: 'connect', address, reason: 'no IPv4 destination' });
    }
    if (source !== undefined && !source.isUnspecified) {
      if (!this.isLocal(source)) {
        throw new NetError('EADDRNOTAVAIL', {
          syscall: 'bind',
          address: `${source}`,
          reason: 'not an address of ours',
        });
      }
      return source.copy();
    }
    if (destination.isLoopback) return LOCALHOST;
    if (this.#address !== null) return this.#address.address;
    // A DHCP client has no address yet (RFC 2131 §4.1).
    if (destination.isLimitedBroadcast) return IpAddress.ANY_IPV4;
    throw new NetError('ENETUNREACH', {
      syscall: 'connect',
      address,
      reason: 'no address on this interface',
    });
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
