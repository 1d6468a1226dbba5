import type { MacAddress } from '../address/index.ts';
import { allocate, copy, EMPTY } from '../bytes/index.ts';
import { type Clock, type Random, SeededRandom } from '../time/index.ts';
import { completeChecksum } from './complete.ts';
import { type DelayedFrame, DelayLine } from './delay-line.ts';
import { Fate, type ImpairmentCounters, type Impairments } from './impairment.ts';
import {
  CHECKSUM_NONE,
  Frame,
  type Netif,
  type NetifHandler,
  netifCounters,
  type Offloads,
} from './netif.ts';
import { FrameBuilder } from './sender.ts';
import type { Slab } from './slab.ts';

export interface ImpairOptions {
  readonly clock: Clock;
  /** The dice; seeded with 1 unless given. */
  readonly random?: Random;
  /** What happens to frames that the stack sends. */
  readonly transmit?: Impairments;
  /** What happens to frames that the stack receives. */
  readonly receive?: Impairments;
}

export interface ImpairedNetif extends Netif {
  /** How often what happened. */
  readonly impaired: { readonly transmit: ImpairmentCounters; readonly receive: ImpairmentCounters };
  /**
   * Replaces all impairments of each direction that is given: `{}` for none,
   * `{ loss: 1 }` for a black hole. Frames on their way keep their time.
   */
  set(change: { readonly transmit?: Impairments; readonly receive?: Impairments }): void;
}

/**
 * Wraps a netif in a bad network: loss, delay, jitter, reordering, duplicates,
 * corruption, a rate. The same seed and traffic on a virtual clock give the same
 * fates. Without impairments frames pass straight through.
 *
 * A frame of several segments (see `Offloads.segmentation`) has one fate; wrap a
 * netif without segmentation where packets are meant.
 */
export function impair(netif: Netif, options: ImpairOptions): ImpairedNetif {
  return new Impaired(netif, options);
}

/** Frames handed over before a `flush`. */
const BATCH = 64;

class Impaired implements ImpairedNetif {
  readonly name: string;
  readonly mac: MacAddress;
  readonly mtu: number;
  readonly transmit: Offloads;
  readonly receive: Offloads;
  readonly counters = netifCounters();
  readonly impaired: ImpairedNetif['impaired'];
  readonly #netif: Netif;
  readonly #clock: Clock;
  readonly #outFate: Fate;
  readonly #inFate: Fate;
  readonly #outbound: DelayLine;
  readonly #inbound: DelayLine;
  readonly #builder: FrameBuilder;
  /** What is shown to the stack, which may send while it looks; and what is sent. */
  readonly #cursor = new Frame(EMPTY);
  readonly #outCursor = new Frame(EMPTY);
  #handler: NetifHandler | null = null;
  /** Size of the frame reserved in the inner netif itself; -1 if it is in the builder's memory. */
  #passing = -1;
  /** The inner netif is full; it will be `writable`. */
  #innerFull = false;
  /** `reserve` answered null since. */
  #stalled = false;
  #closed = false;

