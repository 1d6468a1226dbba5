/**
 * `io_uring` as far as the experiment needs it: batches of reads and writes of one
 * descriptor, each batch one system call. The kernel's interface as in
 * <linux/io_uring.h>; no liburing.
 */
import { createRequire } from 'node:module';
import { allocateNative, type Descriptor, Mapping, type NativeMemory } from '../../src/native/index.ts';

const SYS_SETUP = 425;
const SYS_ENTER = 426;
const OP_READ = 22;
const OP_WRITE = 23;
/** What is done is done in the call that submits it; nobody else submits. */
const SETUP_COOP_TASKRUN = 1 << 8;
const SETUP_SINGLE_ISSUER = 1 << 12;
/** Answer EAGAIN in place of waiting until there is something. */
const RWF_NOWAIT = 8;
const OFF_SQES = 0x10000000;
const SQE = 64;
const CQE = 16;
const PAGE = 4096;

/** `count` buffers of `size` bytes, and a request for each. */
export class Batch {
  readonly memory: NativeMemory;
  readonly size: number;
  readonly #tap: Descriptor;
  readonly #ring: number;
  readonly #enter: (n: number, fd: number, submit: number, wait: number, flags: number) => number;
  readonly #rings: Uint32Array;
  readonly #sqes: DataView;
  readonly #results: Int32Array;
  readonly #sqTail: number;
  readonly #cqHead: number;
  readonly #cqTail: number;
  readonly #cqes: number;
  readonly #mask: number;

  constructor(tap: Descriptor, count: number, size: number, kind: 'read' | 'write') {
    const koffi = createRequire(import.meta.url)('koffi') as typeof import('koffi').default;
    const c = koffi.load(null);
    const setup = c.func('syscall', 'int', ['long', 'uint32_t', 'void *']);
    this.#enter = c.func('syscall', 'int', ['long', 'int', 'uint32_t', 'uint32_t', 'uint32_t']) as never;
    const params = Buffer.alloc(120);
    params.writeUInt32LE(SETUP_COOP_TASKRUN | SETUP_SINGLE_ISSUER, 8);
    this.#ring = setup(SYS_SETUP, count, params) as number;
    if (this.#ring < 0) throw new Error(`io_uring_setup: errno ${koffi.errno()}`);
    const word = (at: number): number => params.readUInt32LE(at);
    const ringBytes = Math.max(word(40 + 24) + count * 4, word(80 + 20) + word(4) * CQE);
    const rings = new Mapping(this.#ring, Math.ceil(ringBytes / PAGE) * PAGE, 0, 'mmap io_uring');
    const sqes = new Mapping(this.#ring, Math.ceil((count * SQE) / PAGE) * PAGE, OFF_SQES, 'mmap io_uring');
    this.#rings = new Uint32Array(rings.bytes.buffer, rings.bytes.byteOffset, rings.bytes.length / 4);
    this.#results = new Int32Array(this.#rings.buffer, this.#rings.byteOffset, this.#rings.length);
    this.#sqes = new DataView(sqes.bytes.buffer, sqes.bytes.byteOffset, sqes.bytes.length);
    this.#sqTail = word(40 + 4) / 4;
    this.#cqHead = word(80) / 4;
    this.#cqTail = word(80 + 4) / 4;
    this.#cqes = word(80 + 20) / 4;
    this.#mask = word(4) - 1;
    this.#tap = tap;
    this.size = size;
    this.memory = allocateNative(count * size);
    // Requests and their order stay as they are from batch to batch.
    for (let i = 0; i < count; i++) {
      this.#rings[word(40 + 24) / 4 + i] = i;
      const at = i * SQE;
      this.#sqes.setUint8(at, kind === 'read' ? OP_READ : OP_WRITE);
      this.#sqes.setInt32(at + 4, this.#tap.fd, true);
      this.#sqes.setBigUint64(at + 16, BigInt(this.memory.address + i * size), true);
      this.#sqes.setUint32(at + 24, size, true);
      this.#sqes.setUint32(at + 28, RWF_NOWAIT, true);
    }
    if (word(0) !== count) throw new Error('count has to be a power of two');
  }

  /** Bytes that request `i` is to write. */
  setLength(i: number, length: number): void {
    this.#sqes.setUint32(i * SQE + 24, length, true);
  }

  /** Does the next `submitted` requests; returns how many the kernel took. */
  submit(submitted: number): number {
    const rings = this.#rings;
    rings[this.#sqTail] = rings[this.#sqTail]! + submitted;
    return this.#enter(SYS_ENTER, this.#ring, submitted, 0, 0);
  }

  /** Which request comes next in the ring. */
  get position(): number {
    return this.#rings[this.#sqTail]!;
  }

  /** Completed and not yet taken. */
  get completed(): number {
    return (this.#rings[this.#cqTail]! - this.#rings[this.#cqHead]!) | 0;
  }

  /** The next completion's result: bytes, or a negative error number. */
  take(): number {
    const head = this.#rings[this.#cqHead]!;
    const result = this.#results[this.#cqes + (head & this.#mask) * 4 + 2]!;
    this.#rings[this.#cqHead] = head + 1;
    return result;
  }
}
