import type { MacAddress } from '../address/index.ts';
import { allocate, EMPTY, ViewCache } from '../bytes/index.ts';
import { allocateSummable, releaseSummable } from '../checksum/index.ts';
import { NetError } from '../errors.ts';
import { Coalescer } from './coalesce.ts';
import { completeChecksum } from './complete.ts';
import {
  ETHERNET_HEADER,
  Frame,
  type Netif,
  type NetifCounters,
  type NetifHandler,
  type Offloads,
} from './netif.ts';
import { Segmenter } from './segmenter.ts';

/** An Ethernet header and the longest IP packet. */
const LARGEST = ETHERNET_HEADER + 65_535;
const VLAN_TAG = 4;

/** What a stack may leave to a netif that does it in software, and what it gets from there. */
export const IN_SOFTWARE: { readonly transmit: Offloads; readonly receive: Offloads } = {
  transmit: { checksum: 'partial', segmentation: LARGEST },
  receive: { checksum: 'none', segmentation: LARGEST },
};

/** Runs of segments are put together here; reused from its beginning while nobody keeps what is in it. */
const SLAB = 256 * 1024;
/** Payloads that are kept begin on their own cache line. */
const ALIGNMENT = 64;

/**
 * Segmentation and checksums in software, over a netif of ordinary frames: the
 * stack hands over large ones, which are cut apart at the last moment, and gets
 * segments of a connection that came in one batch as one frame. The layers
 * between do their work once for all of them; on the wire nothing is different.
 *
 * Costs a copy of each payload in both directions, which pays where a connection
 * moves much at a time. (A TAP does the same without a copy: `TapOptions.offloads`.)
 * A netif that has offloads of its own is answered as it is.
 */
export function softwareOffloads(netif: Netif): Netif {
  return netif.transmit.segmentation > 0 ? netif : new SoftwareOffloads(netif);
}

class SoftwareOffloads implements Netif {
  readonly name: string;
  readonly mac: MacAddress;
  readonly mtu: number;
  readonly transmit = IN_SOFTWARE.transmit;
  readonly receive = IN_SOFTWARE.receive;
  readonly counters: NetifCounters;
  readonly #netif: Netif;
  readonly #out: Cutter;
  #handler: NetifHandler | null = null;

  constructor(netif: Netif) {
    this.name = netif.name;
    this.mac = netif.mac;
    this.mtu = netif.mtu;
    this.counters = netif.counters;
    this.#netif = netif;
    this.#out = new Cutter(netif);
  }

  start(handler: NetifHandler): void {
    if (this.#handler !== null) {
      throw new NetError('EINVAL', { syscall: 'start', reason: `${this.name} has been started` });
    }
    this.#handler = handler;
    const gathering = new Gatherer(handler, this.#netif, () => this.#out.isOpen);
    this.#netif.start({
      receive: (frame) => gathering.take(frame),
      flush: () => {
        gathering.handOver();
        handler.flush();
      },
      writable: () => {
        if (this.#out.goOn()) handler.writable();
      },
      closed: (error) => {
        this.#out.release();
        handler.closed(error);
      },
    });
  }

  reserve(size: number): Frame | null {
    return this.#out.reserve(size);
  }

  commit(frame: Frame): void {
    this.#out.commit(frame);
  }

  flush(): void {
    this.#netif.flush();
  }

  unref(): void {
    this.#netif.unref?.();
  }

  async close(): Promise<void> {
    this.#out.release();
    await this.#netif.close();
  }
}

/** The sending half. */
class Cutter {
  readonly #netif: Netif;
  /** Longest frame that goes as it is. */
  readonly #longest: number;
  #area: Uint8Array;
  readonly #frame: Frame;
  readonly #segmenter = new Segmenter();
  /** Parts of the area, which is cut in the same places again and again. */
  readonly #parts = new ViewCache(7);
  /** Where the frame that was reserved last begins and ends. */
  #start = 0;
  #end = 0;
  /** The memory that the netif gave last, as words. */
  #given: Uint8Array = EMPTY;
  #view: DataView = new DataView(new ArrayBuffer(0));
  #released = false;

  constructor(netif: Netif) {
    this.#netif = netif;
    this.#longest = netif.mtu + ETHERNET_HEADER + VLAN_TAG;
    this.#area = allocateSummable(LARGEST + VLAN_TAG);
    this.#frame = new Frame(this.#area);
  }

  get isOpen(): boolean {
    return !this.#released;
  }

  reserve(size: number): Frame | null {
    if (this.#released) return null;
    if (this.#segmenter.hasMore) {
      this.#netif.counters.txStalls++;
      return null;
    }
    if (size <= this.#longest) {
      const frame = this.#netif.reserve(size);
      if (frame !== null) this.#remember(frame);
      return frame;
    }
    if (size > this.#area.length) {
      throw new NetError('EMSGSIZE', {
        syscall: 'reserve',
        reason: `a frame of ${size} bytes; ${this.#netif.name} takes ${this.#area.length}`,
      });
    }
    this.#remember(this.#frame.reset(this.#area, 0, size));
    return this.#frame;
  }

  #remember(frame: Frame): void {
    this.#start = frame.start;
    this.#end = frame.end;
  }

