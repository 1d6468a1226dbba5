/** `Socket.connect`: from a host name to one attempt, or to several in turn. */
import dns, { type LookupAddress } from 'node:dns';
import { isIP, type LookupFunction } from 'node:net';
import type { Callback, ConnectOptions } from './arguments.ts';
import { type Destination, establish, openTransport } from './attempt.ts';
import { blockedBy } from './block-list.ts';
import { alternate, connectToAny } from './happy-eyeballs.ts';
import { HostTransport } from './host-transport.ts';
import { familyOf } from './lookup.ts';
import { invalidAddressFamily, invalidArgType, invalidIpAddress, missingArguments } from './node-errors.ts';
import type { SocketMethods } from './socket.ts';
import { attach } from './socket-owner.ts';
import { kState } from './socket-state.ts';
import {
  validateBoolean,
  validateFunction,
  validateInt32,
  validateNumber,
  validatePort,
  validateString,
} from './validate.ts';

/** RFC 8305 §5 says 10 ms at least between attempts. */
export const LEAST_ATTEMPT_MS = 10;

export function connectSocket(
  socket: SocketMethods,
  options: ConnectOptions,
  callback: Callback | null,
): void {
  const state = socket[kState];
  if (callback !== null) socket.once('connect', callback);
  if (socket._parent?.connecting) return;
  // biome-ignore lint/suspicious/noDoubleEquals: null and undefined both mean that none was given
  if (options.port === undefined && options.path == undefined) {
    throw missingArguments('options', 'port', 'path');
  }
  const { write } = Object.getPrototypeOf(socket) as SocketMethods;
  if (socket.write !== write && !state.carriesTls) socket.write = write;
  if (socket.destroyed) {
    state.transport = null;
    state.remoteName = null;
    state.localName = null;
  }
  if (options.path) {
    validateString(options.path, 'options.path');
    connectToPath(socket, options.path);
    return;
  }
  if (state.transport === null) attach(socket, state.context.network.createTransport());
  socket._unrefTimer();
  socket.connecting = true;
  lookupAndConnect(socket, checked(socket, options));
}

/** Options whose values can be relied on. */
interface Checked {
  readonly host: string;
  readonly port: number;
  readonly localAddress: string | undefined;
  readonly localPort: number | undefined;
  /** 4, 6, or undefined (or 0) for any. */
  readonly family: number | undefined;
  readonly hints: number;
  readonly lookup: LookupFunction | undefined;
  readonly autoSelectFamily: boolean;
  readonly attemptTimeoutMs: number;
  /** As given: for error messages. */
  readonly given: ConnectOptions;
}

function checked(socket: SocketMethods, options: ConnectOptions): Checked {
  const { context } = socket[kState];
  const {
    localAddress,
    localPort,
    port,
    autoSelectFamily,
    autoSelectFamilyAttemptTimeout: attempt,
  } = options;
  if (localAddress && !isIP(localAddress)) throw invalidIpAddress(localAddress);
  if (localPort) validateNumber(localPort, 'options.localPort');
  if (port !== undefined) {
    if (typeof port !== 'number' && typeof port !== 'string') {
      throw invalidArgType('options.port', ['number', 'string'], port);
    }
    validatePort(port);
  }
  // Null is as good as none.
  const isGiven = <T>(value: T): value is NonNullable<T> => value !== undefined && value !== null;
  if (isGiven(autoSelectFamily)) validateBoolean(autoSelectFamily, 'options.autoSelectFamily');
  if (isGiven(attempt)) validateInt32(attempt, 'options.autoSelectFamilyAttemptTimeout', 1);
  return {
    host: options.host || 'localhost',
    port: Number(port) | 0,
    localAddress: localAddress || undefined,
    localPort: localPort || undefined,
    family: options.family === undefined ? undefined : familyOf(options.family),
    hints: options.hints ?? 0,
    lookup: options.lookup ?? undefined,
    autoSelectFamily: isGiven(autoSelectFamily) ? autoSelectFamily : context.autoSelectFamily,
    attemptTimeoutMs: isGiven(attempt)
      ? Math.max(LEAST_ATTEMPT_MS, attempt)
      : context.autoSelectFamilyAttemptTimeoutMs,
    given: options,
  };
}

