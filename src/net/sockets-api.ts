/**
 * `connect()` of the WinterTC Sockets API (draft of sockets-api.proposal.wintertc.org) over any stack: what
 * libraries that are written for several runtimes call.
 */
import type { Duplex } from 'node:stream';
import type { Endpoint, Flow, Stack } from '../stack.ts';
import { type FlowStreams, type StreamSource, streamsOf } from '../streams/index.ts';
import { duplexOf } from './flow-duplex.ts';

export type SecureTransportKind = 'off' | 'on' | 'starttls';

export interface SocketAddress {
  readonly hostname: string;
  readonly port: number;
}

export interface SocketOptions {
  /** `on`: TLS from the first byte; `starttls`: from {@link ApiSocket.startTls} on. Default `off`. */
  readonly secureTransport?: SecureTransportKind;
  /** Whether `writable` stays open when the peer has ended. Default false. */
  readonly allowHalfOpen?: boolean;
  /** Host name for TLS, to be asked of the server and checked in its certificate. By default the one connected to. */
  readonly sni?: string;
  /** Protocols to offer in TLS, the best first (RFC 7301). */
  readonly alpn?: readonly string[];
}

export interface SocketInfo {
  /** `address:port`, an IPv6 address in brackets. */
  readonly remoteAddress: string;
  readonly localAddress: string;
  /** The protocol that TLS agreed on. */
  readonly alpn: string | null;
}

/** A socket of the Sockets API. */
export interface ApiSocket {
  readonly readable: ReadableStream<Uint8Array>;
  readonly writable: WritableStream<ArrayBufferView | ArrayBuffer>;
  /** Resolves when connected, with TLS after its handshake. */
  readonly opened: Promise<SocketInfo>;
  /** Resolves when the socket is closed; rejects with a {@link SocketError} if it could not be opened or has failed. */
  readonly closed: Promise<undefined>;
  /** Whether `startTls` took the connection away from this socket. */
  readonly upgraded: boolean;
  readonly secureTransport: SecureTransportKind;
  /** Cancels `readable`, aborts `writable`, ends the connection: in order, unless bytes have not been read or sent. */
  close(reason?: unknown): Promise<undefined>;
  /** Only with `secureTransport: 'starttls'`: a new socket, with TLS over the same connection. */
  startTls(): ApiSocket;
}

/** Settings of TLS that the API has no place for, as in `tls.connect`: `ca`, `cert`, `key`, `rejectUnauthorized`… */
export interface SocketsApiOptions {
  readonly tls?: Omit<import('node:tls').ConnectionOptions, 'socket' | 'host' | 'port' | 'path'>;
}

/** What the API's functions throw and reject with. `cause` is the stack's own error, `code` its code. */
export class SocketError extends TypeError {
  readonly code: string | undefined;

  constructor(message: string, cause?: unknown) {
    super(`SocketError: ${message}`, cause === undefined ? undefined : { cause });
    const code = (cause as { code?: unknown } | null | undefined)?.code;
    this.code = typeof code === 'string' ? code : undefined;
  }
}

/**
 * The binding object of the Sockets API for `stack`:
 *
 * ```ts
 * const { connect } = createSockets(stack);
 * const socket = connect('example.org:443', { secureTransport: 'on' });
 * ```
 *
 * TLS is Node's, over the stack's connection.
 */
export function createSockets(
  stack: Stack,
  { tls = {} }: SocketsApiOptions = {},
): { connect(address: string | SocketAddress, options?: SocketOptions): ApiSocket } {
  return {
    connect(address, options = {}) {
      const { hostname, port } = parseAddress(address);
      const checked = checkOptions(options);
      const opening = new AbortController();
      const connecting = stack.tcp.connect({ host: hostname, port, signal: opening.signal });
      const plain = connecting.then((flow) => ofFlow(flow));
      const wanted = { ...checked, hostname, tls };
      const connection =
        checked.secureTransport === 'on' ? plain.then((base) => secure(base, wanted)) : plain;
      return new StackSocket(connection, opening, wanted);
    },
  };
}

interface Wanted {
  readonly secureTransport: SecureTransportKind;
  readonly allowHalfOpen: boolean;
  readonly hostname: string;
  readonly sni: string | undefined;
  readonly alpn: readonly string[];
  readonly tls: NonNullable<SocketsApiOptions['tls']>;
}

