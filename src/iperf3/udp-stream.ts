import type { Endpoint } from '../stack.ts';
import type { Clock } from '../time/index.ts';
import * as head from './datagram.ts';
import { type Budget, Pace, sleepUntil } from './pacing.ts';
import type { StreamCounts, TestStream } from './stream.ts';

/** Datagrams sent in one turn of the event loop, so that those that come are read too. */
const BURST = 32;

export interface UdpStreamOptions {
  readonly id: number;
  readonly local: Endpoint;
  readonly remote: Endpoint;
  readonly clock: Clock;
  readonly wideCounters: boolean;
  readonly budget: Budget;
  /** Where the stream sends: what, and how. */
  readonly sends: {
    readonly blockBytes: number;
    readonly rateBps: number;
    send(data: Uint8Array): Promise<void>;
  } | null;
  close(): void;
}

/** A UDP stream: the datagrams between two endpoints. Those received are given to {@link take}. */
export class UdpStream implements TestStream {
  readonly id: number;
  readonly sends: boolean;
  readonly local: Endpoint;
  readonly remote: Endpoint;
  readonly cwnd = 0;
  readonly rttMs = 0;
  readonly #options: UdpStreamOptions;
  #bytes = 0;
  #packets = 0;
  #lost = 0;
  #outOfOrder = 0;
  #jitterMs = 0;
  #lastTransitMs: number | null = null;
  #stopped = false;
  #ended: () => void = () => {};

  constructor(options: UdpStreamOptions) {
    this.id = options.id;
    this.sends = options.sends !== null;
    this.local = options.local;
    this.remote = options.remote;
    this.#options = options;
  }

  get counts(): StreamCounts {
    return {
      bytes: this.#bytes,
      retransmits: 0,
      packets: this.#packets,
      lost: this.#lost,
      outOfOrder: this.#outOfOrder,
    };
  }

  get jitterMs(): number {
    return this.#jitterMs;
  }

  run(): Promise<void> {
    if (this.sends) return this.#send();
    return new Promise((resolve) => {
      this.#ended = resolve;
      if (this.#stopped) resolve();
    });
  }

  stop(): void {
    this.#stopped = true;
    this.#ended();
  }

  end(): void {}

  close(): void {
    this.stop();
    this.#options.close();
  }

  /** A datagram of this stream has come. */
  take(data: Uint8Array): void {
    const { wideCounters, clock, budget } = this.#options;
    if (this.sends || this.#stopped || data.length < head.headBytes(wideCounters)) return;
    this.#bytes += data.length;
    budget.received(data.length);
    const number = head.number(data, wideCounters);
    if (number > this.#packets) {
      this.#lost += number - 1 - this.#packets;
      this.#packets = number;
    } else {
      // It was counted as lost when the one behind it came.
      this.#outOfOrder++;
      if (this.#lost > 0) this.#lost--;
    }
    const transitMs = clock.now() - head.timeMs(data);
    if (this.#lastTransitMs !== null) {
      this.#jitterMs += (Math.abs(transitMs - this.#lastTransitMs) - this.#jitterMs) / 16;
    }
    this.#lastTransitMs = transitMs;
  }

  async #send(): Promise<void> {
    const { clock, wideCounters, budget, sends } = this.#options;
    const { blockBytes, rateBps } = sends!;
    const pace = rateBps > 0 ? new Pace(rateBps, clock.now()) : null;
    let inTurn = 0;
    while (!this.#stopped) {
      const now = clock.now();
      const wait = pace !== null && pace.dueMs > now;
      if (wait || inTurn === BURST) {
        inTurn = 0;
        await sleepUntil(clock, wait ? pace.dueMs : now);
        continue;
      }
      if (!budget.take()) return;
      inTurn++;
      // A block of its own: one that waits for the device keeps its content.
      const block = new Uint8Array(blockBytes);
      head.writeHead(block, now, this.#packets + 1, wideCounters);
      this.#packets++;
      this.#bytes += blockBytes;
      pace?.sent(blockBytes);
      try {
        await sends!.send(block);
      } catch (error) {
        if (this.#stopped) return;
        throw error;
      }
    }
  }
}
