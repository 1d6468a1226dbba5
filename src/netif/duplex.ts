import type { MacAddress } from '../address/index.ts';
import { EMPTY } from '../bytes/index.ts';
import { NetError } from '../errors.ts';
import { type Clock, RealClock } from '../time/index.ts';
import { Frame, type Netif, type NetifHandler, NO_OFFLOADS, netifCounters } from './netif.ts';
import { FrameBuilder, longestFrame } from './sender.ts';

/** The part of Node's `stream.Duplex` that carries one frame per chunk, as tuntap2's `Tap` does. */
export interface FrameDuplex {
  on(event: 'data', listener: (frame: Uint8Array) => void): unknown;
  on(event: 'close', listener: () => void): unknown;
  on(event: 'error', listener: (error: Error) => void): unknown;
  once(event: 'drain', listener: () => void): unknown;
  /** False asks to wait for `drain`. */
  write(frame: Uint8Array): boolean;
  destroy(): unknown;
  /** Called with a function that runs when all that was written has left. */
  end(finished: () => void): unknown;
}

export interface DuplexOptions {
  /** The address of the stack on this end: not that of the device, which is the kernel's end. */
  readonly mac: MacAddress;
  /** Largest network-layer packet; 1500 unless given. */
  readonly mtu?: number;
  /** `duplex` unless given. */
  readonly name?: string;
  /** The host's clock unless given. */
  readonly clock?: Clock;
}

/** A netif over a stream of frames. It takes and gives one frame per stream event and has no offloads. */
export class DuplexNetif implements Netif {
  readonly name: string;
  readonly mac: MacAddress;
  readonly mtu: number;
  readonly transmit = NO_OFFLOADS;
  readonly receive = NO_OFFLOADS;
  readonly counters = netifCounters();
  readonly #duplex: FrameDuplex;
  readonly #clock: Clock;
  readonly #builder: FrameBuilder;
  readonly #cursor = new Frame(EMPTY);
  readonly #flushTask = (): void => {
    this.#flushDeferred = false;
    if (!this.#closed) this.#handler?.flush();
  };
  #handler: NetifHandler | null = null;
  #flushDeferred = false;
  /** Between a `write` that answered false and `drain`. */
  #draining = false;
  /** `reserve` answered null since. */
  #stalled = false;
  #closed = false;
  #error: Error | undefined;
  #gone = false;

  constructor(duplex: FrameDuplex, options: DuplexOptions) {
    const { mac, mtu = 1500, name = 'duplex' } = options;
    this.#duplex = duplex;
    this.mac = mac;
    this.mtu = mtu;
    this.name = name;
    this.#clock = options.clock ?? new RealClock();
    this.#builder = new FrameBuilder(name, mtu, NO_OFFLOADS);
    duplex.on('error', (error) => {
      this.#error ??= error;
      this.#end();
    });
    duplex.on('close', () => this.#end());
  }

  start(handler: NetifHandler): void {
    if (this.#handler !== null) {
      throw new NetError('EINVAL', { syscall: 'start', reason: `${this.name} has been started` });
    }
    this.#handler = handler;
    if (this.#gone) {
      handler.closed(this.#reason());
      return;
    }
    this.#duplex.on('data', (chunk) => this.#receive(chunk));
  }

  reserve(size: number): Frame | null {
    if (this.#closed || this.#gone) return null;
    if (this.#draining) {
      this.#stalled = true;
      this.counters.txStalls++;
      return null;
    }
    return this.#builder.reserve(size);
  }

  commit(frame: Frame): void {
    if (this.#closed || this.#gone) {
      this.counters.txDropped++;
      return;
    }
    const { start, end } = this.#builder;
    const slab = this.#builder.take(frame, 1);
    // The stream may keep the chunk for as long as it likes and does not say when it is done.
    slab.release(end, true);
    this.counters.txFrames++;
    this.counters.txBytes += end - start;
    if (!this.#duplex.write(slab.bytes.subarray(start, end)) && !this.#draining) {
      this.#draining = true;
      this.#duplex.once('drain', () => this.#drained());
    }
  }

  /** Committed frames are in the stream already. */
  flush(): void {}

  /** Resolves when the stream has sent what was committed, and has been destroyed. */
  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    if (!this.#gone) {
      await new Promise<void>((resolve) => {
        this.#duplex.on('close', resolve);
        this.#duplex.on('error', () => resolve());
        this.#duplex.end(resolve);
      });
      this.#duplex.destroy();
    }
    this.#end();
  }

  #receive(chunk: Uint8Array): void {
    if (this.#closed || this.#handler === null) return;
    if (chunk.length > longestFrame(this.mtu, NO_OFFLOADS)) {
      this.counters.rxDropped++;
      return;
    }
    this.counters.rxFrames++;
    this.counters.rxBytes += chunk.length;
    // A chunk is memory of its own, so it does not matter whether it is retained.
    this.#handler.receive(this.#cursor.reset(chunk, 0, chunk.length));
    if (!this.#flushDeferred) {
      this.#flushDeferred = true;
      this.#clock.defer(this.#flushTask);
    }
  }

  #drained(): void {
    this.#draining = false;
    if (!this.#stalled || this.#closed) return;
    this.#stalled = false;
    this.#handler?.writable();
  }

  #end(): void {
    if (this.#gone) return;
    this.#gone = true;
    this.#handler?.closed(this.#reason());
  }

  #reason(): Error | undefined {
    if (this.#error !== undefined) return this.#error;
    if (this.#closed) return undefined;
    return new NetError('ENETDOWN', {
      syscall: 'read',
      reason: `${this.name} was closed from the other side`,
    });
  }
}
