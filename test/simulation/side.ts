import type { Flow } from '../../src/stack.ts';
import type { VirtualClock } from '../../src/time/index.ts';
import type { Journal } from './journal.ts';
import type { Pattern } from './pattern.ts';

/** Waits `ms` when `at` bytes have gone by. */
export interface Pause {
  readonly at: number;
  readonly ms: number;
}

export type Ending =
  /** Writes all, reads all, closes. */
  | { readonly kind: 'orderly' }
  /** After a while: RST. */
  | { readonly kind: 'abort'; readonly afterMs: number }
  /** After a while: closes, whatever was not read or written. */
  | { readonly kind: 'leave'; readonly afterMs: number };

/** A stream each way, independent of one another. */
export interface StreamRole {
  readonly kind: 'stream';
  readonly bytes: number;
  /** Sizes of the writes, in turn. */
  readonly chunks: readonly number[];
  /** Buffers per call: 1 is `write`, more is `writev`. */
  readonly vector: number;
  /** Waits for each write, as one should; or writes all there is at once. */
  readonly waits: boolean;
  readonly writePauses: readonly Pause[];
  readonly readPauses: readonly Pause[];
  /** Whether FIN follows the last byte, or waits for the peer's. */
  readonly shutdown: 'eager' | 'lazy';
  readonly ending: Ending;
}

/** Requests and responses in turn. */
export interface ExchangeRole {
  readonly kind: 'exchange';
  readonly asks: boolean;
  readonly rounds: number;
  readonly request: number;
  readonly response: number;
  /** Who says first that it is over; both do so at once where neither waits. */
  readonly closesFirst: boolean;
  readonly ending: Ending;
}

export type Role = (StreamRole | ExchangeRole) & {
  readonly startMs: number;
  readonly noDelay: boolean | null;
  readonly keepAlive: boolean;
};