/** A connection that is there, with or without TLS. */
interface Opened {
  readonly source: StreamSource;
  readonly info: SocketInfo;
  readonly flow: Flow;
}

class StackSocket implements ApiSocket {
  readonly opened: Promise<SocketInfo>;
  readonly closed: Promise<undefined>;
  readonly #connection: Promise<Opened>;
  readonly #opening: AbortController;
  readonly #wanted: Wanted;
  readonly #streams: FlowStreams;
  #upgraded = false;
  #closing = false;
  #reading = false;
  #settle: (error?: SocketError) => void = () => {};

  constructor(connection: Promise<Opened>, opening: AbortController, wanted: Wanted) {
    this.#connection = connection;
    this.#opening = opening;
    this.#wanted = wanted;
    this.closed = new Promise((resolve, reject) => {
      this.#settle = (error) => (error === undefined ? resolve(undefined) : reject(error));
    });
    this.#streams = streamsOf(this.#source());
    this.opened = connection.then(
      ({ info }) => info,
      (cause) => {
        // Whoever closes a socket that is not open yet gets the reason that he gave.
        const error = this.#closing ? cause : asSocketError(cause, 'cannot connect');
        this.#settle(this.#closing ? undefined : (error as SocketError));
        this.#streams.end(error);
        throw error;
      },
    );
    // Nobody has to listen to these.
    this.opened.catch(() => {});
    this.closed.catch(() => {});
  }

  get readable(): ReadableStream<Uint8Array> {
    return this.#streams.readable;
  }

  get writable(): WritableStream<ArrayBufferView | ArrayBuffer> {
    return this.#streams.writable;
  }

  get upgraded(): boolean {
    return this.#upgraded;
  }

  get secureTransport(): SecureTransportKind {
    return this.#wanted.secureTransport;
  }

