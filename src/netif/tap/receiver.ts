import { allocateNative, Errno, isRetry, type NativeMemory } from '../../native/index.ts';
import type { Coalescer } from '../coalesce.ts';
import {
  CHECKSUM_PARTIAL,
  CHECKSUM_VERIFIED,
  ETHERNET_HEADER,
  Frame,
  type NetifCounters,
  type NetifHandler,
} from '../netif.ts';
import { DatagramCutter } from './datagrams.ts';
import type { TapPort } from './port.ts';
import * as vnet from './vnet-header.ts';

/** Frames that nobody keeps reuse the front of it; small, since memory that is kept costs page faults. */
const SLAB = 256 * 1024;

/** Payloads that are kept begin on their own cache line. */
const ALIGNMENT = 64;

/**
 * Bytes read before a flush: with frames of 64 KiB, 64 of them would be several
 * windows, and the sender would wait for the acknowledgement of the first.
 */
const BATCH_BYTES = 256 * 1024;

export interface TapReceiverOptions {
  readonly port: TapPort;
  readonly counters: NetifCounters;
  /** Bytes of the virtio-net header before each frame; 0 for none. */
  readonly headerSize: number;
  /** Of the frames that are taken. */
  readonly longest: number;
  /** Puts segments together; null where the kernel does, or nobody. */
  readonly coalescer: Coalescer | null;
  readonly batchFrames: number;
}

/** What comes from a TAP: one system call per frame, into memory that moves on only past what is kept. */
export class TapReceiver {
  readonly #port: TapPort;
  readonly #counters: NetifCounters;
  readonly #headerSize: number;
  readonly #batchFrames: number;
  readonly #coalescer: Coalescer | null;
  /** Longest frame that we take, and bytes of a read: one more shows that a frame was cut. */
  readonly #longest: number;
  readonly #readSize: number;
  #slab: NativeMemory = allocateNative(SLAB);
  #position = 0;
  readonly #received: Frame = new Frame(this.#slab.bytes);
  readonly #cutter = new DatagramCutter();
  /** What was parsed last is several datagrams. */
  #isDatagrams = false;
  #closed = false;
  readonly #isOpen = (): boolean => !this.#closed;

  constructor(options: TapReceiverOptions) {
    const { port, counters, headerSize, longest, coalescer, batchFrames } = options;
    this.#port = port;
    this.#counters = counters;
    this.#headerSize = headerSize;
    this.#longest = longest;
    this.#readSize = headerSize + longest + 1;
    this.#coalescer = coalescer;
    this.#batchFrames = batchFrames;
  }

  /** Nothing is read or handed over any more, not even the rest of a batch. */
  close(): void {
    this.#closed = true;
  }

