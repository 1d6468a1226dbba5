import { MacAddress } from '../address/index.ts';
import { EMPTY, get16, get32 } from '../bytes/index.ts';
import { NetError } from '../errors.ts';
import type { Clock } from '../time/index.ts';
import { MacTable } from './mac-table.ts';
import {
  ETHERNET_HEADER,
  Frame,
  type Netif,
  type NetifHandler,
  NO_OFFLOADS,
  netifCounters,
  type Offloads,
} from './netif.ts';
import { DeliveryQueue } from './queue.ts';
import { FrameBuilder } from './sender.ts';
import type { Slab } from './slab.ts';
import { softwareOffloads } from './software.ts';

export interface SwitchOptions {
  readonly clock: Clock;
  /** Largest network-layer packet on every port; 1500 unless given. */
  readonly mtu?: number;
  /**
   * Of all ports in both directions, since any port may be given another's frames. None unless given.
   * With `software`, ordinary frames pass, and each port puts them together and cuts them apart
   * ({@link softwareOffloads}).
   */
  readonly offloads?: Offloads | 'software';
  /** How long an address is remembered after its last frame; 300,000 ms (IEEE 802.1D) unless given. */
  readonly agingMs?: number;
  /** Most addresses remembered; 1024 unless given. The one silent for longest makes room. */
  readonly maxEntries?: number;
  /** Most frames that wait for each port; 256 unless given. What comes to a full queue is dropped. */
  readonly queueFrames?: number;
  /** Most frames handed over before a `flush`; 64 unless given. */
  readonly batch?: number;
}

export interface PortOptions {
  /** `port 1`, `port 2`, … unless given. */
  readonly name?: string;
  /** `02:42:00:01:00:01`, … unless given. */
  readonly mac?: MacAddress;
}

/**
 * A learning bridge in memory: a frame goes to the port where its destination
 * was last seen, or to all others if that is not known or is a group address.
 * All ports that get a frame are shown the same bytes.
 *
 * A bridge does not stall its senders: a frame for a port whose queue is full is
 * dropped and counted as `rxDropped` of that port. There is no spanning tree;
 * frames circle for ever where ports are joined to a loop.
 */
export class Switch {
  readonly #clock: Clock;
  readonly #mtu: number;
  readonly #offloads: Offloads;
  readonly #isSoftware: boolean;
  readonly #queueFrames: number;
  readonly #batch: number;
  readonly #table: MacTable;
  /** By port number; a closed port leaves a hole, its number is not used again. */
  readonly #ports: (Port | null)[] = [];

  constructor(options: SwitchOptions) {
    const { clock, mtu = 1500, offloads = NO_OFFLOADS, agingMs = 300_000, maxEntries = 1024 } = options;
    this.#clock = clock;
    this.#mtu = mtu;
    this.#isSoftware = offloads === 'software';
    this.#offloads = offloads === 'software' ? NO_OFFLOADS : offloads;
    this.#queueFrames = options.queueFrames ?? 256;
    this.#batch = options.batch ?? 64;
    this.#table = new MacTable(maxEntries, agingMs);
  }

  /** How many addresses are remembered, those not yet noticed to be too old included. */
  get learned(): number {
    return this.#table.size;
  }

  /** A new port. */
  port(options: PortOptions = {}): Netif {
    const number = this.#ports.length;
    const { name = `port ${number + 1}`, mac = new MacAddress(0x0242, 0x10000 + number + 1) } = options;
    const port = new Port(name, mac, this.#mtu, this.#offloads, {
      forward: (slab, start, end, frame) => this.#forward(number, slab, start, end, frame),
      leave: () => {
        this.#ports[number] = null;
        this.#table.forget(number);
      },
    });
    port.queue = new DeliveryQueue({
      clock: this.#clock,
      queueFrames: this.#queueFrames,
      batch: this.#batch,
      cursor: port.cursor,
      counters: port.counters,
      trustsChecksums: this.#offloads.checksum === 'partial',
    });
    this.#ports.push(port);
    return this.#isSoftware ? softwareOffloads(port) : port;
  }

  #forward(ingress: number, slab: Slab, start: number, end: number, frame: Frame): void {
    const { bytes } = slab;
    const now = this.#clock.now();
    const sourceHigh = get16(bytes, start + 6);
    if ((sourceHigh & 0x0100) === 0) this.#table.learn(sourceHigh, get32(bytes, start + 8), ingress, now);
    const high = get16(bytes, start);
    const known = (high & 0x0100) === 0 ? this.#table.find(high, get32(bytes, start + 2), now) : -1;
    if (known >= 0) {
      // Its neighbour on the same port has seen the frame already.
      if (known !== ingress) this.#ports[known]!.enqueue(slab, start, end, frame);
      return;
    }
    for (let number = 0; number < this.#ports.length; number++) {
      if (number !== ingress) this.#ports[number]?.enqueue(slab, start, end, frame);
    }
  }
}

interface Bridge {
  forward(slab: Slab, start: number, end: number, frame: Frame): void;
  leave(): void;
}

class Port implements Netif {
  readonly name: string;
  readonly mac: MacAddress;
  readonly mtu: number;
  readonly transmit: Offloads;
  readonly receive: Offloads;
  readonly counters = netifCounters();
  readonly cursor = new Frame(EMPTY);
  /** To the stack on this port. */
  queue!: DeliveryQueue;
  readonly #bridge: Bridge;
  readonly #builder: FrameBuilder;
  #handler: NetifHandler | null = null;
  #closed = false;

  constructor(name: string, mac: MacAddress, mtu: number, offloads: Offloads, bridge: Bridge) {
    this.name = name;
    this.mac = mac;
    this.mtu = mtu;
    this.transmit = offloads;
    this.receive = offloads;
    this.#bridge = bridge;
    this.#builder = new FrameBuilder(name, mtu, offloads);
  }

  start(handler: NetifHandler): void {
    if (this.#handler !== null) {
      throw new NetError('EINVAL', { syscall: 'start', reason: `${this.name} has been started` });
    }
    this.#handler = handler;
    if (!this.#closed) this.queue.start(handler);
  }

  reserve(size: number): Frame | null {
    return this.#closed ? null : this.#builder.reserve(size);
  }

  commit(frame: Frame): void {
    const { counters } = this;
    const builder = this.#builder;
    const { start, end } = builder;
    if (this.#closed) {
      counters.txDropped++;
      return;
    }
    if (end - start < ETHERNET_HEADER) {
      counters.txErrors++;
      return;
    }
    // In flight once for the call itself, so it is not free while ports are chosen.
    const slab = builder.take(frame, 1);
    counters.txFrames++;
    counters.txBytes += end - start;
    this.#bridge.forward(slab, start, end, frame);
    slab.release(end, false);
  }

  /** Committed frames are on their way already. */
  flush(): void {}

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    this.#bridge.leave();
    this.queue.close();
    this.#handler?.closed();
  }

  /** A frame from another port. */
  enqueue(slab: Slab, start: number, end: number, frame: Frame): void {
    if (this.queue.full) {
      this.counters.rxDropped++;
      return;
    }
    slab.inFlight++;
    this.queue.push(slab, start, end, frame);
  }
}
