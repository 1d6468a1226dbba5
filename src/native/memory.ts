import { allocate } from '../bytes/index.ts';
import { libc, type NativeMemory } from './libc.ts';

/** `size` fresh bytes, contents undefined, that a system call may be pointed at. */
export function allocateNative(size: number): NativeMemory {
  return locate(allocate(size));
}

/** `bytes` with their address. They must not be in V8's heap; what `allocate` and WebAssembly make is not. */
export function locate(bytes: Uint8Array): NativeMemory {
  return { bytes, address: libc().addressOf(bytes) };
}
