import { MacAddress } from '../address/index.ts';
import { EMPTY } from '../bytes/index.ts';
import { NetError } from '../errors.ts';
import type { Clock } from '../time/index.ts';
import { Frame, type Netif, type NetifHandler, NO_OFFLOADS, netifCounters, type Offloads } from './netif.ts';
import { DeliveryQueue } from './queue.ts';
import { FrameBuilder, longestFrame, offloadsFit } from './sender.ts';
import { softwareOffloads } from './software.ts';

/**
 * No more is on its way than is handed over in one batch, unless the user wants it, and no more bytes than
 * a slab has: so the memory of every frame is free again when the sender goes on, at the same few places,
 * which the processor's cache and the views of them are there for already.
 */
const BATCH = 64;
const QUEUE_BYTES = 256 * 1024;

/** Of one end: the same for both directions, or each its own. */
export type EndOffloads = Offloads | { readonly transmit: Offloads; readonly receive: Offloads };

export interface CableOptions {
  readonly clock: Clock;
  /** Largest network-layer packet; 1500 unless given. */
  readonly mtu?: number;
  readonly names?: readonly [string, string];
  /** `02:42:00:00:00:01` and `…:02` unless given. */
  readonly macs?: readonly [MacAddress, MacAddress];
  /**
   * Of both ends, or of each. What one end transmits, the other must be ready to receive. None unless given.
   * With `software`, ordinary frames are on the cable, and both ends put them together and cut them apart
   * ({@link softwareOffloads}).
   */
  readonly offloads?: EndOffloads | readonly [EndOffloads, EndOffloads] | 'software';
  /**
   * Most frames on their way in each direction; 64 unless given. Of frames longer than the MTU no more than
   * 256 KiB, or than the bytes of so many ordinary ones if that is more.
   */
  readonly queueFrames?: number;
  /** Most frames handed over before a `flush`; 64 unless given. */
  readonly batch?: number;
}

/**
 * Two ends of a cable in memory. Nothing is copied: the receiver is shown the
 * bytes that the sender wrote. Frames arrive in order, without loss and without
 * delay, in a task deferred on the clock; those for an end that has not started
 * wait. When `queueFrames` wait, or too many bytes, `reserve` answers null.
 *
 * What is sent to an end that was closed is dropped, as on a cable with nothing
 * plugged in, and counted as `txDropped`.
 *
 * Throws `EINVAL` if the offloads of the ends do not fit.
 */
export function createCable(options: CableOptions): [Netif, Netif] {
  const { clock, mtu = 1500, names = ['cable0', 'cable1'], queueFrames = BATCH, batch = BATCH } = options;
  const macs = options.macs ?? [new MacAddress(0x0242, 1), new MacAddress(0x0242, 2)];
  const isSoftware = options.offloads === 'software';
  const given =
    options.offloads === undefined || options.offloads === 'software' ? NO_OFFLOADS : options.offloads;
  const offloads = (isPair(given) ? given : ([given, given] as const)).map(bothWays);
  const ends = [0, 1].map((i) => new CableEnd(clock, names[i]!, macs[i]!, mtu, offloads[i]!)) as [
    CableEnd,
    CableEnd,
  ];
  ends[0].connect(ends[1], queueFrames, batch);
  ends[1].connect(ends[0], queueFrames, batch);
  if (isSoftware) return [softwareOffloads(ends[0]), softwareOffloads(ends[1])];
  return ends;
}

interface BothWays {
  readonly transmit: Offloads;
  readonly receive: Offloads;
}

function isPair(
  given: EndOffloads | readonly [EndOffloads, EndOffloads],
): given is readonly [EndOffloads, EndOffloads] {
  return Array.isArray(given);
}

function bothWays(offloads: EndOffloads): BothWays {
  return 'transmit' in offloads ? offloads : { transmit: offloads, receive: offloads };
}

class CableEnd implements Netif {
  readonly name: string;
  readonly mac: MacAddress;
  readonly mtu: number;
  readonly transmit: Offloads;
  readonly receive: Offloads;
  readonly counters = netifCounters();
  readonly #clock: Clock;
  readonly #builder: FrameBuilder;
  readonly #cursor = new Frame(EMPTY);
  #handler: NetifHandler | null = null;
  /** To the other end. */
  #outbound!: DeliveryQueue;
  /** To this end. */
  #inbound!: DeliveryQueue;
  #stalled = false;
  #closed = false;

  constructor(clock: Clock, name: string, mac: MacAddress, mtu: number, offloads: BothWays) {
    this.#clock = clock;
    this.name = name;
    this.mac = mac;
    this.mtu = mtu;
    this.transmit = offloads.transmit;
    this.receive = offloads.receive;
    this.#builder = new FrameBuilder(name, mtu, offloads.transmit);
  }

  /** Lays the direction from here to `peer`. */
  connect(peer: CableEnd, queueFrames: number, batch: number): void {
    if (!offloadsFit(this.transmit, peer.receive)) {
      throw new NetError('EINVAL', {
        syscall: 'createCable',
        reason:
          `${this.name} transmits ${JSON.stringify(this.transmit)}, ` +
          `${peer.name} receives ${JSON.stringify(peer.receive)} only`,
      });
    }
    this.#outbound = new DeliveryQueue({
      clock: this.#clock,
      queueFrames,
      queueBytes: Math.max(QUEUE_BYTES, queueFrames * longestFrame(this.mtu, NO_OFFLOADS)),
      batch,
      cursor: peer.#cursor,
      counters: peer.counters,
      trustsChecksums: peer.receive.checksum === 'partial',
      onRoom: () => this.#room(),
    });
    peer.#inbound = this.#outbound;
  }

  start(handler: NetifHandler): void {
    if (this.#handler !== null)
      throw new NetError('EINVAL', { syscall: 'start', reason: `${this.name} has been started` });
    this.#handler = handler;
    if (!this.#closed) this.#inbound.start(handler);
  }

  reserve(size: number): Frame | null {
    if (this.#closed) return null;
    if (this.#outbound.full) {
      this.#stalled = true;
      this.counters.txStalls++;
      return null;
    }
    return this.#builder.reserve(size);
  }

  commit(frame: Frame): void {
    const builder = this.#builder;
    if (this.#closed || this.#outbound.closed) {
      this.counters.txDropped++;
      return;
    }
    const slab = builder.take(frame, 1);
    this.counters.txFrames++;
    this.counters.txBytes += builder.end - builder.start;
    this.#outbound.push(slab, builder.start, builder.end, frame);
  }

  /** Committed frames are on their way already. */
  flush(): void {}

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    this.#inbound.close();
    this.#handler?.closed();
  }

  #room(): void {
    if (!this.#stalled || this.#closed) return;
    this.#stalled = false;
    this.#handler?.writable();
  }
}
