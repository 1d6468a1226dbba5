import { FIRST_OWNED_PORT, SHARD_MULTIPLIER } from '../shard.ts';

/*
 * The rule of `shardOf` as a program for the kernel (eBPF, RFC 9669), which runs
 * it for each frame to find the queue. It reads IPv4 with options, and IPv6
 * without extension headers; what it does not know goes to queue 0.
 */

const LOAD_BYTE = 0x30;
const LOAD_HALF = 0x28;
const LOAD_HALF_INDIRECT = 0x48;
const MOVE = 0xbf;
const MOVE_VALUE = 0xb7;
const AND = 0x57;
const SHIFT_LEFT = 0x67;
const SHIFT_RIGHT = 0x77;
const OR_REGISTER = 0x4f;
const SUBTRACT = 0x17;
const MULTIPLY = 0x27;
const MULTIPLY_32 = 0x24;
const JUMP = 0x05;
const IF_EQUAL = 0x15;
const IF_NOT_EQUAL = 0x55;
const IF_LESS = 0xa5;
const EXIT = 0x95;

/** An instruction; `to` names the label that a jump goes to. */
interface Instruction {
  readonly code: number;
  readonly dst?: number;
  readonly src?: number;
  readonly value?: number;
  readonly to?: string;
  readonly label?: string;
}

const ETHERTYPE = 12;
const IP = 14;

/**
 * The program for `queues` queues. Registers: 6 the packet, as loads want it, 7
 * the length of the IPv4 header, 8 the remote port, 0 the local port and the answer.
 */
export function steeringProgram(queues: number): Uint8Array {
  return assemble([
    { code: MOVE, dst: 6, src: 1 },
    { code: LOAD_HALF, value: ETHERTYPE },
    { code: IF_EQUAL, value: 0x86dd, to: 'ipv6' },
    { code: IF_NOT_EQUAL, value: 0x0800, to: 'first' },
    { code: LOAD_HALF, value: IP + 6 },
    { code: AND, value: 0x3fff },
    { code: IF_NOT_EQUAL, value: 0, to: 'first' },
    { code: LOAD_BYTE, value: IP },
    { code: AND, value: 15 },
    { code: SHIFT_LEFT, value: 2 },
    { code: MOVE, dst: 7, src: 0 },
    { code: LOAD_BYTE, value: IP + 9 },
    { code: IF_EQUAL, value: 6, to: 'ipv4 ports' },
    { code: IF_NOT_EQUAL, value: 17, to: 'first' },
    { label: 'ipv4 ports', code: LOAD_HALF_INDIRECT, src: 7, value: IP },
    { code: MOVE, dst: 8, src: 0 },
    { code: LOAD_HALF_INDIRECT, src: 7, value: IP + 2 },
    { code: JUMP, to: 'ports' },
    { label: 'ipv6', code: LOAD_BYTE, value: IP + 6 },
    { code: IF_EQUAL, value: 6, to: 'ipv6 ports' },
    { code: IF_NOT_EQUAL, value: 17, to: 'first' },
    { label: 'ipv6 ports', code: LOAD_HALF, value: IP + 40 },
    { code: MOVE, dst: 8, src: 0 },
    { code: LOAD_HALF, value: IP + 42 },
    { label: 'ports', code: IF_LESS, value: FIRST_OWNED_PORT, to: 'hash' },
    { code: SUBTRACT, value: FIRST_OWNED_PORT },
    { code: MULTIPLY, value: queues },
    { code: SHIFT_RIGHT, value: 15 },
    { code: EXIT },
    { label: 'hash', code: SHIFT_LEFT, dst: 8, value: 16 },
    { code: OR_REGISTER, dst: 8, src: 0 },
    { code: MULTIPLY_32, dst: 8, value: SHARD_MULTIPLIER | 0 },
    { code: SHIFT_RIGHT, dst: 8, value: 16 },
    { code: MULTIPLY, dst: 8, value: queues },
    { code: SHIFT_RIGHT, dst: 8, value: 16 },
    { code: MOVE, dst: 0, src: 8 },
    { code: EXIT },
    { label: 'first', code: MOVE_VALUE, value: 0 },
    { code: EXIT },
  ]);
}

function assemble(program: readonly Instruction[]): Uint8Array {
  const bytes = Buffer.alloc(program.length * 8);
  program.forEach(({ code, dst = 0, src = 0, value = 0, to }, i) => {
    bytes[i * 8] = code;
    bytes[i * 8 + 1] = (src << 4) | dst;
    const target = to === undefined ? i + 1 : program.findIndex(({ label }) => label === to);
    bytes.writeInt16LE(target - i - 1, i * 8 + 2);
    bytes.writeInt32LE(value, i * 8 + 4);
  });
  return bytes;
}
