import type { Endpoint, Listener, Stack } from '../stack.ts';
import { FlowTransport } from './flow-transport.ts';
import { Handle } from './handle.ts';
import { codeOf } from './node-errors.ts';
import type { Acceptor, Done, ListenRequest, Network, Transport } from './transport.ts';

/** Any `Stack` as `createNet` uses it, by its promises. */
export class FlowNetwork implements Network {
  readonly #stack: Stack;
  readonly anyAddress = '::';
  readonly hasIpv6 = true;

  constructor(stack: Stack) {
    this.#stack = stack;
  }

  createTransport(): Transport {
    return new FlowTransport(this.#stack.tcp);
  }

  createAcceptor(): Acceptor {
    return new FlowAcceptor(this.#stack);
  }

  resolve(hostname: string): Promise<string[]> {
    return this.#stack.resolve(hostname);
  }
}

class FlowAcceptor extends Handle implements Acceptor {
  onConnection: ((transport: Transport) => void) | null = null;
  readonly #stack: Stack;
  #listener: Listener | null = null;
  #opening = false;

  constructor(stack: Stack) {
    super('TCPSERVERWRAP');
    this.#stack = stack;
  }

  protected get isActive(): boolean {
    return this.#opening || this.#listener !== null;
  }

  get local(): Endpoint | null {
    return this.#listener?.local ?? null;
  }

  listen({ address, port, backlog }: ListenRequest, done: Done): void {
    const { tcp } = this.#stack;
    const host = address === null ? {} : { host: address };
    this.#opening = true;
    this.updateHold();
    tcp
      .listen({ port, backlog, ...host }, (flow) => {
        this.postFirst(() => {
          if (this.isClosed) flow.abort();
          else this.onConnection?.(new FlowTransport(tcp, flow));
        });
      })
      .then(
        (listener) => {
          if (this.isClosed) {
            void listener.close();
            return;
          }
          this.#opening = false;
          this.#listener = listener;
          this.post(() => done(null));
        },
        (error) => {
          this.#opening = false;
          this.updateHold();
          this.post(() => done(codeOf(error)));
        },
      );
  }

  close(): void {
    if (!this.markClosed()) return;
    void this.#listener?.close();
    this.#listener = null;
  }
}
