import hostDgram, { type SocketOptions, type SocketType } from 'node:dgram';
import { EventEmitter } from 'node:events';
import type { Stack } from '../stack.ts';
import { callable, construct } from './callable.ts';
import { DgramMethods } from './dgram.ts';
import { DatagramPort } from './dgram-port.ts';
import { type DgramLookup, DgramState, kState } from './dgram-state.ts';
import { createLookup } from './lookup.ts';
import { networkOf } from './network-of.ts';
import { badSocketType } from './node-errors.ts';
import { validateAbortSignal, validateFunction, validateUint32 } from './validate.ts';

/** What `node:dgram` exports. */
export type NodeDgram = typeof import('node:dgram');

export interface DgramOptions {
  /** Resolves host names instead of the stack: as `dns.lookup` with a family. */
  readonly lookup?: DgramLookup;
}

type Arguments = [type?: SocketType | SocketOptions, listener?: (...args: unknown[]) => void];

/**
 * `stack` with the face of `node:dgram`, as in Node 20.
 *
 * Not there: open file descriptors. `setBroadcast` and `setTTL` need a
 * `DirectStack`. A socket hears a multicast group only if it has joined it
 * itself, where Linux lets it hear what any socket of the host has joined.
 */
export function createDgram(stack: Stack, options: DgramOptions = {}): NodeDgram {
  const resolve = createLookup(networkOf(stack));
  const lookup: DgramLookup =
    options.lookup ?? ((hostname, family, callback) => resolve(hostname, { family }, callback));
  const Socket = callable<DgramMethods, Arguments>({
    name: 'Socket',
    methods: DgramMethods,
    initialise: (socket, type, listener) => initialise(socket, stack, lookup, type, listener),
    host: hostDgram.Socket,
    isForHost: () => false,
  });
  function createSocket(...args: Arguments): DgramMethods {
    return new Socket(...args);
  }
  const dgram = { Socket, createSocket };
  // The types of `node:dgram` know nothing of how it is made.
  return dgram as unknown as NodeDgram;
}

function initialise(
  socket: DgramMethods,
  stack: Stack,
  defaultLookup: DgramLookup,
  ...[given, listener]: Arguments
): void {
  construct(EventEmitter, socket);
  const options: Partial<SocketOptions> =
    typeof given === 'object' && given !== null ? given : given === undefined ? {} : { type: given };
  const { type, lookup, recvBufferSize, sendBufferSize, signal, reuseAddr, ipv6Only } = options;
  if (recvBufferSize) validateUint32(recvBufferSize, 'options.recvBufferSize');
  if (sendBufferSize) validateUint32(sendBufferSize, 'options.sendBufferSize');
  if (lookup !== undefined) validateFunction(lookup, 'lookup');
  if (type !== 'udp4' && type !== 'udp6') throw badSocketType();
  const state = new DgramState(
    new DatagramPort(stack.udp),
    (lookup as DgramLookup | undefined) ?? defaultLookup,
  );
  state.receiveBufferSize = recvBufferSize || undefined;
  state.sendBufferSize = sendBufferSize || undefined;
  state.reuseAddress = Boolean(reuseAddr);
  state.ipv6Only = Boolean(ipv6Only);
  socket[kState] = state;
  socket.type = type;
  if (typeof listener === 'function') socket.on('message', listener);
  if (signal !== undefined) watchSignal(socket, signal);
}

function watchSignal(socket: DgramMethods, signal: AbortSignal): void {
  validateAbortSignal(signal, 'options.signal');
  const onAbort = (): void => {
    if (socket[kState].port !== null) socket.close();
  };
  if (signal.aborted) {
    onAbort();
    return;
  }
  signal.addEventListener('abort', onAbort, { once: true });
  socket.once('close', () => signal.removeEventListener('abort', onAbort));
}
