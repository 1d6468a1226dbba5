import type { IpAddress } from '../address/index.ts';
import type { ListenSocket } from './listener.ts';

/** The listening sockets by port; a socket of one address is preferred to one of all. */
export class ListenerTable {
  readonly #byPort = new Map<number, ListenSocket[]>();

  add(socket: ListenSocket): void {
    const sockets = this.#byPort.get(socket.port);
    if (sockets === undefined) this.#byPort.set(socket.port, [socket]);
    else sockets.push(socket);
  }

  remove(socket: ListenSocket): void {
    const left = (this.#byPort.get(socket.port) ?? []).filter((other) => other !== socket);
    if (left.length === 0) this.#byPort.delete(socket.port);
    else this.#byPort.set(socket.port, left);
  }

  /** Whether a socket for `address` (null: for all) would share its port with another for the same packets. */
  isTaken(port: number, address: IpAddress | null): boolean {
    const sockets = this.#byPort.get(port);
    if (sockets === undefined) return false;
    return sockets.some((socket) => overlap(socket.address, address));
  }

  /** Who takes a SYN to `address`, or null: whoever listens on just that, or on all. */
  find(address: IpAddress, port: number): ListenSocket | null {
    const sockets = this.#byPort.get(port);
    if (sockets === undefined) return null;
    let wildcard: ListenSocket | null = null;
    for (const socket of sockets) {
      if (socket.address?.equals(address)) return socket;
      if (overlap(socket.address, address)) wildcard = socket;
    }
    return wildcard;
  }

  /** Whether anybody listens on `port`, at whatever address. */
  has(port: number): boolean {
    return this.#byPort.has(port);
  }

  all(): ListenSocket[] {
    return [...this.#byPort.values()].flat();
  }
}

/** Whether an address can be meant by both: null is every one, an unspecified address every one of its family. */
function overlap(a: IpAddress | null, b: IpAddress | null): boolean {
  if (a === null || b === null) return true;
  if (a.isUnspecified || b.isUnspecified) return a.isIpv4 === b.isIpv4;
  return a.equals(b);
}
