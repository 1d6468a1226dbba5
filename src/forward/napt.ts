import { IpAddress } from '../address/index.ts';
import { get16 } from '../bytes/index.ts';
import { complement, sum } from '../checksum/index.ts';
import { isIcmpError, isIcmpQuery, ReceivedError } from '../icmp/index.ts';
import { PROTOCOL_ICMP, PROTOCOL_TCP, PROTOCOL_UDP } from '../ip.ts';
import type { Ipv4Link, Ipv4Packet } from '../ipv4/index.ts';
import { CHECKSUM_VERIFIED } from '../netif/netif.ts';
import { tcpWire } from '../tcp/index.ts';
import type { Clock, Random, TimerWheel } from '../time/index.ts';
import type { Edit } from './exit.ts';
import { type Mapping, MappingTable } from './mappings.ts';
import { Rewrite } from './rewrite.ts';
import { admits, type Filtering, touch } from './sessions.ts';

export interface NaptOptions {
  /** The interface toward the outside: what leaves by it gets its address. */
  readonly outside: string;
  /**
   * Whose packets come in by a mapping (RFC 4787 §5): everybody's; those of addresses
   * that were sent to (the default); or of addresses and ports that were sent to.
   */
  readonly filtering?: Filtering;
  /** Most mappings; 16,384 unless given. */
  readonly maxMappings?: number;
  /** Most mappings of one host behind us, so that none takes them all; 4096 unless given. */
  readonly maxMappingsPerHost?: number;
  /** Idle time of a UDP mapping; 300,000 ms (RFC 4787 §4.3) unless given. */
  readonly udpTimeoutMs?: number;
  /** Idle time of an established TCP connection; 7,440,000 ms (RFC 5382 §5) unless given. */
  readonly tcpTimeoutMs?: number;
}

export interface NaptCounters {
  /** Packets out and in, translated. */
  outbound: number;
  inbound: number;
  /** Packets from one host behind us to another, by their outside addresses (RFC 4787 §6). */
  hairpinned: number;
  /** ICMP errors translated, of both directions. */
  errors: number;
  /** Packets to a mapping from somebody who was not sent to. */
  filtered: number;
  /** Packets for which there was no mapping to be had: too many, or no port. */
  exhausted: number;
  /** Packets without ports or an identifier. */
  unsupported: number;
  /** ICMP errors that fit no mapping, or are malformed. */
  strayErrors: number;
}

export interface NaptDependencies {
  readonly outside: Ipv4Link;
  readonly clock: Clock;
  readonly timers: TimerWheel;
  readonly random: Random;
  /** Whether the stack itself uses a port, so that no mapping may. */
  readonly isPortInUse: (protocol: number, port: number) => boolean;
}

/** Offsets of ports, and of an ICMP query's identifier, in the transport header. */
const SOURCE_PORT = 0;
const DESTINATION_PORT = 2;
const IDENTIFIER = 4;
const TRANSPORT = 8;
const TCP_HEADER = tcpWire.HEADER;
const ICMP_ECHO_REQUEST = 8;
const ICMP_ECHO_REPLY = 0;

/**
 * Translation of addresses and ports (RFC 3022) by the rules of RFC 4787 (UDP),
 * RFC 5382 (TCP) and RFC 5508 (ICMP): a host's port keeps its mapping whomever it
 * talks to, with the same number where that is free, for as long as it is used.
 */
export class Napt {
  readonly counters: NaptCounters = {
    outbound: 0,
    inbound: 0,
    hairpinned: 0,
    errors: 0,
    filtered: 0,
    exhausted: 0,
    unsupported: 0,
    strayErrors: 0,
  };
  readonly mappings: MappingTable;
  /** Where the packet that {@link inbound} translated goes: a cursor. */
  readonly insideAddress = new IpAddress();
  readonly #outside: Ipv4Link;
  readonly #clock: Clock;
  readonly #filtering: Filtering;
  readonly #rewrite = new Rewrite();
  readonly #error = new ReceivedError();
  #lastOutside = 0;

  constructor(options: NaptOptions, dependencies: NaptDependencies) {
    const { outside, clock } = dependencies;
    this.#outside = outside;
    this.#clock = clock;
    this.#filtering = options.filtering ?? 'address-dependent';
    this.mappings = new MappingTable(options, dependencies);
  }

  isOutside(link: Ipv4Link): boolean {
    return link === this.#outside;
  }

