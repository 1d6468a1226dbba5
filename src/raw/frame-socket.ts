import { NetError } from '../errors.ts';
import type { Ethernet, FrameObserver } from '../ethernet/index.ts';
import type { Frame } from '../netif/index.ts';
import { Receiver } from '../udp/index.ts';
import { finished } from './ip-socket.ts';

/** A frame as it stands on the wire, Ethernet header first. */
export interface SeenFrame {
  readonly data: Uint8Array;
  /** The interface's name. */
  readonly interface: string;
  readonly direction: 'in' | 'out';
}

export interface FrameSocketOptions {
  /** The only interface to look at; all of them by default. */
  readonly interface?: string;
  /** Most bytes of frames that wait to be read; 1 MiB by default. More are dropped and counted. */
  readonly receiveBuffer?: number;
}

const RECEIVE_BUFFER = 2 ** 20;

/** One interface, as frames see it. */
export interface FrameInterface {
  readonly name: string;
  readonly ethernet: Ethernet;
}

/**
 * Every frame of an interface, whomever it is for (promiscuous, as far as the device
 * shows it), and frames sent as they are: for tools.
 */
export class FrameSocket implements AsyncIterable<SeenFrame> {
  readonly #interfaces: readonly FrameInterface[];
  readonly #receiver: Receiver<SeenFrame>;
  readonly #onClose: () => void;
  #closed = false;

  constructor(interfaces: readonly FrameInterface[], receiveBuffer: number, onClose: () => void) {
    this.#interfaces = interfaces;
    this.#receiver = new Receiver(receiveBuffer);
    this.#onClose = onClose;
  }

  get dropped(): number {
    return this.#receiver.dropped;
  }

  /** Sends a frame, Ethernet header first, by the interface, or the first of them. Rejects with `ENOBUFS`, `EMSGSIZE`, `ENODEV`. */
  async send(frame: Uint8Array, options: { readonly interface?: string } = {}): Promise<void> {
    if (this.#closed) throw new NetError('EPIPE', { syscall: 'send', reason: 'the socket is closed' });
    const { interface: name } = options;
    const by = this.#interfaces.find((one) => name === undefined || one.name === name);
    if (by === undefined) throw new NetError('ENODEV', { syscall: 'send', reason: `no interface ${name}` });
    if (!by.ethernet.inject(frame)) throw new NetError('ENOBUFS', { syscall: 'send', reason: by.name });
  }

  /** The next frame; null after `close`. */
  receive(): Promise<SeenFrame | null> {
    return this.#receiver.receive();
  }

  [Symbol.asyncIterator](): AsyncIterator<SeenFrame> {
    return this.#receiver[Symbol.asyncIterator]();
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    this.#receiver.close();
    this.#onClose();
  }

  // ---- for the layer

  sees(name: string): boolean {
    return this.#interfaces.some((one) => one.name === name);
  }

  take(frame: Frame, start: number, end: number, name: string, isOutbound: boolean): void {
    if (!this.#receiver.accepts(end - start)) return;
    const direction = isOutbound ? 'out' : 'in';
    this.#receiver.push({ data: finished(frame, start, end), interface: name, direction });
  }
}

/** Frame sockets of a stack. */
export class RawFrames {
  readonly #interfaces: readonly FrameInterface[];
  readonly #sockets: FrameSocket[] = [];

  constructor(interfaces: readonly FrameInterface[]) {
    this.#interfaces = interfaces;
  }

  /** Throws `ENODEV`. */
  open({ interface: name, receiveBuffer = RECEIVE_BUFFER }: FrameSocketOptions = {}): FrameSocket {
    const interfaces = this.#interfaces.filter((one) => name === undefined || one.name === name);
    if (interfaces.length === 0) {
      throw new NetError('ENODEV', { syscall: 'open', reason: `no interface ${name}` });
    }
    const socket: FrameSocket = new FrameSocket(interfaces, receiveBuffer, () => {
      this.#sockets.splice(this.#sockets.indexOf(socket), 1);
      this.#observe();
    });
    this.#sockets.push(socket);
    this.#observe();
    return socket;
  }

  close(): void {
    for (const socket of [...this.#sockets]) void socket.close();
  }

  #observe(): void {
    for (const { name, ethernet } of this.#interfaces) {
      const looking = this.#sockets.filter((socket) => socket.sees(name));
      const observer: FrameObserver = {
        observe: (frame, start, end, isOutbound) => {
          for (const socket of looking) socket.take(frame, start, end, name, isOutbound);
        },
      };
      ethernet.observer = looking.length === 0 ? null : observer;
    }
  }
}
