import { EventEmitter } from 'node:events';
import hostNet from 'node:net';
import { getDefaultHighWaterMark } from 'node:stream';
import { blockListOf } from './block-list.ts';
import { type Callable, callable, construct } from './callable.ts';
import type { NetContext } from './context.ts';
import { invalidArgType } from './node-errors.ts';
import { kState, ServerMethods, ServerState } from './server.ts';
import type { SocketMethods } from './socket.ts';
import type { SocketClass } from './socket-create.ts';
import { validateNumber } from './validate.ts';

export interface ServerOptions {
  allowHalfOpen?: boolean;
  pauseOnConnect?: boolean;
  noDelay?: boolean;
  keepAlive?: boolean;
  keepAliveInitialDelay?: number;
  highWaterMark?: number;
  blockList?: unknown;
}

export type ConnectionListener = (socket: SocketMethods) => void;

type ServerArguments = [options?: ServerOptions | ConnectionListener | null, listener?: ConnectionListener];

export type ServerClass = Callable<ServerMethods, ServerArguments>;

/** `net.Server` over `context`'s stack. */
export function createServerClass(context: NetContext, Socket: SocketClass): ServerClass {
  const Server: ServerClass = callable<ServerMethods, ServerArguments>({
    name: 'Server',
    methods: ServerMethods,
    initialise: (server, given, listener) =>
      initialise(server, new ServerState(context, Socket), given, listener),
    host: hostNet.Server,
    isForHost: () => false,
  });
  Object.defineProperty(Server.prototype, '_handle', { value: null, writable: true, configurable: true });
  return Server;
}

function initialise(server: ServerMethods, state: ServerState, ...[given, listener]: ServerArguments): void {
  construct(EventEmitter, server);
  if (typeof given === 'function') server.on('connection', given);
  else if (given !== null && given !== undefined && typeof given !== 'object') {
    throw invalidArgType('options', 'Object', given);
  } else if (typeof listener === 'function') server.on('connection', listener);
  const options = typeof given === 'function' ? {} : checkOptions({ ...given });
  server[kState] = state;
  state.blockList = blockListOf(options.blockList);
  server._connections = 0;
  server.allowHalfOpen = options.allowHalfOpen || false;
  server.pauseOnConnect = Boolean(options.pauseOnConnect);
  server.noDelay = Boolean(options.noDelay);
  server.keepAlive = Boolean(options.keepAlive);
  server.keepAliveInitialDelay = Math.trunc((options.keepAliveInitialDelay ?? 0) / 1000) | 0;
  server.highWaterMark = options.highWaterMark ?? getDefaultHighWaterMark(false);
}

function checkOptions(options: ServerOptions): ServerOptions {
  if (options.keepAliveInitialDelay !== undefined) {
    validateNumber(options.keepAliveInitialDelay, 'options.keepAliveInitialDelay');
    options.keepAliveInitialDelay = Math.max(0, options.keepAliveInitialDelay);
  }
  if (options.highWaterMark !== undefined) {
    validateNumber(options.highWaterMark, 'options.highWaterMark');
    if (options.highWaterMark < 0) options.highWaterMark = getDefaultHighWaterMark(false);
  }
  return options;
}
