import hostNet from 'node:net';
import type { Stack } from '../stack.ts';
import { LEAST_ATTEMPT_MS } from './connect.ts';
import type { NetContext } from './context.ts';
import { createLookup } from './lookup.ts';
import { networkOf } from './network-of.ts';
import type { ConnectionListener, ServerOptions } from './server-create.ts';
import { createServerClass } from './server-create.ts';
import { createConnect, createSocketClass } from './socket-create.ts';
import { validateBoolean, validateInt32 } from './validate.ts';

/** What `node:net` exports. */
export type NodeNet = typeof import('node:net');

export interface NetOptions {
  /** Resolves host names instead of the stack; the signature of `dns.lookup`. */
  readonly lookup?: hostNet.LookupFunction;
  /**
   * Sends buffers that are given to `write` from where they are, without the
   * copy that a kernel makes: faster for large ones, but they must not be
   * changed until the peer has acknowledged them. Default false.
   */
  readonly borrowWrites?: boolean;
}

/**
 * `stack` with the face of `node:net`, as in Node 20: what is written for the
 * one runs on the other.
 *
 * ```ts
 * const net = createNet(stack);
 * net.createServer((socket) => socket.pipe(socket)).listen(7);
 * ```
 *
 * Local (Unix domain) sockets, descriptors and handles are the host's. Not there:
 * handing sockets to other processes.
 */
export function createNet(stack: Stack, options: NetOptions = {}): NodeNet {
  const network = networkOf(stack);
  const context: NetContext = {
    network,
    lookup: options.lookup ?? createLookup(network),
    borrowWrites: options.borrowWrites ?? false,
    // What the command line says.
    autoSelectFamily: hostNet.getDefaultAutoSelectFamily(),
    autoSelectFamilyAttemptTimeoutMs: hostNet.getDefaultAutoSelectFamilyAttemptTimeout(),
  };
  const Socket = createSocketClass(context);
  const Server = createServerClass(context, Socket);
  const connect = createConnect(Socket);
  function createServer(given?: ServerOptions | ConnectionListener, listener?: ConnectionListener): unknown {
    return new Server(given, listener);
  }
  const { BlockList, SocketAddress, isIP, isIPv4, isIPv6 } = hostNet;
  const net = {
    BlockList,
    SocketAddress,
    connect,
    createConnection: connect,
    createServer,
    isIP,
    isIPv4,
    isIPv6,
    Server,
    Socket,
    Stream: Socket,
    getDefaultAutoSelectFamily: () => context.autoSelectFamily,
    setDefaultAutoSelectFamily: (value: unknown) => {
      validateBoolean(value, 'value');
      context.autoSelectFamily = value;
    },
    getDefaultAutoSelectFamilyAttemptTimeout: () => context.autoSelectFamilyAttemptTimeoutMs,
    setDefaultAutoSelectFamilyAttemptTimeout: (value: unknown) => {
      validateInt32(value, 'value', 1);
      context.autoSelectFamilyAttemptTimeoutMs = Math.max(LEAST_ATTEMPT_MS, value);
    },
  };
  // The types of `node:net` know nothing of how it is made.
  return net as unknown as NodeNet;
}
