/**
 * What `Socket` and `Server` need of a stack: the calls of a kernel's socket,
 * without blocking. `DirectNetwork` has it from our own TCP, `FlowNetwork` from
 * any `Stack`.
 *
 * Calls answer with an error code or null; what takes time answers later, by a
 * callback in a turn of the event loop of its own.
 */
import type { Endpoint } from '../stack.ts';
import type { ErrorCode } from './node-errors.ts';

/** Answers a call that took time. `ECANCELED` if the transport was closed meanwhile. */
export type Done = (error: ErrorCode | null) => void;

/** Who a transport hands what it reads to. */
export interface TransportOwner {
  /** Bytes in order. The owner may `readStop`. */
  data(chunk: Buffer): void;
  /** The same where the transport `lends`: `piece` is good during the call only. */
  lent(piece: Uint8Array): void;
  /** The peer has ended. */
  end(): void;
  failed(error: ErrorCode): void;
}

/** One TCP connection, or what will be one. */
export interface Transport {
  owner: TransportOwner | null;
  /**
   * What is read is lent to the owner, as it comes and without memory for each piece,
   * in pieces of at most `maxPiece` bytes. To be said before reading begins.
   */
  lends: boolean;
  maxPiece: number;
  readonly reading: boolean;
  readonly bytesRead: number;
  /** Given to `write`, acknowledged or not. */
  readonly bytesWritten: number;
  /** Bytes of `write` that the stack could not take yet. */
  readonly writeQueueSize: number;
  readonly local: Endpoint | null;
  readonly remote: Endpoint | null;
  /** Fixes the local end of a connection to be made; `port` 0 for any. */
  bind(address: string | null, port: number): ErrorCode | null;
  /** `done` is not called if this answers an error. */
  connect(address: string, port: number, done: Done): ErrorCode | null;
  readStart(): void;
  readStop(): void;
  /**
   * `owned` chunks are not changed by anybody any more; others may be as soon
   * as the write is done. Null: done already; otherwise `done` is called.
   */
  write(chunks: readonly Uint8Array[], owned: boolean, done: Done): ErrorCode | 'pending' | null;
  /** Sends FIN after what was written. */
  shutdown(done: Done): void;
  /** What was written is still sent; unread data makes it a reset. `done` when nothing more will be called. */
  close(done?: () => void): void;
  /** Ends the connection with RST. */
  reset(done?: () => void): void;
  setNoDelay(noDelay: boolean): void;
  /** `delaySeconds` 0 keeps the stack's default. */
  setKeepAlive(enable: boolean, delaySeconds: number): void;
  ref(): void;
  unref(): void;
}

export interface ListenRequest {
  /** Null for all addresses. */
  readonly address: string | null;
  readonly port: number;
  readonly backlog: number;
  readonly ipv6Only: boolean;
}

/** A listening socket. */
export interface Acceptor {
  onConnection: ((transport: Transport) => void) | null;
  readonly local: Endpoint | null;
  /** `done` may be called before this returns. */
  listen(request: ListenRequest, done: Done): void;
  close(): void;
  ref(): void;
  unref(): void;
}

/** A stack, as `createNet` uses it. */
export interface Network {
  /** What listening on all addresses is called. */
  readonly anyAddress: '::' | '0.0.0.0';
  readonly hasIpv6: boolean;
  createTransport(): Transport;
  createAcceptor(): Acceptor;
  resolve(hostname: string): Promise<string[]>;
}
