import { IpAddress } from '../address/index.ts';
import { NetError } from '../errors.ts';
import type { CommitOptions, GroupLayer, IpPath } from '../ip.ts';
import type { Datagram, Endpoint, MembershipOptions, UdpSocket } from '../stack.ts';
import type { Binding } from './binding.ts';
import { checkPort, inCall } from './errors.ts';
import { Fifo } from './fifo.ts';
import { SocketGroups } from './groups.ts';
import { DATAGRAM_OVERHEAD, Receiver } from './receiver.ts';
import { MAY_FRAGMENT, maxData, transmit } from './transmit.ts';

/** Most bytes per socket that wait for a full device, overhead included; as Linux's `wmem_default`. */
export const SEND_BUFFER = 212_992;

/** The addresses of a host name. */
export type Resolve = (hostname: string) => Promise<string[]>;

/** What a socket asks of the layer that it is part of. */
export interface SocketOwner {
  readonly ip: GroupLayer;
  readonly counters: { udpOutDatagrams: number; udpSndbufErrors: number };
  /** `socket` waits for a full device: call its `sendNext` when there is room. */
  stalled(socket: DirectUdpSocket): void;
  released(socket: DirectUdpSocket): void;
}

interface WaitingSend {
  readonly path: IpPath;
  readonly port: number;
  readonly data: Uint8Array;
  readonly resolve: () => void;
  readonly reject: (error: Error) => void;
}

/** What every `send` that went out at once answers. */
const SENT: Promise<void> = Promise.resolve();

/** A UDP socket of the stack. Made by `UdpLayer.bind`. */
export class DirectUdpSocket implements UdpSocket {
  readonly binding: Binding;
  readonly receiver: Receiver;
  readonly groups: SocketGroups;
  readonly #owner: SocketOwner;
  readonly #resolve: Resolve;
  /** Whether sending to broadcast addresses is allowed. */
  broadcast: boolean;
  #commitOptions: CommitOptions = MAY_FRAGMENT;
  #groupOptions: CommitOptions = MAY_FRAGMENT;
  /** The address that groups are sent to from; null for any. */
  #groupSource: IpAddress | null = null;
  #groupDevice: number | null = null;
  #peer: IpPath | null = null;
  #peerPort = 0;
  /** The last destination of `send`, so that a conversation looks its path up once. */
  #lastHost: string | null = null;
  #lastPath: IpPath | null = null;
  /** The last sender, so that a conversation formats its address once. */
  #sender = IpAddress.ANY_IPV6;
  #senderEndpoint: Endpoint | null = null;
  readonly #waiting = new Fifo<WaitingSend>();
  #waitingBytes = 0;
  #closed = false;

  constructor(
    owner: SocketOwner,
    binding: Binding,
    options: { broadcast: boolean; receiveBuffer: number; resolve: Resolve },
  ) {
    this.#owner = owner;
    this.binding = binding;
    this.receiver = new Receiver(options.receiveBuffer);
    this.groups = new SocketGroups(owner.ip);
    this.broadcast = options.broadcast;
    this.#resolve = options.resolve;
  }

  get local(): Endpoint {
    return endpoint(this.binding.local, this.binding.port);
  }

  /** TTL or hop limit of what is sent; null for the stack's default. */
  get hopLimit(): number | null {
    return this.#commitOptions.hopLimit ?? null;
  }

  set hopLimit(hopLimit: number | null) {
    this.#commitOptions = hopLimit === null ? MAY_FRAGMENT : { ...MAY_FRAGMENT, hopLimit };
  }

  addMembership(group: string, options?: MembershipOptions): void {
    this.#checkOpen('addMembership');
    this.groups.add(group, options);
  }

  dropMembership(group: string, options?: MembershipOptions): void {
    this.#checkOpen('dropMembership');
    this.groups.drop(group, options);
  }

  /** RFC 3678 §5: takes what is sent to `group` by `sources`, or by all but these. Throws as `addMembership`. */
  setSourceFilter(group: string, mode: 'include' | 'exclude', sources: readonly string[]): void {
    this.#checkOpen('setSourceFilter');
    this.groups.setFilter(group, mode, sources);
  }

  setMulticastTtl(ttl: number): void {
    if (!Number.isInteger(ttl) || ttl < 0 || ttl > 255) {
      throw new NetError('EINVAL', { syscall: 'setMulticastTtl', reason: `${ttl} is not within 0..255` });
    }
    this.#groupOptions = { ...this.#groupOptions, hopLimit: ttl };
  }

