import type { MacAddress } from '../../address/index.ts';
import { allocateSummable, releaseSummable } from '../../checksum/index.ts';
import { NetError } from '../../errors.ts';
import {
  addressOf,
  allocateNative,
  Errno,
  type GatherRing,
  IoVectors,
  isRetry,
  locate,
  type NativeMemory,
  systemError,
} from '../../native/index.ts';
import { Coalescer } from '../coalesce.ts';
import { completeChecksum } from '../complete.ts';
import {
  CHECKSUM_PARTIAL,
  ETHERNET_HEADER,
  Frame,
  MOST_PIECES,
  type Netif,
  type NetifCounters,
  type NetifHandler,
  netifCounters,
  type Offloads,
  type Pieces,
} from '../netif.ts';
import { MOST_HEADERS, Segmenter } from '../segmenter.ts';
import { IN_SOFTWARE } from '../software.ts';
import { BusyPoll } from './busy-poll.ts';
import { HeldDatagrams } from './datagrams.ts';
import type { TapPort } from './port.ts';
import { TapReceiver } from './receiver.ts';
import * as vnet from './vnet-header.ts';

/** An 802.1Q tag may stand in the Ethernet header. */
const VLAN_TAG = 4;
const ETHERTYPE_VLAN = 0x8100;
const ETHERTYPE_IPV6 = 0x86dd;
const UDP_CHECKSUM = 6;
const UDP_HEADER = 8;

const DEFAULT_BATCH_FRAMES = 64;
/** Where they are put together, many make few. */
const COALESCED_BATCH_FRAMES = 128;

/** Bytes moved since the device was last looked at that show a stream at work: it needs no answer at once. */
const STREAMING_BYTES = 32 * 1024;

/** Frames written in one call, where a device is written to in batches; a power of two. */
const BATCH_WRITES = 64;

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
  /** Microseconds for which the device is looked at again before the event loop sleeps. Default 0: not at all. */
  readonly busyPollUs?: number;
  /** The kernel takes all that is written at once, so payload may be written from where it is. */
  readonly boundless?: boolean;
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
  readonly #segmenter: Segmenter | null;
  /** Opened when there is something to write through it; null where there can be none. */
  #ring: GatherRing | null | undefined;
  #ringView: DataView = new DataView(new ArrayBuffer(0));

  readonly #receiver: TapReceiver;
  readonly #busyPoll: BusyPoll | null;
  /** Bytes that the counters knew after the last batch. */
  #moved = 0;
  /** Longest frame that the stack may hand us. */
  readonly #longestOut: number;

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

  readonly gathers: boolean;
  /** Where the headers and the pieces of a frame are, where it gathers. */
  readonly #vectors: IoVectors | null;

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
    this.#segmenter = software ? new Segmenter() : null;
    this.#ring = options.batchWrites === true ? undefined : null;
    this.#port = port;
    this.#headerSize = headerSize;
    const longest = Math.max(mtu + ETHERNET_HEADER, offloads.segmentation) + VLAN_TAG;
    this.#receiver = new TapReceiver({
      port,
      counters: this.counters,
      headerSize,
      longest,
      coalescer: software ? new Coalescer() : null,
      batchFrames: options.batchFrames ?? (software ? COALESCED_BATCH_FRAMES : DEFAULT_BATCH_FRAMES),
    });
    const { busyPollUs = 0 } = options;
    this.#busyPoll =
      busyPollUs === 0 ? null : new BusyPoll(busyPollUs, () => this.#readReady(this.#handler!));
    this.#longestOut = Math.max(longest, this.transmit.segmentation + VLAN_TAG);
    const areaSize = headerSize + this.#longestOut;
    // Where the stack itself sums what it sends, the frame is built where that needs no copy.
    this.#area = offloads.checksum === 'none' ? locate(allocateSummable(areaSize)) : allocateNative(areaSize);
    this.#area.bytes.fill(0, 0, headerSize);
    this.#frame = new Frame(this.#area.bytes);
    this.gathers =
      options.boundless === true &&
      port.writeGathered !== undefined &&
      offloads.checksum === 'partial' &&
      offloads.segmentation > 0;
    this.#vectors = this.gathers ? new IoVectors(1 + MOST_PIECES) : null;
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
      readable: () => void this.#readReady(handler),
      writable: () => this.#writePending(handler),
      failed: (errno) => {
        // The event loop tells only that something is wrong; a read tells what.
        this.#read(handler);
        if (!this.#closed) this.#lost(errno);
      },
    });
    if (!this.#referenced) this.#watch.unref();
  }

  unref(): void {
    this.#referenced = false;
    this.#watch?.unref();
    this.#busyPoll?.unref();
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
    const { pieces } = frame;
    if (pieces !== null && pieces.count > 0 && this.#writePieces(pieces)) return;
    this.#write(0, this.#headerSize + this.#reserved);
  }

  /** The frame's headers from the area, its payload from where it is; false if that cannot be, and it is all in the area now. */
  #writePieces(pieces: Pieces): boolean {
    const vectors = this.#vectors!;
    const { count, at } = pieces;
    vectors.set(0, this.#area.address, at);
    for (let i = 0; i < count; i++) {
      const address = addressOf(pieces.chunks[i]!);
      const start = pieces.starts[i]!;
      if (address === 0) {
        pieces.copyTo(this.#area.bytes);
        return false;
      }
      vectors.set(i + 1, address + start, pieces.ends[i]! - start);
    }
    this.#countWritten(this.#port.writeGathered!(vectors, count + 1), this.#headerSize);
    return true;
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

  /** `commit` has written; datagrams that wait for more go when all promises of this turn have had theirs. */
  flush(): void {}

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

  /** True if there was something. */
  #readReady(handler: NetifHandler): boolean {
    const { counters } = this;
    const { rxFrames } = counters;
    this.#read(handler);
    if (this.#busyPoll === null || counters.rxFrames === rxFrames) return false;
    const moved = counters.rxBytes + counters.txBytes;
    if (moved - this.#moved < STREAMING_BYTES) this.#busyPoll.later();
    this.#moved = moved;
    return true;
  }

  #read(handler: NetifHandler): void {
    const errno = this.#receiver.readBatch(handler);
    if (errno !== 0) this.#lost(errno);
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
    this.#receiver.close();
    this.#busyPoll?.stop();
    this.#pending = 0;
    this.#watch?.close();
    this.#watch = null;
    this.#ring?.close();
    this.#ring = null;
    this.#port.close();
    releaseSummable(this.#area.bytes);
  }
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
