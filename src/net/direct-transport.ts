import { IpAddress } from '../address/index.ts';
import type { NetError } from '../errors.ts';
import type { IpLayer } from '../ip.ts';
import type { Endpoint } from '../stack.ts';
import {
  type Borrower,
  type Connection,
  type ConnectionHandler,
  endpoint,
  type TcpLayer,
} from '../tcp/index.ts';
import { linger } from './linger.ts';
import { codeOf, type ErrorCode } from './node-errors.ts';
import { ReadingHandle } from './reading-handle.ts';
import type { Done, Transport } from './transport.ts';

/** Chunks handed over in one turn, so that one busy connection does not starve the others. */
const CHUNKS_PER_TURN = 32;
/** A write that waits goes on when this much room is there, not for every ACK. */
const WRITE_LOW_WATER = 65_536;

interface PendingWrite {
  /** What the connection has not taken yet. */
  chunks: readonly Uint8Array[];
  readonly owned: boolean;
  readonly done: Done;
}

/** A `Connection` driven as a kernel's socket is. */
export class DirectTransport extends ReadingHandle implements Transport, ConnectionHandler, Borrower {
  bytesWritten = 0;
  readonly #layer: TcpLayer;
  readonly #ip: IpLayer;
  readonly #mapsIpv4: boolean;
  #connection: Connection | null;
  #bound: { readonly address: IpAddress | null; readonly port: number } | null = null;
  #local: Endpoint | null = null;
  #remote: Endpoint | null = null;
  #connecting: Done | null = null;
  #writing: PendingWrite | null = null;
  #writePosted = false;
  #finishing: Done | null = null;
  #readPosted = false;
  #ended = false;
  /** Made once, not for every turn. */
  readonly #readTask = (): void => this.#read();
  readonly #writeTask = (): void => this.#writeOn();

  /** `mapsIpv4`: shows IPv4 addresses in their IPv6 form. */
  constructor(layer: TcpLayer, ip: IpLayer, connection: Connection | null, mapsIpv4: boolean) {
    super('TCPWRAP');
    this.#layer = layer;
    this.#ip = ip;
    this.#connection = connection;
    this.#mapsIpv4 = mapsIpv4;
    if (connection !== null) connection.handler = this;
  }

  protected get isActive(): boolean {
    return this.isReading || this.#connecting !== null || this.#writing !== null || this.#finishing !== null;
  }

  get writeQueueSize(): number {
    return this.#writing === null ? 0 : total(this.#writing.chunks);
  }

  get local(): Endpoint | null {
    const connection = this.#connection;
    if (connection !== null) this.#local ??= this.#shown(connection.local, connection.localPort);
    else if (this.#bound !== null)
      return endpoint(this.#bound.address ?? IpAddress.ANY_IPV4, this.#bound.port);
    return this.#local;
  }

  get remote(): Endpoint | null {
    const connection = this.#connection;
    if (connection !== null) this.#remote ??= this.#shown(connection.remote, connection.remotePort);
    return this.#remote;
  }

  #shown(address: IpAddress, port: number): Endpoint {
    if (!this.#mapsIpv4 || !address.isIpv4) return endpoint(address, port);
    return { address: `::ffff:${address}`, port, family: 'IPv6' };
  }

  // ---------------------------------------------------------------- opening

  bind(address: string | null, port: number): ErrorCode | null {
    const asked = address === null ? null : IpAddress.parse(address);
    const given = asked === null || asked.isUnspecified ? null : asked;
    if (given !== null && !this.#ip.isLocal(given)) return 'EADDRNOTAVAIL';
    if (port > 0) {
      try {
        // A port that somebody listens on is taken: whether it is, listening tells.
        this.#layer.listen({ address: given, port }).close();
      } catch (error) {
        return codeOf(error);
      }
    }
    this.#bound = { address: given, port };
    return null;
  }

  connect(address: string, port: number, done: Done): ErrorCode | null {
    const { address: local, port: localPort } = this.#bound ?? { address: null, port: 0 };
    this.#connecting = done;
    if (port === 0) {
      // A kernel asks the peer, where nobody can listen on it.
      this.#connected('ECONNREFUSED');
      return null;
    }
    try {
      const connection = this.#layer.connect({
        remote: destinationOf(address),
        remotePort: port,
        ...(local === null ? {} : { local }),
        ...(localPort === 0 ? {} : { localPort }),
      });
      connection.handler = this;
      this.#connection = connection;
    } catch (error) {
      this.#connecting = null;
      return codeOf(error);
    }
    this.updateHold();
    return null;
  }

  #connected(error: ErrorCode | null): void {
    this.post(() => {
      const done = this.#connecting;
      if (done === null) return;
      this.#connecting = null;
      this.updateHold();
      done(error);
    });
  }

  // ---------------------------------------------------------------- reading

