import type { Endpoint, Flow } from '../stack.ts';
import type { Clock } from '../time/index.ts';
import { type Budget, Pace, sleepUntil } from './pacing.ts';
import { Iperf3Error } from './protocol.ts';
import type { StreamCounts, TestStream } from './stream.ts';

export interface TcpStreamOptions {
  readonly id: number;
  readonly flow: Flow;
  readonly clock: Clock;
  readonly budget: Budget;
  /** Where the stream sends: what. */
  readonly sends: { readonly block: Uint8Array; readonly rateBps: number } | null;
  /** Bytes that came behind the cookie. */
  readonly received?: number;
}

/** A TCP stream: one connection. */
export class TcpStream implements TestStream {
  readonly id: number;
  readonly sends: boolean;
  readonly local: Endpoint;
  readonly remote: Endpoint;
  readonly jitterMs = 0;
  readonly #options: TcpStreamOptions;
  #bytes = 0;
  #stopped = false;

  constructor(options: TcpStreamOptions) {
    this.id = options.id;
    this.sends = options.sends !== null;
    this.local = options.flow.local;
    this.remote = options.flow.remote;
    this.#options = options;
    this.#bytes = options.received ?? 0;
  }

  get counts(): StreamCounts {
    const { retransmits } = this.#options.flow.stats;
    return { bytes: this.#bytes, retransmits, packets: 0, lost: 0, outOfOrder: 0 };
  }

  get cwnd(): number {
    return this.#options.flow.stats.cwnd;
  }

  get rttMs(): number {
    return this.#options.flow.stats.rttMs;
  }

  async run(): Promise<void> {
    try {
      await (this.sends ? this.#send() : this.#receive());
    } catch (error) {
      // A peer that ends the test first closes under our last block.
      if (!this.#stopped) throw error;
    }
  }

  stop(): void {
    this.#stopped = true;
  }

  end(): void {
    this.#options.flow.close().catch(() => {
      // The peer was faster.
    });
  }

  close(): void {
    this.stop();
    this.#options.flow.abort();
  }

  async #send(): Promise<void> {
    const { flow, clock, budget, sends } = this.#options;
    const { block, rateBps } = sends!;
    const pace = rateBps > 0 ? new Pace(rateBps, clock.now()) : null;
    while (!this.#stopped) {
      if (pace !== null && pace.dueMs > clock.now()) {
        await sleepUntil(clock, pace.dueMs);
        continue;
      }
      if (!budget.take()) return;
      // Counted when taken: what the test ends on is on its way.
      this.#bytes += block.length;
      pace?.sent(block.length);
      await flow.write(block);
    }
  }

  async #receive(): Promise<void> {
    const { flow, budget } = this.#options;
    await flow.onData((view) => {
      if (this.#stopped) return;
      this.#bytes += view.length;
      budget.received(view.length);
    });
    if (!this.#stopped) throw new Iperf3Error(`stream ${this.id} ended before the test did`);
  }
}
