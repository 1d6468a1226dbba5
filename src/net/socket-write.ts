import { errnoException, stateError } from './node-errors.ts';
import type { SocketMethods, StreamCallback } from './socket.ts';
import { kState } from './socket-state.ts';

export interface WriteEntry {
  readonly chunk: Buffer | string;
  readonly encoding: BufferEncoding;
}

/** Several small chunks become one: fewer pieces for the stack to hold and cut. */
const GATHER_BYTES = 65_536;

export function byteLength(entries: readonly WriteEntry[]): number {
  let bytes = 0;
  for (const { chunk, encoding } of entries) {
    bytes += typeof chunk === 'string' ? Buffer.byteLength(chunk, encoding) : chunk.length;
  }
  return bytes;
}

/** Writes `entries`, now or when the socket is connected. */
export function writeToTransport(
  socket: SocketMethods,
  entries: readonly WriteEntry[],
  callback: StreamCallback,
): void {
  const state = socket[kState];
  if (socket.connecting) {
    state.pendingBytes = byteLength(entries);
    const onClose = (): void => callback(stateError('ERR_SOCKET_CLOSED_BEFORE_CONNECTION'));
    socket.once('connect', () => {
      socket.off('close', onClose);
      writeToTransport(socket, entries, callback);
    });
    socket.once('close', onClose);
    return;
  }
  state.pendingBytes = 0;
  const { transport, context } = state;
  if (transport === null) {
    callback(stateError('ERR_SOCKET_CLOSED'));
    return;
  }
  socket._unrefTimer();
  const { chunks, owned } = gather(entries);
  const outcome = transport.write(chunks, owned || context.borrowWrites, (error) => {
    if (socket.destroyed) {
      callback(null);
      return;
    }
    if (error !== null) {
      callback(errnoException(error, 'write'));
      return;
    }
    socket._unrefTimer();
    state.lastWriteQueueSize = 0;
    callback(null);
  });
  if (outcome === 'pending') state.lastWriteQueueSize = transport.writeQueueSize;
  else callback(outcome === null ? null : errnoException(outcome, 'write'));
}

/** Strings are encoded and small chunks joined: such memory is ours alone. */
function gather(entries: readonly WriteEntry[]): { chunks: Uint8Array[]; owned: boolean } {
  const [first] = entries;
  if (entries.length === 1) {
    const { chunk, encoding } = first!;
    if (typeof chunk !== 'string') return { chunks: [chunk], owned: false };
    return { chunks: [Buffer.from(chunk, encoding)], owned: true };
  }
  const bytes = byteLength(entries);
  if (bytes > GATHER_BYTES) {
    const chunks = entries.map(({ chunk, encoding }) =>
      typeof chunk === 'string' ? Buffer.from(chunk, encoding) : chunk,
    );
    return { chunks, owned: false };
  }
  const joined = Buffer.allocUnsafe(bytes);
  let at = 0;
  for (const { chunk, encoding } of entries) {
    at += typeof chunk === 'string' ? joined.write(chunk, at, encoding) : chunk.copy(joined, at);
  }
  // What is no base64 or hex counts as length and decodes to nothing.
  return { chunks: [joined.subarray(0, at)], owned: true };
}
