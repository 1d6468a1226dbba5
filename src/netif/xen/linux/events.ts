import {
  allocateNative,
  Descriptor,
  isRetry,
  type NativeMemory,
  systemError,
  type Watch,
} from '../../../native/index.ts';
import type { DomainId, EventChannel, EventChannels } from '../hypervisor.ts';
import { deviceReasons } from './device.ts';
import { EVTCHN_BIND_INTERDOMAIN, EVTCHN_BIND_UNBOUND, EVTCHN_NOTIFY, EVTCHN_UNBIND } from './ioctl.ts';

const EVTCHN = '/dev/xen/evtchn';

/** Ports that one read gives, 4 bytes each. */
const BATCH = 256;

/** All channels of this process: one device whose reads give the ports that were notified. */
export class LinuxEventChannels implements EventChannels {
  readonly #device: Descriptor;
  readonly #watch: Watch;
  readonly #handlers = new Map<number, () => void>();
  readonly #ports = allocateNative(4 * BATCH);
  readonly #words: DataView;

  constructor() {
    this.#device = Descriptor.open(EVTCHN, deviceReasons('xen-evtchn'));
    const { bytes } = this.#ports;
    this.#words = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
    this.#watch = this.#device.watch({
      readable: () => this.#dispatch(),
      writable: () => {},
      failed: (errno) => {
        throw systemError(errno, `read ${EVTCHN}`, 'no event of Xen will come any more');
      },
    });
  }

  listen(domain: DomainId, handler: () => void): EventChannel {
    const request = words(domain);
    return this.#open(this.#device.ioctl(EVTCHN_BIND_UNBOUND, request, 'EVTCHN_BIND_UNBOUND_PORT'), handler);
  }

  bind(domain: DomainId, port: number, handler: () => void): EventChannel {
    const request = words(domain, port);
    return this.#open(
      this.#device.ioctl(EVTCHN_BIND_INTERDOMAIN, request, 'EVTCHN_BIND_INTERDOMAIN'),
      handler,
    );
  }

  close(): void {
    this.#handlers.clear();
    this.#watch.close();
    this.#device.close();
  }

  #open(port: number, handler: () => void): EventChannel {
    const handlers = this.#handlers;
    handlers.set(port, handler);
    return new LinuxEventChannel(this.#device, port, () => handlers.delete(port));
  }

  #dispatch(): void {
    const count = this.#device.read(this.#ports, 0, 4 * BATCH);
    if (count < 0) {
      if (isRetry(count)) return;
      throw systemError(-count, `read ${EVTCHN}`);
    }
    for (let at = 0; at + 4 <= count; at += 4) this.#handlers.get(this.#words.getUint32(at, true))?.();
  }
}

class LinuxEventChannel implements EventChannel {
  readonly port: number;
  readonly #device: Descriptor;
  /** The port, as notify and unmask give it to the kernel. */
  readonly #argument: NativeMemory;
  #forget: (() => void) | null;

  constructor(device: Descriptor, port: number, forget: () => void) {
    this.port = port;
    this.#device = device;
    this.#forget = forget;
    this.#argument = allocateNative(4);
    this.#argument.bytes.set(words(port));
  }

  notify(): void {
    // The kernel has nothing to say but that the port is not bound, which is what `close` does.
    if (this.#forget !== null) this.#device.tryIoctlAt(EVTCHN_NOTIFY, this.#argument, 0);
  }

  unmask(): void {
    if (this.#forget !== null) this.#device.write(this.#argument, 0, 4);
  }

  close(): void {
    if (this.#forget === null) return;
    this.#forget();
    this.#forget = null;
    this.#device.tryIoctl(EVTCHN_UNBIND, words(this.port));
  }
}

function words(...values: number[]): Buffer {
  const bytes = Buffer.alloc(4 * values.length);
  for (const [index, value] of values.entries()) bytes.writeUInt32LE(value, 4 * index);
  return bytes;
}
