import { CHECKSUM_NONE, CHECKSUM_PARTIAL, type Frame, type NetifCounters } from '../../netif.ts';
import { ETHERTYPE_IPV6, etherType } from '../headers.ts';
import { PAGE_SIZE, type SharedPages } from '../hypervisor.ts';
import { PageRuns } from '../page-runs.ts';
import { PeerError } from '../peer-error.ts';
import type { FrontRing } from '../ring.ts';
import {
  EXTRA_GSO,
  GSO_TCPV4,
  GSO_TCPV6,
  low,
  pair,
  RSP_DROPPED,
  RSP_NULL,
  signedHigh,
  TX_CSUM_BLANK,
  TX_DATA_VALIDATED,
  TX_EXTRA_INFO,
  TX_MORE_DATA,
} from '../wire.ts';

/** Granted pages that outgoing frames are built in, for all queues. */
export class TransmitMemory {
  readonly pages: SharedPages;
  readonly runs: PageRuns;

  constructor(pages: SharedPages) {
    this.pages = pages;
    this.runs = new PageRuns(pages.references.length);
  }
}

/** One tx ring, from the frontend's side. */
export class TransmitQueue {
  readonly ring: FrontRing;
  readonly #memory: TransmitMemory;
  readonly #counters: NetifCounters;
  /** By request id: the page it carries, or -1 if it is not in use. */
  readonly #pageOf: Int32Array;
  readonly #freeIds: Uint16Array;
  #freeCount: number;
  /** By request id: whether it is the first of a frame. */
  readonly #isFirst: Uint8Array;
  /** Frames whose first slot was not answered yet. */
  frames = 0;
  /** Slots with extra info whose (empty) response has not come. */
  #extras = 0;

  constructor(ring: FrontRing, memory: TransmitMemory, counters: NetifCounters) {
    this.ring = ring;
    this.#memory = memory;
    this.#counters = counters;
    this.#pageOf = new Int32Array(ring.size).fill(-1);
    this.#freeIds = new Uint16Array(ring.size);
    for (let i = 0; i < ring.size; i++) this.#freeIds[i] = ring.size - 1 - i;
    this.#freeCount = ring.size;
    this.#isFirst = new Uint8Array(ring.size);
  }

  /**
   * Puts a frame of `length` bytes, which lies in the run of pages from `first`
   * on, into the ring. The ring has to have room for it.
   */
  send(frame: Frame, first: number, length: number): void {
    const { ring } = this;
    const { words } = ring;
    const pages = Math.ceil(length / PAGE_SIZE);
    this.#memory.runs.take(first, pages);
    let flags = 0;
    if (frame.checksum === CHECKSUM_PARTIAL) flags = TX_CSUM_BLANK | TX_DATA_VALIDATED;
    else if (frame.checksum !== CHECKSUM_NONE) flags = TX_DATA_VALIDATED;
    if (pages > 1) flags |= TX_MORE_DATA;
    if (frame.segmentSize > 0) flags |= TX_EXTRA_INFO;
    // The first request says how long the packet is, the others how long they are.
    this.#isFirst[this.#request(first, flags, length)] = 1;
    this.frames++;
    if (frame.segmentSize > 0) {
      const start = first * PAGE_SIZE;
      const isIpv6 = etherType(frame.bytes, start, start + length) === ETHERTYPE_IPV6;
      const at = ring.entry(ring.requestProducer++);
      words[at] = pair(frame.segmentSize, EXTRA_GSO);
      words[at + 1] = isIpv6 ? GSO_TCPV6 : GSO_TCPV4;
      this.#extras++;
    }
    for (let page = 1, rest = length - PAGE_SIZE; page < pages; page++, rest -= PAGE_SIZE) {
      this.#request(first + page, rest > PAGE_SIZE ? TX_MORE_DATA : 0, Math.min(rest, PAGE_SIZE));
    }
    ring.requestProducer |= 0;
  }

  /** A request that carries no packet, only extra info: `word0` and `word1` of it. Takes a page and two slots. */
  sendExtra(page: number, word0: number, word1: number): void {
    const { ring } = this;
    this.#memory.runs.take(page, 1);
    this.#request(page, TX_EXTRA_INFO, 0);
    const at = ring.entry(ring.requestProducer++);
    ring.words[at] = word0;
    ring.words[at + 1] = word1;
    this.#extras++;
    ring.requestProducer |= 0;
  }

  /** Takes the responses that came: their ids and pages are free again. */
  reap(): void {
    const { ring } = this;
    const count = ring.responses();
    if (count < 0) throw new PeerError('the backend’s tx response counter is not possible');
    for (let i = 0; i < count; i++) {
      const word = ring.words[ring.entry(ring.responseConsumer)]!;
      ring.responseConsumer = (ring.responseConsumer + 1) | 0;
      const status = signedHigh(word);
      if (status === RSP_NULL) {
        if (--this.#extras < 0) throw new PeerError('the backend answers more extra infos than were sent');
        continue;
      }
      const id = low(word);
      const page = id < this.#pageOf.length ? this.#pageOf[id]! : -1;
      if (page < 0) throw new PeerError(`the backend answers tx request ${id}, which is not outstanding`);
      this.#pageOf[id] = -1;
      this.#freeIds[this.#freeCount++] = id;
      this.#memory.runs.release(page);
      if (this.#isFirst[id] === 1) {
        this.#isFirst[id] = 0;
        this.frames--;
      }
      if (status < 0) {
        if (status === RSP_DROPPED) this.#counters.txDropped++;
        else this.#counters.txErrors++;
      }
    }
  }

  /** The id that it has. */
  #request(page: number, flags: number, size: number): number {
    const { ring } = this;
    const { words } = ring;
    const id = this.#freeIds[--this.#freeCount]!;
    this.#pageOf[id] = page;
    const at = ring.entry(ring.requestProducer++);
    words[at] = this.#memory.pages.references[page]!;
    words[at + 1] = flags << 16;
    words[at + 2] = pair(size, id);
    return id;
  }
}
