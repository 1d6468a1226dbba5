import { completeChecksum } from '../../complete.ts';
import { ETHERNET_HEADER, Frame, type NetifCounters, type NetifHandler } from '../../netif.ts';
import { CoalescedFrames } from '../coalesced.ts';
import { describeChecksum } from '../headers.ts';
import { COPY_OKAY, type GrantCopier, type Grants, type LocalMemory, PAGE_SIZE } from '../hypervisor.ts';
import type { ReceivePromises } from '../offloads.ts';
import { PeerError } from '../peer-error.ts';
import type { BackRing } from '../ring.ts';
import {
  EXTRA_GSO,
  EXTRA_MCAST_ADD,
  EXTRA_MCAST_DEL,
  EXTRA_MORE,
  extraFlags,
  extraType,
  GSO_TCPV4,
  GSO_TCPV6,
  high,
  low,
  MAX_SLOTS,
  pair,
  RSP_ERROR,
  RSP_NULL,
  RSP_OKAY,
  TX_CSUM_BLANK,
  TX_DATA_VALIDATED,
  TX_EXTRA_INFO,
  TX_MORE_DATA,
} from '../wire.ts';
import type { GroupFilter } from './groups.ts';

const SLAB = 256 * 1024;
const ALIGNMENT = 64;
const BATCH_FRAMES = 64;
/** Of ordinary ones that go up as few. */
const COALESCED_BATCH_FRAMES = 256;
const MAX_EXTRAS = 4;

/** Slots of a packet that old frontends send by mistake and that are dropped; more than these is malice (as in Linux). */
const FATAL_SLOTS = 20;

/** Memory that the frontends' frames are copied to and handed up in; one per netif. */
export class CopySlab {
  memory: LocalMemory;
  position = 0;
  readonly #grants: Grants;

  constructor(grants: Grants) {
    this.#grants = grants;
    this.memory = grants.localMemory(SLAB);
  }

  get end(): number {
    return this.memory.bytes.length;
  }

  renew(): void {
    this.memory = this.#grants.localMemory(SLAB);
    this.position = 0;
  }
}

/** Packets of a batch, in columns. */
interface Column {
  readonly start: Int32Array;
  readonly length: Int32Array;
  readonly flags: Int32Array;
  readonly segmentSize: Int32Array;
  /** One past its last slot, and its last copy segment, in those of the batch. */
  readonly slotEnd: Int32Array;
  readonly copyEnd: Int32Array;
  /** `RSP_OKAY`, or why it is not handed up. */
  readonly status: Int32Array;
}

/**
 * One tx ring, from the backend's side: what the guest sends. A batch of
 * packets is read off the ring, copied out of the guest's pages in one call of
 * the hypervisor, answered, and handed up. Every request is read once into
 * variables of our own and checked there.
 */
export class GuestTransmit {
  readonly ring: BackRing;
  readonly #copier: GrantCopier;
  readonly #slab: CopySlab;
  readonly #counters: NetifCounters;
  readonly #promises: ReceivePromises;
  /** Null where the frontend did not ask for a filter. */
  readonly #groups: GroupFilter | null;
  readonly #frame: Frame;
  readonly #batchFrames: number;
  /** Null where every frame goes up as it is. */
  readonly #coalesced: CoalescedFrames | null;
  readonly #packets: Column;
  /** Ids of the slots of a batch; -1 for extra info, which has none. */
  readonly #slots: Int32Array;
  #slotCount = 0;
  // Of the packet being read.
  readonly #references = new Float64Array(MAX_SLOTS);
  readonly #offsets = new Int32Array(MAX_SLOTS);
  readonly #sizes = new Int32Array(MAX_SLOTS);
  #segmentSize = 0;
  #groupStatus: number = RSP_NULL;

