import { allocate, ViewCache } from '../../../bytes/index.ts';
import { ETHERNET_HEADER, Frame, type NetifCounters, type NetifHandler } from '../../netif.ts';
import { CoalescedFrames } from '../coalesced.ts';
import { describeChecksum } from '../headers.ts';
import { PAGE_SIZE, type SharedPages } from '../hypervisor.ts';
import type { ReceivePromises } from '../offloads.ts';
import { PeerError } from '../peer-error.ts';
import type { FrontRing } from '../ring.ts';
import {
  EXTRA_GSO,
  EXTRA_MORE,
  extraFlags,
  extraType,
  GSO_TCPV4,
  GSO_TCPV6,
  high,
  low,
  MAX_SLOTS,
  RX_CSUM_BLANK,
  RX_DATA_VALIDATED,
  RX_EXTRA_INFO,
  RX_MORE_DATA,
  signedHigh,
} from '../wire.ts';

/** Frames that nobody keeps reuse the front of it; small, since memory that is kept costs page faults. */
const SLAB = 256 * 1024;

/** Payloads that are kept begin on their own cache line. */
const ALIGNMENT = 64;

/** Bytes handed over before a flush: several windows in one go would keep the sender waiting. */
const BATCH_BYTES = 256 * 1024;
const BATCH_FRAMES = 64;
/** Of ordinary ones that go up as few. */
const COALESCED_BATCH_FRAMES = 256;

/** More extra infos than there are types of. */
const MAX_EXTRAS = 4;

/** Memory that frames are handed up in; one per netif. */
export class ReceiveSlab {
  bytes = allocate(SLAB);
  position = 0;

  /** Makes room for `size` bytes at `position`. */
  room(size: number): void {
    if (this.bytes.length - this.position >= size) return;
    this.bytes = allocate(SLAB);
    this.position = 0;
  }

  keep(end: number): void {
    this.position = (end + ALIGNMENT - 1) & -ALIGNMENT;
  }
}

/**
 * One rx ring, from the frontend's side. A granted page stands at each place of
 * the ring for good, so a response is known by its place: there is no id to be
 * given back twice. Frames are copied out before a page goes back, since the
 * backend can write to it at all times.
 */
export class ReceiveQueue {
  readonly ring: FrontRing;
  readonly #references: readonly number[];
  /** Not a Buffer: views of these are made in half the time. */
  readonly #bytes: Uint8Array;
  readonly #views = new ViewCache(9);
  readonly #slab: ReceiveSlab;
  readonly #frame: Frame;
  readonly #counters: NetifCounters;
  readonly #promises: ReceivePromises;
  readonly #batchFrames: number;
  /** Null where every frame goes up as it is. */
  readonly #coalesced: CoalescedFrames | null;
  /** The slots of the packet being read, as they were when they were looked at. */
  readonly #places = new Int32Array(MAX_SLOTS);
  readonly #lengths = new Int32Array(MAX_SLOTS);
  #slots = 0;
  #flags = 0;
  #segmentSize = 0;
  #failed = false;
  /** Responses that wait for the rest of their packet. */
  #partial = 0;

  constructor(
    ring: FrontRing,
    pages: SharedPages,
    slab: ReceiveSlab,
    counters: NetifCounters,
    promises: ReceivePromises,
  ) {
    this.ring = ring;
    this.#references = pages.references;
    this.#bytes = new Uint8Array(pages.bytes.buffer, pages.bytes.byteOffset, pages.bytes.length);
    this.#slab = slab;
    this.#frame = new Frame(slab.bytes);
    this.#counters = counters;
    this.#promises = promises;
    this.#coalesced = promises.coalesce ? new CoalescedFrames(counters) : null;
    this.#batchFrames = promises.coalesce ? COALESCED_BATCH_FRAMES : BATCH_FRAMES;
    for (let i = 0; i < ring.size; i++) this.#post();
  }

