/** The way to the C library and the kernel's devices; Linux and Node only. */
export { loadPacketProgram } from './bpf.ts';
export { AF_INET, AF_INET6, Descriptor, isRetry } from './descriptor.ts';
export { Errno, errnoName, systemError } from './errno.ts';
export { GatherRing } from './gather-ring.ts';
export { IoVectors } from './iovecs.ts';
export { type Libc, libc, type NativeMemory } from './libc.ts';
export { Mapping } from './mapping.ts';
export { addressOf, allocateNative, locate } from './memory.ts';
export { become, dropPrivileges, keepOnExec, loadModule, mount, powerOff } from './system.ts';
export { type Readiness, Watch } from './watch.ts';
