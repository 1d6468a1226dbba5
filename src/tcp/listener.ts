import type { IpAddress } from '../address/index.ts';
import type { TcpConfig } from './config.ts';
import type { Connection } from './connection.ts';

const DEFAULT_BACKLOG = 511;

/** A port that takes connections: half-open ones, and those that wait to be accepted. */
export class ListenSocket {
  /** Null: every address of ours; unspecified: every one of its family. */
  readonly address: IpAddress | null;
  readonly port: number;
  readonly config: TcpConfig;
  readonly #backlog: number;
  readonly #halfOpen = new Set<Connection>();
  readonly #ready: Connection[] = [];
  /** Accepted before their handshake was done (RFC 7413 §5.1 bounds them). */
  readonly #fastOpen = new Set<Connection>();
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
    for (const connection of [...this.#halfOpen, ...this.#ready]) connection.abort();
    this.#halfOpen.clear();
    this.#ready.length = 0;
  }
}
