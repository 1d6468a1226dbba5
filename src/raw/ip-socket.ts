import { IpAddress } from '../address/index.ts';
import { allocate, copy, set16 } from '../bytes/index.ts';
import { complement, pseudoHeaderSum, sum } from '../checksum/index.ts';
import { NetError } from '../errors.ts';
import type { CommitOptions, IpLayer, IpPacket, PacketObserver } from '../ip.ts';
import { CHECKSUM_PARTIAL, completeChecksum, type Frame } from '../netif/index.ts';
import { RECEIVE_BUFFER, Receiver } from '../udp/index.ts';

/** A packet for a raw socket. `data` is what follows the IP headers: the transport header and all. */
export interface RawPacket {
  readonly data: Uint8Array;
  readonly source: string;
  readonly destination: string;
  readonly protocol: number;
  /** TTL or hop limit as received. */
  readonly hopLimit: number;
  /** DSCP and ECN. */
  readonly trafficClass: number;
  /** Index of the interface that it came by; -1 for the loopback. */
  readonly arrival: number;
}

export interface RawSendOptions {
  /** The stack's default unless given. */
  readonly hopLimit?: number;
  readonly trafficClass?: number;
  /** IPv4: forbids routers to cut it. Default false. */
  readonly dontFragment?: boolean;
  /** An address of ours to send from; the best one by default. */
  readonly source?: string;
}

/** ICMPv6, whose checksum is made here, since only we know the addresses in time (RFC 3542 §3.1). */
const PROTOCOL_ICMPV6 = 58;
const ICMPV6_CHECKSUM = 2;

/** A socket for one IP protocol, of both families, beside the stack's own transports (as Linux's raw sockets). */
export class RawSocket implements AsyncIterable<RawPacket> {
  readonly protocol: number;
  readonly #ip: IpLayer;
  readonly #resolve: (hostname: string) => Promise<string[]>;
  readonly #receiver: Receiver<RawPacket>;
  readonly #onClose: () => void;
  #closed = false;

  constructor(
    protocol: number,
    receiveBuffer: number,
    ip: IpLayer,
    resolve: (hostname: string) => Promise<string[]>,
    onClose: () => void,
  ) {
    this.protocol = protocol;
    this.#ip = ip;
    this.#resolve = resolve;
    this.#receiver = new Receiver(receiveBuffer);
    this.#onClose = onClose;
  }

  /** Packets dropped because nobody read them in time. */
  get dropped(): number {
    return this.#receiver.dropped;
  }

  /**
   * Sends `data` behind an IP header. Rejects with `ENOBUFS` if the device is full,
   * `EMSGSIZE` for what fits no packet, and as `connect` does where there is no way.
   */
  async send(data: Uint8Array, host: string, options: RawSendOptions = {}): Promise<void> {
    const literal = IpAddress.tryParse(host);
    const destination = literal ?? IpAddress.parse((await this.#resolve(host))[0] ?? host);
    if (this.#closed) throw new NetError('EPIPE', { syscall: 'send', reason: 'the socket is closed' });
    const { source, hopLimit, trafficClass, dontFragment = false } = options;
    const path = this.#ip.path(destination, source === undefined ? undefined : IpAddress.parse(source));
    const frame = path.reserve(this.protocol, data.length);
    if (frame === null) throw new NetError('ENOBUFS', { syscall: 'send', address: host });
    const { bytes, start, end } = frame;
    copy(bytes, start, data, 0, data.length);
    if (this.protocol === PROTOCOL_ICMPV6 && !destination.isIpv4 && data.length > ICMPV6_CHECKSUM + 1) {
      const pseudo = pseudoHeaderSum(path.source, path.destination, PROTOCOL_ICMPV6, data.length);
      set16(bytes, start + ICMPV6_CHECKSUM, 0);
      set16(bytes, start + ICMPV6_CHECKSUM, complement(sum(bytes, start, end, pseudo)));
    }
    const commit: CommitOptions = {
      dontFragment,
      ...(hopLimit === undefined ? {} : { hopLimit }),
      ...(trafficClass === undefined ? {} : { trafficClass }),
    };
    path.commit(frame, commit);
  }

  /** The next packet; null after `close`. */
  receive(): Promise<RawPacket | null> {
    return this.#receiver.receive();
  }

  [Symbol.asyncIterator](): AsyncIterator<RawPacket> {
    return this.#receiver[Symbol.asyncIterator]();
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    this.#receiver.close();
    this.#onClose();
  }

  /** For the layer: a copy for this socket, as it would stand on a wire. */
  take(packet: IpPacket): void {
    const { frame, source, destination, protocol, hopLimit, trafficClass, arrival } = packet;
    const { start, end } = frame;
    if (!this.#receiver.accepts(end - start)) return;
    this.#receiver.push({
      data: finished(frame, start, end),
      source: `${source}`,
      destination: `${destination}`,
      protocol,
      hopLimit,
      trafficClass,
      arrival,
    });
  }
}

/** A copy of `frame.bytes[start..end)`, with the checksum that a device was to make. */
export function finished(frame: Frame, start: number, end: number): Uint8Array {
  const data = allocate(end - start);
  copy(data, 0, frame.bytes, start, end);
  if (frame.checksum === CHECKSUM_PARTIAL) {
    completeChecksum(
      {
        bytes: data,
        checksum: CHECKSUM_PARTIAL,
        checksumStart: frame.checksumStart - start,
        checksumOffset: frame.checksumOffset,
      },
      data.length,
    );
  }
  return data;
}

export interface RawLayerOptions {
  readonly ip: IpLayer;
  readonly resolve: (hostname: string) => Promise<string[]>;
  /** Shows packets to `observer` from now on, or to nobody any more. */
  readonly observe: (observer: PacketObserver | null) => void;
}

/** Raw IP sockets of a stack. */
export class RawIp implements PacketObserver {
  readonly #options: RawLayerOptions;
  readonly #sockets: RawSocket[] = [];

  constructor(options: RawLayerOptions) {
    this.#options = options;
  }

  /**
   * A socket for `protocol` (IANA's number: 1 ICMP, 58 ICMPv6, …), which is shown whatever
   * comes for that, and sends it. The stack's own transports see the same packets.
   * Throws `EINVAL`. `receiveBuffer` is in bytes.
   */
  open(
    protocol: number,
    { receiveBuffer = RECEIVE_BUFFER }: { readonly receiveBuffer?: number } = {},
  ): RawSocket {
    if (!Number.isInteger(protocol) || protocol < 0 || protocol > 255) {
      throw new NetError('EINVAL', { syscall: 'open', reason: `protocol ${protocol} is not within 0..255` });
    }
    const { ip, resolve, observe } = this.#options;
    const socket: RawSocket = new RawSocket(protocol, receiveBuffer, ip, resolve, () => {
      this.#sockets.splice(this.#sockets.indexOf(socket), 1);
      if (this.#sockets.length === 0) observe(null);
    });
    this.#sockets.push(socket);
    observe(this);
    return socket;
  }

  observe(packet: IpPacket): boolean {
    let taken = false;
    for (const socket of [...this.#sockets]) {
      if (socket.protocol !== packet.protocol) continue;
      socket.take(packet);
      taken = true;
    }
    return taken;
  }

  close(): void {
    for (const socket of [...this.#sockets]) void socket.close();
  }
}
