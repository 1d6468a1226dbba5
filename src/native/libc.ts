import { createRequire } from 'node:module';
import type { node } from 'koffi';
import { NetError } from '../errors.ts';

/*
 * The way into the C library: nothing else loads it, and only `system.ts` calls
 * functions that are not declared here.
 *
 * Memory is passed as a *number*: the address of a buffer, asked once
 * (`addressOf`), plus an offset. Measured on the reference machine with a read
 * of /dev/null (which costs 188 ns as a bare system call):
 *
 *   the Buffer itself, always from its first byte   286 ns
 *   `buffer.subarray(offset, …)` per call           334 ns, and an object of garbage
 *   address + offset as a Number in a `uintptr_t`   275 ns, and a boxed double (16 bytes)
 *
 * The memory must lie outside V8's heap (anything made by `allocate`, and
 * WebAssembly memory, does) and must be kept referenced while the address is in
 * use; {@link NativeMemory} holds the two together.
 */

/** Bytes whose address does not change while this object is referenced. */
export interface NativeMemory {
  readonly bytes: Uint8Array;
  readonly address: number;
}

/** The C library's functions as they are: results of -1 with the reason in `errno()`. */
export interface Libc {
  open(path: string, flags: number, mode: number): number;
  close(fd: number): number;
  read(fd: number, address: number, length: number): number;
  write(fd: number, address: number, length: number): number;
  /** `vectors`: address of the `struct iovec`s. */
  writev(fd: number, vectors: number, count: number): number;
  fcntl(fd: number, command: number, argument: number): number;
  /** With a pointer to memory. */
  ioctl(fd: number, request: number, argument: Uint8Array): number;
  /** With a value in place of the pointer. */
  ioctlValue(fd: number, request: number, argument: number): number;
  socket(family: number, type: number, protocol: number): number;
  /** For calls that the C library has no function for. */
  syscall(number: number, a: number, b: number, c: number, d: number): number;
  /** The address, or -1. */
  mmap(
    address: number,
    length: number,
    protection: number,
    flags: number,
    fd: number,
    offset: number,
  ): number;
  munmap(address: number, length: number): number;
  /** The reason for the -1 of the call just made. */
  errno(): number;
  /** Where the first byte of `bytes` lies; less than 2^53 on every Linux. */
  addressOf(bytes: Uint8Array): number;
  /** Memory that is not V8's as bytes; nothing keeps it from being unmapped. */
  view(address: number, length: number): ArrayBuffer;
  /** Readiness of a descriptor in Node's event loop; see {@link Watch}, which tames it. */
  poll(fd: number, interest: PollInterest, callback: PollCallback): node.PollHandle;
}

export interface PollInterest {
  readonly readable: boolean;
  readonly writable: boolean;
}

/** koffi passes libuv's status (negative errno) first; its typings leave that out. */
export type PollCallback = (status: number, events: { readable: boolean; writable: boolean }) => void;

let loaded: Libc | undefined;

/**
 * The C library, loaded at the first call.
 *
 * @throws NetError `ENODEV` on a platform other than Linux, or where the
 * optional package `koffi` is not installed for it.
 */
export function libc(): Libc {
  loaded ??= load();
  return loaded;
}

let library: ReturnType<typeof openLibrary> | undefined;

/** For `system.ts`: what it calls is declared there, since it is needed once in a process' life. */
export function cLibrary(): ReturnType<typeof openLibrary>['c'] {
  library ??= openLibrary();
  return library.c;
}

function openLibrary() {
  if (process.platform !== 'linux') {
    throw new NetError('ENODEV', {
      syscall: 'dlopen',
      reason: `kernel devices are reached on Linux only, and this is ${process.platform}`,
    });
  }
  const koffi = loadKoffi();
  // Not a file name: Node itself is linked to the C library, be it glibc or musl.
  return { koffi, c: koffi.load(null) };
}

function load(): Libc {
  library ??= openLibrary();
  const { koffi, c } = library;
  return {
    open: c.func('open', 'int', ['str', 'int', 'uint32_t']) as unknown as Libc['open'],
    close: c.func('close', 'int', ['int']) as unknown as Libc['close'],
    read: c.func('read', 'intptr_t', ['int', 'uintptr_t', 'size_t']) as unknown as Libc['read'],
    write: c.func('write', 'intptr_t', ['int', 'uintptr_t', 'size_t']) as unknown as Libc['write'],
    writev: c.func('writev', 'intptr_t', ['int', 'uintptr_t', 'int']) as unknown as Libc['writev'],
    fcntl: c.func('fcntl', 'int', ['int', 'int', 'int']) as unknown as Libc['fcntl'],
    ioctl: c.func('ioctl', 'int', ['int', 'ulong', 'void *']) as unknown as Libc['ioctl'],
    ioctlValue: c.func('ioctl', 'int', ['int', 'ulong', 'ulong']) as unknown as Libc['ioctlValue'],
    syscall: c.func('syscall', 'intptr_t', [
      'intptr_t',
      'uintptr_t',
      'uintptr_t',
      'uintptr_t',
      'uintptr_t',
    ]) as unknown as Libc['syscall'],
    socket: c.func('socket', 'int', ['int', 'int', 'int']) as unknown as Libc['socket'],
    mmap: c.func('mmap', 'intptr_t', [
      'uintptr_t',
      'size_t',
      'int',
      'int',
      'int',
      'intptr_t',
    ]) as unknown as Libc['mmap'],
    munmap: c.func('munmap', 'int', ['uintptr_t', 'size_t']) as unknown as Libc['munmap'],
    errno: () => koffi.errno(),
    addressOf: (bytes) => Number(koffi.address(bytes)),
    view: (address, length) => koffi.view(BigInt(address), length),
    poll: koffi.node.poll as unknown as Libc['poll'],
  };
}

function loadKoffi(): typeof import('koffi').default {
  try {
    return createRequire(import.meta.url)('koffi') as typeof import('koffi').default;
  } catch (cause) {
    throw new NetError('ENODEV', {
      syscall: 'dlopen',
      reason: `the package koffi is needed to reach kernel devices and cannot be loaded on ${process.platform}-${process.arch}: npm install koffi`,
      cause,
    });
  }
}
