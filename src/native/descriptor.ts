import { Errno, systemError } from './errno.ts';
import { GatherRing } from './gather-ring.ts';
import type { IoVectors } from './iovecs.ts';
import { type Libc, libc, type NativeMemory } from './libc.ts';
import { Mapping } from './mapping.ts';
import { type Readiness, Watch } from './watch.ts';

const O_RDWR = 0o2;
const O_NONBLOCK = 0o4000;
const O_CLOEXEC = 0o2000000;
const F_GETFL = 3;
const F_SETFL = 4;
const SOCK_DGRAM = 2;
export const AF_INET = 2;
export const AF_INET6 = 10;

/**
 * An open file descriptor that this object owns. Calls on the data path answer
 * with a negative error number in place of throwing; the others throw a
 * `NetError` that names the call.
 */
export class Descriptor {
  readonly fd: number;
  readonly #libc: Libc;
  #open = true;

  /** Takes over `fd`: `close` closes it. */
  constructor(fd: number) {
    this.#libc = libc();
    this.fd = fd;
  }

  /**
   * Opens a device for reading and writing, non-blocking, closed on exec.
   *
   * @param reasons for error numbers that mean something particular here, what to do about them
   */
  static open(path: string, reasons: Partial<Record<number, string>> = {}): Descriptor {
    const c = libc();
    const fd = c.open(path, O_RDWR | O_NONBLOCK | O_CLOEXEC, 0);
    if (fd < 0) {
      const errno = c.errno();
      throw systemError(errno, `open ${path}`, reasons[errno]);
    }
    return new Descriptor(fd);
  }

  /** A datagram socket, for ioctls on interfaces of its family in this process's network namespace. */
  static controlSocket(family: typeof AF_INET | typeof AF_INET6): Descriptor {
    const c = libc();
    const fd = c.socket(family, SOCK_DGRAM | O_CLOEXEC, 0);
    if (fd < 0) throw systemError(c.errno(), 'socket');
    return new Descriptor(fd);
  }

  /** Reads up to `length` bytes into `memory` at `offset`; the count, or a negative error number. */
  read(memory: NativeMemory, offset: number, length: number): number {
    const count = this.#libc.read(this.fd, memory.address + offset, length);
    return count < 0 ? -this.#libc.errno() : count;
  }

  /** Writes `length` bytes of `memory` from `offset`; the count, or a negative error number. */
  write(memory: NativeMemory, offset: number, length: number): number {
    const count = this.#libc.write(this.fd, memory.address + offset, length);
    return count < 0 ? -this.#libc.errno() : count;
  }

  /** As one {@link write}: the first `count` of `vectors`, in order. */
  writeGathered(vectors: IoVectors, count: number): number {
    const written = this.#libc.writev(this.fd, vectors.address(0), count);
    return written < 0 ? -this.#libc.errno() : written;
  }

  /** For batches of writes; null where the kernel has none. Close it before the descriptor. */
  gather(count: number, slotSize: number): GatherRing | null {
    return GatherRing.open(this.fd, count, slotSize);
  }

  /** An ioctl on `argument`'s memory; 0 or more, or a negative error number. */
  tryIoctl(request: number, argument: Uint8Array): number {
    const result = this.#libc.ioctl(this.fd, request, argument);
    return result < 0 ? -this.#libc.errno() : result;
  }

  /** An ioctl whose argument is the value itself; 0 or more, or a negative error number. */
  tryIoctlValue(request: number, value: number): number {
    const result = this.#libc.ioctlValue(this.fd, request, value);
    return result < 0 ? -this.#libc.errno() : result;
  }

  /** An ioctl on the bytes at `offset` of `memory`, for the data path; 0 or more, or a negative error number. */
  tryIoctlAt(request: number, memory: NativeMemory, offset: number): number {
    return this.tryIoctlValue(request, memory.address + offset);
  }

  /** As {@link tryIoctl}; throws with `name`, and the reason for that error number if there is one. */
  ioctl(
    request: number,
    argument: Uint8Array,
    name: string,
    reasons: Partial<Record<number, string>> = {},
  ): number {
    const result = this.tryIoctl(request, argument);
    if (result < 0) throw systemError(-result, `ioctl ${name}`, reasons[-result]);
    return result;
  }

  /** For a descriptor from elsewhere: sets `O_NONBLOCK`, without which a read would stop the process. */
  setNonBlocking(): void {
    const flags = this.#libc.fcntl(this.fd, F_GETFL, 0);
    if (flags < 0) throw systemError(this.#libc.errno(), `fcntl ${this.fd}`);
    if ((flags & O_NONBLOCK) !== 0) return;
    if (this.#libc.fcntl(this.fd, F_SETFL, flags | O_NONBLOCK) < 0) {
      throw systemError(this.#libc.errno(), `fcntl ${this.fd}`);
    }
  }

  /** Maps `length` bytes of the device; `offset` is what the device calls them. */
  map(length: number, offset: number, name: string, reasons: Partial<Record<number, string>> = {}): Mapping {
    return new Mapping(this.fd, length, offset, `mmap ${name}`, reasons);
  }

  /** Calls `readiness` from the event loop; close the watch before the descriptor. */
  watch(readiness: Readiness): Watch {
    return new Watch(this.fd, readiness);
  }

  /** Idempotent. Errors of `close` are not news: the descriptor is gone all the same. */
  close(): void {
    if (!this.#open) return;
    this.#open = false;
    this.#libc.close(this.fd);
  }
}

/** Whether a negative result says "not now, try when ready". */
export function isRetry(result: number): boolean {
  return result === -Errno.EAGAIN || result === -Errno.EINTR;
}
