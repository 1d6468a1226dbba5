/**
 * `net.Server` over an `Acceptor`. What happens when, and in which order, is
 * that of Node 20's `lib/net.js` (MIT, the Node.js contributors).
 */
import diagnostics from 'node:diagnostics_channel';
import { EventEmitter } from 'node:events';
import { type AddressInfo, type BlockList, isIP } from 'node:net';
import { type Callback, isPipeName, type ListenOptions, normalize, toNumber } from './arguments.ts';
import { blockedBy } from './block-list.ts';
import type { NetContext } from './context.ts';
import { HostAcceptor, type HostListenRequest } from './host-transport.ts';
import { invalidArgValue, listenException, stateError } from './node-errors.ts';
import type { SocketMethods } from './socket.ts';
import type { SocketClass } from './socket-create.ts';
import { kState as kSocketState } from './socket-state.ts';
import type { Acceptor, Transport } from './transport.ts';
import { validateAbortSignal, validatePort } from './validate.ts';

export const kState: unique symbol = Symbol('mirage.server');

/** Linux makes 512 of it. */
const DEFAULT_BACKLOG = 511;

const serverSocketChannel = diagnostics.channel('net.server.socket');

export class ServerState {
  readonly context: NetContext;
  readonly Socket: SocketClass;
  /** Null unless listening. */
  acceptor: Acceptor | null = null;
  /** Counts `listen` and `close`: what was begun for an earlier one is void. */
  generation = 0;
  unreferenced = false;
  /** Whose connections are closed as they come. */
  blockList: BlockList | null = null;

  constructor(context: NetContext, Socket: SocketClass) {
    this.context = context;
    this.Socket = Socket;
  }
}

/** The methods of a server; made by `createServerClass`. */
export class ServerMethods extends EventEmitter {
  declare [kState]: ServerState;
  declare _connections: number;
  declare _connectionKey: string;
  declare maxConnections: number | undefined;
  declare allowHalfOpen: boolean;
  declare pauseOnConnect: boolean;
  declare noDelay: boolean;
  declare keepAlive: boolean;
  declare keepAliveInitialDelay: number;
  declare highWaterMark: number;

  listen(...args: unknown[]): this {
    const [given, callback] = normalize<ListenOptions>(args);
    const state = this[kState];
    if (state.acceptor !== null) throw stateError('ERR_SERVER_ALREADY_LISTEN');
    if (callback !== null) this.once('listening', callback);
    const backlog =
      toNumber(args.length > 1 && args[1]) || toNumber(args.length > 2 && args[2]) || DEFAULT_BACKLOG;
    state.generation++;
    const options: ListenOptions = given._handle ?? given.handle ?? given;
    if (isHostHandle(options)) {
      listenOnHost(this, { handle: options });
      return this;
    }
    watchSignal(this, options.signal);
    if (typeof options.fd === 'number' && options.fd >= 0) {
      listenOnHost(this, { fd: options.fd, backlog });
      return this;
    }
    if (takesAnyPort(args, options)) options.port = 0;
    if (typeof options.port === 'number' || typeof options.port === 'string') {
      const port = validatePort(options.port, 'options.port');
      listenOnPort(this, port, options, options.backlog || backlog);
      return this;
    }
    if (options.path && isPipeName(options.path)) {
      const { path, readableAll, writableAll } = options;
      listenOnHost(this, {
        path,
        backlog: options.backlog || backlog,
        ...(readableAll === undefined ? {} : { readableAll }),
        ...(writableAll === undefined ? {} : { writableAll }),
      });
      return this;
    }
    throw 'port' in options || 'path' in options
      ? invalidArgValue('options', options)
      : invalidArgValue('options', options, 'must have the property "port" or "path"');
  }

  close(callback?: Callback): this {
    const state = this[kState];
    const { acceptor } = state;
    state.generation++;
    if (typeof callback === 'function') {
      const wasListening = acceptor !== null;
      this.once('close', wasListening ? callback : () => callback(stateError('ERR_SERVER_NOT_RUNNING')));
    }
    acceptor?.close();
    state.acceptor = null;
    this._emitCloseIfDrained();
    return this;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this[kState].acceptor === null) return;
    await new Promise<void>((resolve, reject) => {
      this.close((error) => (error ? reject(error) : resolve()));
    });
  }

  _emitCloseIfDrained(): void {
    if (this[kState].acceptor !== null || this._connections > 0) return;
    process.nextTick(() => this.emit('close'));
  }

  address(): AddressInfo | string | null {
    const { acceptor } = this[kState];
    if (acceptor instanceof HostAcceptor) return acceptor.address();
    const local = acceptor?.local;
    return local ? { address: local.address, family: local.family, port: local.port } : null;
  }

  getConnections(callback: (error: Error | null, count: number) => void): this {
    process.nextTick(callback, null, this._connections);
    return this;
  }

  get listening(): boolean {
    return this[kState].acceptor !== null;
  }

  ref(): this {
    this[kState].unreferenced = false;
    this[kState].acceptor?.ref();
    return this;
  }

  unref(): this {
    this[kState].unreferenced = true;
    this[kState].acceptor?.unref();
    return this;
  }

  override [EventEmitter.captureRejectionSymbol](
    error: Error,
    event: string | symbol,
    ...args: unknown[]
  ): void {
    if (event === 'connection') (args[0] as SocketMethods).destroy(error);
    else this.emit('error', error);
  }
}

