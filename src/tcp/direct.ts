import { IpAddress } from '../address/index.ts';
import { NetError } from '../errors.ts';
import type { ConnectOptions, Flow, Listener, ListenOptions, Tcp } from '../stack.ts';
import type { Alarm, Clock } from '../time/clock.ts';
import type { TcpOptions } from './config.ts';
import type { Connection } from './connection.ts';
import { interleave, race } from './eyeballs.ts';
import { endpoint, TcpFlow } from './flow.ts';
import type { ConnectionHandler } from './handler.ts';
import type { ListenSocket } from './listener.ts';
import type { TcpLayer } from './tcp.ts';

type Resolve = (hostname: string) => Promise<string[]>;

/** The `Tcp` of a direct stack: promises over `TcpLayer`. */
export class DirectTcp implements Tcp {
  /** What is below the promises: for faces that need its events as they come, such as `net/`. */
  readonly layer: TcpLayer;
  readonly #clock: Clock;
  readonly #resolve: Resolve;

  constructor(layer: TcpLayer, clock: Clock, resolve: Resolve) {
    this.layer = layer;
    this.#clock = clock;
    this.#resolve = resolve;
  }

  async listen(options: ListenOptions, onFlow: (flow: Flow) => void): Promise<Listener> {
    const host =
      options.host === undefined ? null : await this.#address(options.host, 'listen', options.port);
    const address = host === null || host.isUnspecified ? null : host;
    const socket = this.layer.listen({
      port: options.port,
      address,
      ...(options.backlog === undefined ? {} : { backlog: options.backlog }),
      options: flowOptions(options, 'listen'),
    });
    this.#acceptInto(socket, onFlow);
    const shown = address ?? host ?? IpAddress.ANY_IPV4;
    return {
      local: endpoint(shown, socket.port),
      close: async () => socket.close(),
    };
  }

  /** Hands connections over one by one, outside the receive path: what the application throws is its own error. */
  #acceptInto(socket: ListenSocket, onFlow: (flow: Flow) => void): void {
    let deferred = false;
    const accept = (): void => {
      deferred = false;
      const connection = socket.accept();
      if (connection === null) return;
      if (socket.waiting > 0) schedule();
      onFlow(new TcpFlow(connection));
    };
    const schedule = (): void => {
      if (deferred) return;
      deferred = true;
      this.#clock.defer(accept);
    };
    socket.onAcceptable = schedule;
  }

  async connect(options: ConnectOptions): Promise<Flow> {
    const { signal, timeoutMs } = options;
    signal?.throwIfAborted();
    const remotes = await this.#addresses(options.host, 'connect', options.port);
    const local =
      options.localAddress === undefined
        ? undefined
        : await this.#address(options.localAddress, 'connect', options.localPort);
    signal?.throwIfAborted();
    const usable = local === undefined ? remotes : remotes.filter((remote) => remote.isIpv4 === local.isIpv4);
    // Data in the SYN goes to one server only.
    const [remote] = usable.length === 0 ? remotes : usable;
    if (usable.length <= 1 || options.data !== undefined) {
      return this.#connect(options, remote!, local, timeoutMs, signal);
    }
    const deadline = timeoutMs === undefined ? undefined : this.#clock.now() + timeoutMs;
    return race(
      this.#clock,
      interleave(usable),
      (address, abandoned) => {
        const left = deadline === undefined ? undefined : Math.max(0, deadline - this.#clock.now());
        return this.#connect(options, address, local, left, abandoned);
      },
      (flow) => flow.abort(),
      signal,
    );
  }

  async #connect(
    options: ConnectOptions,
    remote: IpAddress,
    local: IpAddress | undefined,
    timeoutMs: number | undefined,
    signal: AbortSignal | undefined,
  ): Promise<Flow> {
    const connection = this.layer.connect({
      remote,
      remotePort: options.port,
      ...(local === undefined ? {} : { local }),
      ...(options.localPort === undefined ? {} : { localPort: options.localPort }),
      ...(options.data === undefined ? {} : { data: options.data }),
      options: flowOptions(options, 'connect'),
    });
    await this.#opened(connection, timeoutMs, signal);
    return new TcpFlow(connection);
  }

  #opened(
    connection: Connection,
    timeoutMs: number | undefined,
    signal: AbortSignal | undefined,
  ): Promise<void> {
    return new Promise((resolve, reject) => {
      let alarm: Alarm | null = null;
      const settle = (): void => {
        alarm?.clear();
        signal?.removeEventListener('abort', onAbort);
        connection.handler = null;
      };
      const onAbort = (): void => {
        settle();
        connection.abort();
        reject(signal!.reason);
      };
      const handler: ConnectionHandler = {
        connected: () => {
          settle();
          resolve();
        },
        closed: (_, error) => {
          settle();
          reject(error ?? new NetError('ECONNABORTED', { syscall: 'connect' }));
        },
        readable: () => {},
        writable: () => {},
        finished: () => {},
      };
      connection.handler = handler;
      signal?.addEventListener('abort', onAbort);
      if (timeoutMs !== undefined) {
        alarm = this.#clock.alarm(() => {
          settle();
          connection.abort();
          const address = connection.remote.toString();
          reject(new NetError('ETIMEDOUT', { syscall: 'connect', address, port: connection.remotePort }));
        });
        alarm.set(this.#clock.now() + timeoutMs);
      }
    });
  }

  async #address(host: string, syscall: string, port: number | undefined): Promise<IpAddress> {
    const [first] = await this.#addresses(host, syscall, port);
    return first!;
  }

  /** At least one, in the order in which to try them. */
  async #addresses(host: string, syscall: string, port: number | undefined): Promise<IpAddress[]> {
    const literal = IpAddress.tryParse(host);
    if (literal !== null) return [literal];
    const addresses = await this.#resolve(host);
    if (addresses.length === 0) {
      throw new NetError('ENOTFOUND', { syscall, address: host, ...(port === undefined ? {} : { port }) });
    }
    return addresses.map((address) => IpAddress.parse(address));
  }
}

const CONTROLS: readonly (string | undefined)[] = ['newreno', 'cubic', 'bbr', undefined];

/** What of a call's options is for its flows alone. Throws `EINVAL`. */
function flowOptions({ congestionControl }: ListenOptions | ConnectOptions, syscall: string): TcpOptions {
  if (!CONTROLS.includes(congestionControl)) {
    throw new NetError('EINVAL', { syscall, reason: `there is no congestion control ${congestionControl}` });
  }
  return congestionControl === undefined ? {} : { congestionControl };
}
