import { CHECKSUM_NONE, CHECKSUM_PARTIAL, type Frame, type NetifCounters } from '../../netif.ts';
import { ETHERTYPE_IPV6, etherType } from '../headers.ts';
import { COPY_OKAY, type GrantCopier, type LocalMemory, PAGE_SIZE } from '../hypervisor.ts';
import { PeerError } from '../peer-error.ts';
import type { BackRing } from '../ring.ts';
import {
  EXTRA_GSO,
  GSO_TCPV4,
  GSO_TCPV6,
  pair,
  RSP_ERROR,
  RX_CSUM_BLANK,
  RX_DATA_VALIDATED,
  RX_EXTRA_INFO,
  RX_MORE_DATA,
} from '../wire.ts';

/**
 * One rx ring, from the backend's side: what the guest receives. Frames are
 * built in memory of our own, given the guest's buffers as they are committed,
 * and copied to them in one call of the hypervisor when the batch is over.
 */
export class GuestReceive {
  readonly ring: BackRing;
  readonly #copier: GrantCopier;
  readonly #counters: NetifCounters;
  /** Requests that were there at the last look. */
  #waiting = 0;
  /** Of the frames that are to be copied: the two words of each response, and its copy segment (-1 for extra info). */
  readonly #word0: Int32Array;
  readonly #word1: Int32Array;
  readonly #segments: Int32Array;
  #slots = 0;
  /** Frames among them. */
  frames = 0;

  constructor(ring: BackRing, copier: GrantCopier, counters: NetifCounters) {
    this.ring = ring;
    this.#copier = copier;
    this.#counters = counters;
    this.#word0 = new Int32Array(ring.size);
    this.#word1 = new Int32Array(ring.size);
    this.#segments = new Int32Array(ring.size);
  }

  /** Whether the guest has offered `slots` buffers, as far as we know. */
  has(slots: number): boolean {
    return this.#waiting >= slots;
  }

  look(): void {
    const waiting = this.ring.requests();
    if (waiting < 0) throw new PeerError('the frontend’s rx request counter is not possible');
    this.#waiting = waiting;
  }

  /** Gives the frame of `length` bytes at `at` of `memory` its buffers. There have to be enough. */
  add(frame: Frame, memory: LocalMemory, at: number, length: number): void {
    let flags = 0;
    if (frame.checksum === CHECKSUM_PARTIAL) flags = RX_CSUM_BLANK | RX_DATA_VALIDATED;
    else if (frame.checksum !== CHECKSUM_NONE) flags = RX_DATA_VALIDATED;
    if (frame.segmentSize > 0) flags |= RX_EXTRA_INFO;
    for (let done = 0; done < length; done += PAGE_SIZE) {
      const size = Math.min(PAGE_SIZE, length - done);
      if (done + size < length) flags |= RX_MORE_DATA;
      this.#data(memory, at + done, size, flags);
      if (done === 0 && frame.segmentSize > 0) {
        const isIpv6 = etherType(memory.bytes, at, at + length) === ETHERTYPE_IPV6;
        this.#extra(frame.segmentSize, isIpv6 ? GSO_TCPV6 : GSO_TCPV4);
      }
      flags = 0;
    }
    this.frames++;
  }

  /** After the copier has run: writes the responses. */
  answer(): void {
    const { ring } = this;
    for (let slot = 0; slot < this.#slots; slot++) {
      const segment = this.#segments[slot]!;
      const at = ring.entry(ring.responseProducer);
      ring.words[at] = this.#word0[slot]!;
      let word1 = this.#word1[slot]!;
      if (segment >= 0 && this.#copier.status(segment) !== COPY_OKAY) {
        this.#counters.txErrors++;
        word1 = pair(RSP_ERROR, word1 & 0xffff);
      }
      ring.words[at + 1] = word1;
      ring.responseProducer = (ring.responseProducer + 1) | 0;
    }
    this.#slots = 0;
    this.frames = 0;
  }

  #data(memory: LocalMemory, at: number, size: number, flags: number): void {
    const { ring } = this;
    const { words } = ring;
    const entry = ring.entry(ring.requestConsumer);
    const id = words[entry]! & 0xffff;
    const reference = words[entry + 1]! >>> 0;
    const slot = this.#next();
    this.#word0[slot] = id;
    this.#word1[slot] = pair(size, flags);
    this.#segments[slot] = this.#copier.count;
    this.#copier.push(reference, 0, memory, at, size);
  }

  /** Takes the place of a response; the buffer of its request stays unused. */
  #extra(segmentSize: number, type: number): void {
    const slot = this.#next();
    this.#word0[slot] = pair(segmentSize, EXTRA_GSO);
    this.#word1[slot] = type;
    this.#segments[slot] = -1;
  }

  #next(): number {
    const { ring } = this;
    ring.requestConsumer = (ring.requestConsumer + 1) | 0;
    this.#waiting--;
    return this.#slots++;
  }
}