function watchSignal(server: ServerMethods, signal: AbortSignal | undefined): void {
  if (signal === undefined) return;
  validateAbortSignal(signal, 'options.signal');
  const onAbort = (): void => {
    server.close();
  };
  if (signal.aborted) {
    process.nextTick(onAbort);
    return;
  }
  signal.addEventListener('abort', onAbort, { once: true });
  server.once('close', () => signal.removeEventListener('abort', onAbort));
}

/** `listen()`, `listen(null)`, `listen(callback)`, or options whose port is there but undefined. */
function takesAnyPort(args: readonly unknown[], options: ListenOptions): boolean {
  if (args.length === 0 || typeof args[0] === 'function') return true;
  return options.port === null || (options.port === undefined && 'port' in options);
}

function listenOnPort(server: ServerMethods, port: number, options: ListenOptions, backlog: number): void {
  const state = server[kState];
  const { host } = options;
  const ipv6Only = options.ipv6Only === true;
  if (!host) {
    listenOn(server, { address: null, port, backlog, ipv6Only });
    return;
  }
  const { generation } = state;
  state.context.lookup(host, {}, (error, address) => {
    if (state.generation !== generation) return;
    if (error) server.emit('error', error);
    else listenOn(server, { address: address as string, port, backlog, ipv6Only });
  });
}

function listenOn(server: ServerMethods, request: Parameters<Acceptor['listen']>[0]): void {
  const { network } = server[kState].context;
  const acceptor = network.createAcceptor();
  const shown = request.address ?? network.anyAddress;
  const settle = take(server, acceptor, `${isIP(shown)}:${shown}:${request.port}`);
  acceptor.listen(request, (code) => {
    settle(code === null ? null : listenException(code, shown, request.port));
  });
}

/** Local sockets, and what the process has inherited, are the host's. */
function listenOnHost(server: ServerMethods, request: HostListenRequest): void {
  const acceptor = new HostAcceptor();
  const key = 'path' in request ? `-1:${request.path}:-1` : '-1:null:-1';
  acceptor.listenHost(request, take(server, acceptor, key));
}

/** Puts `acceptor` under the server; gives what is to be told how listening went. */
function take(server: ServerMethods, acceptor: Acceptor, key: string): (error: Error | null) => void {
  const state = server[kState];
  state.acceptor = acceptor;
  acceptor.onConnection = (transport) => onConnection(server, transport);
  if (state.unreferenced) acceptor.unref();
  return (error) => {
    // It may have been closed meanwhile.
    if (state.acceptor !== acceptor) return;
    if (error !== null) {
      acceptor.close();
      state.acceptor = null;
      process.nextTick(() => server.emit('error', error));
      return;
    }
    server._connectionKey = key;
    process.nextTick(() => {
      if (state.acceptor !== null) server.emit('listening');
    });
  };
}

/** A server of the host that another process has sent. */
function isHostHandle(value: object): boolean {
  const { name } = value.constructor ?? {};
  return (name === 'TCP' || name === 'Pipe') && 'getAsyncId' in value;
}

function onConnection(server: ServerMethods, transport: Transport): void {
  const { blockList } = server[kState];
  const { remote } = transport;
  if (remote !== null && blockedBy(blockList, remote.address, remote.family === 'IPv6' ? 6 : 4) !== null) {
    transport.close();
    return;
  }
  if (server.maxConnections && server._connections >= server.maxConnections) {
    drop(server, transport);
    return;
  }
  const { Socket } = server[kState];
  const socket = new Socket({
    transport,
    allowHalfOpen: server.allowHalfOpen,
    pauseOnCreate: server.pauseOnConnect,
    readable: true,
    writable: true,
    readableHighWaterMark: server.highWaterMark,
    writableHighWaterMark: server.highWaterMark,
  });
  const state = socket[kSocketState];
  if (server.noDelay) {
    state.noDelay = true;
    transport.setNoDelay(true);
  }
  if (server.keepAlive) {
    state.keepAlive = true;
    state.keepAliveDelaySeconds = server.keepAliveInitialDelay;
    transport.setKeepAlive(true, server.keepAliveInitialDelay);
  }
  server._connections++;
  socket.server = server;
  socket._server = server;
  server.emit('connection', socket);
  if (serverSocketChannel.hasSubscribers) serverSocketChannel.publish({ socket });
}

/** Too many connections. */
function drop(server: ServerMethods, transport: Transport): void {
  const { local, remote } = transport;
  server.emit('drop', {
    localAddress: local?.address,
    localPort: local?.port,
    localFamily: local?.family,
    remoteAddress: remote?.address,
    remotePort: remote?.port,
    remoteFamily: remote?.family,
  });
  transport.close();
}