  readStart(): void {
    if (this.isReading || this.#ended || this.isClosed) return;
    this.isReading = true;
    this.updateHold();
    // It is lent nothing while there is something to be read.
    if (this.lends && !this.hasRest && this.#connection !== null) this.#connection.borrower = this;
    this.#postRead();
  }

  readStop(): void {
    this.isReading = false;
    if (this.#connection !== null) this.#connection.borrower = null;
    this.updateHold();
  }

  #postRead(): void {
    const connection = this.#connection;
    if (!this.isReading || this.#readPosted || connection === null) return;
    const isIdle = connection.readableBytes === 0 && !connection.endOfStream && !connection.isOver;
    if (isIdle && !this.hasRest) return;
    this.#readPosted = true;
    this.post(this.#readTask);
  }

  #read(): void {
    this.#readPosted = false;
    const connection = this.#connection;
    if (connection === null || this.isClosed) return;
    if (this.hasRest) {
      if (!this.giveRest()) return;
      connection.borrower = this;
    }
    let count = 0;
    while (this.isReading && count < CHUNKS_PER_TURN) {
      const chunk = connection.take();
      if (chunk === null) break;
      count++;
      if (this.lends) {
        this.give(chunk);
      } else {
        this.bytesRead += chunk.length;
        this.owner?.data(asBuffer(chunk));
      }
      if (this.isClosed) return;
    }
    // The end has a turn of its own, as has what is left.
    if (count > 0) this.#postRead();
    else if (this.isReading) this.#readEnd(connection);
  }

  lend(view: Uint8Array): void {
    this.giveLent(view);
  }

  #readEnd(connection: Connection): void {
    if (!connection.endOfStream && !connection.isOver) return;
    this.#ended = true;
    this.readStop();
    if (connection.endOfStream || connection.error === null) this.owner?.end();
    else this.owner?.failed(connection.error.code);
  }

  // ---------------------------------------------------------------- writing

  write(chunks: readonly Uint8Array[], owned: boolean, done: Done): ErrorCode | 'pending' | null {
    if (this.#connection === null) return 'EBADF';
    this.bytesWritten += total(chunks);
    const writing = { chunks, owned, done };
    try {
      if (this.#take(this.#connection, writing)) return null;
    } catch (error) {
      return codeOf(error);
    }
    this.#writing = writing;
    this.updateHold();
    return 'pending';
  }

  /** Hands over what there is room for; true if that was all. */
  #take(connection: Connection, writing: PendingWrite): boolean {
    const { chunks, owned } = writing;
    for (let i = 0; i < chunks.length; i++) {
      const chunk = chunks[i]!;
      const space = connection.sendSpace;
      const part = chunk.length <= space ? chunk : chunk.subarray(0, space);
      // Asked even if there is no room, so that a connection that has failed says so.
      if (part.length > 0 || connection.isOver) connection.send(owned ? part : Buffer.from(part));
      if (part.length < chunk.length) {
        writing.chunks = [chunk.subarray(part.length), ...chunks.slice(i + 1)];
        return false;
      }
    }
    writing.chunks = [];
    return true;
  }

  #writeOn(): void {
    this.#writePosted = false;
    const writing = this.#writing;
    if (writing === null || this.#connection === null) return;
    let result: ErrorCode | null = null;
    try {
      if (!this.#take(this.#connection, writing)) return;
    } catch (error) {
      result = codeOf(error);
    }
    this.#writing = null;
    this.updateHold();
    writing.done(result);
  }

  shutdown(done: Done): void {
    this.#connection?.shutdown();
    this.#finishing = done;
    this.updateHold();
    this.post(() => {
      if (this.#finishing !== done) return;
      this.#finishing = null;
      this.updateHold();
      done(null);
    });
  }

  // ---------------------------------------------------------------- the end

  close(done?: () => void): void {
    this.#release((connection) => {
      // Bytes that were lent and not wanted are unread for the peer as well.
      if (this.hasRest) connection.abort();
      else connection.close();
    }, done);
  }

  reset(done?: () => void): void {
    this.#release((connection) => connection.abort(), done);
  }

  #release(how: (connection: Connection) => void, done?: () => void): void {
    if (!this.markClosed()) return;
    this.isReading = false;
    const connection = this.#connection;
    if (connection !== null) {
      connection.handler = null;
      connection.borrower = null;
      how(connection);
      linger(connection);
    }
    this.post(() => {
      const { done: written } = this.#writing ?? {};
      const pending = [this.#connecting, written, this.#finishing];
      this.#connecting = null;
      this.#writing = null;
      this.#finishing = null;
      for (const callback of pending) callback?.('ECANCELED');
      done?.();
    });
  }

  // ---------------------------------------------------------------- settings

  setNoDelay(noDelay: boolean): void {
    if (this.#connection !== null) this.#connection.noDelay = noDelay;
  }

  setKeepAlive(enable: boolean, delaySeconds: number): void {
    if (delaySeconds > 0) this.#connection?.setKeepAlive(enable, delaySeconds * 1000);
    else this.#connection?.setKeepAlive(enable);
  }

  // ---------------------------------------------------------------- the connection's events

  connected(): void {
    this.#connected(null);
  }

  readable(): void {
    this.#postRead();
  }

  writable(connection: Connection): void {
    const writing = this.#writing;
    if (writing === null || this.#writePosted) return;
    const wanted = Math.min(WRITE_LOW_WATER, total(writing.chunks));
    if (connection.sendSpace < wanted && !connection.isOver) return;
    this.#writePosted = true;
    this.post(this.#writeTask);
  }

  finished(): void {}

  closed(connection: Connection, error: NetError | null): void {
    if (this.#connecting !== null && error !== null) this.#connected(error.code);
    this.#postRead();
    this.writable(connection);
  }
}

/** As on Linux, who connects to no address in particular means this host. */
function destinationOf(text: string): IpAddress {
  const address = IpAddress.parse(text);
  if (!address.isUnspecified) return address;
  return IpAddress.parse(address.isIpv4 ? '127.0.0.1' : '::1');
}

function asBuffer(chunk: Uint8Array): Buffer {
  return chunk instanceof Buffer ? chunk : Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength);
}

function total(chunks: readonly Uint8Array[]): number {
  let bytes = 0;
  for (const chunk of chunks) bytes += chunk.length;
  return bytes;
}
