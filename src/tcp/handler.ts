import type { NetError } from '../errors.ts';
import type { Connection } from './connection.ts';

/** Who is told of a connection's events: a `Flow`, or a test. */
export interface ConnectionHandler {
  connected(connection: Connection): void;
  /** Bytes, or the end of the stream, can be taken. */
  readable(connection: Connection): void;
  /** The peer has acknowledged data: there may be room again. */
  writable(connection: Connection): void;
  /** The peer has acknowledged our FIN, and so everything. */
  finished(connection: Connection): void;
  /** The connection is over; what was received can still be taken. */
  closed(connection: Connection, error: NetError | null): void;
}

/** A reader who is shown bytes as they come, and keeps none. */
export interface Borrower {
  /** `view` is good during the call only. */
  lend(view: Uint8Array): void;
}