  /** Reads and hands over what is there, bounded. Returns what the kernel answered if the device can be read no more: a positive error number, else 0. */
  readBatch(handler: NetifHandler): number {
    if (this.#coalescer !== null) return this.#readCoalescing(this.#coalescer, handler);
    let frames = 0;
    let bytes = 0;
    while (frames < this.#batchFrames && bytes < BATCH_BYTES && !this.#closed) {
      const at = this.#roomForOne();
      const count = this.#port.read(this.#slab, at, this.#readSize);
      if (count <= 0) {
        if (!isRetry(count)) return errnoOf(count);
        break;
      }
      frames++;
      bytes += count;
      const isSound = this.#parse(at, count);
      if (isSound && this.#isDatagrams) {
        this.#receiveDatagrams(this.#cutter, at + count, handler);
        continue;
      }
      if (isSound) handler.receive(this.#received);
      if (this.#received.retained) this.#position = alignUp(at + count);
    }
    if (frames > 0 && !this.#closed) handler.flush();
    return 0;
  }

  /** Shows one after the other; from the first that is kept on, each in a place of its own. */
  #receiveDatagrams(cutter: DatagramCutter, end: number, handler: NetifHandler): void {
    const frame = this.#received;
    if (!cutter.begin(frame)) {
      this.#counters.rxErrors++;
      return;
    }
    this.#counters.rxFrames--;
    let isKept = false;
    while (cutter.hasMore && !this.#closed) {
      this.#counters.rxFrames++;
      if (isKept) {
        const at = this.#roomForOne();
        cutter.nextApart(frame, this.#slab.bytes, at);
      } else {
        cutter.next(frame);
      }
      handler.receive(frame);
      if (!frame.retained) continue;
      this.#position = alignUp(isKept ? frame.end : end);
      isKept = true;
    }
  }

  /** As {@link readBatch}, with segments of one connection put together. */
  #readCoalescing(run: Coalescer, handler: NetifHandler): number {
    let frames = 0;
    let bytes = 0;
    while (frames < this.#batchFrames && bytes < BATCH_BYTES && !this.#closed) {
      if (run.isOpen && run.overlay + this.#readSize > this.#slab.bytes.length) this.#handOver(run, handler);
      const at = run.isOpen ? run.overlay : this.#roomForOne();
      if (run.isOpen) run.aside();
      const count = this.#port.read(this.#slab, at, this.#readSize);
      if (count <= 0) {
        if (run.isOpen) run.restore();
        if (isRetry(count)) break;
        this.#handOver(run, handler);
        return errnoOf(count);
      }
      frames++;
      bytes += count;
      if (run.isOpen) this.#takeBehind(run, at, count, handler);
      else this.#takeOne(run, at, count, handler);
    }
    this.#handOver(run, handler);
    if (frames > 0 && !this.#closed) handler.flush();
    return 0;
  }

  #roomForOne(): number {
    if (this.#slab.bytes.length - this.#position < this.#readSize) {
      this.#slab = allocateNative(SLAB);
      this.#position = 0;
    }
    return this.#position;
  }

  /** A frame was read to where it fits if it goes on with the run. */
  #takeBehind(run: Coalescer, at: number, count: number, handler: NetifHandler): void {
    const { bytes } = this.#slab;
    if (count <= this.#longest && run.extend(at + count)) {
      run.restore();
      run.grow(at + count);
      this.#count(count);
      if (run.isFull) this.#handOver(run, handler);
      return;
    }
    // It does not: out of the way of the run's end, which comes first.
    const behind = run.end;
    const slab = this.#slab;
    if (behind + count > bytes.length) this.#slab = allocateNative(SLAB);
    const to = slab === this.#slab ? behind : 0;
    this.#slab.bytes.set(bytes.subarray(at, at + count), to);
    run.restore();
    const isKept = this.#finish(run, handler);
    if (slab !== this.#slab) this.#position = 0;
    else if (isKept) this.#position = behind;
    if (!this.#closed) this.#takeOne(run, to, count, handler);
  }

  /** A frame that no run is open for: the beginning of one, or by itself. */
  #takeOne(run: Coalescer, at: number, count: number, handler: NetifHandler): void {
    const { bytes } = this.#slab;
    const end = at + count;
    if (count >= ETHERNET_HEADER && count <= this.#longest && run.begin(bytes, at, end)) {
      this.#count(count);
      if (run.isFull) this.#handOver(run, handler);
      return;
    }
    if (this.#parse(at, count)) this.#show(handler);
    if (this.#received.retained) this.#position = alignUp(end);
  }

  /** The run, if there is one, goes up as one frame. */
  #handOver(run: Coalescer, handler: NetifHandler): void {
    if (run.isOpen && this.#finish(run, handler)) this.#position = alignUp(run.end);
  }

  /** Whether any of it is kept. */
  #finish(run: Coalescer, handler: NetifHandler): boolean {
    return run.handOver(this.#received, this.#counters, handler, this.#isOpen);
  }

  #show(handler: NetifHandler): void {
    if (!this.#closed) handler.receive(this.#received);
  }

  #count(length: number): void {
    this.#counters.rxFrames++;
    this.#counters.rxBytes += length;
  }

  /** Sets the cursor on what was read; false if it is not to be handed over. */
  #parse(header: number, count: number): boolean {
    const counters = this.#counters;
    const frame = this.#received;
    const start = header + this.#headerSize;
    const end = header + count;
    frame.reset(this.#slab.bytes, start, end);
    if (end - start < ETHERNET_HEADER) {
      counters.rxErrors++;
      return false;
    }
    if (end - start > this.#longest) {
      counters.rxDropped++;
      return false;
    }
    if (this.#headerSize !== 0 && !this.#parseHeader(header)) {
      counters.rxErrors++;
      return false;
    }
    this.#count(end - start);
    return true;
  }

  /** False if the kernel says what it was not allowed to say, or what cannot be. */
  #parseHeader(at: number): boolean {
    const frame = this.#received;
    const { bytes } = frame;
    const flags = vnet.flags(bytes, at);
    if ((flags & vnet.NEEDS_CSUM) !== 0) {
      frame.checksum = CHECKSUM_PARTIAL;
      frame.checksumStart = frame.start + vnet.csumStart(bytes, at);
      frame.checksumOffset = vnet.csumOffset(bytes, at);
      if (frame.checksumStart + frame.checksumOffset + 2 > frame.end) return false;
    } else if ((flags & vnet.DATA_VALID) !== 0) {
      frame.checksum = CHECKSUM_VERIFIED;
    }
    const type = vnet.gsoType(bytes, at);
    this.#isDatagrams = type === vnet.GSO_UDP;
    if (type === vnet.GSO_NONE) return true;
    frame.segmentSize = vnet.gsoSize(bytes, at);
    if (this.#isDatagrams) return frame.segmentSize !== 0;
    return (type === vnet.GSO_TCPV4 || type === vnet.GSO_TCPV6) && frame.segmentSize !== 0;
  }
}

/** What `read` answered, as a positive number; 0 bytes come from a device that was deleted. */
function errnoOf(count: number): number {
  return count === 0 ? Errno.EBADFD : -count;
}

function alignUp(position: number): number {
  return (position + ALIGNMENT - 1) & -ALIGNMENT;
}
