/**
 * A kernel goes on sending what a process left behind. This stack ends with its
 * process, which therefore stays for connections that were closed and that the
 * peer has not acknowledged to the end, as long as they get on.
 */
import type { Connection, ConnectionHandler } from '../tcp/index.ts';
import { hold, release } from './handle.ts';

/** A connection whose peer has acknowledged nothing for this long is not waited for. */
const STANDSTILL_MS = 2000;

/** What of each had been acknowledged when it was last looked at. */
const lingering = new Map<Connection, number>();
let looking: NodeJS.Timeout | undefined;

const handler: ConnectionHandler = {
  connected() {},
  readable() {},
  writable() {},
  finished: leave,
  closed: leave,
};

/** Keeps the process for a connection that has just been closed. */
export function linger(connection: Connection): void {
  if (connection.isOver || connection.drained) return;
  connection.handler = handler;
  lingering.set(connection, -1);
  hold();
  looking ??= setInterval(look, STANDSTILL_MS).unref();
}

function leave(connection: Connection): void {
  if (!lingering.delete(connection)) return;
  release();
  if (lingering.size > 0) return;
  clearInterval(looking);
  looking = undefined;
}

function look(): void {
  for (const [connection, before] of lingering) {
    const { bytesAcked } = connection.stats;
    if (bytesAcked === before) leave(connection);
    else lingering.set(connection, bytesAcked);
  }
}