/** Local sockets are the host's. */
function connectToPath(socket: SocketMethods, path: string): void {
  const transport = new HostTransport();
  attach(socket, transport);
  socket._unrefTimer();
  socket.connecting = true;
  transport.connectPath(path, (error) => {
    if (socket.destroyed || socket[kState].transport !== transport) return;
    if (error === null) establish(socket, transport);
    else socket.destroy(error);
  });
}

function fail(socket: SocketMethods, error: Error): void {
  // Whoever just called `connect` has had no chance to listen for errors yet.
  process.nextTick(() => socket.destroy(error));
}

function lookupAndConnect(socket: SocketMethods, options: Checked): void {
  const { context } = socket[kState];
  const { host, family } = options;
  const literal = isIP(host);
  if (literal !== 0) {
    process.nextTick(() => {
      if (socket.connecting) connectToOne(socket, host, literal, options);
    });
    return;
  }
  if (options.lookup !== undefined) validateFunction(options.lookup, 'options.lookup');
  const lookup = options.lookup ?? context.lookup;
  socket._host = host;
  const isAnyFamily = family !== 4 && family !== 6;
  const hints = isAnyFamily && options.hints === 0 ? dns.ADDRCONFIG : options.hints;
  if (isAnyFamily && options.localAddress === undefined && options.autoSelectFamily) {
    lookup(host, { family, hints, all: true } as dns.LookupAllOptions, (error, addresses) => {
      if (socket.connecting) onAddresses(socket, options, error, addresses as LookupAddress[]);
    });
    return;
  }
  lookup(host, { family, hints } as dns.LookupOptions, (error, address, addressFamily) => {
    socket.emit('lookup', error, address, addressFamily, host);
    // A listener may have destroyed it.
    if (!socket.connecting) return;
    if (error) fail(socket, error);
    else if (isUsable(socket, options, address, addressFamily)) {
      socket._unrefTimer();
      connectToOne(socket, address as string, addressFamily as number, options);
    }
  });
}

/** Fails the socket if a lookup has answered nonsense. */
function isUsable(socket: SocketMethods, options: Checked, address: unknown, family: unknown): boolean {
  if (typeof address !== 'string' || isIP(address) === 0) fail(socket, invalidIpAddress(address));
  else if (family !== 4 && family !== 6) {
    fail(socket, invalidAddressFamily(family, options.given.host, options.given.port));
  } else return true;
  return false;
}

function onAddresses(
  socket: SocketMethods,
  options: Checked,
  error: NodeJS.ErrnoException | null,
  addresses: readonly LookupAddress[],
): void {
  const { host } = options;
  if (error) {
    socket.emit('lookup', error, undefined, undefined, host);
    fail(socket, error);
    return;
  }
  for (const { address, family } of addresses) {
    socket.emit('lookup', error, address, family, host);
    if (!socket.connecting) return;
  }
  const usable = addresses.filter(
    ({ address, family }) => isIP(address) !== 0 && (family === 4 || family === 6),
  );
  if (usable.length === 0) {
    isUsable(socket, options, addresses[0]?.address, addresses[0]?.family);
    return;
  }
  const destinations = alternate(usable);
  const [first] = destinations;
  socket._unrefTimer();
  if (destinations.length === 1) {
    connectToOne(socket, first!.address, first!.family, options);
    return;
  }
  connectToAny(socket, destinations, {
    port: options.port,
    localPort: options.localPort,
    timeoutMs: options.attemptTimeoutMs,
  });
}

function connectToOne(socket: SocketMethods, address: string, family: number, options: Checked): void {
  const { port, localAddress, localPort } = options;
  const blocked = blockedBy(socket[kState].blockList, address, family);
  if (blocked !== null) {
    socket.destroy(blocked);
    return;
  }
  const destination: Destination = { address, family, port, localAddress, localPort };
  const transport = socket[kState].transport!;
  const refused = openTransport(socket, transport, destination, (error) => {
    if (socket.destroyed || socket[kState].transport !== transport) return;
    if (error === null) {
      establish(socket, transport);
      return;
    }
    socket.connecting = false;
    socket[kState].localName = null;
    socket.emit('connectionAttemptFailed', address, port, family, error);
    socket.destroy(error);
  });
  if (refused !== null) socket.destroy(refused);
}
