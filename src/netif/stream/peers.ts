/** Where a stream's peers come from: a listening socket, or one that connects, again and again. */

import { lstat, unlink } from 'node:fs/promises';
import hostNet, { type NetConnectOpts, type Server, type Socket } from 'node:net';
import { NetError, type NetErrorCode } from '../../errors.ts';
import type { Alarm, Clock } from '../../time/index.ts';
import type { PeerSource, StreamNetif } from './netif.ts';

// The host's own, even if a stack over this netif takes its place in the process later on.
const { connect, createServer } = hostNet;

/** A UNIX socket's path, or a TCP address. */
export type StreamAddress = { readonly path: string } | { readonly host: string; readonly port: number };

/** Waits between attempts to connect, doubled from the first to the longest. */
export interface ReconnectOptions {
  /** Default 100. */
  readonly firstMs?: number;
  /** Default 5000. */
  readonly longestMs?: number;
}

const FIRST_MS = 100;
const LONGEST_MS = 5000;

export function addressText(address: StreamAddress): string {
  return 'path' in address ? address.path : `${address.host}:${address.port}`;
}

/** Takes one peer at a time, as they come. */
export class ListeningSource implements PeerSource {
  readonly #netif: StreamNetif;
  readonly #server: Server;
  /** One that came before the stack was there. */
  #early: Socket | null = null;
  #started = false;

  private constructor(netif: StreamNetif, server: Server) {
    this.#netif = netif;
    this.#server = server;
    server.on('connection', (socket) => this.#connected(socket));
  }

  /** Resolves when peers may come; a path that nobody listens at is taken over. */
  static async open(netif: StreamNetif, address: StreamAddress): Promise<ListeningSource> {
    const server = createServer({ noDelay: true });
    try {
      await listening(server, address);
    } catch (error) {
      if (!('path' in address) || codeOf(error) !== 'EADDRINUSE' || !(await isAbandoned(address.path))) {
        throw explained(error, 'listen', address);
      }
      await unlink(address.path);
      await listening(server, address);
    }
    return new ListeningSource(netif, server);
  }

  /** The port of a TCP address, which 0 lets the host choose. */
  get port(): number | null {
    const bound = this.#server.address();
    return bound !== null && typeof bound === 'object' ? bound.port : null;
  }

  start(): void {
    this.#started = true;
    const early = this.#early;
    this.#early = null;
    if (early !== null && !early.destroyed) this.#netif.attach(early);
  }

  /** The next one is welcome. */
  lost(): void {}

  unref(): void {
    this.#server.unref();
  }

  stop(): Promise<void> {
    this.#early?.destroy();
    return new Promise((resolve) => {
      this.#server.close(() => resolve());
    });
  }

  #connected(socket: Socket): void {
    if (this.#started) {
      this.#netif.attach(socket);
      return;
    }
    if (this.#early !== null && !this.#early.destroyed) {
      this.#netif.refused++;
      socket.destroy();
      return;
    }
    // What it sends waits in the kernel.
    socket.on('error', () => {});
    this.#early = socket;
  }
}

/** Connects, and connects again when the peer is gone. */
export class ConnectingSource implements PeerSource {
  readonly port = null;
  readonly #netif: StreamNetif;
  readonly #address: StreamAddress;
  readonly #reconnect: ReconnectOptions | null;
  readonly #clock: Clock;
  readonly #alarm: Alarm;
  #waitMs = 0;
  #socket: Socket | null = null;
  #stopped = false;
  #unreferenced = false;

  /** `reconnect` null ends the netif with its first peer. */
  constructor(netif: StreamNetif, address: StreamAddress, reconnect: ReconnectOptions | null, clock: Clock) {
    this.#netif = netif;
    this.#address = address;
    this.#reconnect = reconnect;
    this.#clock = clock;
    this.#alarm = clock.alarm(() => this.#connect());
  }

  start(): void {
    this.#connect();
  }

  lost(error: Error | undefined): void {
    this.#socket = null;
    this.#again(
      error ??
        new NetError('ENETDOWN', {
          syscall: 'read',
          reason: `${addressText(this.#address)} was closed from the other side`,
        }),
    );
  }

  unref(): void {
    this.#unreferenced = true;
    this.#socket?.unref();
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    this.#alarm.clear();
    this.#socket?.destroy();
  }

  #connect(): void {
    const socket = connect({ ...this.#address, noDelay: true } as NetConnectOpts);
    this.#socket = socket;
    const failed = (error: Error): void => {
      if (!this.#stopped) this.#again(explained(error, 'connect', this.#address));
    };
    if (this.#unreferenced) socket.unref();
    socket.once('error', failed);
    socket.once('connect', () => {
      socket.off('error', failed);
      this.#waitMs = 0;
      this.#netif.attach(socket);
    });
  }

  #again(error: Error): void {
    if (this.#stopped) return;
    if (this.#reconnect === null) {
      this.#netif.end(error);
      return;
    }
    const { firstMs = FIRST_MS, longestMs = LONGEST_MS } = this.#reconnect;
    this.#waitMs = this.#waitMs === 0 ? firstMs : Math.min(2 * this.#waitMs, longestMs);
    this.#alarm.set(this.#clock.now() + this.#waitMs);
  }
}

function listening(server: Server, address: StreamAddress): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen({ ...address }, () => {
      server.off('error', reject);
      resolve();
    });
  });
}

/** Whether `path` is a socket that nobody listens at: what a process that was killed has left. */
async function isAbandoned(path: string): Promise<boolean> {
  if (!(await lstat(path)).isSocket()) return false;
  return new Promise((resolve) => {
    const socket = connect({ path });
    socket.once('connect', () => {
      socket.destroy();
      resolve(false);
    });
    socket.once('error', (error) => resolve(codeOf(error) === 'ECONNREFUSED'));
  });
}

function codeOf(error: unknown): string | undefined {
  return (error as NodeJS.ErrnoException).code;
}

function explained(error: unknown, syscall: string, address: StreamAddress): Error {
  const code = codeOf(error);
  if (code === undefined) return error as Error;
  return new NetError(code as NetErrorCode, { syscall, address: addressText(address), cause: error });
}
