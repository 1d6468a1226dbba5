import { MacAddress } from '../../src/address/index.ts';
import {
  Frame,
  type Netif,
  type NetifHandler,
  NO_OFFLOADS,
  netifCounters,
  type Offloads,
} from '../../src/netif/netif.ts';

export interface SentFrame {
  readonly bytes: Uint8Array;
  readonly checksum: Frame['checksum'];
  /** Relative to the frame's first byte. */
  readonly checksumStart: number;
  readonly checksumOffset: number;
  readonly segmentSize: number;
}

export interface ScriptedNetifOptions {
  readonly mac?: string;
  readonly mtu?: number;
  readonly transmit?: Offloads;
  readonly receive?: Offloads;
}

/**
 * A netif in a test's hands: frames are injected by the test, and what is sent
 * is kept. As a device would, it reuses its memory: one reserved frame's bytes
 * are the next one's, and an injected frame's are wiped unless it was retained.
 */
export class ScriptedNetif implements Netif {
  readonly name = 'script';
  readonly mac: MacAddress;
  readonly mtu: number;
  readonly transmit: Offloads;
  readonly receive: Offloads;
  readonly counters = netifCounters();
  /** How many more frames the device takes. */
  room = Number.POSITIVE_INFINITY;
  flushes = 0;
  closes = 0;
  readonly log: SentFrame[] = [];
  #handler: NetifHandler | null = null;
  readonly #ring: Uint8Array;
  readonly #frame: Frame;
  readonly #received = new Frame(new Uint8Array(0));
  #size = 0;

  constructor(options: ScriptedNetifOptions = {}) {
    this.mac = MacAddress.parse(options.mac ?? '02:00:00:00:00:01');
    this.mtu = options.mtu ?? 1500;
    this.transmit = options.transmit ?? NO_OFFLOADS;
    this.receive = options.receive ?? NO_OFFLOADS;
    this.#ring = new Uint8Array(70_000);
    this.#frame = new Frame(this.#ring);
  }

  start(handler: NetifHandler): void {
    this.#handler = handler;
  }

  reserve(size: number): Frame | null {
    if (size > 14 + this.mtu && size > this.transmit.segmentation)
      throw new RangeError(`${size} bytes do not fit`);
    if (this.room <= 0) {
      this.counters.txStalls++;
      return null;
    }
    this.#size = size;
    this.#ring.fill(0xee, 0, 8 + size);
    return this.#frame.reset(this.#ring, 8, 8 + size);
  }

  commit(frame: Frame): void {
    this.room--;
    this.counters.txFrames++;
    this.log.push({
      bytes: this.#ring.slice(8, 8 + this.#size),
      checksum: frame.checksum,
      checksumStart: frame.checksumStart - 8,
      checksumOffset: frame.checksumOffset,
      segmentSize: frame.segmentSize,
    });
  }

  flush(): void {
    this.flushes++;
  }

  async close(): Promise<void> {
    this.closes++;
    this.#handler?.closed();
  }

  /** Frames sent since the last call. */
  take(): Uint8Array[] {
    return this.log.splice(0).map((sent) => sent.bytes);
  }

  /** Hands frames over as one batch. */
  inject(...frames: Uint8Array[]): void {
    for (const frame of frames) this.injectWith(frame, () => {});
    this.#handler!.flush();
  }

  /** Hands one frame over without a flush, with what `prepare` sets on its cursor. */
  injectWith(bytes: Uint8Array, prepare: (frame: Frame) => void): void {
    const slab = new Uint8Array(bytes.length + 8);
    slab.set(bytes, 4);
    const frame = this.#received.reset(slab, 4, 4 + bytes.length);
    prepare(frame);
    const before = slab.slice();
    this.#handler!.receive(frame);
    if (Buffer.compare(before, slab) !== 0) throw new Error('a received frame was written to');
    if (!frame.retained) slab.fill(0xdd);
  }

  /** The device has room for `frames` more. */
  drain(frames: number): void {
    this.room = frames;
    this.#handler!.writable();
  }
}