/** What one end did and saw. */
export class Side {
  readonly name: string;
  readonly flow: Flow;
  readonly role: Role;
  /** Bytes read, and bytes that `write` has taken. */
  read = 0;
  written = 0;
  /** How reading ended: `eof`, or the error's code. */
  readEnd = 'open';
  /** How writing ended: `acknowledged` (the FIN, and so all), `closed` (by us, not waiting), or the error's code. */
  writeEnd = 'open';
  done = false;
  readonly #clock: VirtualClock;
  readonly #journal: Journal;
  readonly #out: Pattern;
  readonly #in: Pattern;
  readonly #onProgress: () => void;
  #rest: Uint8Array | null = null;
  #ended!: () => void;
  readonly #readingEnded = new Promise<void>((resolve) => {
    this.#ended = resolve;
  });

  constructor(options: {
    readonly name: string;
    readonly flow: Flow;
    readonly role: Role;
    readonly clock: VirtualClock;
    readonly journal: Journal;
    readonly out: Pattern;
    readonly in: Pattern;
    readonly onProgress: () => void;
  }) {
    this.name = options.name;
    this.flow = options.flow;
    this.role = options.role;
    this.#clock = options.clock;
    this.#journal = options.journal;
    this.#out = options.out;
    this.#in = options.in;
    this.#onProgress = options.onProgress;
  }

  /** Plays the role to its end. */
  async run(): Promise<void> {
    const { role, flow } = this;
    if (role.startMs > 0) await this.#clock.sleep(role.startMs);
    if (role.noDelay !== null) flow.setNoDelay(role.noDelay);
    if (role.keepAlive) flow.setKeepAlive(true, 30_000);
    const { ending } = role;
    if (ending.kind !== 'orderly') {
      const alarm = this.#clock.alarm(() => {
        if (this.done) return;
        this.#journal.event(`${this.name} ${ending.kind === 'abort' ? 'aborts' : 'leaves'}`);
        if (ending.kind === 'abort') flow.abort();
        else void flow.close();
      });
      alarm.set(this.#clock.now() + ending.afterMs);
    }
    if (role.kind === 'stream') await Promise.all([this.#writeStream(role), this.#readStream(role)]);
    else await this.#exchange(role);
    await flow.close();
    this.done = true;
    this.#journal.event(
      `${this.name} done: read ${this.read} ${this.readEnd}, wrote ${this.written} ${this.writeEnd}`,
    );
    this.#onProgress();
  }

  async #writeStream(role: StreamRole): Promise<void> {
    try {
      const pauses = [...role.writePauses];
      const unawaited: Promise<void>[] = [];
      for (let turn = 0; this.written < role.bytes; ) {
        const buffers: Uint8Array[] = [];
        let position = this.written;
        for (let i = 0; i < role.vector && position < role.bytes; i++, turn++) {
          const size = Math.min(role.chunks[turn % role.chunks.length]!, role.bytes - position);
          buffers.push(this.#out.bytes(position, size));
          position += size;
        }
        const writing = buffers.length === 1 ? this.flow.write(buffers[0]!) : this.flow.writev(buffers);
        if (role.waits) {
          await writing;
        } else {
          // Failures are seen at the end; nobody is to call them unhandled before.
          writing.catch(() => {});
          unawaited.push(writing);
        }
        this.written = position;
        this.#onProgress();
        while (pauses.length > 0 && pauses[0]!.at <= position) await this.#clock.sleep(pauses.shift()!.ms);
      }
      await Promise.all(unawaited);
      if (role.shutdown === 'lazy') await this.#readingEnded;
      await this.flow.shutdown();
      this.writeEnd = 'acknowledged';
    } catch (error) {
      this.writeEnd = this.#code(error);
    }
    this.#onProgress();
  }

  async #readStream(role: StreamRole): Promise<void> {
    try {
      const pauses = [...role.readPauses];
      while (true) {
        while (pauses.length > 0 && pauses[0]!.at <= this.read) await this.#clock.sleep(pauses.shift()!.ms);
        const chunk = await this.flow.read();
        if (chunk === null) break;
        this.#take(chunk);
      }
      this.readEnd = 'eof';
    } catch (error) {
      this.readEnd = this.#code(error);
    }
    this.#ended();
    this.#onProgress();
  }

  async #exchange(role: ExchangeRole): Promise<void> {
    try {
      for (let round = 0; round < role.rounds; round++) {
        if (role.asks) {
          await this.#send(role.request);
          await this.#receive(role.response);
        } else {
          await this.#receive(role.request);
          await this.#send(role.response);
        }
      }
      if (role.closesFirst) {
        this.readEnd = 'eof';
        this.writeEnd = 'closed';
        return;
      }
      const chunk = await this.flow.read();
      if (chunk !== null) this.#journal.violation(`${this.name} is sent more than was agreed on`);
      this.readEnd = 'eof';
      this.writeEnd = 'closed';
    } catch (error) {
      this.readEnd = this.#code(error);
      this.writeEnd = this.readEnd;
    }
  }

  async #send(bytes: number): Promise<void> {
    const data = this.#out.bytes(this.written, bytes);
    this.written += bytes;
    await this.flow.write(data);
    this.#onProgress();
  }

  async #receive(bytes: number): Promise<void> {
    let missing = bytes;
    while (missing > 0) {
      const chunk = this.#rest ?? (await this.flow.read());
      this.#rest = null;
      if (chunk === null) throw Object.assign(new Error('the stream ended early'), { code: 'EARLY_EOF' });
      this.#take(chunk.subarray(0, missing));
      if (chunk.length > missing) this.#rest = chunk.subarray(missing);
      missing -= Math.min(missing, chunk.length);
    }
  }

  /** Checks what came against the stream that the peer sends. */
  #take(chunk: Uint8Array): void {
    if (chunk.length === 0) this.#journal.violation(`${this.name} reads an empty chunk`);
    const wrong = this.#in.mismatch(chunk, this.read);
    if (wrong >= 0) this.#journal.violation(`${this.name}: byte ${this.read + wrong} is not what was sent`);
    this.read += chunk.length;
    this.#onProgress();
  }

  #code(error: unknown): string {
    if (error instanceof Error && 'code' in error && typeof error.code === 'string') return error.code;
    this.#journal.violation(`${this.name}: an error without a code: ${String(error)}`);
    return 'none';
  }
}
