/**
 * `dgram.Socket` over a stack's UDP. What happens when, and in which order, is
 * that of Node 20's `lib/dgram.js` (MIT, the Node.js contributors).
 */
import { EventEmitter } from 'node:events';
import type { AddressInfo } from 'node:net';
import { IpAddress } from '../address/index.ts';
import type { MembershipOptions, UdpSocket } from '../stack.ts';
import { type SendCallback, sendRequest } from './dgram-arguments.ts';
import { bindFailed, bindTo, connectTo, lookup, onceBound, transmit, whenBound } from './dgram-operations.ts';
import type { DatagramPort } from './dgram-port.ts';
import { BUFFER_FACTOR, type DgramState, kState } from './dgram-state.ts';
import {
  badBufferSize,
  bufferSizeError,
  codeOf,
  errnoException,
  missingArguments,
  stateError,
} from './node-errors.ts';
import { validateNumber, validatePort, validateString } from './validate.ts';

/** What Linux gives a socket that has not asked. */
const DEFAULT_BUFFER = 212_992;

/** The methods of a datagram socket; made by `createDgram`. */
export class DgramMethods extends EventEmitter {
  declare [kState]: DgramState;
  declare type: 'udp4' | 'udp6';

  bind(...args: unknown[]): this {
    runningPort(this);
    const state = this[kState];
    if (state.binding !== 'unbound') throw stateError('ERR_SOCKET_ALREADY_BOUND');
    state.binding = 'binding';
    const callback = args.at(-1);
    if (typeof callback === 'function') onceBound(this, callback as (this: DgramMethods) => void);
    const [first, second] = args;
    const options = (
      typeof first === 'object' && first !== null ? first : { port: first, address: second }
    ) as {
      port?: unknown;
      address?: unknown;
    };
    const address = typeof options.address === 'string' ? options.address : '';
    // What is no number, such as the callback, is no port.
    const port = Number(options.port) || 0;
    const any = this.type === 'udp4' ? '0.0.0.0' : '::';
    lookup(this, address || any, (error, host) => {
      if (error) bindFailed(this, error);
      else bindTo(this, host, port);
    });
    return this;
  }

  connect(port: unknown, ...rest: unknown[]): void {
    const number = validatePort(port, 'Port', false);
    const [first, second] = rest;
    const address = typeof first === 'function' || first === undefined ? '' : first;
    const callback = (typeof first === 'function' ? first : second) as SendCallback | undefined;
    validateString(address, 'address');
    const state = this[kState];
    if (state.connection !== 'none') throw stateError('ERR_SOCKET_DGRAM_IS_CONNECTED');
    state.connection = 'connecting';
    whenBound(this, () => connectTo(this, address, number, callback));
  }

  disconnect(): void {
    const state = this[kState];
    if (state.connection !== 'connected') throw stateError('ERR_SOCKET_DGRAM_NOT_CONNECTED');
    state.port?.disconnect();
    state.connection = 'none';
    state.remote = null;
  }

  send(...args: unknown[]): void {
    const request = sendRequest(args, this[kState].connection === 'connected');
    runningPort(this);
    whenBound(this, () => transmit(this, request));
  }

  sendto(...args: unknown[]): void {
    const [, offset, length, port, address] = args;
    validateNumber(offset, 'offset');
    validateNumber(length, 'length');
    validateNumber(port, 'port');
    validateString(address, 'address');
    this.send(...args);
  }