  /** Hands over what came, up to a bound; the number of packets taken off the ring. */
  poll(handler: NetifHandler, isOpen: () => boolean): number {
    const { ring } = this;
    const coalesced = this.#coalesced;
    let packets = 0;
    let bytes = 0;
    coalesced?.start(handler, isOpen);
    // A call of the handler may end the connection, and with it the memory of the ring.
    while (isOpen()) {
      const waiting = ring.responses();
      if (waiting < 0) throw new PeerError('the backend’s rx response counter is not possible');
      let left = waiting;
      while (left > 0 && packets < this.#batchFrames && bytes < BATCH_BYTES && isOpen()) {
        const used = this.#gather(left);
        if (used === 0) {
          this.#expectMore(left);
          break;
        }
        bytes += this.#copyOut();
        packets++;
        left -= used;
        // Only now may the pages be written again.
        for (let i = 0; i < used; i++) {
          ring.responseConsumer = (ring.responseConsumer + 1) | 0;
          this.#post();
        }
        if (!this.#failed) this.#deliver(handler);
      }
      this.#partial = left;
      if (left === waiting || left > 0) break;
    }
    if (coalesced !== null) {
      coalesced.handOver();
      this.#keep(coalesced);
    }
    return packets;
  }

  /** Asks for an event when more comes than is there; true if it has. */
  arm(): boolean {
    return this.ring.arm(this.#partial + 1);
  }

  /** Looks at one packet of the `waiting` responses; the slots it takes, or 0 if it is not whole yet. */
  #gather(waiting: number): number {
    const { ring } = this;
    const { words } = ring;
    const first = ring.responseConsumer;
    this.#slots = 0;
    this.#segmentSize = 0;
    this.#failed = false;
    let used = 0;
    for (let more = true; more; ) {
      if (used === waiting) return 0;
      const number = first + used++;
      const at = ring.entry(number);
      const word0 = words[at]!;
      const word1 = words[at + 1]!;
      const flags = low(word1);
      const place = number & (ring.size - 1);
      if (low(word0) !== place) {
        throw new PeerError(`the backend answers rx request ${low(word0)} in the place of ${place}`);
      }
      if (used === 1) {
        this.#flags = flags;
        if ((flags & RX_EXTRA_INFO) !== 0) {
          used = this.#extras(first, waiting);
          if (used === 0) return 0;
        }
      }
      this.#slot(place, high(word0), signedHigh(word1));
      more = (flags & RX_MORE_DATA) !== 0;
    }
    return used;
  }

  /** The packet that `waiting` responses begin is not whole: the rest must still be able to come. */
  #expectMore(waiting: number): void {
    if (waiting < ((this.ring.published - this.ring.responseConsumer) | 0)) return;
    throw new PeerError('the backend sends a packet that does not end');
  }