  isOutsideAddress(address: IpAddress): boolean {
    return this.#outside.has(address);
  }

  /** How a whole packet of a host behind us leaves; null if it does not. */
  outbound(packet: Ipv4Packet): Edit | null {
    const transport = packet.header + packet.headerLength;
    const { bytes } = packet.frame;
    const outsideAddress = this.#outside.address?.address.w3;
    if (outsideAddress === undefined || !hasHeader(packet, transport)) {
      this.counters.unsupported++;
      return null;
    }
    if (outsideAddress !== this.#lastOutside) {
      // Nobody outside knows our new address, so no mapping means anything.
      this.#lastOutside = outsideAddress;
      this.mappings.clear();
    }
    if (packet.protocol === PROTOCOL_ICMP && isIcmpError(bytes[transport]!)) {
      return this.#outboundError(packet, transport, outsideAddress);
    }
    const mapping = this.#mappingOf(packet, transport);
    if (mapping === null) return null;
    this.#touch(mapping, packet, transport, packet.destination.w3, true);
    this.counters.outbound++;
    return this.#rewrite
      .begin(packet.protocol)
      .source(packet.source.w3, outsideAddress)
      .sourcePort(mapping.insidePort, mapping.outsidePort);
  }

  /**
   * How a whole packet to our outside address goes in, to {@link insideAddress}; null if
   * it is no host's behind us, and `refused` if it may not reach the one whose it is.
   */
  inbound(packet: Ipv4Packet, link: Ipv4Link): Edit | 'refused' | null {
    const transport = packet.header + packet.headerLength;
    const { bytes } = packet.frame;
    const { protocol } = packet;
    if (!hasHeader(packet, transport)) return null;
    let port: number;
    if (protocol === PROTOCOL_ICMP) {
      if (isIcmpError(bytes[transport]!)) return this.#inboundError(packet, transport);
      if (bytes[transport] !== ICMP_ECHO_REPLY) return null;
      port = get16(bytes, transport + IDENTIFIER);
    } else if (protocol === PROTOCOL_TCP || protocol === PROTOCOL_UDP) {
      port = get16(bytes, transport + DESTINATION_PORT);
    } else {
      return null;
    }
    const mapping = this.mappings.fromOutside(protocol, port);
    if (mapping === null) return null;
    if (link !== this.#outside) return this.#hairpin(packet, transport, mapping);
    const remote = packet.source.w3;
    const remotePort = protocol === PROTOCOL_ICMP ? 0 : get16(bytes, transport + SOURCE_PORT);
    if (!admits(mapping, this.#filtering, remote, remotePort)) {
      this.counters.filtered++;
      return 'refused';
    }
    this.#touch(mapping, packet, transport, remote, false);
    this.counters.inbound++;
    return this.#into(packet, mapping);
  }

  /** RFC 4787 §6: the sender is seen by its outside address too. */
  #hairpin(packet: Ipv4Packet, transport: number, target: Mapping): Edit | 'refused' {
    const own = this.#mappingOf(packet, transport);
    const outsideAddress = packet.destination.w3;
    if (own === null) return 'refused';
    this.#touch(own, packet, transport, outsideAddress, true);
    if (!admits(target, this.#filtering, outsideAddress, own.outsidePort)) {
      this.counters.filtered++;
      return 'refused';
    }
    this.#touch(target, packet, transport, outsideAddress, false, own.outsidePort);
    this.counters.hairpinned++;
    return this.#into(packet, target)
      .source(packet.source.w3, outsideAddress)
      .sourcePort(own.insidePort, own.outsidePort);
  }

  #into(packet: Ipv4Packet, mapping: Mapping): Rewrite {
    this.insideAddress.setIpv4(mapping.insideAddress);
    const rewrite = this.#rewrite
      .begin(packet.protocol)
      .destination(packet.destination.w3, mapping.insideAddress);
    // The identifier of a query is in one place, whichever way it goes.
    return packet.protocol === PROTOCOL_ICMP
      ? rewrite.sourcePort(mapping.outsidePort, mapping.insidePort)
      : rewrite.destinationPort(mapping.outsidePort, mapping.insidePort);
  }

  /** The mapping of the packet's sender, made if there is none; null if there cannot be one. */
  #mappingOf(packet: Ipv4Packet, transport: number): Mapping | null {
    const { protocol } = packet;
    const { bytes } = packet.frame;
    let port: number;
    if (protocol === PROTOCOL_TCP || protocol === PROTOCOL_UDP) {
      port = get16(bytes, transport + SOURCE_PORT);
    } else if (protocol === PROTOCOL_ICMP && isIcmpQuery(bytes[transport]!)) {
      port = get16(bytes, transport + IDENTIFIER);
    } else {
      this.counters.unsupported++;
      return null;
    }
    const known = this.mappings.fromInside(protocol, packet.source.w3, port);
    if (known !== null) return known;
    // A reset is about a connection that is over: it makes no mapping.
    const isReset = protocol === PROTOCOL_TCP && (tcpWire.flags(bytes, transport) & tcpWire.RST) !== 0;
    const isReply = protocol === PROTOCOL_ICMP && bytes[transport] !== ICMP_ECHO_REQUEST;
    const made = isReset || isReply ? null : this.mappings.create(protocol, packet.source.w3, port);
    if (made === null) this.counters.exhausted++;
    return made;
  }