  setMulticastLoopback(enable: boolean): void {
    this.#groupOptions = { ...this.#groupOptions, loopGroup: enable };
  }

  setMulticastInterface(address: string): void {
    const device = this.#owner.ip.findInterface(address);
    if (device === null) {
      throw new NetError('EADDRNOTAVAIL', { syscall: 'setMulticastInterface', address });
    }
    const source = IpAddress.tryParse(address);
    this.#groupSource = source === null || source.isUnspecified ? null : source;
    this.#groupDevice = source?.isUnspecified ? null : device;
    this.#lastPath = null;
  }

  get dropped(): number {
    return this.receiver.dropped;
  }

  async connect(remote: { host: string; port: number }): Promise<void> {
    const { host, port } = remote;
    try {
      checkPort(port, 1, 'connect');
      const literal = IpAddress.tryParse(host);
      const address = literal ?? (await this.#lookup(host));
      if (this.#closed) throw closedError('connect', 'EPIPE');
      if (this.#peer !== null) throw new NetError('EISCONN', { syscall: 'connect', address: host, port });
      const path = this.#path(address, 'connect', port);
      this.#peer = path;
      this.#peerPort = port;
      this.binding.connect(path.source, path.destination, port);
      this.receiver.takeError();
    } catch (error) {
      throw inCall(error, 'connect', host, port);
    }
  }

  disconnect(): void {
    this.#peer = null;
    this.#peerPort = 0;
    this.binding.disconnect();
    this.receiver.takeError();
  }

  receive(): Promise<Datagram | null> {
    return this.receiver.receive();
  }

  [Symbol.asyncIterator](): AsyncIterator<Datagram> {
    return this.receiver[Symbol.asyncIterator]();
  }

  /**
   * Where the device is full, the datagram waits its turn: the promise is then
   * pending, and `data` is not to be changed until it settles. Beyond
   * {@link SEND_BUFFER} bytes that wait, rejects with `ENOBUFS`.
   */
  send(data: Uint8Array, remote?: { host: string; port: number }): Promise<void> {
    try {
      return this.#send(data, remote);
    } catch (error) {
      return Promise.reject(this.#explain(error, remote));
    }
  }

  close(): Promise<void> {
    if (this.#closed) return SENT;
    this.#closed = true;
    this.#owner.released(this);
    this.groups.close();
    this.receiver.close();
    for (let send = this.#waiting.shift(); send !== undefined; send = this.#waiting.shift()) {
      send.reject(closedError('send', 'ECONNABORTED'));
    }
    return SENT;
  }

  // ---- for the layer

  get hasWaiting(): boolean {
    return this.#waiting.length > 0;
  }

  /** Sends the datagram that waits longest; false if the device is still full. */
  sendNext(): boolean {
    const next = this.#waiting.peek();
    if (
      next === undefined ||
      !transmit(next.path, this.binding.port, next.port, next.data, this.#optionsOf(next.path))
    )
      return false;
    this.#waiting.shift();
    this.#waitingBytes -= next.data.length + DATAGRAM_OVERHEAD;
    this.#owner.counters.udpOutDatagrams++;
    next.resolve();
    return true;
  }

  /** The endpoint of a received datagram's sender: the same object while the sender stays the same. */
  endpointOf(source: IpAddress, port: number): Endpoint {
    const known = this.#senderEndpoint;
    if (known !== null && known.port === port && this.#sender.equals(source)) return known;
    this.#sender = source.copy();
    this.#senderEndpoint = endpoint(source, port);
    return this.#senderEndpoint;
  }

  /** Whether a datagram of ours may be on its way to `destination`: the peer's, or the last one sent to. */
  sendsTo(destination: IpAddress): boolean {
    return (this.#peer ?? this.#lastPath)?.destination.equals(destination) ?? false;
  }

  // ---- sending

  #send(data: Uint8Array, remote: { host: string; port: number } | undefined): Promise<void> {
    if (this.#closed) throw closedError('send', 'EPIPE');
    const pending = this.receiver.takeError();
    if (pending !== null) throw pending;
    if (remote === undefined) {
      if (this.#peer === null) {
        throw new NetError('ENOTCONN', { syscall: 'send', reason: 'no destination given' });
      }
      return this.#emit(this.#peer, this.#peerPort, data);
    }
    if (this.#peer !== null) throw new NetError('EISCONN', { syscall: 'send' });
    checkPort(remote.port, 1, 'send');
    // Our address may have changed since (DHCP): a path from one that is gone leads nowhere.
    const isStale = this.#lastPath !== null && !this.#owner.ip.isLocal(this.#lastPath.source);
    if (this.#lastPath === null || isStale || this.#lastHost !== remote.host) {
      const literal = IpAddress.tryParse(remote.host);
      if (literal === null) return this.#sendToName(data, remote);
      this.#lastPath = this.#path(literal, 'send', remote.port);
      this.#lastHost = remote.host;
    }
    return this.#emit(this.#lastPath, remote.port, data);
  }

  async #sendToName(data: Uint8Array, remote: { host: string; port: number }): Promise<void> {
    try {
      const address = await this.#lookup(remote.host);
      if (this.#closed) throw closedError('send', 'ECONNABORTED');
      this.#lastPath = this.#path(address, 'send', remote.port);
      this.#lastHost = null;
      await this.#emit(this.#lastPath, remote.port, data);
    } catch (error) {
      throw this.#explain(error, remote);
    }
  }

  #emit(path: IpPath, port: number, data: Uint8Array): Promise<void> {
    const most = maxData(path);
    if (data.length > most) {
      throw sendError('EMSGSIZE', path, port, `${data.length} bytes of data, at most ${most} fit`);
    }
    // Those that wait go first, even if there happens to be room just now.
    const { port: from } = this.binding;
    if (this.#waiting.length === 0 && transmit(path, from, port, data, this.#optionsOf(path))) {
      this.#owner.counters.udpOutDatagrams++;
      return SENT;
    }
    const cost = data.length + DATAGRAM_OVERHEAD;
    if (this.#waitingBytes + cost > SEND_BUFFER) {
      this.#owner.counters.udpSndbufErrors++;
      throw sendError('ENOBUFS', path, port, `${this.#waitingBytes} bytes wait for a full device`);
    }
    this.#waitingBytes += cost;
    return new Promise((resolve, reject) => {
      this.#waiting.push({ path, port, data, resolve, reject });
      this.#owner.stalled(this);
    });
  }

  #optionsOf(path: IpPath): CommitOptions {
    return path.destination.isMulticast ? this.#groupOptions : this.#commitOptions;
  }

  #checkOpen(syscall: string): void {
    if (this.#closed) throw closedError(syscall, 'EPIPE');
  }

  /** A path that this socket may use. */
  #path(destination: IpAddress, syscall: string, port: number): IpPath {
    const { bound } = this.binding;
    const address = destination.toString();
    if (!this.binding.speaks(destination)) {
      throw new NetError('EINVAL', { syscall, address, port, reason: `the socket is bound to ${bound}` });
    }
    // POSIX: without SO_BROADCAST nobody floods a network by a mistyped address.
    if (!this.broadcast && this.#owner.ip.isBroadcast(destination)) {
      throw new NetError('EACCES', { syscall, address, port, reason: 'broadcast is not allowed' });
    }
    const { ip } = this.#owner;
    const device = this.binding.device ?? undefined;
    if (!bound.isUnspecified && !bound.isMulticast && !ip.isBroadcast(bound)) {
      return ip.path(destination, bound, device);
    }
    if (!destination.isMulticast) return ip.path(destination, undefined, device);
    const source = this.#groupSource;
    const from = source?.isIpv4 === destination.isIpv4 ? source : undefined;
    return ip.path(destination, from ?? undefined, this.#groupDevice ?? device);
  }

  async #lookup(host: string): Promise<IpAddress> {
    for (const text of await this.#resolve(host)) {
      const address = IpAddress.parse(text);
      if (this.binding.speaks(address)) return address;
    }
    throw new NetError('ENOTFOUND', { reason: `no address of ${host} suits the socket` });
  }

  #explain(error: unknown, remote: { host: string; port: number } | undefined): unknown {
    if (remote !== undefined) return inCall(error, 'send', remote.host, remote.port);
    if (this.#peer === null) return error;
    return inCall(error, 'send', this.#peer.destination.toString(), this.#peerPort);
  }
}

function endpoint(address: IpAddress, port: number): Endpoint {
  return { address: address.toString(), port, family: address.family };
}

function sendError(code: 'EMSGSIZE' | 'ENOBUFS', path: IpPath, port: number, reason: string): NetError {
  return new NetError(code, { syscall: 'send', address: path.destination.toString(), port, reason });
}

function closedError(syscall: string, code: 'EPIPE' | 'ECONNABORTED'): NetError {
  return new NetError(code, { syscall, reason: 'the socket is closed' });
}
