/** One attempt to connect to one address. */
import { type ErrorCode, hostPortException, type SystemError } from './node-errors.ts';
import type { SocketMethods } from './socket.ts';
import { kState } from './socket-state.ts';
import type { Transport } from './transport.ts';

export interface Destination {
  readonly address: string;
  readonly family: number;
  readonly port: number;
  readonly localAddress: string | undefined;
  readonly localPort: number | undefined;
}

/** Tells `done` how the attempt ends; an error that is known at once is answered instead. */
export function openTransport(
  socket: SocketMethods,
  transport: Transport,
  destination: Destination,
  done: (error: SystemError | null) => void,
): SystemError | null {
  const { address, family, port, localAddress, localPort } = destination;
  if (localAddress !== undefined || localPort !== undefined) {
    const from = localAddress ?? anyOf(family);
    const failed = transport.bind(from, localPort ?? 0);
    if (failed !== null) return hostPortException(failed, 'bind', from, localPort);
  }
  socket.emit('connectionAttempt', address, port, family);
  const failed = transport.connect(address, port, (code) => {
    done(code === null ? null : attemptError(code, destination));
  });
  if (failed === null) return null;
  const { local } = transport;
  const shown = local === null ? `${anyOf(family)}:0` : `${local.address}:${local.port}`;
  return hostPortException(failed, 'connect', address, port, shown);
}

function anyOf(family: number): string {
  return family === 4 ? '0.0.0.0' : '::';
}

export function attemptError(code: ErrorCode, destination: Destination): SystemError {
  const { address, family, port, localAddress, localPort } = destination;
  if (localPort === undefined) return hostPortException(code, 'connect', address, port);
  const from = localAddress ?? anyOf(family);
  const error = hostPortException(code, 'connect', address, port, `${from}:${localPort}`);
  return Object.assign(error, { localAddress: from, localPort });
}

/** The connection is there. */
export function establish(socket: SocketMethods, transport: Transport): void {
  const state = socket[kState];
  socket.connecting = false;
  state.localName = null;
  socket._unrefTimer();
  if (state.noDelay) transport.setNoDelay(true);
  if (state.keepAlive) transport.setKeepAlive(true, state.keepAliveDelaySeconds);
  socket.emit('connect');
  socket.emit('ready');
  // Starts the flow, or meets an immediate end; takes no bytes.
  if (!socket.isPaused()) socket.read(0);
}
