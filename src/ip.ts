/**
 * The network layer as transports see it. TCP and UDP import these types and
 * never `ipv4/` or `ipv6/`: an address is an opaque value, a destination is a
 * path, and whatever family carries the bytes is not their business.
 */
import type { IpAddress } from './address/index.ts';
import type { GroupSubscription } from './internet/index.ts';
import type { Frame, Offloads } from './netif/netif.ts';

/** A received IP datagram whose header is done with: a cursor, reused for the next. */
export interface IpPacket {
  /** `start..end` is the transport's header and payload. */
  readonly frame: Frame;
  /** Overwritten by the next packet: `copy()` to keep. */
  readonly source: IpAddress;
  /** As above. */
  readonly destination: IpAddress;
  readonly protocol: number;
  /** DSCP and ECN: the former TOS byte. */
  readonly trafficClass: number;
  /** TTL or hop limit as received. */
  readonly hopLimit: number;
  /** The destination is a broadcast or multicast address (never a TCP matter, RFC 1122 §4.2.3.10). */
  readonly isGroup: boolean;
  /** Index of the interface that it came by; {@link ARRIVED_LOOPBACK} if it never left this host. */
  readonly arrival: number;
}

/** `IpPacket.arrival` of packets to ourselves. */
export const ARRIVED_LOOPBACK = -1;

/**
 * A destination resolved: source address, interface, next hop, and path MTU,
 * kept current as routes, neighbours and the path MTU change. Connections to
 * one destination may share one.
 */
export interface IpPath {
  readonly source: IpAddress;
  readonly destination: IpAddress;
  /** Path MTU in bytes, network header included; changes as the network is learned. */
  readonly mtu: number;
  /** MTU of the interface itself: what we can receive, whatever the path allows. */
  readonly interfaceMtu: number;
  /** Bytes of network header: 20 or 40. */
  readonly headerLength: number;
  /** Offloads of the interface that the path leaves by. */
  readonly transmit: Offloads;
  /**
   * Space for a packet of `length` transport bytes. `start` of the frame is the
   * first transport byte, `end` one past the last. Null if the device is full:
   * `IpProtocol.writable` is called when there is room.
   *
   * A packet longer than the MTU is fragmented at commit, unless the frame then
   * has a `segmentSize` (the device cuts it).
   */
  reserve(protocol: number, length: number): Frame | null;
  /** Sends the reserved packet. `start` and `end` must be as given. */
  commit(frame: Frame, options?: CommitOptions): void;
  /** The peer has shown that it hears us (RFC 1122 §2.3.2.1, RFC 4861 §7.3.1): keeps the neighbour entry fresh. */
  confirm(): void;
}

export interface CommitOptions {
  /** DSCP and ECN bits; 0 by default. */
  readonly trafficClass?: number;
  /** TTL or hop limit; the stack's default otherwise. */
  readonly hopLimit?: number;
  /** Sets DF on IPv4 (path MTU discovery); true by default. Where false, routers may fragment. */
  readonly dontFragment?: boolean;
  /** To a multicast group: whether we hear it ourselves if we are in it; true by default. */
  readonly loopGroup?: boolean;
}

export type IpErrorKind =
  | 'net-unreachable'
  | 'host-unreachable'
  | 'protocol-unreachable'
  | 'port-unreachable'
  | 'packet-too-big'
  | 'source-route-failed'
  | 'prohibited'
  | 'time-exceeded'
  | 'reassembly-time-exceeded'
  | 'parameter-problem'
  /** Our own: address resolution of the next hop failed. */
  | 'neighbour-unreachable';

/** Something on the way could not deliver a packet of ours: from ICMP, or from the layer below. */
export interface IpError {
  readonly kind: IpErrorKind;
  /** The packet's source (our address) and destination. Overwritten by the next: `copy()` to keep. */
  readonly source: IpAddress;
  readonly destination: IpAddress;
  readonly protocol: number;
  /** The offending packet's transport header: at least 8 bytes from `start`, valid during the call. */
  readonly bytes: Uint8Array;
  readonly start: number;
  readonly end: number;
  /** For `packet-too-big`: the next hop's MTU, 0 if the router did not tell (RFC 1191 §5). */
  readonly mtu: number;
}

/** A transport, or whoever else takes an IP protocol number. */
export interface IpProtocol {
  readonly protocol: number;
  receive(packet: IpPacket): void;
  /**
   * An error about a packet that we sent, or claim to have sent. The transport
   * checks that it fits something in flight (RFC 5927) and says so: for
   * `packet-too-big` the path MTU is lowered only if it answers true.
   */
  error(error: IpError): boolean;
  /** A batch of received packets is over. */
  flush(): void;
  /** A device that answered null has room again. */
  writable(): void;
}

/** Who is shown what is delivered to transports, beside them: raw sockets. */
export interface PacketObserver {
  /** `frame.start` at the transport header. True if somebody took it, so that it is not unknown to everybody. */
  observe(packet: IpPacket): boolean;
}

/** What the network layer offers to transports. */
export interface IpLayer {
  register(protocol: IpProtocol): void;
  /**
   * Finds a way to `destination`, from `source` if one is given. Throws
   * `NetError`: `ENETUNREACH` (no route), `EADDRNOTAVAIL` (source is not ours),
   * `EINVAL` (unspecified destination). `device` is the index of an interface that
   * it has to leave by.
   */
  path(destination: IpAddress, source?: IpAddress, device?: number): IpPath;
  /** The index of the interface called `name`, as in `IpPacket.arrival`. Throws `ENODEV`. */
  interfaceIndex(name: string): number;
  /** Whether packets to `address` are ours (unicast addresses of all interfaces, loopback). */
  isLocal(address: IpAddress): boolean;
  /** Whether `address` is a broadcast address, limited or of a connected prefix. */
  isBroadcast(address: IpAddress): boolean;
  /** Answers a received packet with "port unreachable", if ICMP's rules allow. */
  portUnreachable(packet: IpPacket): void;
}

/** A network layer with multicast groups (RFC 1112 level 2). */
export interface GroupLayer extends IpLayer {
  /**
   * Makes packets to `group` received, on the interface that has the address or
   * name `on`; on the first one if that is not given. Throws `ENODEV` where there
   * is no such interface, `ENOBUFS` for too many groups.
   */
  subscribe(group: IpAddress, on?: string): GroupSubscription;
  /** The index of the interface with the address, name or number `on` (the first's of `0.0.0.0` and `::`); null if there is none. */
  findInterface(on: string): number | null;
}

/** IANA protocol numbers. */
export const PROTOCOL_ICMP = 1;
export const PROTOCOL_TCP = 6;
export const PROTOCOL_UDP = 17;
