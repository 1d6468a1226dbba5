import type { Frame, NetifHandler } from '../../netif.ts';
import { flowHash } from '../headers.ts';
import { type DomainId, type EventChannel, PAGE_SIZE, type SharedPages } from '../hypervisor.ts';
import { FrontRing } from '../ring.ts';
import type { ConnectionShare, RingConnection } from '../ring-netif.ts';
import { RX_WORDS, TX_WORDS } from '../wire.ts';
import { ReceiveQueue, type ReceiveSlab } from './receive.ts';
import { TransmitMemory, TransmitQueue } from './transmit.ts';

/** Pages that outgoing frames are built in, for all queues. */
const TRANSMIT_PAGES = 256;

/** Requests after which they are published without waiting for a flush. */
const PUBLISH_REQUESTS = 32;

export interface FrontConnectionOptions extends ConnectionShare {
  readonly backend: DomainId;
  readonly queues: number;
  /** Pages of each ring, a power of two. */
  readonly ringPages: number;
  /** One event channel for each ring, not for both. */
  readonly split: boolean;
  readonly slab: ReceiveSlab;
}

/** One queue: a pair of rings and what wakes them. */
export interface Queue {
  readonly transmit: TransmitQueue;
  readonly receive: ReceiveQueue;
  readonly transmitRing: SharedPages;
  readonly receiveRing: SharedPages;
  readonly transmitEvents: EventChannel;
  /** The same one unless they are split. */
  readonly receiveEvents: EventChannel;
}

/** The frontend's rings of one connection and all that they are made of. */
export class FrontConnection implements RingConnection {
  readonly queues: readonly Queue[];
  readonly #memory: TransmitMemory;
  /** Pages, then channels: in the order in which they are made. */
  readonly #pages: SharedPages[] = [];
  readonly #channels: EventChannel[] = [];
  /** The run of the frame that was placed last. */
  #first = 0;

  /**
   * Makes everything, or nothing.
   *
   * @throws NetError if the domain has no pages, grants or event channels left
   */
  constructor(options: FrontConnectionOptions) {
    try {
      this.#memory = new TransmitMemory(this.#share(options, TRANSMIT_PAGES, false));
      this.queues = Array.from({ length: options.queues }, () => this.#makeQueue(options));
    } catch (error) {
      this.destroy();
      throw error;
    }
  }

  get inFlight(): number {
    let frames = 0;
    for (const { transmit } of this.queues) frames += transmit.frames;
    return frames;
  }

  place(frame: Frame, size: number): boolean {
    const first = this.#find(size);
    if (first < 0) return false;
    this.#first = first;
    const start = first * PAGE_SIZE;
    frame.reset(this.#memory.pages.bytes, start, start + size);
    return true;
  }

  waitForRoom(size: number): boolean {
    this.look();
    while (this.#find(size) < 0) {
      // What is not published is not answered.
      this.flush();
      if (!this.#askForRoom(pagesOf(size) + 1)) return false;
      this.look();
    }
    return true;
  }

  look(): void {
    for (const { transmit } of this.queues) transmit.reap();
  }

  send(frame: Frame, size: number): boolean {
    const start = this.#first * PAGE_SIZE;
    const { queues } = this;
    const queue =
      queues.length === 1 ? queues[0]! : queues[flowHash(frame.bytes, start, start + size) % queues.length]!;
    queue.transmit.send(frame, this.#first, size);
    const { ring } = queue.transmit;
    if (((ring.requestProducer - ring.published) | 0) >= PUBLISH_REQUESTS) publish(queue);
    return true;
  }

  /** Sends extra info that belongs to no packet; false if there is no room. */
  sendExtra(word0: number, word1: number): boolean {
    if (!this.waitForRoom(1)) return false;
    const queue = this.queues[0]!;
    queue.transmit.sendExtra(this.#find(1), word0, word1);
    publish(queue);
    return true;
  }

  flush(): void {
    for (const queue of this.queues) publish(queue);
  }

  receive(handler: NetifHandler, isOpen: () => boolean): number {
    let packets = 0;
    for (const { receive, receiveEvents } of this.queues) {
      packets += receive.poll(handler, isOpen);
      if (!isOpen()) return packets;
      if (receive.ring.publish()) receiveEvents.notify();
    }
    return packets;
  }

  arm(): boolean {
    let isThere = false;
    for (const { receive } of this.queues) if (receive.arm()) isThere = true;
    return isThere;
  }

  /** Offers the first receive buffers, and wakes a backend that waits for them. */
  begin(): void {
    for (const { receive, receiveEvents } of this.queues) {
      receive.ring.publish();
      receiveEvents.notify();
    }
  }

  destroy(): void {
    for (const channel of this.#channels) channel.close();
    for (const pages of this.#pages) pages.end();
  }

  /** The first page of a run for a frame, if every ring has room for it; else -1. */
  #find(size: number): number {
    const pages = pagesOf(size);
    // One more, for extra info: which queue it will be is known when it is written.
    for (const { transmit } of this.queues) if (transmit.ring.free <= pages) return -1;
    return this.#memory.runs.find(pages);
  }

  /**
   * Asks for an event when a good part of what is outstanding has been
   * answered, on every ring; true if so much has been already.
   */
  #askForRoom(slots: number): boolean {
    let isThere = false;
    for (const { transmit } of this.queues) {
      const { ring } = transmit;
      const { outstanding } = ring;
      if (outstanding === 0) continue;
      const wanted = Math.max(slots - ring.free, ring.size >> 2);
      if (ring.arm(Math.min(wanted, outstanding))) isThere = true;
    }
    return isThere;
  }

  #makeQueue(options: FrontConnectionOptions): Queue {
    const { ringPages, slab, counters, promises } = options;
    const transmitRing = this.#share(options, ringPages, true);
    const receiveRing = this.#share(options, ringPages, true);
    const receiver = new FrontRing(receiveRing.bytes, RX_WORDS);
    const buffers = this.#share(options, receiver.size, true);
    const transmitEvents = this.#listen(options);
    return {
      transmit: new TransmitQueue(new FrontRing(transmitRing.bytes, TX_WORDS), this.#memory, counters),
      receive: new ReceiveQueue(receiver, buffers, slab, counters, promises),
      transmitRing,
      receiveRing,
      transmitEvents,
      receiveEvents: options.split ? this.#listen(options) : transmitEvents,
    };
  }

  #listen({ hypervisor, backend, onEvent }: FrontConnectionOptions): EventChannel {
    const channel = hypervisor.events.listen(backend, () => {
      channel.unmask();
      onEvent();
    });
    this.#channels.push(channel);
    return channel;
  }

  #share({ hypervisor, backend }: FrontConnectionOptions, pages: number, writable: boolean): SharedPages {
    const shared = hypervisor.grants.share(backend, pages, writable);
    this.#pages.push(shared);
    return shared;
  }
}

function publish({ transmit, transmitEvents }: Queue): void {
  if (transmit.ring.publish()) transmitEvents.notify();
}

function pagesOf(size: number): number {
  return size <= PAGE_SIZE ? 1 : (size + PAGE_SIZE - 1) >>> 12;
}
