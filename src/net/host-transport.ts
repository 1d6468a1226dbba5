/**
 * Local (Unix domain) sockets, and what a process inherits as a descriptor or a handle: they are the host's,
 * whatever stack the rest runs on. These put a socket or a server of the host under ours.
 */
import hostNet from 'node:net';
import type { Endpoint } from '../stack.ts';
import { codeOf, type ErrorCode } from './node-errors.ts';
import type { Acceptor, Done, Transport, TransportOwner } from './transport.ts';

// Taken when this is loaded: `installNet` will put ours in their place.
const { Server: HostServer, Socket: HostSocket } = hostNet;

/** A socket of the host. */
export class HostTransport implements Transport {
  owner: TransportOwner | null = null;
  lends = false;
  maxPiece = 0;
  readonly #socket: hostNet.Socket;
  #reading = false;
  #ended = false;
  #closed = false;
  /** What was read while nobody wanted it. */
  #held: Buffer | null = null;
  #opening: ((error: Error | null) => void) | null = null;

  constructor(socket: hostNet.Socket = new HostSocket({ allowHalfOpen: true })) {
    this.#socket = socket;
    socket.pause();
    socket.on('data', (chunk: Buffer) => this.#data(chunk));
    socket.on('end', () => {
      this.#ended = true;
      this.#deliverEnd();
    });
    socket.on('error', (error) => {
      if (this.#opening !== null) this.#opened(error);
      else if (!this.#closed) this.owner?.failed(codeOf(error));
    });
  }

  get reading(): boolean {
    return this.#reading;
  }

  get bytesRead(): number {
    return this.#socket.bytesRead - (this.#held?.length ?? 0);
  }

  get bytesWritten(): number {
    return this.#socket.bytesWritten;
  }

  get writeQueueSize(): number {
    return this.#socket.writableLength;
  }

  get local(): Endpoint | null {
    const { localAddress, localPort, localFamily } = this.#socket;
    return endpointOf(localAddress, localPort, localFamily);
  }

  get remote(): Endpoint | null {
    const { remoteAddress, remotePort, remoteFamily } = this.#socket;
    return endpointOf(remoteAddress, remotePort, remoteFamily);
  }

  bind(): ErrorCode {
    return 'EINVAL';
  }

  /** Local sockets have a path, not an address: see {@link connectPath}. */
  connect(): ErrorCode {
    return 'EAFNOSUPPORT';
  }

  /** `done` is told the host's own error, or null. */
  connectPath(path: string, done: (error: Error | null) => void): void {
    this.#opening = done;
    this.#socket.connect({ path }, () => this.#opened(null));
    // It began to read by itself.
    this.#socket.pause();
  }

  #opened(error: Error | null): void {
    const done = this.#opening;
    this.#opening = null;
    if (this.#reading) this.#socket.resume();
    done?.(error);
  }

  readStart(): void {
    if (this.#reading || this.#closed) return;
    this.#reading = true;
    const held = this.#held;
    this.#held = null;
    if (held !== null) {
      // In a turn of its own, as all that is read.
      setImmediate(() => this.#data(held));
    } else if (this.#ended) {
      setImmediate(() => this.#deliverEnd());
    } else {
      this.#socket.resume();
    }
  }

  readStop(): void {
    this.#reading = false;
    this.#socket.pause();
  }

  #data(chunk: Buffer): void {
    let rest = this.#held === null ? chunk : Buffer.concat([this.#held, chunk]);
    this.#held = null;
    while (rest.length > 0 && this.#reading && !this.#closed) {
      const part = this.lends ? rest.subarray(0, this.maxPiece) : rest;
      rest = rest.subarray(part.length);
      if (part.length === 0) this.owner?.failed('ENOBUFS');
      else if (this.lends) this.owner?.lent(part);
      else this.owner?.data(part);
    }
    if (rest.length > 0) this.#held = rest;
    else if (this.#reading && this.#ended) this.#deliverEnd();
    else if (this.#reading) this.#socket.resume();
  }

  #deliverEnd(): void {
    if (!this.#reading || this.#held !== null || this.#closed) return;
    this.#reading = false;
    this.owner?.end();
  }

  write(chunks: readonly Uint8Array[], _owned: boolean, done: Done): 'pending' {
    const socket = this.#socket;
    socket.cork();
    for (let i = 0; i < chunks.length - 1; i++) socket.write(chunks[i]!);
    // The kernel has a copy when it calls back.
    socket.write(chunks.at(-1) ?? '', (error) => done(error ? codeOf(error) : null));
    socket.uncork();
    return 'pending';
  }

  shutdown(done: Done): void {
    this.#socket.end(() => done(null));
  }

  close(done?: () => void): void {
    this.#end(() => this.#socket.destroy(), done);
  }

  reset(done?: () => void): void {
    this.#end(() => this.#socket.resetAndDestroy(), done);
  }

  #end(how: () => void, done?: () => void): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#reading = false;
    if (done !== undefined) this.#socket.once('close', () => done());
    how();
  }

  setNoDelay(noDelay: boolean): void {
    this.#socket.setNoDelay(noDelay);
  }

  setKeepAlive(enable: boolean, delaySeconds: number): void {
    this.#socket.setKeepAlive(enable, delaySeconds * 1000);
  }

  ref(): void {
    this.#socket.ref();
  }

  unref(): void {
    this.#socket.unref();
  }
}

function endpointOf(
  address: string | undefined,
  port: number | undefined,
  family: string | undefined,
): Endpoint | null {
  if (address === undefined || port === undefined) return null;
  return { address, port, family: family === 'IPv6' ? 'IPv6' : 'IPv4' };
}

/** What the host is to listen on: a path, a descriptor, or a handle that was sent to this process. */
export type HostListenRequest =
  | {
      readonly path: string;
      readonly readableAll?: boolean;
      readonly writableAll?: boolean;
      readonly backlog: number;
    }
  | { readonly fd: number; readonly backlog: number }
  | { readonly handle: object };

/** A server of the host. */
export class HostAcceptor implements Acceptor {
  onConnection: ((transport: Transport) => void) | null = null;
  readonly #server = new HostServer({ allowHalfOpen: true, pauseOnConnect: true });
  #closed = false;

  get local(): Endpoint | null {
    const address = this.address();
    if (address === null || typeof address === 'string') return null;
    return endpointOf(address.address, address.port, address.family);
  }

  /** What it listens on: a path for a local socket. */
  address(): hostNet.AddressInfo | string | null {
    return this.#server.address();
  }

  /** Addresses are for the stack: see {@link listenHost}. */
  listen(_request: unknown, done: Done): void {
    done('EAFNOSUPPORT');
  }

  /** `done` is told the host's own error, or null. */
  listenHost(request: HostListenRequest, done: (error: Error | null) => void): void {
    const server = this.#server;
    server.on('connection', (socket) => this.onConnection?.(new HostTransport(socket)));
    const settle = (error: Error | null): void => {
      server.removeListener('error', settle);
      server.removeListener('listening', onListening);
      if (!this.#closed) done(error);
    };
    const onListening = (): void => settle(null);
    server.once('error', settle);
    server.once('listening', onListening);
    server.listen('handle' in request ? request.handle : { ...request });
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#server.close();
  }

  ref(): void {
    this.#server.ref();
  }

  unref(): void {
    this.#server.unref();
  }
}
