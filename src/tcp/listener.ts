import type { IpAddress } from '../address/index.ts';
import type { TcpConfig } from './config.ts';
import type { Connection } from './connection.ts';

const DEFAULT_BACKLOG = 511;

/**
 * Connections in no order, each of which knows its place. Not a `Set`: V8 makes a
 * new one of its tables as members come and go, and a table that was left, once it
 * is old, keeps what was in it until the next full collection. Every connection
 * would live for seconds after its end, and be moved twice.
 */
class Crowd {
  readonly #members: Connection[] = [];

  get size(): number {
    return this.#members.length;
  }

  add(connection: Connection): void {
    connection.awake.place = this.#members.push(connection) - 1;
  }

  /** False if it is not among them. */
  delete(connection: Connection): boolean {
    const members = this.#members;
    const { place } = connection.awake;
    if (place < 0 || members[place] !== connection) return false;
    const last = members.pop()!;
    if (last !== connection) {
      members[place] = last;
      last.awake.place = place;
    }
    connection.awake.place = -1;
    return true;
  }

  /** All of them, safe to change the crowd by. */
  all(): Connection[] {
    return [...this.#members];
  }
}

/** A port that takes connections: half-open ones, and those that wait to be accepted. */
export class ListenSocket {
  /** Null: every address of ours; unspecified: every one of its family. */
  readonly address: IpAddress | null;
  readonly port: number;
  readonly config: TcpConfig;
  readonly #backlog: number;
  readonly #halfOpen = new Crowd();
  readonly #ready: Connection[] = [];
  /** Accepted before their handshake was done (RFC 7413 §5.1 bounds them). */
  readonly #fastOpen = new Crowd();
  readonly #onClose: (socket: ListenSocket) => void;
  #closed = false;
  /** A connection can be accepted. */
  onAcceptable: (() => void) | null = null;

  constructor(
    address: IpAddress | null,
    port: number,
    backlog: number | undefined,
    config: TcpConfig,
    onClose: (socket: ListenSocket) => void,
  ) {
    this.address = address;
    this.port = port;
    this.config = config;
    this.#backlog = Math.max(1, backlog ?? DEFAULT_BACKLOG);
    this.#onClose = onClose;
  }

  /** Half-open connections. */
  get halfOpen(): number {
    return this.#halfOpen.size;
  }

  get waiting(): number {
    return this.#ready.length;
  }

  /** Whether one more finished handshake can be kept. */
  get hasRoom(): boolean {
    return this.#ready.length < this.#backlog;
  }

  /** Whether a SYN is answered at all. */
  get takesSyn(): boolean {
    return !this.#closed && this.hasRoom && this.#halfOpen.size < this.config.synQueue;
  }

  /** Whether a SYN that finds the queue full is answered by a cookie. */
  get answersByCookie(): boolean {
    return !this.#closed && this.hasRoom && this.config.synCookies;
  }

  /** Whether one more connection may be handed over before its handshake is done. */
  get takesFastOpen(): boolean {
    return this.#fastOpen.size < this.config.fastOpenQueue;
  }

  /** A SYN that carried data was answered: the connection is accepted while it is half-open. */
  opened(connection: Connection): void {
    this.#halfOpen.delete(connection);
    this.#fastOpen.add(connection);
    this.#ready.push(connection);
    this.onAcceptable?.();
  }

  /** The handshake of such a connection is done, or it has ended. */
  settled(connection: Connection): void {
    this.#fastOpen.delete(connection);
  }

  /** A SYN was answered. */
  begun(connection: Connection): void {
    connection.listener = this;
    this.#halfOpen.add(connection);
  }

  /** The handshake of a half-open connection is done. */
  completed(connection: Connection): void {
    this.#halfOpen.delete(connection);
    this.#ready.push(connection);
    this.onAcceptable?.();
  }

  /** The connection ended before it was accepted. */
  forget(connection: Connection): void {
    if (this.#halfOpen.delete(connection)) return;
    const at = this.#ready.indexOf(connection);
    // One that came and went with something to read is still handed over, as by the host's sockets.
    if (at >= 0 && connection.readableBytes === 0 && !connection.receiver.finished) this.#ready.splice(at, 1);
  }

  /** The next finished connection, or null. */
  accept(): Connection | null {
    const connection = this.#ready.shift() ?? null;
    if (connection !== null) connection.listener = null;
    return connection;
  }

  /** Stops listening: half-open and unaccepted connections are reset. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#onClose(this);
    for (const connection of [...this.#halfOpen.all(), ...this.#ready]) connection.abort();
    this.#ready.length = 0;
  }
}
