import diagnostics from 'node:diagnostics_channel';
import hostNet from 'node:net';
import { Duplex } from 'node:stream';
import { normalize, type SocketOptions } from './arguments.ts';
import { blockListOf } from './block-list.ts';
import { admitHostInstances, type Callable, callable, construct } from './callable.ts';
import type { NetContext } from './context.ts';
import { endedByPeer, invalidArgValue } from './node-errors.ts';
import { SocketMethods, type StreamCallback } from './socket.ts';
import { attach } from './socket-owner.ts';
import { kState, SocketState } from './socket-state.ts';
import type { Transport } from './transport.ts';
import { validateAbortSignal, validateNumber } from './validate.ts';

/** Options as a server or a program gives them. */
export interface CreateOptions extends SocketOptions {
  /** A connection that is there. */
  readonly transport?: Transport;
  readonly pauseOnCreate?: boolean;
  readonly manualStart?: boolean;
}

export type SocketClass = Callable<SocketMethods, [options?: CreateOptions | number]>;

const clientSocketChannel = diagnostics.channel('net.client.socket');

/** `net.Socket` over `context`'s stack. */
export function createSocketClass(context: NetContext): SocketClass {
  const { Socket: HostSocket } = hostNet;
  const Socket: SocketClass = callable<SocketMethods, [options?: CreateOptions | number]>({
    name: 'Socket',
    methods: SocketMethods,
    initialise: (socket, options) => initialise(socket, context, options),
    host: HostSocket,
    isForHost,
  });
  admitHostInstances(Socket, HostSocket);
  Object.defineProperty(Socket.prototype, '_handle', { value: null, writable: true, configurable: true });
  return Socket;
}

/** `net.connect`. */
export function createConnect(Socket: SocketClass): (...args: unknown[]) => SocketMethods {
  return (...args) => {
    const normalized = normalize<CreateOptions>(args);
    const [options, callback] = normalized;
    const socket = new Socket(options);
    if (clientSocketChannel.hasSubscribers) clientSocketChannel.publish({ socket });
    if (options.timeout) socket.setTimeout(options.timeout);
    // One of the host's, for a descriptor, does not know what is normalized by us.
    return kState in socket
      ? socket.connect(normalized)
      : (socket as SocketMethods).connect(options, callback);
  };
}

/** Descriptors and handles are the host's: pipes to child processes, terminals, its sockets. */
function isForHost(options?: CreateOptions | number): boolean {
  if (typeof options !== 'object' || options === null) return typeof options === 'number';
  return options.fd !== undefined || Boolean(options.handle);
}

function initialise(socket: SocketMethods, context: NetContext, given?: CreateOptions | number): void {
  const options: CreateOptions = { ...(given as CreateOptions | undefined) };
  checkOptions(options);
  const state = new SocketState(context, options);
  state.blockList = blockListOf(options.blockList);
  socket[kState] = state;
  socket.connecting = false;
  socket._hadError = false;
  socket._parent = null;
  socket._host = null;
  construct(Duplex, socket, {
    ...options,
    allowHalfOpen: Boolean(options.allowHalfOpen),
    // 'close' comes when the transport is closed, with whether there was an error.
    emitClose: false,
    autoDestroy: true,
    decodeStrings: false,
  });
  takeOnread(state, options.onread);
  socket.on('end', onReadableEnd);
  const { transport } = options;
  if (transport !== undefined) {
    attach(socket, transport);
    if (options.pauseOnCreate) socket.pause();
    else if (options.readable !== false && !options.manualStart) socket.read(0);
  }
  if (options.signal !== undefined) watchSignal(state, options.signal);
  socket.server = null;
  socket._server = null;
}

function checkOptions(options: CreateOptions): void {
  if (options.objectMode) {
    throw invalidArgValue('options.objectMode', options.objectMode, 'is not supported');
  }
  if (options.readableObjectMode || options.writableObjectMode) {
    const name = options.readableObjectMode ? 'readableObjectMode' : 'writableObjectMode';
    throw invalidArgValue(`options.${name}`, options[name], 'is not supported');
  }
  if (options.keepAliveInitialDelay !== undefined) {
    validateNumber(options.keepAliveInitialDelay, 'options.keepAliveInitialDelay');
    options.keepAliveInitialDelay = Math.max(0, options.keepAliveInitialDelay);
  }
}

function takeOnread(state: SocketState, onread: CreateOptions['onread']): void {
  if (typeof onread !== 'object' || onread === null || typeof onread.callback !== 'function') return;
  const { buffer, callback } = onread;
  if (typeof buffer === 'function') state.userBufferMaker = buffer;
  else if (buffer instanceof Uint8Array) state.userBuffer = buffer;
  else return;
  state.userCallback = callback;
}

/** The stream destroys itself when the signal aborts; this keeps further attempts to connect from being made. */
function watchSignal(state: SocketState, signal: AbortSignal): void {
  validateAbortSignal(signal, 'options.signal');
  const onAbort = (): void => {
    state.aborted = true;
  };
  process.nextTick(() => {
    if (signal.aborted) onAbort();
    else signal.addEventListener('abort', onAbort, { once: true });
  });
}

/** The peer has ended: whoever writes now hears so, and not that he has ended himself. */
function onReadableEnd(this: SocketMethods): void {
  if (!this.allowHalfOpen) (this as { write: unknown }).write = writeAfterEnd;
}

function writeAfterEnd(
  this: SocketMethods,
  chunk: unknown,
  encoding?: BufferEncoding | StreamCallback,
  callback?: StreamCallback,
): boolean {
  if (!this.writableEnded) {
    return Reflect.apply(Duplex.prototype.write, this, [chunk, encoding, callback]) as boolean;
  }
  const error = endedByPeer();
  const told = typeof encoding === 'function' ? encoding : callback;
  if (typeof told === 'function') process.nextTick(told, error);
  this.destroy(error);
  return false;
}
