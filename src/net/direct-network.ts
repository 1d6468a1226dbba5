import { IpAddress } from '../address/index.ts';
import type { DirectStack } from '../direct/index.ts';
import type { Endpoint } from '../stack.ts';
import { type Connection, endpoint, type ListenSocket, type TcpLayer } from '../tcp/index.ts';
import { DirectTransport } from './direct-transport.ts';
import { Handle } from './handle.ts';
import { codeOf } from './node-errors.ts';
import type { Acceptor, Done, ListenRequest, Network, Transport } from './transport.ts';

const LOOPBACK_IPV6 = IpAddress.parse('::1');

/** A `DirectStack` as `createNet` uses it: straight on its connections, without promises in between. */
export class DirectNetwork implements Network {
  readonly #stack: DirectStack;

  constructor(stack: DirectStack) {
    this.#stack = stack;
  }

  get hasIpv6(): boolean {
    return this.#stack.network.isLocal(LOOPBACK_IPV6);
  }

  get anyAddress(): '::' | '0.0.0.0' {
    return this.hasIpv6 ? '::' : '0.0.0.0';
  }

  createTransport(connection: Connection | null = null, mapsIpv4 = false): Transport {
    return new DirectTransport(this.#stack.tcp.layer, this.#stack.network, connection, mapsIpv4);
  }

  createAcceptor(): Acceptor {
    return new DirectAcceptor(this, this.#stack.tcp.layer);
  }

  resolve(hostname: string): Promise<string[]> {
    return this.#stack.resolve(hostname);
  }
}

class DirectAcceptor extends Handle implements Acceptor {
  onConnection: ((transport: Transport) => void) | null = null;
  readonly #network: DirectNetwork;
  readonly #layer: TcpLayer;
  #socket: ListenSocket | null = null;
  #local: Endpoint | null = null;
  /** Listens on both families: IPv4 peers are shown as `::ffff:a.b.c.d` (RFC 3493 §3.7). */
  #mapsIpv4 = false;

  constructor(network: DirectNetwork, layer: TcpLayer) {
    super('TCPSERVERWRAP');
    this.#network = network;
    this.#layer = layer;
  }

  protected get isActive(): boolean {
    return this.#socket !== null;
  }

  get local(): Endpoint | null {
    return this.#local;
  }

  listen({ address, port, backlog, ipv6Only }: ListenRequest, done: Done): void {
    const { hasIpv6 } = this.#network;
    const shown = IpAddress.parse(address ?? this.#network.anyAddress);
    // `::` takes both families unless told otherwise (RFC 3493 §5.3); without IPv6 there is but one.
    const all = shown.isUnspecified && !ipv6Only && !(shown.isIpv4 && hasIpv6);
    this.#mapsIpv4 = all && !shown.isIpv4;
    try {
      const socket = this.#layer.listen({ address: all ? null : shown, port, backlog });
      socket.onAcceptable = () => this.postFirst(() => this.#accept(socket));
      this.#socket = socket;
      this.#local = endpoint(shown, socket.port);
    } catch (error) {
      done(codeOf(error));
      return;
    }
    this.updateHold();
    done(null);
  }

  close(): void {
    if (!this.markClosed()) return;
    this.#socket?.close();
    this.#socket = null;
  }

  #accept(socket: ListenSocket): void {
    const connection = socket.accept();
    // It may have ended, or the server closed, since this was posted.
    if (connection === null || this.isClosed) return;
    const transport = this.#network.createTransport(connection, this.#mapsIpv4);
    this.onConnection?.(transport);
  }
}
