import { connect } from 'node:net';
import { NetError } from '../../../errors.ts';
import {
  allocateNative,
  Descriptor,
  Errno,
  isRetry,
  systemError,
  type Watch,
} from '../../../native/index.ts';
import type { XenstoreTransport, XenstoreTransportHandler } from '../xenstore.ts';
import { XENSTORE_HEADER, XENSTORE_PAYLOAD_MAX } from '../xenstore-wire.ts';
import { deviceReasons } from './device.ts';

const XENBUS = '/dev/xen/xenbus';
const LONGEST_MESSAGE = XENSTORE_HEADER + XENSTORE_PAYLOAD_MAX;

/** Through the kernel, in every domain. */
export function openXenbus(): XenstoreTransport {
  return new XenbusTransport(Descriptor.open(XENBUS, deviceReasons('xenfs')));
}

class XenbusTransport implements XenstoreTransport {
  readonly #device: Descriptor;
  readonly #input = allocateNative(LONGEST_MESSAGE);
  readonly #output = allocateNative(LONGEST_MESSAGE);
  #watch: Watch | null = null;

  constructor(device: Descriptor) {
    this.#device = device;
  }

  start(handler: XenstoreTransportHandler): void {
    this.#watch = this.#device.watch({
      readable: () => {
        const count = this.#device.read(this.#input, 0, LONGEST_MESSAGE);
        if (count > 0) handler.received(this.#input.bytes.subarray(0, count));
        else if (!isRetry(count))
          handler.failed(systemError(count === 0 ? Errno.EPIPE : -count, `read ${XENBUS}`));
      },
      writable: () => {},
      failed: (errno) => handler.failed(systemError(errno, `read ${XENBUS}`)),
    });
  }

  send(message: Uint8Array): void {
    this.#output.bytes.set(message);
    const count = this.#device.write(this.#output, 0, message.length);
    if (count < 0) throw systemError(-count, `write ${XENBUS}`);
  }

  close(): void {
    this.#watch?.close();
    this.#device.close();
  }
}

/** To xenstored itself, in the domain where it runs: `path` is `/run/xenstored/socket`. */
export function connectXenstored(path: string): XenstoreTransport {
  const socket = connect(path);
  return {
    start: (handler) => {
      socket.on('data', (chunk) => handler.received(chunk));
      socket.on('error', (error) => handler.failed(error));
      socket.on('end', () =>
        handler.failed(new NetError('EPIPE', { syscall: `read ${path}`, reason: 'xenstored is gone' })),
      );
    },
    send: (message) => {
      socket.write(message);
    },
    close: () => {
      socket.removeAllListeners();
      // What a socket says after it was given up is no news.
      socket.on('error', () => {});
      socket.destroy();
    },
  };
}
