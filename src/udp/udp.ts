import { IpAddress } from '../address/index.ts';
import { pseudoHeaderSum, sum } from '../checksum/index.ts';
import { NetError } from '../errors.ts';
import { type GroupLayer, type IpError, type IpPacket, type IpProtocol, PROTOCOL_UDP } from '../ip.ts';
import { CHECKSUM_NONE, CHECKSUM_PARTIAL } from '../netif/netif.ts';
import type { StackStatistics, UdpBindOptions } from '../stack.ts';
import type { Random } from '../time/random.ts';
import { Binding, MATCH_CONNECTED, NO_MATCH } from './binding.ts';
import { checkPort, codeOf } from './errors.ts';
import { bestMatch, PortTable } from './ports.ts';
import { RECEIVE_BUFFER } from './receiver.ts';
import { CopySlab } from './slab.ts';
import { DirectUdpSocket, type Resolve, type SocketOwner } from './socket.ts';
import * as wire from './wire.ts';

export interface UdpLayerOptions {
  readonly ip: GroupLayer;
  readonly random: Random;
  /** First and last ephemeral port (RFC 6056 §3.2). Default 32 768..65 535. */
  readonly ephemeralPorts?: readonly [first: number, last: number];
}

/** In the words of RFC 4113, and of Linux's `/proc/net/snmp` where that has more. */
export interface UdpCounters {
  /** Datagrams handed to sockets. */
  udpInDatagrams: number;
  /** Datagrams for a port that no socket has. */
  udpNoPorts: number;
  /** Datagrams not delivered for any other reason: malformed, checksum, no room. */
  udpInErrors: number;
  /** Of those: a wrong checksum. */
  udpInCsumErrors: number;
  /** Of those: the socket's receive queue was full. */
  udpRcvbufErrors: number;
  udpOutDatagrams: number;
  /** Sends refused with `ENOBUFS`. */
  udpSndbufErrors: number;
}

/** Payloads shorter than this are copied; a view would keep a whole receive slab alive. */
const VIEW_MIN = 512;

/** UDP (RFC 768, RFC 1122 §4.1) over any network layer. */
export class UdpLayer implements IpProtocol {
  readonly protocol = PROTOCOL_UDP;
  readonly counters: UdpCounters = {
    udpInDatagrams: 0,
    udpNoPorts: 0,
    udpInErrors: 0,
    udpInCsumErrors: 0,
    udpRcvbufErrors: 0,
    udpOutDatagrams: 0,
    udpSndbufErrors: 0,
  };
  readonly #ip: GroupLayer;
  readonly #ports: PortTable<DirectUdpSocket>;
  readonly #slab = new CopySlab();
  readonly #owner: SocketOwner;
  /** Sockets with sends that wait for a full device, in the order of their turn. */
  readonly #stalled = new Set<DirectUdpSocket>();
  #closed = false;

