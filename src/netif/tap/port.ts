import type { GatherRing, IoVectors, NativeMemory, Readiness } from '../../native/index.ts';

/** The descriptor, as far as frames go through it: results are counts or negative error numbers. */
export interface TapPort {
  read(memory: NativeMemory, offset: number, length: number): number;
  write(memory: NativeMemory, offset: number, length: number): number;
  /** One frame from several places, where there is such a thing. */
  writeGathered?(vectors: IoVectors, count: number): number;
  /** For batches of writes, where there is such a thing. */
  gather?(count: number, slotSize: number): GatherRing | null;
  watch(readiness: Readiness): { setWritable(wanted: boolean): void; unref(): void; close(): void };
  close(): void;
}
