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
  if (entries.length === 1 && typeof first!.chunk === 'string') {
    return { chunks: [Buffer.from(first!.chunk, first!.encoding)], owned: true };
  }
  const chunks = entries.map(({ chunk, encoding }) =>
    typeof chunk === 'string' ? Buffer.from(chunk, encoding) : chunk,
  );
  if (chunks.length === 1 || byteLength(entries) > GATHER_BYTES) return { chunks, owned: false };
  return { chunks: [Buffer.concat(chunks)], owned: true };
}
