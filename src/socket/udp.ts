import { createSocket, type Socket, type SocketOptions } from 'node:dgram';
import { isIP, isIPv4, isIPv6 } from 'node:net';
import { NetError, type NetErrorDetails } from '../errors.ts';
import type {
  Datagram,
  Endpoint,
  MembershipOptions,
  StackStatistics,
  Udp,
  UdpBindOptions,
  UdpSocket,
} from '../stack.ts';
import { checkPort, RECEIVE_BUFFER, Receiver, SEND_BUFFER } from '../udp/index.ts';
import { endpoint, hostError, mapped, resolve, stackClosed } from './host.ts';

/** How often a port that the host chose is tried again. */
const REBINDS = 8;

interface Counters {
  udpInDatagrams: number;
  udpRcvbufErrors: number;
  udpOutDatagrams: number;
  udpSndbufErrors: number;
}

/** The host's UDP. */
export class SocketUdp implements Udp {
  readonly #sockets = new Set<HostUdpSocket>();
  readonly #counters: Counters = {
    udpInDatagrams: 0,
    udpRcvbufErrors: 0,
    udpOutDatagrams: 0,
    udpSndbufErrors: 0,
  };
  #closed = false;

  async bind(options: UdpBindOptions = {}): Promise<UdpSocket> {
    const {
      port = 0,
      host,
      broadcast = false,
      receiveBuffer = RECEIVE_BUFFER,
      reuseAddress: reuseAddr = false,
      ipv6Only = false,
    } = options;
    if (this.#closed) throw stackClosed('bind');
    checkPort(port, 0, 'bind');
    if (options.interface !== undefined) {
      throw new NetError('EOPNOTSUPP', { syscall: 'bind', reason: 'the host chooses the interface' });
    }
    if (!(receiveBuffer > 0)) {
      throw new NetError('EINVAL', { syscall: 'bind', reason: `receiveBuffer of ${receiveBuffer} bytes` });
    }
    const sharing = { reuseAddr, ipv6Only };
    const socket = host === undefined ? await bindAll(port, sharing) : await bindHost(host, port, sharing);
    if (this.#closed) {
      socket.close();
      throw stackClosed('bind');
    }
    if (broadcast) socket.setBroadcast(true);
    const bound = new HostUdpSocket(socket, receiveBuffer, this.#counters, () => this.#sockets.delete(bound));
    this.#sockets.add(bound);
    return bound;
  }

  statistics(): StackStatistics {
    return { ...this.#counters, sockets: this.#sockets.size };
  }

  async close(): Promise<void> {
    this.#closed = true;
    await Promise.all([...this.#sockets].map((socket) => socket.close()));
  }
}

type Sharing = Pick<SocketOptions, 'reuseAddr' | 'ipv6Only'>;

/** All addresses of both families where the host has both, else of IPv4. */
async function bindAll(port: number, sharing: Sharing): Promise<Socket> {
  try {
    return await bound('udp6', '::', port, sharing);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EADDRINUSE') throw error;
    return bound('udp4', '0.0.0.0', port, sharing);
  }
}

async function bindHost(host: string, port: number, sharing: Sharing): Promise<Socket> {
  const [address] = await resolve(host);
  return bound(isIPv6(address!) ? 'udp6' : 'udp4', address!, port, sharing);
}

/**
 * Linux takes a port that it chose itself away again at `disconnect` (no
 * `SOCK_BINDPORT_LOCK`), so a chosen port is bound once more by its number.
 */
async function bound(
  type: 'udp4' | 'udp6',
  address: string,
  port: number,
  sharing: Sharing,
): Promise<Socket> {
  if (port !== 0) return boundTo(type, address, port, sharing);
  for (let attempt = 1; ; attempt++) {
    const chosen = await boundTo(type, address, 0, sharing);
    const { port: free } = chosen.address();
    await new Promise<void>((resolve) => chosen.close(resolve));
    try {
      return await boundTo(type, address, free, sharing);
    } catch (error) {
      // Another process was faster.
      if ((error as NodeJS.ErrnoException).code !== 'EADDRINUSE' || attempt === REBINDS) throw error;
    }
  }
}

function boundTo(type: 'udp4' | 'udp6', address: string, port: number, sharing: Sharing): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = createSocket({ type, ...sharing });
    socket.once('error', (error) => {
      socket.close();
      reject(hostError(error, { syscall: 'bind', address, port }));
    });
    socket.bind(port, address, () => {
      socket.removeAllListeners('error');
      resolve(socket);
    });
  });
}

class HostUdpSocket implements UdpSocket {
  readonly #socket: Socket;
  readonly #receiver: Receiver;
  readonly #counters: Counters;
  readonly #released: () => void;
  /** An IPv6 socket that speaks IPv4 too. */
  readonly #isDual: boolean;
  readonly #isIpv4: boolean;
  #local: Endpoint;
  #peer: Endpoint | null = null;
  #connecting = false;
  #closing: Promise<void> | null = null;
  /** Calls under way: Node forgets some of them when the socket is closed. */
  readonly #pending = new Set<(error: Error) => void>();

  constructor(socket: Socket, receiveBuffer: number, counters: Counters, released: () => void) {
    this.#socket = socket;
    this.#receiver = new Receiver(receiveBuffer);
    this.#counters = counters;
    this.#released = released;
    const { address } = socket.address();
    this.#isDual = address === '::';
    this.#isIpv4 = isIPv4(address);
    this.#local = this.#address();
    socket.on('message', (data, from) => this.#onMessage(data, from));
    socket.on('error', (error) => {
      const where = this.#peer === null ? {} : { address: this.#peer.address, port: this.#peer.port };
      this.#receiver.fail(hostError(error, { syscall: 'recvmsg', ...where }));
    });
  }

  get local(): Endpoint {
    return this.#local;
  }

  get dropped(): number {
    return this.#receiver.dropped;
  }

  async connect(remote: { host: string; port: number }): Promise<void> {
    const { host, port } = remote;
    checkPort(port, 1, 'connect');
    const address = await this.#suitable(host, port, 'connect');
    if (this.#closing !== null) throw closedError('connect', 'EPIPE');
    if (this.#peer !== null || this.#connecting) {
      throw new NetError('EISCONN', { syscall: 'connect', address: host, port });
    }
    this.#connecting = true;
    try {
      await this.#call((done) => this.#socket.connect(port, this.#wire(address), done), {
        syscall: 'connect',
        address: host,
        port,
      });
    } finally {
      this.#connecting = false;
    }
    this.#peer = endpoint(address, port);
    this.#local = this.#address();
    this.#receiver.takeError();
  }

  disconnect(): void {
    if (this.#peer === null || this.#closing !== null) return;
    this.#socket.disconnect();
    this.#peer = null;
    this.#local = this.#address();
    this.#receiver.takeError();
  }

  receive(): Promise<Datagram | null> {
    return this.#receiver.receive();
  }

  [Symbol.asyncIterator](): AsyncIterator<Datagram> {
    return this.#receiver[Symbol.asyncIterator]();
  }

  async send(data: Uint8Array, remote?: { host: string; port: number }): Promise<void> {
    if (this.#closing !== null) throw closedError('send', 'EPIPE');
    const pending = this.#receiver.takeError();
    if (pending !== null) throw pending;
    if (remote === undefined) {
      if (this.#peer === null) {
        throw new NetError('ENOTCONN', { syscall: 'send', reason: 'no destination given' });
      }
      return this.#emit(data, this.#peer.address, this.#peer.port);
    }
    if (this.#peer !== null) throw new NetError('EISCONN', { syscall: 'send' });
    checkPort(remote.port, 1, 'send');
    const { host, port } = remote;
    if (isIP(host) === 0 || !this.#speaks(host)) {
      return this.#emit(data, await this.#suitable(host, port, 'send'), port);
    }
    return this.#emit(data, host, port);
  }

  addMembership(group: string, { source, interface: on }: MembershipOptions = {}): void {
    this.#set('addMembership', group, () => {
      if (source === undefined) this.#socket.addMembership(group, on);
      else this.#socket.addSourceSpecificMembership(source, group, on);
    });
  }

  dropMembership(group: string, { source, interface: on }: MembershipOptions = {}): void {
    this.#set('dropMembership', group, () => {
      if (source === undefined) this.#socket.dropMembership(group, on);
      else this.#socket.dropSourceSpecificMembership(source, group, on);
    });
  }

  setMulticastTtl(ttl: number): void {
    this.#set('setMulticastTtl', undefined, () => this.#socket.setMulticastTTL(ttl));
  }

  setMulticastLoopback(enable: boolean): void {
    this.#set('setMulticastLoopback', undefined, () => this.#socket.setMulticastLoopback(enable));
  }

  setMulticastInterface(address: string): void {
    this.#set('setMulticastInterface', address, () => this.#socket.setMulticastInterface(address));
  }

  /** A setting of the host's socket, whose errors are put in our words. */
  #set(syscall: string, address: string | undefined, act: () => void): void {
    if (this.#closing !== null) throw closedError(syscall, 'EPIPE');
    try {
      act();
    } catch (error) {
      throw hostError(error, { syscall, ...(address === undefined ? {} : { address }) });
    }
  }

  close(): Promise<void> {
    this.#closing ??= new Promise((done) => {
      this.#released();
      this.#receiver.close();
      this.#socket.close(done);
      for (const reject of this.#pending) reject(closedError('send', 'ECONNABORTED'));
    });
    return this.#closing;
  }

  #emit(data: Uint8Array, address: string, port: number): Promise<void> {
    if (this.#closing !== null) return Promise.reject(closedError('send', 'ECONNABORTED'));
    const waiting = this.#socket.getSendQueueSize();
    if (waiting > 0 && waiting + data.length > SEND_BUFFER) {
      this.#counters.udpSndbufErrors++;
      const reason = `${waiting} bytes wait for the host`;
      return Promise.reject(new NetError('ENOBUFS', { syscall: 'send', address, port, reason }));
    }
    return this.#call(
      (done) => {
        if (this.#peer !== null) this.#socket.send(data, done);
        else this.#socket.send(data, port, this.#wire(address), done);
      },
      { syscall: 'send', address, port },
    ).then(() => {
      this.#counters.udpOutDatagrams++;
    });
  }

  /** One call of the host's socket, ended by its callback or by `close`. */
  #call(start: (done: (error?: Error | null) => void) => void, details: NetErrorDetails): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#pending.add(reject);
      start((error) => {
        this.#pending.delete(reject);
        if (error === undefined || error === null) resolve();
        else reject(hostError(error, details));
      });
    });
  }

  #onMessage(data: Uint8Array, from: { address: string; port: number }): void {
    if (!this.#receiver.accepts(data.length)) {
      this.#counters.udpRcvbufErrors++;
      return;
    }
    this.#counters.udpInDatagrams++;
    this.#receiver.push({ data, remote: endpoint(from.address, from.port) });
  }

  /** The first address of `host` that this socket can send to. */
  async #suitable(host: string, port: number, syscall: string): Promise<string> {
    const addresses = await resolve(host);
    const address = addresses.find((candidate) => this.#speaks(candidate));
    if (address !== undefined) return address;
    const reason = `the socket is bound to ${this.#local.address}`;
    throw new NetError('EINVAL', { syscall, address: host, port, reason });
  }

  #speaks(address: string): boolean {
    return this.#isDual || isIPv4(address) === this.#isIpv4;
  }

  /** `address` as the host's socket wants it. */
  #wire(address: string): string {
    return this.#isIpv4 ? address : mapped(address);
  }

  #address(): Endpoint {
    const { address, port } = this.#socket.address();
    return endpoint(address, port);
  }
}

function closedError(syscall: string, code: 'EPIPE' | 'ECONNABORTED'): NetError {
  return new NetError(code, { syscall, reason: 'the socket is closed' });
}