  commit(frame: Frame): void {
    if (this.#released) {
      this.#netif.counters.txDropped++;
      return;
    }
    if (frame.segmentSize > 0) {
      this.#segmenter.begin(frame === this.#frame ? frame : this.#moved(frame), 0, this.#end - this.#start);
      this.goOn();
      return;
    }
    completeChecksum(frame, this.#end);
    if (frame === this.#frame) this.#sendWhole();
    else this.#netif.commit(frame);
  }

  /** A frame in the netif's own memory, copied to ours: it will not be sent from there. */
  #moved(frame: Frame): Frame {
    const { checksumStart, checksumOffset, segmentSize } = frame;
    const start = this.#start;
    this.#area.set(frame.bytes.subarray(start, this.#end), 0);
    const moved = this.#frame.reset(this.#area, 0, this.#end - start);
    moved.checksum = frame.checksum;
    moved.checksumStart = checksumStart - start;
    moved.checksumOffset = checksumOffset;
    moved.segmentSize = segmentSize;
    return moved;
  }

  /** Longer than the netif takes, and not to be cut: it says so itself. */
  #sendWhole(): void {
    const frame = this.#netif.reserve(this.#end);
    if (frame === null) {
      this.#netif.counters.txDropped++;
      return;
    }
    frame.bytes.set(this.#area.subarray(0, this.#end), frame.start);
    this.#netif.commit(frame);
  }

  /** Cuts and sends as far as the netif has room; whether all went. */
  goOn(): boolean {
    const segmenter = this.#segmenter;
    while (segmenter.hasMore) {
      const frame = this.#netif.reserve(segmenter.nextLength);
      if (frame === null) return false;
      const { bytes, start } = frame;
      if (bytes !== this.#given) {
        this.#given = bytes;
        this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
      }
      segmenter.nextApart(bytes, this.#view, start);
      const payload = this.#parts.view(this.#area, segmenter.start, segmenter.end);
      bytes.set(payload, start + segmenter.headers);
      this.#netif.commit(frame);
    }
    return true;
  }

  release(): void {
    if (this.#released) return;
    this.#released = true;
    if (this.#segmenter.hasMore) this.#netif.counters.txDropped++;
    releaseSummable(this.#area);
  }
}

/** The receiving half. */
class Gatherer {
  readonly #handler: NetifHandler;
  readonly #counters: NetifCounters;
  readonly #isOpen: () => boolean;
  readonly #longest: number;
  readonly #run = new Coalescer();
  readonly #frame = new Frame(EMPTY);
  /** Frames as they come, in memory that comes round again. */
  readonly #sources = new ViewCache(9);
  #slab: Uint8Array = EMPTY;
  #position = 0;

  constructor(handler: NetifHandler, netif: Netif, isOpen: () => boolean) {
    this.#handler = handler;
    this.#isOpen = isOpen;
    this.#counters = netif.counters;
    this.#longest = netif.mtu + ETHERNET_HEADER + VLAN_TAG;
  }

  take(frame: Frame): void {
    const run = this.#run;
    if (run.isOpen) {
      if (this.#goesOn(frame)) return;
      this.handOver();
    }
    const { bytes, start, end } = frame;
    if (end - start <= this.#longest && run.begin(bytes, start, end)) {
      this.#makeRoom();
      const at = this.#position;
      this.#slab.set(this.#sources.view(bytes, start, end), at);
      run.moveTo(this.#slab, at);
      if (run.isFull) this.handOver();
      return;
    }
    this.#handler.receive(frame);
  }

  /** Whether the frame goes on with the run, which has it then. */
  #goesOn({ bytes, start, end }: Frame): boolean {
    const run = this.#run;
    const at = run.overlay;
    const to = at + end - start;
    if (to > this.#slab.length || !run.mayGoOn(bytes, start, end)) return false;
    run.aside();
    this.#slab.set(this.#sources.view(bytes, start, end), at);
    const isOfRun = run.extend(to);
    run.restore();
    if (!isOfRun) return false;
    run.grow(to);
    if (run.isFull) this.handOver();
    return true;
  }

  #makeRoom(): void {
    if (this.#slab.length - this.#position >= LARGEST) return;
    this.#slab = allocate(SLAB);
    this.#position = 0;
  }

  /** The run, if there is one, goes up. */
  handOver(): void {
    const run = this.#run;
    const isKept = run.handOver(this.#frame, this.#counters, this.#handler, this.#isOpen);
    if (isKept) this.#position = (run.end + ALIGNMENT - 1) & -ALIGNMENT;
  }
}
