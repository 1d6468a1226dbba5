import type { Frame, NetifHandler } from '../../netif.ts';
import { flowHash } from '../headers.ts';
import {
  type DomainId,
  type EventChannel,
  type GrantCopier,
  type LocalMemory,
  type MappedPages,
  PAGE_SIZE,
} from '../hypervisor.ts';
import { BackRing } from '../ring.ts';
import type { ConnectionShare, RingConnection } from '../ring-netif.ts';
import { RX_WORDS, TX_WORDS } from '../wire.ts';
import type { GroupFilter } from './groups.ts';
import { GuestReceive } from './guest-receive.ts';
import { type CopySlab, GuestTransmit } from './guest-transmit.ts';

/** Memory that outgoing frames are built in until they are copied to the guest. */
const AREA = 256 * 1024;

/** Bytes after which they are copied without waiting for a flush. */
const COPY_BYTES = 128 * 1024;

/** Where a frontend says that the rings of one queue are. */
export interface QueueAddress {
  readonly transmitRing: readonly number[];
  readonly receiveRing: readonly number[];
  readonly transmitPort: number;
  /** The same one unless they are split. */
  readonly receivePort: number;
}

export interface BackConnectionOptions extends ConnectionShare {
  readonly frontend: DomainId;
  readonly queues: readonly QueueAddress[];
  readonly slab: CopySlab;
  readonly groups: GroupFilter | null;
}

interface Queue {
  readonly transmit: GuestTransmit;
  readonly receive: GuestReceive;
  readonly transmitEvents: EventChannel;
  readonly receiveEvents: EventChannel;
}

/** The backend's view of a frontend's rings, and all that it takes to serve them. */
export class BackConnection implements RingConnection {
  readonly queues: readonly Queue[];
  readonly #mapped: MappedPages[] = [];
  readonly #channels: EventChannel[] = [];
  readonly #groups: GroupFilter | null;
  /** For frames to the guest, of all queues. */
  readonly #copier: GrantCopier;
  readonly #area: LocalMemory;
  /** Where in the area the frame that was placed last begins, and where the next one may. */
  #placed = 0;
  #position = 0;

  /**
   * Maps and binds everything, or nothing.
   *
   * @throws NetError `EINVAL` for references or ports that were not given to this domain, `EPROTO`
   * for a ring that cannot be
   */
  constructor(options: BackConnectionOptions) {
    const { hypervisor, frontend } = options;
    this.#groups = options.groups;
    this.#area = hypervisor.grants.localMemory(AREA);
    try {
      const rings = options.queues.map(({ receiveRing }) => this.#map(options, receiveRing, RX_WORDS));
      const slots = rings.reduce((sum, ring) => sum + ring.size, 0);
      this.#copier = hypervisor.grants.copier(frontend, slots);
      this.queues = options.queues.map((address, i) => this.#makeQueue(options, address, rings[i]!));
    } catch (error) {
      this.destroy();
      throw error;
    }
  }

  get inFlight(): number {
    let frames = 0;
    for (const { receive } of this.queues) frames += receive.frames;
    return frames;
  }

  place(frame: Frame, size: number): boolean {
    const slots = slotsOf(size);
    for (const { receive } of this.queues) if (!receive.has(slots)) return false;
    if (this.#position + size > AREA) this.flush();
    const start = this.#position;
    this.#placed = start;
    frame.reset(this.#area.bytes, start, start + size);
    return true;
  }

  waitForRoom(size: number): boolean {
    const slots = slotsOf(size);
    for (const { receive } of this.queues) {
      receive.look();
      while (!receive.has(slots)) {
        // The guest offers more when it has got what waits here.
        this.flush();
        if (!receive.ring.arm(slots)) return false;
        receive.look();
      }
    }
    return true;
  }

  look(): void {}

  send(frame: Frame, size: number): boolean {
    const { queues } = this;
    const { bytes } = this.#area;
    const start = this.#placed;
    if (this.#groups !== null && !this.#groups.passes(bytes, start)) return false;
    const queue =
      queues.length === 1 ? queues[0]! : queues[flowHash(bytes, start, start + size) % queues.length]!;
    queue.receive.add(frame, this.#area, start, size);
    this.#position = start + size;
    if (this.#position >= COPY_BYTES) this.flush();
    return true;
  }

  flush(): void {
    this.#position = 0;
    if (this.#copier.count === 0) return;
    this.#copier.run();
    for (const { receive, receiveEvents } of this.queues) {
      receive.answer();
      if (receive.ring.publish()) receiveEvents.notify();
    }
    this.#copier.clear();
  }

  receive(handler: NetifHandler, isOpen: () => boolean): number {
    let packets = 0;
    for (const { transmit, transmitEvents } of this.queues) {
      const taken = transmit.take();
      if (taken === 0) continue;
      // Answered before it is handed up: the guest can go on.
      if (transmit.ring.publish()) transmitEvents.notify();
      transmit.deliver(taken, handler, isOpen);
      packets += taken;
      if (!isOpen()) return packets;
    }
    return packets;
  }

  arm(): boolean {
    let isThere = false;
    for (const { transmit } of this.queues) if (transmit.ring.arm(1)) isThere = true;
    return isThere;
  }

  begin(): void {}

  destroy(): void {
    for (const channel of this.#channels) channel.close();
    for (const pages of this.#mapped) pages.unmap();
  }

  #makeQueue(options: BackConnectionOptions, address: QueueAddress, receiveRing: BackRing): Queue {
    const { hypervisor, frontend, slab, counters, promises, groups } = options;
    const { transmitPort, receivePort } = address;
    const transmitRing = this.#map(options, address.transmitRing, TX_WORDS);
    const copier = hypervisor.grants.copier(frontend, transmitRing.size);
    const transmitEvents = this.#bind(options, transmitPort);
    return {
      transmit: new GuestTransmit(transmitRing, copier, slab, counters, promises, groups),
      receive: new GuestReceive(receiveRing, this.#copier, counters),
      transmitEvents,
      receiveEvents: receivePort === transmitPort ? transmitEvents : this.#bind(options, receivePort),
    };
  }

  #map(
    { hypervisor, frontend }: BackConnectionOptions,
    references: readonly number[],
    words: number,
  ): BackRing {
    const pages = hypervisor.grants.map(frontend, references);
    this.#mapped.push(pages);
    return new BackRing(pages.bytes, words);
  }

  #bind({ hypervisor, frontend, onEvent }: BackConnectionOptions, port: number): EventChannel {
    const channel = hypervisor.events.bind(frontend, port, () => {
      channel.unmask();
      onEvent();
    });
    this.#channels.push(channel);
    return channel;
  }
}

/** Buffers that a frame may take, one for extra info included. */
function slotsOf(size: number): number {
  return (size <= PAGE_SIZE ? 1 : (size + PAGE_SIZE - 1) >>> 12) + 1;
}