  /** Registers itself with `ip`. */
  constructor(options: UdpLayerOptions) {
    this.#ip = options.ip;
    this.#ports = new PortTable(options.random, options.ephemeralPorts ?? [32_768, 65_535]);
    this.#owner = {
      ip: this.#ip,
      counters: this.counters,
      stalled: (socket) => this.#stalled.add(socket),
      released: (socket) => {
        this.#ports.delete(socket);
        this.#stalled.delete(socket);
      },
    };
    this.#ip.register(this);
  }

  /**
   * A socket on `options.host` (a literal address; all addresses by default)
   * and `options.port`. Names given to its `send` and `connect` are looked up
   * with `resolve`. Throws `EINVAL`, `EADDRNOTAVAIL`, `EADDRINUSE`.
   */
  bind(options: UdpBindOptions = {}, resolve: Resolve = noNames): DirectUdpSocket {
    const { port = 0, host, broadcast = false, receiveBuffer = RECEIVE_BUFFER } = options;
    const { reuseAddress: reuse = false, ipv6Only = false } = options;
    if (this.#closed) throw new NetError('ENETDOWN', { syscall: 'bind', reason: 'the stack is closed' });
    checkPort(port, 0, 'bind');
    if (!(receiveBuffer > 0)) {
      throw new NetError('EINVAL', { syscall: 'bind', reason: `receiveBuffer of ${receiveBuffer} bytes` });
    }
    const address = host === undefined ? null : this.#localAddress(host, port);
    const device = options.interface === undefined ? null : this.#ip.interfaceIndex(options.interface);
    const binding =
      port === 0
        ? this.#ports.ephemeral((candidate) => new Binding(address, candidate, { device, ipv6Only }))
        : new Binding(address, port, { reuse, device, ipv6Only });
    if (!this.#ports.isFree(binding)) {
      throw new NetError('EADDRINUSE', { syscall: 'bind', address: binding.bound.toString(), port });
    }
    const socket = new DirectUdpSocket(this.#owner, binding, { broadcast, receiveBuffer, resolve });
    this.#ports.add(socket);
    return socket;
  }

  /** Whether a socket has `port`, at whatever address. */
  isBound(port: number): boolean {
    return this.#ports.at(port) !== undefined;
  }

  receive(packet: IpPacket): void {
    const { frame } = packet;
    const { bytes, start } = frame;
    const available = frame.end - start;
    // RFC 768: the length counts the header, so it is at least 8. What follows it is not ours.
    const length = available < wire.HEADER ? 0 : wire.length(bytes, start);
    if (length < wire.HEADER || length > available) {
      this.counters.udpInErrors++;
      return;
    }
    if (!checksumHolds(packet, length)) {
      this.counters.udpInErrors++;
      this.counters.udpInCsumErrors++;
      return;
    }
    const sharers = this.#ports.at(wire.destinationPort(bytes, start));
    if (packet.isGroup) this.#receiveGroup(packet, length, sharers);
    else this.#receiveUnicast(packet, length, sharers);
  }

  /** Only an error that fits a socket of ours is believed (RFC 5927 §4; RFC 1122 §4.1.3.3). */
  error(error: IpError): boolean {
    const { bytes, start, source, destination } = error;
    const sharers = this.#ports.at(wire.sourcePort(bytes, start));
    if (sharers === undefined) return false;
    const remotePort = wire.destinationPort(bytes, start);
    const socket = bestMatch(sharers, source, destination, remotePort, null);
    if (socket === null || !socket.sendsTo(destination)) return false;
    // Our IPv4 datagrams let routers fragment them (DF clear), so no router has cause to send this.
    if (error.kind === 'packet-too-big') return !destination.isIpv4;
    // Only a connected socket is told: others could not say which of their sends it was.
    const connected =
      socket.binding.match(source, destination, remotePort, null) === MATCH_CONNECTED
        ? codeOf(error.kind)
        : null;
    if (connected !== null) {
      socket.receiver.fail(
        new NetError(connected, {
          syscall: 'recvmsg',
          address: destination.toString(),
          port: remotePort,
          reason: error.kind,
        }),
      );
    }
    return true;
  }

  /** Datagrams are handed up as they come: a batch leaves nothing to do. */
  flush(): void {}

  /** One datagram of each socket that waits, round and round, until the devices are full again. */
  writable(): void {
    for (let progress = true; progress && this.#stalled.size > 0; ) {
      progress = false;
      for (const socket of [...this.#stalled]) {
        if (!socket.sendNext()) continue;
        progress = true;
        this.#stalled.delete(socket);
        if (socket.hasWaiting) this.#stalled.add(socket);
      }
    }
  }

  statistics(): StackStatistics {
    return { ...this.counters, sockets: this.#ports.count };
  }

  /** Closes every socket; `bind` then throws `ENETDOWN`. */
  close(): void {
    this.#closed = true;
    for (const socket of this.#ports.all()) void socket.close();
  }

  #receiveUnicast(packet: IpPacket, length: number, sharers: readonly DirectUdpSocket[] | undefined): void {
    const { bytes, start } = packet.frame;
    const socket =
      sharers === undefined
        ? null
        : bestMatch(
            sharers,
            packet.destination,
            packet.source,
            wire.sourcePort(bytes, start),
            packet.arrival,
          );
    if (socket === null) {
      // RFC 1122 §4.1.3.1: a port without a listener is answered with an ICMP port unreachable.
      this.counters.udpNoPorts++;
      this.#ip.portUnreachable(packet);
      return;
    }
    this.#deliver(socket, packet, length, length - wire.HEADER < VIEW_MIN);
  }

  /** To every socket that it is for. Never answered with an ICMP error (RFC 1122 §3.2.2). */
  #receiveGroup(packet: IpPacket, length: number, sharers: readonly DirectUdpSocket[] | undefined): void {
    const { bytes, start } = packet.frame;
    const remotePort = wire.sourcePort(bytes, start);
    let found = false;
    for (let i = 0; sharers !== undefined && i < sharers.length; i++) {
      const socket = sharers[i]!;
      const fit = socket.binding.match(packet.destination, packet.source, remotePort, packet.arrival);
      if (fit === NO_MATCH) continue;
      if (packet.destination.isMulticast && !socket.groups.hears(packet.destination, packet.source)) continue;
      found = true;
      // A copy for each: what one application does to its bytes is not seen by another.
      this.#deliver(socket, packet, length, true);
    }
    if (!found) this.counters.udpNoPorts++;
  }

  #deliver(socket: DirectUdpSocket, packet: IpPacket, length: number, copied: boolean): void {
    const { frame } = packet;
    const { bytes, start } = frame;
    if (!socket.receiver.accepts(length - wire.HEADER)) {
      this.counters.udpInErrors++;
      this.counters.udpRcvbufErrors++;
      return;
    }
    this.counters.udpInDatagrams++;
    const from = start + wire.HEADER;
    const to = start + length;
    if (!copied) frame.retain();
    socket.receiver.push({
      data: copied ? this.#slab.copy(bytes, from, to) : bytes.subarray(from, to),
      remote: socket.endpointOf(packet.source, wire.sourcePort(bytes, start)),
    });
  }

  /** `host` as an address that a socket can have: ours, a broadcast or multicast address, or unspecified. */
  #localAddress(host: string, port: number): IpAddress {
    const address = IpAddress.tryParse(host);
    if (address === null) {
      throw new NetError('EINVAL', { syscall: 'bind', address: host, port, reason: 'not an address' });
    }
    const ours =
      address.isUnspecified ||
      address.isMulticast ||
      this.#ip.isLocal(address) ||
      this.#ip.isBroadcast(address);
    if (!ours) throw new NetError('EADDRNOTAVAIL', { syscall: 'bind', address: host, port });
    return address;
  }
}

function checksumHolds(packet: IpPacket, length: number): boolean {
  const { frame, source, destination } = packet;
  if (frame.checksum === CHECKSUM_PARTIAL) return true;
  // RFC 768: zero says that the sender made none; RFC 8200 §8.1: not over IPv6.
  if (wire.checksum(frame.bytes, frame.start) === 0) return destination.isIpv4;
  if (frame.checksum !== CHECKSUM_NONE) return true;
  const pseudo = pseudoHeaderSum(source, destination, PROTOCOL_UDP, length);
  return sum(frame.bytes, frame.start, frame.start + length, pseudo) === 0xffff;
}

function noNames(hostname: string): Promise<string[]> {
  return Promise.reject(new NetError('ENOTFOUND', { address: hostname, reason: 'no resolver' }));
}