  #slot(place: number, offset: number, length: number): void {
    if (length < 0) {
      this.#failed = true;
      return;
    }
    if (offset + length > PAGE_SIZE) {
      throw new PeerError(`the backend says that ${length} bytes are at ${offset} of a page`);
    }
    const slot = this.#slots++;
    if (slot >= MAX_SLOTS) {
      this.#failed = true;
      return;
    }
    this.#places[slot] = place * PAGE_SIZE + offset;
    this.#lengths[slot] = length;
  }

  /** Reads the extra infos behind the first slot; slots used with them, 0 if they are not all there. */
  #extras(first: number, waiting: number): number {
    const { ring } = this;
    const { words } = ring;
    for (let used = 1; used <= MAX_EXTRAS; ) {
      if (used === waiting) return 0;
      const at = ring.entry(first + used++);
      const word0 = words[at]!;
      const word1 = words[at + 1]!;
      if (extraType(word0) !== EXTRA_GSO) {
        throw new PeerError(`the backend sends extra info of type ${extraType(word0)}`);
      }
      const gsoType = word1 & 0xff;
      if (high(word0) === 0 || (gsoType !== GSO_TCPV4 && gsoType !== GSO_TCPV6)) {
        throw new PeerError(`the backend sends segments of ${high(word0)} bytes and type ${gsoType}`);
      }
      this.#segmentSize = high(word0);
      if ((extraFlags(word0) & EXTRA_MORE) === 0) return used;
    }
    throw new PeerError('the backend’s extra infos do not end');
  }

  /** Copies the gathered packet into the slab and sets the cursor on it; the bytes copied. */
  #copyOut(): number {
    const { rxErrors, rxDropped } = this.#counters;
    if (this.#failed) {
      this.#counters.rxErrors = rxErrors + 1;
      return 0;
    }
    let total = 0;
    for (let slot = 0; slot < this.#slots; slot++) total += this.#lengths[slot]!;
    if (total < ETHERNET_HEADER) {
      this.#counters.rxErrors = rxErrors + 1;
      this.#failed = true;
      return 0;
    }
    if (total > this.#promises.longest) {
      this.#counters.rxDropped = rxDropped + 1;
      this.#failed = true;
      return 0;
    }
    const slab = this.#slab;
    const start = this.#place();
    let end = start;
    for (let slot = 0; slot < this.#slots; slot++) {
      const from = this.#places[slot]!;
      const length = this.#lengths[slot]!;
      this.#views.copy(slab.bytes, end, this.#bytes, from, from + length);
      end += length;
    }
    this.#frame.reset(slab.bytes, start, end);
    return total;
  }

  /** Where in the slab the next frame goes. */
  #place(): number {
    const slab = this.#slab;
    const { longest } = this.#promises;
    const coalesced = this.#coalesced;
    if (coalesced?.hasRun === true) {
      if (coalesced.end + longest <= slab.bytes.length) return coalesced.overlay();
      coalesced.handOver();
      this.#keep(coalesced);
    }
    slab.room(longest);
    return slab.position;
  }

  #keep(coalesced: CoalescedFrames): void {
    const kept = coalesced.takeKept();
    if (kept > 0) this.#slab.keep(kept);
  }

  #deliver(handler: NetifHandler): void {
    const frame = this.#frame;
    const { end } = frame;
    const coalesced = this.#coalesced;
    if (!this.#describe(frame)) {
      this.#counters.rxErrors++;
      return;
    }
    this.#counters.rxFrames++;
    this.#counters.rxBytes += end - frame.start;
    if (coalesced !== null) {
      this.#gatherUp(coalesced);
      return;
    }
    handler.receive(frame);
    if (frame.retained) this.#slab.keep(end);
  }

  /** The frame goes up with others of its connection, or by itself. Without checksum offload there is nothing to describe. */
  #gatherUp(coalesced: CoalescedFrames): void {
    const frame = this.#frame;
    const { bytes } = frame;
    const size = frame.end - frame.start;
    const start = coalesced.hasRun ? coalesced.extend(bytes, frame.end) : frame.start;
    if (start >= 0) coalesced.add(frame.reset(bytes, start, start + size));
    if (!coalesced.hasRun) this.#keep(coalesced);
  }

  /** Sets the offload state; false if the flags say what the packet is not. Flags for what was not offered mean nothing. */
  #describe(frame: Frame): boolean {
    const { checksum, segmentation } = this.#promises;
    if (segmentation) frame.segmentSize = this.#segmentSize;
    if (!checksum) return true;
    return describeChecksum(
      frame,
      (this.#flags & RX_CSUM_BLANK) !== 0,
      (this.#flags & RX_DATA_VALIDATED) !== 0,
    );
  }

  /** Offers the page that stands at the next place. */
  #post(): void {
    const { ring } = this;
    const place = ring.requestProducer & (ring.size - 1);
    const at = ring.entry(place);
    ring.words[at] = place;
    ring.words[at + 1] = this.#references[place]!;
    ring.requestProducer = (ring.requestProducer + 1) | 0;
  }
}
