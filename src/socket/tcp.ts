import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net';
import { NetError } from '../errors.ts';
import type {
  ConnectOptions,
  Endpoint,
  Flow,
  Listener,
  ListenOptions,
  StackStatistics,
  Tcp,
} from '../stack.ts';
import { checkPort } from '../udp/index.ts';
import { SocketFlow } from './flow.ts';
import { endpoint, hostError, stackClosed } from './host.ts';

const BACKLOG = 511;

/** The host's TCP. */
export class SocketTcp implements Tcp {
  readonly #flows = new Set<SocketFlow>();
  readonly #listeners = new Set<SocketListener>();
  readonly #connecting = new Set<(reason: Error) => void>();
  #closed = false;
  #activeOpens = 0;
  #passiveOpens = 0;
  #attemptFails = 0;
  #acceptErrors = 0;
  /** Bytes of the flows that are gone. */
  #bytesReceived = 0;
  #bytesSent = 0;

  async listen(options: ListenOptions, onFlow: (flow: Flow) => void): Promise<Listener> {
    const { port, host, backlog = BACKLOG } = options;
    if (this.#closed) throw stackClosed('listen');
    checkPort(port, 0, 'listen');
    const server = createServer({ allowHalfOpen: true }, (socket) => {
      if (socket.remoteAddress === undefined) {
        // Reset by the peer while it waited to be accepted.
        socket.destroy();
        return;
      }
      this.#passiveOpens++;
      onFlow(this.#add(socket));
    });
    await new Promise<void>((resolve, reject) => {
      server.once('error', (error) =>
        reject(hostError(error, { syscall: 'listen', ...(host !== undefined && { address: host }), port })),
      );
      server.listen({ port, backlog, ...(host !== undefined && { host }) }, resolve);
    });
    // The host could not accept one connection (EMFILE): it goes on listening.
    server.removeAllListeners('error').on('error', () => this.#acceptErrors++);
    const listener = new SocketListener(server, () => this.#listeners.delete(listener));
    this.#listeners.add(listener);
    if (this.#closed) {
      await listener.close();
      throw stackClosed('listen');
    }
    return listener;
  }

  connect(options: ConnectOptions): Promise<Flow> {
    return new Promise((resolve, reject) => {
      const { host, port, localPort, localAddress, timeoutMs, signal } = options;
      if (this.#closed) throw stackClosed('connect');
      checkPort(port, 1, 'connect');
      if (localPort !== undefined) checkPort(localPort, 0, 'connect');
      signal?.throwIfAborted();
      this.#activeOpens++;
      const socket = connect({
        host,
        port,
        allowHalfOpen: true,
        ...(localPort !== undefined && { localPort }),
        ...(localAddress !== undefined && { localAddress }),
      });
      const fail = (error: unknown): void => {
        this.#attemptFails++;
        settle();
        // Whatever else it has to say is about a connection that nobody has.
        socket.on('error', () => {});
        socket.destroy();
        reject(error);
      };
      const onError = (error: Error): void =>
        fail(hostError(error, { syscall: 'connect', address: host, port }));
      const onAbort = (): void => fail(signal?.reason);
      const timer =
        timeoutMs === undefined
          ? undefined
          : setTimeout(() => {
              const reason = `no answer within ${timeoutMs} ms`;
              fail(new NetError('ETIMEDOUT', { syscall: 'connect', address: host, port, reason }));
            }, timeoutMs);
      const settle = (): void => {
        clearTimeout(timer);
        signal?.removeEventListener('abort', onAbort);
        this.#connecting.delete(fail);
        socket.off('error', onError);
      };
      this.#connecting.add(fail);
      signal?.addEventListener('abort', onAbort);
      socket.on('error', onError);
      socket.once('connect', () => {
        settle();
        resolve(this.#add(socket));
      });
    });
  }

  statistics(): StackStatistics {
    let bytesReceived = this.#bytesReceived;
    let bytesSent = this.#bytesSent;
    for (const { stats } of this.#flows) {
      bytesReceived += stats.bytesReceived;
      bytesSent += stats.bytesSent;
    }
    return {
      tcpActiveOpens: this.#activeOpens,
      tcpPassiveOpens: this.#passiveOpens,
      tcpAttemptFails: this.#attemptFails,
      acceptErrors: this.#acceptErrors,
      listeners: this.#listeners.size,
      flows: this.#flows.size,
      bytesReceived,
      bytesSent,
    };
  }

  /** Closes all in order; what has not followed after `timeoutMs` is reset. */
  async close(timeoutMs: number): Promise<void> {
    this.#closed = true;
    for (const forget of [...this.#connecting]) {
      forget(new NetError('ECONNABORTED', { syscall: 'connect', reason: 'the stack is closed' }));
    }
    const flows = [...this.#flows];
    const timer = setTimeout(() => {
      for (const flow of flows) flow.abort();
    }, timeoutMs);
    await Promise.all([
      ...[...this.#listeners].map((listener) => listener.close()),
      ...flows.map((flow) => flow.close()),
    ]);
    clearTimeout(timer);
  }

  #add(socket: Socket): SocketFlow {
    const flow = new SocketFlow(socket);
    this.#flows.add(flow);
    void flow.gone.then(() => {
      this.#flows.delete(flow);
      const { bytesReceived, bytesSent } = flow.stats;
      this.#bytesReceived += bytesReceived;
      this.#bytesSent += bytesSent;
    });
    return flow;
  }
}

class SocketListener implements Listener {
  readonly local: Endpoint;
  readonly #server: Server;
  readonly #closed: () => void;

  constructor(server: Server, closed: () => void) {
    const { address, port } = server.address() as AddressInfo;
    this.local = endpoint(address, port);
    this.#server = server;
    this.#closed = closed;
  }

  /** The host stops listening at once; Node's own callback would wait for the flows too. */
  close(): Promise<void> {
    this.#server.close();
    this.#closed();
    return Promise.resolve();
  }
}