  constructor(
    ring: BackRing,
    copier: GrantCopier,
    slab: CopySlab,
    counters: NetifCounters,
    promises: ReceivePromises,
    groups: GroupFilter | null,
  ) {
    this.ring = ring;
    this.#copier = copier;
    this.#slab = slab;
    this.#counters = counters;
    this.#promises = promises;
    this.#groups = groups;
    this.#frame = new Frame(slab.memory.bytes);
    this.#slots = new Int32Array(ring.size);
    this.#coalesced = promises.coalesce ? new CoalescedFrames(counters) : null;
    const batchFrames = promises.coalesce ? COALESCED_BATCH_FRAMES : BATCH_FRAMES;
    this.#batchFrames = batchFrames;
    const column = (): Int32Array => new Int32Array(batchFrames);
    this.#packets = {
      start: column(),
      length: column(),
      flags: column(),
      segmentSize: column(),
      slotEnd: column(),
      copyEnd: column(),
      status: column(),
    };
  }

  /** Copies a batch of packets and answers for them; how many. `publish` the ring, then `deliver`. */
  take(): number {
    const { ring } = this;
    const slab = this.#slab;
    let waiting = ring.requests();
    if (waiting < 0) throw new PeerError('the frontend’s tx request counter is not possible');
    this.#slotCount = 0;
    this.#copier.clear();
    if (waiting === 0) return 0;
    // A batch lies in one slab, since all of it is copied before any of it is handed up.
    const { longest } = this.#promises;
    if (slab.end - slab.position < longest) slab.renew();
    let position = slab.position;
    let packets = 0;
    while (waiting > 0 && packets < this.#batchFrames && position + longest <= slab.end) {
      const before = this.#slotCount;
      position = this.#read(packets++, waiting, position);
      waiting -= this.#slotCount - before;
    }
    if (this.#copier.count > 0) this.#copier.run();
    this.#answer(packets);
    return packets;
  }

  /** Hands up what {@link take} copied. */
  deliver(packets: number, handler: NetifHandler, isOpen: () => boolean): void {
    const { start, length, flags, segmentSize, status } = this.#packets;
    const slab = this.#slab;
    const frame = this.#frame;
    const coalesced = this.#coalesced;
    let kept = 0;
    coalesced?.start(handler, isOpen);
    for (let i = 0; i < packets && isOpen(); i++) {
      if (status[i] !== RSP_OKAY || length[i] === 0) continue;
      const end = start[i]! + length[i]!;
      frame.reset(slab.memory.bytes, start[i]!, end);
      if (!this.#describe(frame, flags[i]!, segmentSize[i]!)) {
        this.#counters.rxErrors++;
        continue;
      }
      this.#counters.rxFrames++;
      this.#counters.rxBytes += length[i]!;
      if (coalesced !== null) {
        this.#gatherUp(coalesced);
        continue;
      }
      handler.receive(frame);
      if (frame.retained) kept = end;
    }
    if (coalesced !== null) {
      coalesced.handOver();
      kept = coalesced.takeKept();
    }
    if (kept > 0) slab.position = (kept + ALIGNMENT - 1) & -ALIGNMENT;
  }

  /** The frame goes up with others of its connection, or by itself. It is whole: there was no checksum offload. */
  #gatherUp(coalesced: CoalescedFrames): void {
    const frame = this.#frame;
    const { bytes, start, end } = frame;
    const size = end - start;
    let at = start;
    if (coalesced.hasRun) {
      const overlay = coalesced.overlay();
      bytes.copyWithin(overlay, start, end);
      at = coalesced.extend(bytes, overlay + size);
      if (at < 0) return;
    }
    coalesced.add(frame.reset(bytes, at, at + size));
  }

  /** Reads packet `index` off the ring and queues its copies to `position` of the slab; where the next may go. */
  #read(index: number, waiting: number, position: number): number {
    const { ring } = this;
    const { words } = ring;
    const first = ring.requestConsumer;
    let used = 0;
    let slots = 0;
    let total = 0;
    let rest = 0;
    let packetFlags = 0;
    this.#segmentSize = 0;
    this.#groupStatus = RSP_NULL;
    for (let more = true; more; slots++) {
      if (used === waiting) throw new PeerError('the frontend publishes a part of a packet');
      if (slots === FATAL_SLOTS)
        throw new PeerError(`the frontend sends a packet of more than ${FATAL_SLOTS} slots`);
      const at = ring.entry(first + used++);
      const reference = words[at]!;
      const word1 = words[at + 1]!;
      const word2 = words[at + 2]!;
      const flags = high(word1);
      let size = high(word2);
      const offset = low(word1);
      this.#slots[this.#slotCount++] = low(word2);
      if (slots === 0) {
        packetFlags = flags;
        total = size;
        if ((flags & TX_EXTRA_INFO) !== 0) used = this.#extras(first, used, waiting);
        // What is left of it when the others have been taken off is checked below.
        size = 0;
      } else {
        rest += size;
      }
      if (offset + size > PAGE_SIZE) {
        throw new PeerError(`the frontend says that ${size} bytes are at ${offset} of a page`);
      }
      if (slots < MAX_SLOTS) {
        this.#references[slots] = reference >>> 0;
        this.#offsets[slots] = offset;
        this.#sizes[slots] = size;
      }
      more = (flags & TX_MORE_DATA) !== 0;
    }
    ring.requestConsumer = (first + used) | 0;
    const packets = this.#packets;
    packets.slotEnd[index] = this.#slotCount;
    packets.flags[index] = packetFlags;
    packets.segmentSize[index] = this.#segmentSize;
    packets.start[index] = position;
    packets.length[index] = 0;
    packets.status[index] = this.#groupStatus === RSP_NULL ? RSP_OKAY : this.#groupStatus;
    if (this.#groupStatus === RSP_NULL) {
      if (rest > total) throw new PeerError(`the frontend’s packet of ${total} bytes has parts of ${rest}`);
      this.#sizes[0] = total - rest;
      if (this.#offsets[0]! + total - rest > PAGE_SIZE) {
        throw new PeerError(
          `the frontend says that ${total - rest} bytes are at ${this.#offsets[0]} of a page`,
        );
      }
      packets.status[index] = this.#judge(total, slots);
      if (packets.status[index] === RSP_OKAY) {
        packets.length[index] = total;
        for (let slot = 0; slot < slots; slot++) {
          const size = this.#sizes[slot]!;
          if (size === 0) continue;
          this.#copier.pull(this.#references[slot]!, this.#offsets[slot]!, this.#slab.memory, position, size);
          position += size;
        }
      }
    }
    packets.copyEnd[index] = this.#copier.count;
    return position;
  }

  /** Whether a packet is one that we hand up. */
  #judge(total: number, slots: number): number {
    if (total < ETHERNET_HEADER) {
      this.#counters.rxErrors++;
      return RSP_ERROR;
    }
    if (slots > MAX_SLOTS || total > this.#promises.longest) {
      this.#counters.rxDropped++;
      return RSP_ERROR;
    }
    return RSP_OKAY;
  }

  /** Reads the extra infos behind the first slot; the slots used with them. */
  #extras(first: number, used: number, waiting: number): number {
    const { ring } = this;
    const { words } = ring;
    for (let extras = 0; extras < MAX_EXTRAS; extras++) {
      if (used === waiting) throw new PeerError('the frontend publishes a part of a packet');
      const at = ring.entry(first + used++);
      const word0 = words[at]!;
      const word1 = words[at + 1]!;
      this.#slots[this.#slotCount++] = -1;
      this.#extra(word0, word1);
      if ((extraFlags(word0) & EXTRA_MORE) === 0) return used;
    }
    throw new PeerError('the frontend’s extra infos do not end');
  }

  #extra(word0: number, word1: number): void {
    const type = extraType(word0);
    switch (type) {
      case EXTRA_GSO: {
        const gsoType = word1 & 0xff;
        if (high(word0) === 0 || (gsoType !== GSO_TCPV4 && gsoType !== GSO_TCPV6)) {
          throw new PeerError(`the frontend sends segments of ${high(word0)} bytes and type ${gsoType}`);
        }
        this.#segmentSize = high(word0);
        return;
      }
      case EXTRA_MCAST_ADD:
        this.#groupStatus = this.#groups?.add(high(word0), word1) ? RSP_OKAY : RSP_ERROR;
        return;
      case EXTRA_MCAST_DEL:
        this.#groups?.remove(high(word0), word1);
        this.#groupStatus = RSP_OKAY;
        return;
      default:
        throw new PeerError(`the frontend sends extra info of type ${type}`);
    }
  }

  /** Writes the responses, each in the order of its request. */
  #answer(packets: number): void {
    const { ring } = this;
    const { slotEnd, copyEnd, status } = this.#packets;
    const copier = this.#copier;
    let copy = 0;
    let slot = 0;
    for (let i = 0; i < packets; i++) {
      let isCopied = true;
      for (; copy < copyEnd[i]!; copy++) if (copier.status(copy) !== COPY_OKAY) isCopied = false;
      if (!isCopied) {
        this.#counters.rxErrors++;
        status[i] = RSP_ERROR;
      }
      for (; slot < slotEnd[i]!; slot++) {
        const id = this.#slots[slot]!;
        const at = ring.entry(ring.responseProducer);
        ring.words[at] = id < 0 ? pair(RSP_NULL, 0) : pair(status[i]!, id);
        ring.responseProducer = (ring.responseProducer + 1) | 0;
      }
    }
  }

  /** Sets the offload state; false if the flags say what the packet is not. */
  #describe(frame: Frame, flags: number, segmentSize: number): boolean {
    const { checksum, segmentation } = this.#promises;
    if (segmentation) frame.segmentSize = segmentSize;
    const isBlank = (flags & TX_CSUM_BLANK) !== 0;
    if (checksum) return describeChecksum(frame, isBlank, (flags & TX_DATA_VALIDATED) !== 0);
    // Linux's frontend leaves checksums out of IPv4 packets whatever the backend says (no-csum-offload).
    if (isBlank && !describeChecksum(frame, true, false)) return false;
    completeChecksum(frame, frame.end);
    return true;
  }
}
