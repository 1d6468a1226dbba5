import { type ErrorCode, errnoException } from './node-errors.ts';
import type { SocketMethods } from './socket.ts';
import { kState } from './socket-state.ts';
import type { Transport, TransportOwner } from './transport.ts';

/** Gives `socket` a transport, and takes back a `destroy` that ended the one before. */
export function attach(socket: SocketMethods, transport: Transport): void {
  const state = socket[kState];
  (socket as unknown as { _undestroy(): void })._undestroy();
  state.transport = transport;
  state.localName = null;
  const made: unknown = state.userBufferMaker?.();
  if (made instanceof Uint8Array) state.userBuffer = made;
  if (state.userBuffer !== null) {
    transport.lends = true;
    transport.maxPiece = state.userBuffer.length;
  }
  transport.owner = new SocketOwner(socket, transport);
}

/** What Node's streams keep, as far as `push` looks at it. */
interface ReadableInternals {
  readonly flowing: boolean | null;
  readonly length: number;
  readonly sync: boolean;
  readonly reading: boolean;
  readonly dataEmitted: boolean;
  readonly decoder: unknown;
  readonly pipes: readonly unknown[];
}

/**
 * Whether `push` would emit 'data' and do no more than ask for the next bytes,
 * in a tick of its own: who reads from a transport has asked already, so all of
 * that can be left out. A fifth of a small HTTP request.
 */
function goesStraight(socket: SocketMethods): boolean {
  const state = (socket as unknown as { _readableState: ReadableInternals })._readableState;
  return (
    state.flowing === true &&
    state.length === 0 &&
    state.reading &&
    !state.sync &&
    // The first chunk makes it so.
    state.dataEmitted &&
    state.decoder === null &&
    state.pipes.length === 0 &&
    socket.listenerCount('data') > 0 &&
    socket.listenerCount('readable') === 0
  );
}

/** Puts what a transport reads into its socket's stream. */
class SocketOwner implements TransportOwner {
  readonly #socket: SocketMethods;
  readonly #transport: Transport;

  constructor(socket: SocketMethods, transport: Transport) {
    this.#socket = socket;
    this.#transport = transport;
  }

  data(chunk: Buffer): void {
    const socket = this.#socket;
    socket._unrefTimer();
    if (socket.destroyed) return;
    if (goesStraight(socket)) {
      socket.emit('data', chunk);
    } else if (!socket.push(chunk)) {
      this.#transport.readStop();
    }
  }

  /** `onread`: into the user's own buffer, whose callback may answer false to stop reading. */
  lent(piece: Uint8Array): void {
    const socket = this.#socket;
    socket._unrefTimer();
    if (socket.destroyed) return;
    const state = socket[kState];
    const { userBuffer, userCallback, userBufferMaker } = state;
    userBuffer!.set(piece);
    const wantsMore: unknown = userCallback!.call(socket, piece.length, userBuffer!);
    if (wantsMore === false) this.#transport.readStop();
    const next: unknown = userBufferMaker?.();
    if (next instanceof Uint8Array) {
      state.userBuffer = next;
      this.#transport.maxPiece = next.length;
    }
  }

  end(): void {
    const socket = this.#socket;
    socket._unrefTimer();
    if (socket.readableEnded) return;
    socket.push(null);
    socket.read(0);
  }

  failed(error: ErrorCode): void {
    this.#socket._unrefTimer();
    this.#socket.destroy(errnoException(error, 'read'));
  }
}
