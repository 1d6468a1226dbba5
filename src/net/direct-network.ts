import { IpAddress } from '../address/index.ts';
import type { DirectStack } from '../direct/index.ts';
import type { Endpoint } from '../stack.ts';
import { endpoint, type ListenSocket, type TcpLayer } from '../tcp/index.ts';
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

  createTransport(): Transport {
    return new DirectTransport(this.#stack.tcp.layer, this.#stack.network);
  }

  createAcceptor(): Acceptor {
    return new DirectAcceptor(this.#stack);
  }

  resolve(hostname: string): Promise<string[]> {
    return this.#stack.resolve(hostname);
  }
}

class DirectAcceptor extends Handle implements Acceptor {
  onConnection: ((transport: Transport) => void) | null = null;
  readonly #stack: DirectStack;
  readonly #layer: TcpLayer;
  #socket: ListenSocket | null = null;
  #local: Endpoint | null = null;

  constructor(stack: DirectStack) {
    super('TCPSERVERWRAP');
    this.#stack = stack;
    this.#layer = stack.tcp.layer;
  }

  protected get isActive(): boolean {
    return this.#socket !== null;
  }

  get local(): Endpoint | null {
    return this.#local;
  }

  listen({ address, port, backlog, ipv6Only }: ListenRequest, done: Done): void {
    const asked = IpAddress.parse(address ?? '::');
    // `::` takes both families unless told otherwise (RFC 3493 §5.3).
    const all = address === null || (asked.isUnspecified && !ipv6Only);
    try {
      const socket = this.#layer.listen({ address: all ? null : asked, port, backlog });
      socket.onAcceptable = () => this.postFirst(() => this.#accept(socket));
      this.#socket = socket;
      const shown = address === null && !this.#hasIpv6 ? IpAddress.ANY_IPV4 : asked;
      this.#local = endpoint(shown, socket.port);
    } catch (error) {
      done(codeOf(error));
      return;
    }
    this.updateHold();
    done(null);
  }

  get #hasIpv6(): boolean {
    return this.#stack.network.isLocal(LOOPBACK_IPV6);
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
    this.onConnection?.(new DirectTransport(this.#layer, this.#stack.network, connection));
  }
}