  constructor(netif: Netif, options: ImpairOptions) {
    const { clock, random = new SeededRandom(1), transmit = {}, receive = {} } = options;
    this.name = netif.name;
    this.mac = netif.mac;
    this.mtu = netif.mtu;
    this.transmit = netif.transmit;
    this.receive = netif.receive;
    this.#netif = netif;
    this.#clock = clock;
    this.#outFate = new Fate(clock, random);
    this.#inFate = new Fate(clock, random);
    this.impaired = { transmit: this.#outFate.counters, receive: this.#inFate.counters };
    this.#outbound = new DelayLine(clock, () => {
      this.#sendDue();
      this.#netif.flush();
    });
    this.#inbound = new DelayLine(clock, () => this.#receiveDue());
    this.#builder = new FrameBuilder(netif.name, netif.mtu, netif.transmit);
    this.set({ transmit, receive });
  }

  set(change: { readonly transmit?: Impairments; readonly receive?: Impairments }): void {
    if (change.transmit !== undefined) this.#outFate.set(change.transmit);
    if (change.receive !== undefined) this.#inFate.set(change.receive);
  }

  start(handler: NetifHandler): void {
    this.#handler = handler;
    this.#netif.start({
      receive: (frame) => this.#receive(frame),
      flush: () => handler.flush(),
      writable: () => this.#innerWritable(),
      closed: (error) => {
        this.#discard();
        handler.closed(error);
      },
    });
  }

  reserve(size: number): Frame | null {
    if (this.#closed) return null;
    if (!this.#innerFull) {
      if (this.#outFate.active || this.#outbound.due() !== null) {
        this.#passing = -1;
        return this.#builder.reserve(size);
      }
      const frame = this.#netif.reserve(size);
      if (frame !== null) {
        this.#passing = size;
        return frame;
      }
      this.#innerFull = true;
    }
    this.#stalled = true;
    this.counters.txStalls++;
    return null;
  }

  commit(frame: Frame): void {
    const { counters } = this;
    if (this.#closed) {
      counters.txDropped++;
      return;
    }
    if (this.#passing >= 0) {
      counters.txFrames++;
      counters.txBytes += this.#passing;
      this.#passing = -1;
      this.#netif.commit(frame);
      return;
    }
    const { start, end } = this.#builder;
    const slab = this.#builder.take(frame, 1);
    counters.txFrames++;
    counters.txBytes += end - start;
    frame.start = start;
    frame.end = end;
    if (!this.#outFate.loses()) {
      const twice = this.#outFate.duplicates();
      this.#send(frame, slab);
      if (twice) this.#send(frame, slab);
      this.#sendDue();
    }
    slab.release(end, false);
  }

  flush(): void {
    this.#netif.flush();
  }

  /** What is on its way is lost. */
  close(): Promise<void> {
    this.#closed = true;
    this.#discard();
    return this.#netif.close();
  }

  #discard(): void {
    this.#outbound.clear();
    this.#inbound.clear();
  }

  #send(frame: Frame, slab: Slab): void {
    const at = this.#outFate.arrival(frame.end - frame.start);
    if (at < 0) {
      this.counters.txDropped++;
    } else if (this.#outFate.corrupts()) {
      this.#outbound.add(at, corrupted(frame, this.#outCursor, this.#outFate), null);
    } else {
      slab.inFlight++;
      this.#outbound.add(at, frame, slab);
    }
  }

  /** Sends what is due, as far as the inner netif takes it. */
  #sendDue(): void {
    if (this.#innerFull) return;
    for (let entry = this.#outbound.due(); entry !== null; entry = this.#outbound.due()) {
      const { bytes, start, end } = entry;
      const frame = this.#netif.reserve(end - start);
      if (frame === null) {
        this.#innerFull = true;
        return;
      }
      copy(frame.bytes, frame.start, bytes, start, end);
      frame.checksum = entry.checksum;
      frame.checksumStart = entry.checksumStart - start + frame.start;
      frame.checksumOffset = entry.checksumOffset;
      frame.segmentSize = entry.segmentSize;
      this.#outbound.remove(entry);
      this.#netif.commit(frame);
    }
    this.#outbound.wait();
  }

  #innerWritable(): void {
    this.#innerFull = false;
    this.#sendDue();
    this.#netif.flush();
    if (this.#innerFull || !this.#stalled || this.#closed) return;
    this.#stalled = false;
    this.#handler?.writable();
  }

  #receive(frame: Frame): void {
    if (this.#closed) return;
    if (!this.#inFate.active && this.#inbound.due() === null) {
      this.#handOver(frame);
      return;
    }
    if (this.#inFate.loses()) return;
    const twice = this.#inFate.duplicates();
    this.#admit(frame);
    if (twice) this.#admit(frame);
  }

  /** One copy of a received frame; `frame` itself stays as it is, but for `retain`. */
  #admit(frame: Frame): void {
    const at = this.#inFate.arrival(frame.end - frame.start);
    if (at < 0) {
      this.counters.rxDropped++;
      return;
    }
    const corrupt = this.#inFate.corrupts();
    const shown = corrupt ? corrupted(frame, this.#cursor, this.#inFate) : show(this.#cursor, frame);
    if (at <= this.#clock.now() && this.#inbound.due() === null) {
      this.#handOver(shown);
      if (shown.retained && !corrupt) frame.retain();
    } else {
      this.#inbound.add(at, shown, null);
      if (!corrupt) frame.retain();
    }
  }

  #receiveDue(): void {
    let entry = this.#inbound.due();
    while (entry !== null) {
      for (let n = 0; n < BATCH && entry !== null; n++) {
        const frame = show(this.#cursor, entry);
        this.#inbound.remove(entry);
        this.#handOver(frame);
        entry = this.#inbound.due();
      }
      if (!this.#closed) this.#handler?.flush();
    }
    this.#inbound.wait();
  }

  #handOver(frame: Frame): void {
    this.counters.rxFrames++;
    this.counters.rxBytes += frame.end - frame.start;
    this.#handler?.receive(frame);
  }
}

/**
 * A copy of the frame with flipped bits, under `cursor`. A checksum that nobody
 * has yet made, or that is vouched for, would hide the damage: it is completed
 * before, and nothing is known about it after.
 */
function corrupted(frame: Frame, cursor: Frame, fate: Fate): Frame {
  const { start, end } = frame;
  const bytes = allocate(end - start);
  copy(bytes, 0, frame.bytes, start, end);
  const copied = show(cursor, frame);
  copied.bytes = bytes;
  copied.start = 0;
  copied.end = end - start;
  copied.checksumStart -= start;
  completeChecksum(copied, copied.end);
  copied.checksum = CHECKSUM_NONE;
  fate.flip(bytes, 0, copied.end);
  return copied;
}

/** Points `cursor` at the same bytes as `from`, with the same offload state, not retained. */
function show(cursor: Frame, from: Frame | DelayedFrame): Frame {
  cursor.reset(from.bytes, from.start, from.end);
  cursor.checksum = from.checksum;
  cursor.checksumStart = from.checksumStart;
  cursor.checksumOffset = from.checksumOffset;
  cursor.segmentSize = from.segmentSize;
  return cursor;
}
