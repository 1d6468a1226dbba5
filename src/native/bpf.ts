import { systemError } from './errno.ts';
import { libc } from './libc.ts';

/** `bpf(2)` by architecture, in Node's names. */
const SYSCALL_BPF: Readonly<Record<string, number>> = {
  x64: 321,
  arm64: 280,
  riscv64: 280,
  loong64: 280,
  ppc64: 361,
  s390x: 351,
};

const BPF_PROG_LOAD = 5;
const BPF_PROG_TYPE_SOCKET_FILTER = 1;
/** `union bpf_attr` as far as loading a program reads it. */
const ATTRIBUTES = 48;
const INSTRUCTION = 8;

/**
 * Loads a program that looks at a packet and answers a number.
 *
 * @param instructions 8 bytes each, as the kernel has them
 * @returns the program's descriptor; close it once it is attached
 * @throws NetError `EPERM` without the privilege, `ENOSYS` on an unknown architecture
 */
export function loadPacketProgram(instructions: Uint8Array): number {
  const number = SYSCALL_BPF[process.arch];
  if (number === undefined) throw systemError(38, 'bpf', `no bpf(2) is known for ${process.arch}`);
  const c = libc();
  const license = Buffer.from('ISC\0');
  const attributes = Buffer.alloc(ATTRIBUTES);
  attributes.writeUInt32LE(BPF_PROG_TYPE_SOCKET_FILTER, 0);
  attributes.writeUInt32LE(instructions.length / INSTRUCTION, 4);
  attributes.writeBigUInt64LE(BigInt(c.addressOf(instructions)), 8);
  attributes.writeBigUInt64LE(BigInt(c.addressOf(license)), 16);
  const fd = c.syscall(number, BPF_PROG_LOAD, c.addressOf(attributes), ATTRIBUTES, 0);
  if (fd < 0) throw systemError(c.errno(), 'bpf BPF_PROG_LOAD');
  return fd;
}