  #touch(
    mapping: Mapping,
    packet: Ipv4Packet,
    transport: number,
    remote: number,
    isOutbound: boolean,
    hairpinPort = -1,
  ): void {
    const { bytes } = packet.frame;
    const { protocol } = packet;
    const offset = isOutbound ? DESTINATION_PORT : SOURCE_PORT;
    const port =
      hairpinPort >= 0 ? hairpinPort : protocol === PROTOCOL_ICMP ? 0 : get16(bytes, transport + offset);
    const flags = protocol === PROTOCOL_TCP ? tcpWire.flags(bytes, transport) : 0;
    touch(mapping, remote, port, flags, isOutbound, this.#clock.now(), this.mappings.timeouts);
  }

  /** RFC 5508 §4.2: an error about a packet that a host behind us sent. */
  #inboundError(packet: Ipv4Packet, transport: number): Edit | null {
    const error = this.#readError(packet, transport);
    if (error === null) return null;
    const { protocol, start, bytes } = error;
    const offset = protocol === PROTOCOL_ICMP ? IDENTIFIER : SOURCE_PORT;
    const mapping = this.#outside.has(error.source)
      ? this.mappings.fromOutside(protocol, get16(bytes, start + offset))
      : null;
    // About a packet of our own, perhaps.
    if (mapping === null) return null;
    this.counters.errors++;
    this.insideAddress.setIpv4(mapping.insideAddress);
    return this.#rewrite
      .begin(PROTOCOL_ICMP)
      .destination(packet.destination.w3, mapping.insideAddress)
      .quotedSource(transport + TRANSPORT - packet.header, error.source.w3, mapping.insideAddress)
      .quotedPort(start - packet.header + offset, protocol, mapping.outsidePort, mapping.insidePort);
  }

  /** RFC 5508 §4.3: an error by a host behind us, or by a router there, about a packet that came in. */
  #outboundError(packet: Ipv4Packet, transport: number, outsideAddress: number): Edit | null {
    const error = this.#readError(packet, transport);
    const protocol = error?.protocol ?? -1;
    const offset = protocol === PROTOCOL_ICMP ? IDENTIFIER : DESTINATION_PORT;
    const mapping =
      error === null
        ? null
        : this.mappings.fromInside(protocol, error.destination.w3, get16(error.bytes, error.start + offset));
    if (error === null || mapping === null) {
      this.counters.strayErrors++;
      return null;
    }
    this.counters.errors++;
    return this.#rewrite
      .begin(PROTOCOL_ICMP)
      .source(packet.source.w3, outsideAddress)
      .quotedDestination(transport + TRANSPORT - packet.header, error.destination.w3, outsideAddress)
      .quotedPort(error.start - packet.header + offset, protocol, mapping.insidePort, mapping.outsidePort);
  }

  /** RFC 5508 §4.1 (REQ-3): nothing is translated whose checksum is wrong. */
  #readError(packet: Ipv4Packet, transport: number): ReceivedError | null {
    const { frame, end } = packet;
    const isGood = frame.checksum === CHECKSUM_VERIFIED || complement(sum(frame.bytes, transport, end)) === 0;
    return isGood && this.#error.read(frame.bytes, transport, end) ? this.#error : null;
  }
}

/** Whether the transport header is there, as far as it is changed. */
function hasHeader({ protocol, end }: Ipv4Packet, transport: number): boolean {
  return end - transport >= (protocol === PROTOCOL_TCP ? TCP_HEADER : TRANSPORT);
}
