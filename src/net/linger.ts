/**
 * A kernel goes on sending what a process left behind. This stack ends with its
 * process, which therefore stays for connections that were closed and that the
 * peer has not acknowledged to the end, as long as they get on.
 */
import type { Connection, ConnectionHandler } from '../tcp/index.ts';
import { hold, release } from './handle.ts';

/** A connection whose peer has acknowledged nothing for this long is not waited for. */
const STANDSTILL_MS = 2000;

/** All of them, in no order; each knows its place. Not a `Set`, whose old tables V8 chains: see `tcp/listener.ts`. */
const lingering: Lingering[] = [];
let looking: NodeJS.Timeout | undefined;

class Lingering implements ConnectionHandler {
  readonly #connection: Connection;
  #place = lingering.push(this) - 1;
  /** What had been acknowledged when it was last looked at. */
  #acknowledged = -1;

  constructor(connection: Connection) {
    this.#connection = connection;
  }

  connected(): void {}
  readable(): void {}
  writable(): void {}

  finished(): void {
    this.#leave();
  }

  closed(): void {
    this.#leave();
  }

  look(): void {
    const { bytesAcked } = this.#connection.stats;
    if (bytesAcked === this.#acknowledged) this.#leave();
    else this.#acknowledged = bytesAcked;
  }

  #leave(): void {
    if (this.#place < 0) return;
    const last = lingering.pop()!;
    if (last !== this) {
      lingering[this.#place] = last;
      last.#place = this.#place;
    }
    this.#place = -1;
    release();
    if (lingering.length > 0) return;
    clearInterval(looking);
    looking = undefined;
  }
}

/** Keeps the process for a connection that has just been closed. */
export function linger(connection: Connection): void {
  if (connection.isOver || connection.drained) return;
  connection.handler = new Lingering(connection);
  hold();
  looking ??= setInterval(look, STANDSTILL_MS).unref();
}

function look(): void {
  for (const one of [...lingering]) one.look();
}