  close(callback?: () => void): this {
    const state = this[kState];
    if (typeof callback === 'function') this.on('close', callback);
    if (state.queue !== null) {
      state.queue.push(() => this.close());
      return this;
    }
    runningPort(this).close();
    state.port = null;
    process.nextTick(() => this.emit('close'));
    return this;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this[kState].port === null) return;
    await new Promise<void>((resolve) => this.close(resolve));
  }

  // ---------------------------------------------------------------- what it is

  address(): AddressInfo {
    const { local } = runningPort(this);
    if (local === null) throw errnoException('EBADF', 'getsockname');
    return { address: local.address, family: local.family, port: local.port };
  }

  remoteAddress(): AddressInfo {
    runningPort(this);
    const { remote } = this[kState];
    if (remote === null) throw stateError('ERR_SOCKET_DGRAM_NOT_CONNECTED');
    return { address: remote.address, family: remote.family, port: remote.port };
  }

  getSendQueueSize(): number {
    return runningPort(this).sendQueueSize;
  }

  getSendQueueCount(): number {
    return runningPort(this).sendQueueCount;
  }

  // ---------------------------------------------------------------- settings

  setBroadcast(enable: unknown): void {
    settingsOf(this, 'setBroadcast').broadcast = Boolean(enable);
  }

  setTTL(ttl: unknown): number {
    validateNumber(ttl, 'ttl');
    const settings = settingsOf(this, 'setTTL');
    if (!(ttl >= 1 && ttl <= 255)) throw errnoException('EINVAL', 'setTTL');
    settings.hopLimit = Math.trunc(ttl);
    return ttl;
  }

  setMulticastTTL(ttl: unknown): number {
    validateNumber(ttl, 'ttl');
    setMulticast(this, 'setMulticastTTL', (socket) => socket.setMulticastTtl(Math.trunc(ttl)));
    return ttl;
  }

  setMulticastLoopback(enable: unknown): unknown {
    setMulticast(this, 'setMulticastLoopback', (socket) => socket.setMulticastLoopback(Boolean(enable)));
    return enable;
  }

  setMulticastInterface(address: unknown): void {
    runningPort(this);
    validateString(address, 'interfaceAddress');
    setMulticast(this, 'setMulticastInterface', (socket) => {
      // Names are no addresses, though the stack knows them; an IPv6 one has its interface behind a percent sign.
      const isAddress = address.includes('%') || IpAddress.tryParse(address) !== null;
      if (!isAddress) throw errnoException('EINVAL', 'setMulticastInterface');
      try {
        socket.setMulticastInterface(address);
      } catch (error) {
        // As libuv, for which an interface that there is not is none in particular.
        if (!address.startsWith('::%')) throw error;
        socket.setMulticastInterface('::');
      }
    });
  }

  addMembership(group?: unknown, on?: unknown): void {
    changeMembership(this, 'addMembership', group, (socket) =>
      socket.addMembership(String(group), onInterface(on)),
    );
  }

  dropMembership(group?: unknown, on?: unknown): void {
    changeMembership(this, 'dropMembership', group, (socket) =>
      socket.dropMembership(String(group), onInterface(on)),
    );
  }

  addSourceSpecificMembership(source: unknown, group: unknown, on?: unknown): void {
    runningPort(this);
    validateString(source, 'sourceAddress');
    validateString(group, 'groupAddress');
    changeMembership(this, 'addSourceSpecificMembership', group, (socket) =>
      socket.addMembership(group, { source, ...onInterface(on) }),
    );
  }

  dropSourceSpecificMembership(source: unknown, group: unknown, on?: unknown): void {
    runningPort(this);
    validateString(source, 'sourceAddress');
    validateString(group, 'groupAddress');
    changeMembership(this, 'dropSourceSpecificMembership', group, (socket) =>
      socket.dropMembership(group, { source, ...onInterface(on) }),
    );
  }

  setRecvBufferSize(size: unknown): void {
    const port = checkBufferSize(this, size, 'uv_recv_buffer_size');
    this[kState].receiveBufferSize = size as number;
    const { settings } = port;
    if (settings !== null) settings.receiver.limit = (size as number) * BUFFER_FACTOR;
  }

  setSendBufferSize(size: unknown): void {
    checkBufferSize(this, size, 'uv_send_buffer_size');
    this[kState].sendBufferSize = size as number;
  }

  getRecvBufferSize(): number {
    checkBufferSize(this, 0, 'uv_recv_buffer_size');
    const { receiveBufferSize } = this[kState];
    return receiveBufferSize === undefined ? DEFAULT_BUFFER : receiveBufferSize * BUFFER_FACTOR;
  }

  getSendBufferSize(): number {
    checkBufferSize(this, 0, 'uv_send_buffer_size');
    const { sendBufferSize } = this[kState];
    return sendBufferSize === undefined ? DEFAULT_BUFFER : sendBufferSize * BUFFER_FACTOR;
  }

  ref(): this {
    this[kState].port?.ref();
    return this;
  }

  unref(): this {
    this[kState].port?.unref();
    return this;
  }
}

/** Throws unless the socket is open. */
function runningPort(socket: DgramMethods): DatagramPort {
  const { port } = socket[kState];
  if (port === null) throw stateError('ERR_SOCKET_DGRAM_NOT_RUNNING');
  return port;
}

function settingsOf(socket: DgramMethods, syscall: string): NonNullable<DatagramPort['settings']> {
  const port = runningPort(socket);
  if (port.local === null) throw errnoException('EBADF', syscall);
  if (port.settings === null) throw errnoException('ENOTSUP', syscall);
  return port.settings;
}

/** A setting for multicast, on a socket that is bound. */
function setMulticast(socket: DgramMethods, syscall: string, set: (socket: UdpSocket) => void): void {
  const { socket: bound } = runningPort(socket);
  if (bound === null) throw errnoException('EBADF', syscall);
  try {
    set(bound);
  } catch (error) {
    throw errnoException(codeOf(error), syscall);
  }
}

/** As Node's, binds a socket that is not; what then goes wrong is an `error` event. */
function changeMembership(
  socket: DgramMethods,
  syscall: string,
  group: unknown,
  change: (socket: UdpSocket) => void,
): void {
  runningPort(socket);
  if (!group) throw missingArguments('multicastAddress');
  if (IpAddress.tryParse(String(group))?.isMulticast !== true) throw errnoException('EINVAL', syscall);
  if (socket[kState].binding === 'bound') {
    setMulticast(socket, syscall, change);
    return;
  }
  whenBound(socket, () => {
    try {
      setMulticast(socket, syscall, change);
    } catch (error) {
      socket.emit('error', error);
    }
  });
}

function onInterface(on: unknown): MembershipOptions {
  return typeof on === 'string' && on !== '' ? { interface: on } : {};
}

function checkBufferSize(socket: DgramMethods, size: unknown, syscall: string): DatagramPort {
  if (typeof size !== 'number' || size >>> 0 !== size) throw badBufferSize();
  const port = runningPort(socket);
  if (port.local === null) throw bufferSizeError('EBADF', syscall);
  if (size > 2 ** 31 - 1) throw bufferSizeError('EINVAL', syscall);
  return port;
}
