import type { MacAddress } from '../../address/index.ts';
import { allocateSummable, releaseSummable } from '../../checksum/index.ts';
import { NetError } from '../../errors.ts';
import {
  allocateNative,
  Errno,
  type GatherRing,
  isRetry,
  locate,
  type NativeMemory,
  type Readiness,
  systemError,
} from '../../native/index.ts';
import { Coalescer } from '../coalesce.ts';
import { completeChecksum } from '../complete.ts';
import {
  CHECKSUM_PARTIAL,
  CHECKSUM_VERIFIED,
  ETHERNET_HEADER,
  Frame,
  type Netif,
  type NetifCounters,
  type NetifHandler,
  netifCounters,
  type Offloads,
} from '../netif.ts';
import { MOST_HEADERS, Segmenter } from '../segmenter.ts';
import { IN_SOFTWARE } from '../software.ts';
import { DatagramCutter, HeldDatagrams } from './datagrams.ts';
import * as vnet from './vnet-header.ts';

/** An 802.1Q tag may stand in the Ethernet header. */
const VLAN_TAG = 4;
const ETHERTYPE_VLAN = 0x8100;
const ETHERTYPE_IPV6 = 0x86dd;
const UDP_CHECKSUM = 6;
const UDP_HEADER = 8;

/** Frames that nobody keeps reuse the front of it; small, since memory that is kept costs page faults. */
const SLAB = 256 * 1024;

/** Payloads that are kept begin on their own cache line. */
const ALIGNMENT = 64;

/**
 * Bytes read before a flush: with frames of 64 KiB, 64 of them would be several
 * windows, and the sender would wait for the acknowledgement of the first.
 */
const BATCH_BYTES = 256 * 1024;

const DEFAULT_BATCH_FRAMES = 64;
/** Where they are put together, many make few. */
const COALESCED_BATCH_FRAMES = 128;

/** Frames written in one call, where a device is written to in batches; a power of two. */
const BATCH_WRITES = 64;

/** The descriptor, as far as frames go through it: results are counts or negative error numbers. */
export interface TapPort {
  read(memory: NativeMemory, offset: number, length: number): number;
  write(memory: NativeMemory, offset: number, length: number): number;
  /** For batches of writes, where there is such a thing. */
  gather?(count: number, slotSize: number): GatherRing | null;
  watch(readiness: Readiness): { setWritable(wanted: boolean): void; unref(): void; close(): void };
  close(): void;
}

export interface TapNetifOptions {
  readonly port: TapPort;
  readonly name: string;
  readonly mac: MacAddress;
  readonly mtu: number;
  /** Bytes of the virtio-net header before each frame; 0 for none, else at least 10. */
  readonly headerSize: number;
  readonly offloads: Offloads;
  /** Datagrams of one size are passed to the kernel as one frame. */
  readonly datagrams?: boolean;
  /** Without headers and offloads: frames are put together and cut apart here. */
  readonly software?: boolean;
  /** With `software`: what is cut apart is written in batches where the port can. */
  readonly batchWrites?: boolean;
  readonly batchFrames?: number;
}

/**
 * A TAP device as a netif: the kernel's network interface of that name is the
 * other end of the cable.
 *
 * One system call per frame each way, synchronous and in the event loop (a
 * frame that goes through the thread pool costs ten times as much). `commit`
 * writes at once. The kernel takes frames as fast as they are written; only
 * where `TapOptions.sendBuffer` limits it does the device get full, and then
 * the frame waits in the transmit area until the kernel has room.
 *
 * While the interface is down, frames are counted as `txDropped`. When it is
 * deleted, the handler's `closed` gets the error.
 */
export class TapNetif implements Netif {
  readonly name: string;
  readonly mac: MacAddress;
  readonly mtu: number;
  readonly transmit: Offloads;
  readonly receive: Offloads;
  readonly counters: NetifCounters = netifCounters();

  readonly #port: TapPort;
  readonly #headerSize: number;
  readonly #batchFrames: number;
  readonly #coalescer: Coalescer | null;
  readonly #segmenter: Segmenter | null;
  /** Opened when there is something to write through it; null where there can be none. */
  #ring: GatherRing | null | undefined;
  #ringView: DataView = new DataView(new ArrayBuffer(0));

  /** Longest frame that we take, and bytes of a read: one more shows that a frame was cut. */
  readonly #longest: number;
  /** Longest frame that the stack may hand us. */
  readonly #longestOut: number;
  readonly #readSize: number;
  #slab: NativeMemory;
  #position = 0;
  readonly #received: Frame;
  /** What was parsed last is several datagrams. */
  #isDatagrams = false;

