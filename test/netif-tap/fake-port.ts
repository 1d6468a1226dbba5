import { Errno, type NativeMemory, type Readiness } from '../../src/native/index.ts';
import type { TapPort } from '../../src/netif/tap/port.ts';

/** A descriptor that gives what it was fed and keeps what it gets. */
export class FakePort implements TapPort {
  /** What reads give: bytes, or a negative error number; EAGAIN when there is no more. */
  readonly input: (Buffer | number)[] = [];
  readonly output: Buffer[] = [];
  /** What writes answer in place of taking the frame, as long as there are any. */
  readonly refusals: number[] = [];
  /** Writes that are taken before all are refused with EAGAIN; no limit by default. */
  room = Number.POSITIVE_INFINITY;
  readiness: Readiness | null = null;
  wantsWritable = false;
  watched = false;
  closed = false;

  read(memory: NativeMemory, offset: number, length: number): number {
    const next = this.input.shift() ?? -Errno.EAGAIN;
    if (typeof next === 'number') return next;
    const count = Math.min(next.length, length);
    memory.bytes.set(next.subarray(0, count), offset);
    return count;
  }

  write(memory: NativeMemory, offset: number, length: number): number {
    const refusal = this.refusals.shift();
    if (refusal !== undefined) return -refusal;
    if (this.room === 0) return -Errno.EAGAIN;
    this.room--;
    this.output.push(Buffer.from(memory.bytes.slice(offset, offset + length)));
    return length;
  }

  watch(readiness: Readiness) {
    this.readiness = readiness;
    this.watched = true;
    return {
      setWritable: (wanted: boolean) => {
        this.wantsWritable = wanted;
      },
      unref: () => {},
      close: () => {
        this.watched = false;
      },
    };
  }

  close(): void {
    this.closed = true;
  }
}
