import { allocate } from '../bytes/index.ts';
import { libc, type NativeMemory } from './libc.ts';

/** `size` fresh bytes, contents undefined, that a system call may be pointed at. */
export function allocateNative(size: number): NativeMemory {
  return locate(allocate(size));
}

/** Where `bytes` are, or 0 if that cannot be told. They must not be in V8's heap, as none of a kilobyte are. */
export function addressOf(bytes: Uint8Array): number {
  try {
    return libc().addressOf(bytes);
  } catch {
    return 0;
  }
}

/** `bytes` with their address. They must not be in V8's heap; what `allocate` and WebAssembly make is not. */
export function locate(bytes: Uint8Array): NativeMemory {
  return { bytes, address: libc().addressOf(bytes) };
}