  readonly #area: NativeMemory;
  readonly #frame: Frame;
  /** Datagrams that wait for more of their kind, where the device takes such; in memory of their own. */
  readonly #held: HeldDatagrams | null = null;
  readonly #heldArea: NativeMemory | null = null;
  #heldIsDue = false;
  readonly #sendHeld = (): void => {
    this.#heldIsDue = false;
    this.#writeHeld();
  };
  readonly #cutter = new DatagramCutter();

  /** Bytes of the frame that was reserved last. */
  #reserved = 0;
  /** Bytes in the transmit area, header included, that the kernel had no room for, and where they begin. */
  #pending = 0;
  #pendingAt = 0;
  /** Whether `reserve` answered null since. */
  #refused = false;

  #handler: NetifHandler | null = null;
  #watch: ReturnType<TapPort['watch']> | null = null;
  #referenced = true;
  #closed = false;

  /** For `openTap`, and for tests with a port of their own. */
  constructor(options: TapNetifOptions) {
    const { port, name, mac, mtu, headerSize, offloads, software = false } = options;
    this.name = name;
    this.mac = mac;
    this.mtu = mtu;
    this.transmit = software ? IN_SOFTWARE.transmit : offloads;
    this.receive = software ? IN_SOFTWARE.receive : offloads;
    this.#coalescer = software ? new Coalescer() : null;
    this.#segmenter = software ? new Segmenter() : null;
    this.#ring = options.batchWrites === true ? undefined : null;
    this.#port = port;
    this.#headerSize = headerSize;
    this.#batchFrames = options.batchFrames ?? (software ? COALESCED_BATCH_FRAMES : DEFAULT_BATCH_FRAMES);
    this.#longest = Math.max(mtu + ETHERNET_HEADER, offloads.segmentation) + VLAN_TAG;
    this.#readSize = headerSize + this.#longest + 1;
    this.#slab = allocateNative(SLAB);
    this.#received = new Frame(this.#slab.bytes);
    this.#longestOut = Math.max(this.#longest, this.transmit.segmentation + VLAN_TAG);
    const areaSize = headerSize + this.#longestOut;
    // Where the stack itself sums what it sends, the frame is built where that needs no copy.
    this.#area = offloads.checksum === 'none' ? locate(allocateSummable(areaSize)) : allocateNative(areaSize);
    this.#area.bytes.fill(0, 0, headerSize);
    this.#frame = new Frame(this.#area.bytes);
    if (options.datagrams === true) {
      this.#heldArea = allocateNative(areaSize);
      this.#heldArea.bytes.fill(0, 0, headerSize);
      this.#held = new HeldDatagrams(this.#heldArea.bytes, headerSize);
    }
  }

  /** @throws NetError `EINVAL` the second time, `ENETDOWN` after `close` */
  start(handler: NetifHandler): void {
    if (this.#closed) throw new NetError('ENETDOWN', { syscall: 'start', reason: `${this.name} is closed` });
    if (this.#handler !== null) {
      throw new NetError('EINVAL', { syscall: 'start', reason: `${this.name} has a handler already` });
    }
    this.#handler = handler;
    this.#watch = this.#port.watch({
      readable: () => this.#readBatch(handler),
      writable: () => this.#writePending(handler),
      failed: (errno) => {
        // The event loop tells only that something is wrong; a read tells what.
        this.#readBatch(handler);
        if (!this.#closed) this.#lost(errno);
      },
    });
    if (!this.#referenced) this.#watch.unref();
  }

  unref(): void {
    this.#referenced = false;
    this.#watch?.unref();
  }

  /** @throws NetError `EMSGSIZE` if no frame of this device can be so long */
  reserve(size: number): Frame | null {
    if (this.#pending !== 0 || this.#closed) {
      this.#refused = true;
      if (!this.#closed) this.counters.txStalls++;
      return null;
    }
    if (size > this.#longestOut) {
      throw new NetError('EMSGSIZE', {
        syscall: 'reserve',
        reason: `a frame of ${size} bytes; ${this.name} takes ${this.#longestOut}`,
      });
    }
    this.#reserved = size;
    return this.#frame.reset(this.#area.bytes, this.#headerSize, this.#headerSize + size);
  }

  commit(frame: Frame): void {
    if (this.#closed) {
      this.counters.txDropped++;
      return;
    }
    if (this.#segmenter !== null) {
      if (frame.segmentSize > 0) {
        this.#segmenter.begin(frame, 0, this.#reserved);
        if (this.#ring === undefined) this.#openRing();
        if (this.#ring === null) this.#writeSegments(this.#segmenter);
        else this.#writeBatches(this.#segmenter, this.#ring!);
        return;
      }
      completeChecksum(frame, this.#reserved);
    }
    if (this.#held !== null && this.#hold(this.#held, frame)) return;
    if (this.#headerSize !== 0) this.#writeHeader(frame);
    this.#write(0, this.#headerSize + this.#reserved);
  }

  /** Whether the frame waits for more datagrams of its kind. What waits already goes first if not. */
  #hold(held: HeldDatagrams, frame: Frame): boolean {
    const { bytes } = this.#area;
    const end = this.#headerSize + this.#reserved;
    const isDatagram = frame.checksum === CHECKSUM_PARTIAL && frame.checksumOffset === UDP_CHECKSUM;
    if (!isDatagram || !held.add(bytes, this.#headerSize, end)) {
      this.#writeHeld();
      if (!isDatagram || !held.add(bytes, this.#headerSize, end)) return false;
    }
    if (held.isFull) {
      this.#writeHeld();
    } else if (!this.#heldIsDue) {
      // Behind all that the present turn's promises have to send.
      this.#heldIsDue = true;
      process.nextTick(this.#sendHeld);
    }
    return true;
  }

  #writeHeld(): void {
    const held = this.#held;
    if (held === null || held.count === 0 || this.#closed) return;
    const { bytes } = this.#heldArea!;
    const { count, checksumStart } = held;
    held.finish();
    vnet.writePartial(bytes, 0, checksumStart, UDP_CHECKSUM);
    if (count > 1) vnet.addSegmentation(bytes, 0, vnet.GSO_UDP, checksumStart + UDP_HEADER, held.size);
    held.clear();
    const written = this.#port.write(this.#heldArea!, 0, held.end);
    this.#countWritten(written, this.#headerSize, count);
  }

  /** Cuts and sends as far as the kernel has room. */
  #writeSegments(segmenter: Segmenter): void {
    while (this.#pending === 0 && segmenter.hasMore && !this.#closed) {
      segmenter.next();
      this.#write(segmenter.start, segmenter.end - segmenter.start);
    }
  }

  #openRing(): void {
    const ring = this.#port.gather?.(BATCH_WRITES, MOST_HEADERS) ?? null;
    this.#ring = ring;
    if (ring === null) return;
    const { buffer, byteOffset, length } = ring.slots.bytes;
    this.#ringView = new DataView(buffer, byteOffset, length);
  }

  /** Cuts and sends, a system call for each batch: the headers in the ring's slots, the payload where it is. */
  #writeBatches(segmenter: Segmenter, ring: GatherRing): void {
    const { bytes } = ring.slots;
    while (segmenter.hasMore) {
      let frames = 0;
      for (; frames < ring.count && segmenter.hasMore; frames++) {
        segmenter.nextApart(bytes, this.#ringView, frames * MOST_HEADERS);
        const length = segmenter.end - segmenter.start;
        ring.set(frames, segmenter.headers, this.#area.address + segmenter.start, length);
      }
      ring.submit(frames);
      for (let i = 0; i < frames; i++) this.#countWritten(ring.result(), 0);
    }
  }

  /** Only datagrams wait for it: else `commit` has written. */
  flush(): void {
    this.#writeHeld();
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#writeHeld();
    if (this.#pending !== 0) {
      this.#writeWaiting();
      if (this.#pending !== 0) this.counters.txDropped++;
    }
    this.#shut();
    this.#handler?.closed();
  }

  #readBatch(handler: NetifHandler): void {
    if (this.#coalescer !== null) {
      this.#readCoalescing(this.#coalescer, handler);
      return;
    }
    let frames = 0;
    let bytes = 0;
    while (frames < this.#batchFrames && bytes < BATCH_BYTES && !this.#closed) {
      if (this.#slab.bytes.length - this.#position < this.#readSize) {
        this.#slab = allocateNative(SLAB);
        this.#position = 0;
      }
      const count = this.#port.read(this.#slab, this.#position, this.#readSize);
      if (count <= 0) {
        if (!isRetry(count)) this.#lost(count === 0 ? Errno.EBADFD : -count);
        break;
      }
      frames++;
      bytes += count;
      const isSound = this.#parse(this.#position, count);
      if (isSound && this.#isDatagrams) {
        this.#receiveDatagrams(this.#cutter, this.#position + count, handler);
        continue;
      }
      if (isSound) handler.receive(this.#received);
      if (this.#received.retained) this.#position = alignUp(this.#position + count);
    }
    if (frames > 0 && !this.#closed) handler.flush();
  }

  /** Shows one after the other; from the first that is kept on, each in a place of its own. */
  #receiveDatagrams(cutter: DatagramCutter, end: number, handler: NetifHandler): void {
    const frame = this.#received;
    if (!cutter.begin(frame)) {
      this.counters.rxErrors++;
      return;
    }
    this.counters.rxFrames--;
    let isKept = false;
    while (cutter.hasMore && !this.#closed) {
      this.counters.rxFrames++;
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

  /** As {@link #readBatch}, with segments of one connection put together. */
  #readCoalescing(run: Coalescer, handler: NetifHandler): void {
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
        this.#lost(count === 0 ? Errno.EBADFD : -count);
        break;
      }
      frames++;
      bytes += count;
      if (run.isOpen) this.#takeBehind(run, at, count, handler);
      else this.#takeOne(run, at, count, handler);
    }
    this.#handOver(run, handler);
    if (frames > 0 && !this.#closed) handler.flush();
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
    const frame = this.#received;
    let isKept = false;
    for (let hasMore = true; hasMore; ) {
      hasMore = run.close(frame);
      this.counters.rxErrors += run.damaged;
      if (frame.start < frame.end) this.#show(handler);
      if (frame.retained) isKept = true;
    }
    return isKept;
  }

  #show(handler: NetifHandler): void {
    if (!this.#closed) handler.receive(this.#received);
  }

  #count(length: number): void {
    this.counters.rxFrames++;
    this.counters.rxBytes += length;
  }

  /** Sets the cursor on what was read; false if it is not to be handed over. */
  #parse(header: number, count: number): boolean {
    const { counters } = this;
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

  #writeHeader(frame: Frame): void {
    const { bytes } = this.#area;
    if (frame.checksum !== CHECKSUM_PARTIAL) {
      // The rest of the transmit area's header room stays zero from frame to frame.
      if (bytes[0] !== 0) vnet.writePlain(bytes, 0);
      return;
    }
    const start = frame.checksumStart - this.#headerSize;
    vnet.writePartial(bytes, 0, start, frame.checksumOffset);
    if (frame.segmentSize === 0) return;
    const headers = start + tcpHeaderLength(bytes, frame.checksumStart);
    vnet.addSegmentation(bytes, 0, gsoType(bytes, this.#headerSize), headers, frame.segmentSize);
  }

  #write(at: number, length: number): void {
    const count = this.#port.write(this.#area, at, length);
    this.#pending = 0;
    if ((isRetry(count) || count === -Errno.ENOBUFS) && this.#watch !== null) {
      this.#pending = length;
      this.#pendingAt = at;
      this.#watch.setWritable(true);
    } else {
      this.#countWritten(count, this.#headerSize);
    }
  }

  /**
   * @param count bytes that went, or a negative error number
   * @param frames in them
   */
  #countWritten(count: number, headerSize: number, frames = 1): void {
    const { counters } = this;
    if (count >= 0) {
      counters.txFrames += frames;
      counters.txBytes += count - headerSize;
    } else if (count === -Errno.EIO || isRetry(count)) {
      counters.txDropped += frames;
    } else {
      // A device that is gone shows in the watch too, which ends the netif from there.
      counters.txErrors++;
    }
  }

  /** What the kernel had no room for, and what is to follow it. */
  #writeWaiting(): void {
    if (this.#pending === 0) return;
    this.#write(this.#pendingAt, this.#pending);
    if (this.#segmenter !== null) this.#writeSegments(this.#segmenter);
  }

  #writePending(handler: NetifHandler): void {
    this.#writeWaiting();
    if (this.#pending !== 0) return;
    this.#watch?.setWritable(false);
    if (!this.#refused) return;
    this.#refused = false;
    handler.writable();
  }

  /** @param errno positive: what the kernel answered */
  #lost(errno: number): void {
    this.#shut();
    const reason =
      errno === Errno.EBADFD
        ? `the device ${this.name} was deleted`
        : `the device ${this.name} cannot be read`;
    this.#handler?.closed(
      errno === Errno.EBADFD
        ? new NetError('ENODEV', { syscall: 'read', reason })
        : systemError(errno, 'read', reason),
    );
  }

  #shut(): void {
    this.#closed = true;
    this.#pending = 0;
    this.#watch?.close();
    this.#watch = null;
    this.#ring?.close();
    this.#ring = null;
    this.#port.close();
    releaseSummable(this.#area.bytes);
  }
}

function alignUp(position: number): number {
  return (position + ALIGNMENT - 1) & -ALIGNMENT;
}

/** Bytes of the TCP header at `at`, options included (RFC 9293 §3.1, Data Offset). */
function tcpHeaderLength(bytes: Uint8Array, at: number): number {
  return (bytes[at + 12]! >>> 4) * 4;
}

/** By the EtherType of the frame at `at`, behind a VLAN tag if there is one. */
function gsoType(bytes: Uint8Array, at: number): number {
  let type = (bytes[at + 12]! << 8) | bytes[at + 13]!;
  if (type === ETHERTYPE_VLAN) type = (bytes[at + 16]! << 8) | bytes[at + 17]!;
  return type === ETHERTYPE_IPV6 ? vnet.GSO_TCPV6 : vnet.GSO_TCPV4;
}