  close(reason: unknown = new SocketError('the socket was closed')): Promise<undefined> {
    if (this.#closing || this.#upgraded) return this.closed;
    this.#closing = true;
    this.#opening.abort(reason);
    this.#streams.end(reason);
    this.#connection
      .then(({ source }) => source.close())
      .then(
        () => this.#settle(),
        // It was not open yet, which `opened` tells, or it had failed.
        () => this.#settle(),
      );
    return this.closed;
  }

  startTls(): ApiSocket {
    const { secureTransport } = this;
    if (secureTransport !== 'starttls') {
      throw new SocketError(
        `startTls() needs secureTransport "starttls"; this socket has "${secureTransport}"`,
      );
    }
    if (this.#upgraded || this.#closing) throw new SocketError('startTls() on a socket that is closed');
    if (this.#reading)
      throw new SocketError('startTls() while a read is waiting, which would take the first bytes of TLS');
    this.#upgraded = true;
    const wanted: Wanted = { ...this.#wanted, secureTransport: 'on' };
    const secured = this.#connection.then((plain) => secure(plain, wanted));
    // This socket is closed; its connection lives on.
    this.#streams.end(new SocketError('startTls() has taken the connection over'));
    this.#settle();
    return new StackSocket(secured, this.#opening, wanted);
  }

  /** The connection as the streams use it, which may be before it is there. */
  #source(): StreamSource {
    const use = async <T>(how: (source: StreamSource) => Promise<T>): Promise<T> => {
      const { source } = await this.#connection;
      try {
        return await how(source);
      } catch (cause) {
        const error = asSocketError(cause, 'the connection failed');
        this.#settle(error);
        throw error;
      }
    };
    return {
      read: async () => {
        this.#reading = true;
        const chunk = await use((source) => source.read()).finally(() => {
          this.#reading = false;
        });
        if (chunk === null && !this.#wanted.allowHalfOpen) void this.close();
        return chunk;
      },
      write: (data) => use((source) => source.write(data)),
      shutdown: () => use((source) => source.shutdown()),
      close: () => use((source) => source.close()),
      abort: () => {
        this.#connection.then(
          ({ flow }) => flow.abort(),
          () => {},
        );
        this.#opening.abort(new SocketError('the writable was aborted'));
        this.#settle();
      },
    };
  }
}

/** TLS, Node's, over a connection. */
async function secure({ flow, info }: Opened, { hostname, sni, alpn, tls }: Wanted): Promise<Opened> {
  const [{ connect }, { isIP }] = await Promise.all([import('node:tls'), import('node:net')]);
  const servername = sni ?? (isIP(hostname) === 0 ? hostname : undefined);
  const socket = connect({
    ...tls,
    socket: duplexOf(flow),
    // What the certificate is checked for.
    host: sni ?? hostname,
    ...(servername === undefined ? {} : { servername }),
    ...(alpn.length === 0 ? {} : { ALPNProtocols: [...alpn] }),
  });
  await new Promise<void>((resolve, reject) => {
    socket.once('secureConnect', resolve);
    socket.once('error', reject);
    socket.once('close', () =>
      reject(new SocketError('the peer closed the connection during the TLS handshake')),
    );
  });
  return { source: new DuplexSource(socket), info: { ...info, alpn: socket.alpnProtocol || null }, flow };
}

/** A Node stream as web streams use a flow. */
class DuplexSource implements StreamSource {
  readonly #duplex: Duplex;
  #error: Error | null = null;

  constructor(duplex: Duplex) {
    this.#duplex = duplex;
    duplex.on('error', (error) => {
      this.#error = error;
    });
  }

  read(): Promise<Uint8Array | null> {
    const duplex = this.#duplex;
    return new Promise((resolve, reject) => {
      const events = ['readable', 'end', 'close'];
      const stop = (): void => {
        for (const event of events) duplex.off(event, look);
      };
      const look = (): void => {
        const chunk = duplex.read() as Uint8Array | null;
        if (chunk === null && !duplex.readableEnded && !duplex.destroyed) return;
        stop();
        if (chunk === null && this.#error !== null) reject(this.#error);
        else resolve(chunk);
      };
      for (const event of events) duplex.on(event, look);
      look();
    });
  }

  write(data: Uint8Array): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#duplex.write(data, (error) => (error ? reject(error) : resolve()));
    });
  }

  shutdown(): Promise<void> {
    return new Promise((resolve) => {
      this.#duplex.end(resolve);
    });
  }

  async close(): Promise<void> {
    const duplex = this.#duplex;
    if (duplex.destroyed) return;
    const closed = new Promise<void>((resolve) => duplex.once('close', resolve));
    duplex.end(() => duplex.destroy());
    await closed;
  }

  abort(): void {
    this.#duplex.destroy();
  }
}

function ofFlow(flow: Flow): Opened {
  return {
    flow,
    source: flow,
    info: { remoteAddress: textOf(flow.remote), localAddress: textOf(flow.local), alpn: null },
  };
}

function textOf({ address, port, family }: Endpoint): string {
  return family === 'IPv6' ? `[${address}]:${port}` : `${address}:${port}`;
}

/** `host:port`, where an IPv6 address is in brackets, or an object. */
function parseAddress(address: string | SocketAddress): SocketAddress {
  let given: { hostname?: unknown; port?: unknown } = {};
  if (typeof address === 'string') {
    const [, bracketed, name, port] = /^(?:\[([^\]]+)\]|([^:]+)):(\d{1,5})$/.exec(address) ?? [];
    given = { hostname: bracketed ?? name, port: port === undefined ? undefined : Number(port) };
  } else if (typeof address === 'object' && address !== null) {
    given = address;
  }
  const { hostname, port } = given;
  if (typeof hostname !== 'string' || hostname === '') {
    throw new SocketError(`"${String(address)}" is no address: give "host:port" or { hostname, port }`);
  }
  if (typeof port !== 'number' || !Number.isInteger(port) || port < 1 || port > 65_535) {
    throw new SocketError(`the port ${String(port)} is not within 1..65535`);
  }
  return { hostname, port };
}

function checkOptions(options: SocketOptions): Omit<Wanted, 'hostname' | 'tls'> {
  const { secureTransport = 'off', allowHalfOpen = false, sni, alpn = [] } = options;
  if (!['off', 'on', 'starttls'].includes(secureTransport)) {
    throw new SocketError(`secureTransport "${secureTransport}": it is "off", "on" or "starttls"`);
  }
  if (secureTransport === 'off' && (sni !== undefined || alpn.length > 0)) {
    throw new SocketError('sni and alpn are for TLS, and secureTransport is "off"');
  }
  return { secureTransport, allowHalfOpen, sni, alpn };
}

function asSocketError(cause: unknown, what: string): SocketError {
  if (cause instanceof SocketError) return cause;
  return new SocketError(`${what}: ${cause instanceof Error ? cause.message : String(cause)}`, cause);
}
