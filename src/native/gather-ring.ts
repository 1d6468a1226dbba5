import { Errno, systemError } from './errno.ts';
import { IoVectors } from './iovecs.ts';
import { type Libc, libc, type NativeMemory } from './libc.ts';
import { Mapping } from './mapping.ts';
import { allocateNative } from './memory.ts';

/*
 * The kernel's `io_uring`, as far as writing takes it (<linux/io_uring.h>): many
 * writes of one descriptor in one system call, which has done them when it
 * returns. The numbers of calls are the same on every architecture, the layout
 * is little-endian on all that koffi supports.
 */

const SYS_SETUP = 425;
const SYS_ENTER = 426;
const OP_WRITEV = 2;
/** Answers EAGAIN in place of handing the write to a thread that may wait. */
const RWF_NOWAIT = 8;
const OFF_SQ_RING = 0;
const OFF_SQES = 0x10000000;
const PARAMETERS = 120;
/** `struct io_uring_params`, where the rings' offsets are told. */
const SQ_OFFSETS = 40;
const CQ_OFFSETS = 80;
const FEATURES = 20;
const FEATURE_SINGLE_MMAP = 1;
const SQE = 64;
const CQE = 16;
const PAGE = 4096;

/**
 * Writes of two parts each: one from a slot of the ring's own, one from anywhere.
 * Fill slots 0, 1, 2 … with {@link set}, {@link submit} them, and take as many
 * {@link result}s, in that order.
 */
export class GatherRing {
  /** Writes in one batch at most. */
  readonly count: number;
  /** The slots, `slotSize` bytes each. */
  readonly slots: NativeMemory;
  readonly slotSize: number;
  readonly #libc: Libc;
  readonly #ring: number;
  readonly #words: Uint32Array;
  readonly #results: Int32Array;
  /** Two for each write. */
  readonly #vectors: IoVectors;
  /** Keeps the requests' memory. */
  readonly #requests: Mapping;
  /** Indices in `#words`. */
  readonly #sqTail: number;
  readonly #cqHead: number;
  readonly #cqTail: number;
  readonly #cqes: number;
  readonly #cqMask: number;
  readonly #array: number;

  /**
   * Null where the kernel has no such thing, forbids it (`kernel.io_uring_disabled`, seccomp in most
   * containers), or cannot write to `fd` without waiting.
   *
   * @param count of two's powers
   */
  static open(fd: number, count: number, slotSize: number): GatherRing | null {
    const c = libc();
    const parameters = Buffer.alloc(PARAMETERS);
    const ring = c.syscall(SYS_SETUP, count, c.addressOf(parameters), 0, 0);
    if (ring < 0) return null;
    try {
      const gather = new GatherRing(c, ring, fd, count, slotSize, parameters);
      if ((parameters.readUInt32LE(FEATURES) & FEATURE_SINGLE_MMAP) !== 0 && gather.#works()) return gather;
    } catch {
      // The rings cannot be mapped: no room, or a limit on locked memory.
    }
    c.close(ring);
    return null;
  }

  private constructor(
    c: Libc,
    ring: number,
    fd: number,
    count: number,
    slotSize: number,
    parameters: Buffer,
  ) {
    const told = (at: number): number => parameters.readUInt32LE(at);
    this.#libc = c;
    this.#ring = ring;
    this.count = count;
    this.slotSize = slotSize;
    const array = told(SQ_OFFSETS + 24);
    const cqes = told(CQ_OFFSETS + 20);
    const cqEntries = told(4);
    const size = Math.max(array + count * 4, cqes + cqEntries * CQE);
    const rings = new Mapping(ring, pages(size), OFF_SQ_RING, 'mmap io_uring');
    this.#requests = new Mapping(ring, pages(count * SQE), OFF_SQES, 'mmap io_uring');
    const { buffer, byteOffset, length } = rings.bytes;
    this.#words = new Uint32Array(buffer, byteOffset, length / 4);
    this.#results = new Int32Array(buffer, byteOffset, length / 4);
    this.#sqTail = told(SQ_OFFSETS + 4) / 4;
    this.#cqHead = told(CQ_OFFSETS) / 4;
    this.#cqTail = told(CQ_OFFSETS + 4) / 4;
    this.#cqes = cqes / 4;
    this.#cqMask = cqEntries - 1;
    this.slots = allocateNative(count * slotSize);
    this.#vectors = new IoVectors(2 * count);
    const requests = new DataView(this.#requests.bytes.buffer, this.#requests.bytes.byteOffset);
    for (let i = 0; i < count; i++) {
      const at = i * SQE;
      requests.setUint8(at, OP_WRITEV);
      requests.setInt32(at + 4, fd, true);
      requests.setBigUint64(at + 16, BigInt(this.#vectors.address(2 * i)), true);
      requests.setUint32(at + 24, 2, true);
      requests.setUint32(at + 28, RWF_NOWAIT, true);
      this.#vectors.set(2 * i, this.slots.address + i * slotSize, 0);
    }
    this.#array = array / 4;
  }

  /** Write `i` of the next batch is `length` bytes of slot `i`, and then `restLength` at the address `rest`. */
  set(i: number, length: number, rest: number, restLength: number): void {
    this.#vectors.setLength(2 * i, length);
    this.#vectors.set(2 * i + 1, rest, restLength);
  }

  /** Does writes 0 to `count` - 1, in order. */
  submit(count: number): void {
    const words = this.#words;
    const tail = words[this.#sqTail]!;
    // Requests stand where they stand; the ring says which come next.
    for (let i = 0; i < count; i++) words[this.#array + ((tail + i) & (this.count - 1))] = i;
    words[this.#sqTail] = tail + count;
    const taken = this.#libc.syscall(SYS_ENTER, this.#ring, count, 0, 0);
    if (taken !== count || this.#completed < count) {
      throw systemError(taken < 0 ? this.#libc.errno() : 0, 'io_uring_enter', `${taken} of ${count} writes`);
    }
  }

  /** Of the next write: bytes, or a negative error number. */
  result(): number {
    const head = this.#words[this.#cqHead]!;
    const result = this.#results[this.#cqes + (head & this.#cqMask) * (CQE / 4) + 2]!;
    this.#words[this.#cqHead] = head + 1;
    return result;
  }

  close(): void {
    this.#libc.close(this.#ring);
  }

  get #completed(): number {
    return (this.#words[this.#cqTail]! - this.#words[this.#cqHead]!) | 0;
  }

  /** Whether a write of nothing is refused for being nothing, and not for being asked this way. */
  #works(): boolean {
    this.set(0, 0, this.slots.address, 0);
    this.submit(1);
    const result = this.result();
    return result === 0 || result === -Errno.EINVAL;
  }
}

function pages(bytes: number): number {
  return Math.ceil(bytes / PAGE) * PAGE;
}
