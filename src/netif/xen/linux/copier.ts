import { allocateNative, type Descriptor, type NativeMemory } from '../../../native/index.ts';
import type { DomainId, GrantCopier, LocalMemory } from '../hypervisor.ts';
import { GNTDEV_GRANT_COPY } from './ioctl.ts';

/** `flags` of a segment: which end is a grant. */
const SOURCE_GREF = 1;
const DESTINATION_GREF = 2;

/** Bytes of `struct ioctl_gntdev_grant_copy`, with which the memory begins. */
const HEADER = 16;
/**
 * Bytes of `struct gntdev_grant_copy_segment`: source @0 and destination @8 (a
 * pointer, or u32 ref, u16 offset, u16 domid), u16 len @16, u16 flags @18,
 * s16 status @20.
 */
const SEGMENT = 24;

/** GNTST_general_error: what a segment counts as whose batch the kernel did not finish. */
const GENERAL_ERROR = -1;

export class LinuxGrantCopier implements GrantCopier {
  readonly capacity: number;
  #count = 0;
  readonly #device: Descriptor;
  readonly #domain: DomainId;
  readonly #memory: NativeMemory;
  /** Over `#memory`; made once. */
  readonly #words: DataView;

  constructor(device: Descriptor, domain: DomainId, segments: number) {
    this.capacity = segments;
    this.#device = device;
    this.#domain = domain;
    this.#memory = allocateNative(HEADER + SEGMENT * segments);
    const { bytes } = this.#memory;
    this.#words = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
    this.#setPointer(8, this.#memory.address + HEADER);
  }

  get count(): number {
    return this.#count;
  }

  pull(reference: number, offset: number, memory: LocalMemory, at: number, length: number): void {
    const segment = HEADER + SEGMENT * this.#count++;
    this.#setGrant(segment, reference, offset);
    this.#setPointer(segment + 8, (memory as NativeMemory).address + at);
    this.#finish(segment, length, SOURCE_GREF);
  }

  push(reference: number, offset: number, memory: LocalMemory, at: number, length: number): void {
    const segment = HEADER + SEGMENT * this.#count++;
    this.#setPointer(segment, (memory as NativeMemory).address + at);
    this.#setGrant(segment + 8, reference, offset);
    this.#finish(segment, length, DESTINATION_GREF);
  }

  run(): void {
    this.#words.setUint32(0, this.#count, true);
    // Where the kernel gives up in the middle, what it has not reached keeps the status of `#finish`.
    this.#device.tryIoctlAt(GNTDEV_GRANT_COPY, this.#memory, 0);
  }

  status(index: number): number {
    return this.#words.getInt16(HEADER + SEGMENT * index + 20, true);
  }

  clear(): void {
    this.#count = 0;
  }

  #setGrant(at: number, reference: number, offset: number): void {
    this.#words.setUint32(at, reference, true);
    this.#words.setUint16(at + 4, offset, true);
    this.#words.setUint16(at + 6, this.#domain, true);
  }

  /** An address is below 2^53; as two halves it needs no BigInt. */
  #setPointer(at: number, address: number): void {
    this.#words.setUint32(at, address % 2 ** 32, true);
    this.#words.setUint32(at + 4, address / 2 ** 32, true);
  }

  #finish(segment: number, length: number, flags: number): void {
    this.#words.setUint16(segment + 16, length, true);
    this.#words.setUint16(segment + 18, flags, true);
    this.#words.setInt16(segment + 20, GENERAL_ERROR, true);
  }
}
