/**
 * Puts a `createNet` in the place of the process's own `node:net`, so that
 * programs and packages that know nothing of it run on the stack.
 */
import hostDgram from 'node:dgram';
import http from 'node:http';
import http2 from 'node:http2';
import { syncBuiltinESMExports } from 'node:module';
import hostNet, { type Socket, type SocketConnectOpts, type SocketConstructorOpts } from 'node:net';
import tls from 'node:tls';
import type { NodeDgram } from './create-dgram.ts';
import type { NodeNet } from './create-net.ts';
import { errnoException } from './node-errors.ts';
import type { SocketMethods } from './socket.ts';
import { kState } from './socket-state.ts';
import { mendStreamSocket } from './stream-socket.ts';

type AnyFunction = ((...args: unknown[]) => unknown) & { prototype: object };

/**
 * Replaces what `node:net` exports and what Node's own modules have taken from
 * it: `http`, `http2` and `tls` servers, the agents of `http` and `https`, `tls.connect`.
 * For `require` and `import`, before or after. There is no way back.
 */
export function installNet(net: NodeNet): void {
  const host = hostNet as unknown as Record<string, unknown>;
  for (const [name, value] of Object.entries(net)) {
    if (host[name] === value) continue;
    Object.defineProperty(host, name, { value, configurable: true, enumerable: true, writable: true });
  }
  derive(http.Server, net.Server);
  derive(tls.Server, net.Server);
  // Its class is not exported. An HTTP/2 server over TLS is a `tls.Server` already.
  derive(http2.createServer().constructor, net.Server);
  (http.Agent.prototype as unknown as { createConnection: unknown }).createConnection = net.createConnection;
  installTlsConnect(net);
  adoptByTls(net);
  mendStreamSocket(net);
  syncBuiltinESMExports();
}

/** Replaces what `node:dgram` exports. There is no way back. */
export function installDgram(dgram: NodeDgram): void {
  for (const [name, value] of Object.entries(dgram)) {
    Object.defineProperty(hostDgram, name, { value, configurable: true, enumerable: true, writable: true });
  }
  syncBuiltinESMExports();
}

/** Makes `Derived`, which Node has derived from its own class, derive from ours. */
function derive(Derived: unknown, Base: unknown): void {
  const derived = Derived as AnyFunction;
  const base = Base as AnyFunction;
  Object.setPrototypeOf(derived.prototype, base.prototype);
  Object.setPrototypeOf(derived, base);
}

type TlsOptions = tls.ConnectionOptions & { path?: string | undefined };

/** A TLS socket is the host's own kind, over a connection of the stack. */
function installTlsConnect(net: NodeNet): void {
  const connect = tls.connect as unknown as (options: object, callback?: unknown) => tls.TLSSocket;
  const overStack = (...args: unknown[]): tls.TLSSocket => {
    const { options, callback } = tlsArguments(args);
    if (options.socket || options.path) return connect(options, callback);
    // A signal ends the TLS socket, which ends what is below it.
    const { onread, signal, ...rest } = options as TlsOptions & { onread?: unknown; signal?: AbortSignal };
    const socket = new net.Socket(rest as SocketConstructorOpts);
    // What it does not like about the options, it says before anybody is called.
    const secure = connect({ ...options, socket }, callback);
    if (options.timeout) secure.setTimeout(options.timeout);
    // An aborted signal has ended it already.
    if (!signal?.aborted && !secure.destroyed) socket.connect(rest as unknown as SocketConnectOpts);
    return secure;
  };
  Object.defineProperty(tls, 'connect', {
    value: overStack,
    configurable: true,
    enumerable: true,
    writable: true,
  });
}

/** What Node puts under a TLS socket that is over a stream without a native handle. */
interface StreamHandle {
  [method: string]: unknown;
}

/**
 * A TLS socket takes a `net.Socket` without a native handle for one that is not
 * connected yet, and asks the handle under it, which knows nothing, for
 * addresses and settings.
 */
function adoptByTls(net: NodeNet): void {
  const prototype = tls.TLSSocket.prototype as unknown as {
    _init(socket: unknown, wrap: { _handle: StreamHandle } | null): void;
  };
  const { _init: init } = prototype;
  prototype._init = function (this: tls.TLSSocket & { connecting: boolean }, socket, wrap) {
    Reflect.apply(init, this, [socket, wrap]);
    if (!(socket instanceof net.Socket) || socket instanceof tls.TLSSocket || !wrap) return;
    if (kState in socket) {
      lend(wrap._handle, socket as unknown as SocketMethods);
      // When it ends is for TLS to say, which answers the peer's end with an alert of its own.
      (socket as unknown as SocketMethods)[kState].carriesTls = true;
      socket.allowHalfOpen = true;
      ignoreAfterEnd(socket);
      endTogether(socket, this);
    }
    if (!socket.pending) this.connecting = false;
  };
}

/** As with a native handle: closed, it takes its TLS along; and a TLS socket that is destroyed connects no more. */
function endTogether(socket: Socket, secure: tls.TLSSocket): void {
  socket.once('close', () => secure.destroy());
  const { _destroy: destroy } = secure;
  secure._destroy = (error, callback) => {
    if (socket.connecting) socket.destroy();
    Reflect.apply(destroy, secure, [error, callback]);
  };
}

/**
 * TLS may have something to say, such as that it has closed, when the writing side was ended. A native handle fails
 * that write and nothing else; a stream would fail as a whole.
 */
function ignoreAfterEnd(socket: Socket): void {
  const { write } = socket;
  socket.write = (...args: unknown[]): boolean => {
    if (!socket.writableEnded) return Reflect.apply(write, socket, args) as boolean;
    const callback = args.at(-1);
    if (typeof callback === 'function') process.nextTick(callback, errnoException('EPIPE', 'write'));
    return false;
  };
}

function lend(handle: StreamHandle, socket: SocketMethods): void {
  Object.assign(handle, {
    getpeername: (out: object) => void Object.assign(out, socket._getpeername()),
    getsockname: (out: object) => void Object.assign(out, socket._getsockname()),
    setNoDelay: (noDelay: boolean) => void socket.setNoDelay(noDelay),
    setKeepAlive: (enable: boolean, delaySeconds: number) =>
      void socket.setKeepAlive(enable, delaySeconds * 1000),
    ref: () => void socket.ref(),
    unref: () => void socket.unref(),
  });
}

/** `(options[, cb])`, `(port[, host][, options][, cb])`, `(path[, options][, cb])`. */
function tlsArguments(args: readonly unknown[]): {
  options: TlsOptions;
  callback: unknown;
} {
  const options: Record<string, unknown> = {};
  const [first, second] = args;
  if (typeof first !== 'object' || first === null) {
    if (typeof first === 'string' && Number.isNaN(Number(first))) options.path = first;
    else options.port = first;
    if (typeof second === 'string') options.host = second;
  }
  for (const arg of args) if (typeof arg === 'object' && arg !== null) Object.assign(options, arg);
  const last = args.at(-1);
  return { options, callback: typeof last === 'function' ? last : undefined };
}
