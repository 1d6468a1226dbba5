import type { Datagram, Endpoint, Udp, UdpBindOptions, UdpSocket } from '../stack.ts';
import { Handle } from './handle.ts';
import { codeOf, type ErrorCode } from './node-errors.ts';

/** What a stack's UDP sockets may have beside the contract; those of a direct stack do. */
export interface DatagramSettings {
  broadcast: boolean;
  hopLimit: number | null;
  readonly receiver: { limit: number };
}

export interface DatagramOwner {
  message(datagram: Datagram): void;
  failed(error: ErrorCode): void;
}

/** A stack's UDP socket driven as a kernel's is. */
export class DatagramPort extends Handle {
  readonly #udp: Udp;
  #owner: DatagramOwner | null = null;
  #socket: UdpSocket | null = null;
  #binding = false;
  /** Datagrams that were given to `send` and are not on their way. */
  sendQueueCount = 0;
  sendQueueSize = 0;

  constructor(udp: Udp) {
    super('UDPWRAP');
    this.#udp = udp;
  }

  protected get isActive(): boolean {
    return this.#binding || this.#owner !== null;
  }

  /** Null until bound. */
  get local(): Endpoint | null {
    return this.#socket?.local ?? null;
  }

  /** Null if this stack's sockets have none. */
  get settings(): DatagramSettings | null {
    const socket = this.#socket as (UdpSocket & Partial<DatagramSettings>) | null;
    return socket !== null && 'hopLimit' in socket ? (socket as UdpSocket & DatagramSettings) : null;
  }

  /** Null until bound. */
  get socket(): UdpSocket | null {
    return this.#socket;
  }

  bind(options: UdpBindOptions, done: (error: ErrorCode | null) => void): void {
    this.#binding = true;
    this.updateHold();
    const bound = (error: ErrorCode | null): void => {
      this.#binding = false;
      this.updateHold();
      // In a tick: what a listener throws is its own error, not that of a promise.
      if (!this.isClosed) process.nextTick(done, error);
    };
    this.#udp.bind(options).then(
      (socket) => {
        if (this.isClosed) void socket.close();
        else this.#socket = socket;
        bound(null);
      },
      (error) => bound(codeOf(error)),
    );
  }

  receive(owner: DatagramOwner): void {
    this.#owner = owner;
    this.updateHold();
    this.#receiveNext();
  }

  #receiveNext(): void {
    this.#socket?.receive().then(
      (datagram) => {
        if (datagram !== null) this.#arrived((owner) => owner.message(datagram));
      },
      (error) => this.#arrived((owner) => owner.failed(codeOf(error))),
    );
  }

  #arrived(tell: (owner: DatagramOwner) => void): void {
    this.post(() => {
      if (this.isClosed || this.#owner === null) return;
      this.#receiveNext();
      tell(this.#owner);
    });
  }

  connect(host: string, port: number, done: (error: ErrorCode | null) => void): void {
    this.#socket!.connect({ host, port }).then(
      () => process.nextTick(done, null),
      (error) => process.nextTick(done, codeOf(error)),
    );
  }

  disconnect(): void {
    this.#socket?.disconnect();
  }

  /** `done` is told the error, or null and how much was sent. */
  send(
    data: Uint8Array,
    remote: { host: string; port: number } | undefined,
    done: (error: ErrorCode | null) => void,
  ): void {
    this.sendQueueCount++;
    this.sendQueueSize += data.length;
    const settle = (error: ErrorCode | null): void => {
      this.sendQueueCount--;
      this.sendQueueSize -= data.length;
      process.nextTick(done, error);
    };
    this.#socket!.send(data, remote).then(
      () => settle(null),
      (error) => settle(codeOf(error)),
    );
  }

  close(): void {
    if (!this.markClosed()) return;
    this.#owner = null;
    void this.#socket?.close();
  }
}
