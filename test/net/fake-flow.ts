import type { Endpoint, Flow, FlowStats } from '../../src/stack.ts';
import { streamsOf } from '../../src/streams/index.ts';

/** A flow whose peer is the test: it delivers, accepts and watches. */
export class FakeFlow implements Flow {
  readonly local: Endpoint = { address: '10.0.0.2', port: 80, family: 'IPv4' };
  readonly remote: Endpoint = { address: '10.0.0.1', port: 40_000, family: 'IPv4' };
  /** What was called, in order. */
  readonly calls: string[] = [];
  readonly written: string[] = [];
  noDelay: boolean | undefined;
  keepAlive: [boolean, number | undefined] | undefined;
  bytesAcked = 0;
  /** Reads that have not been answered yet. */
  readonly pendingReads: PromiseWithResolvers<Uint8Array | null>[] = [];
  /** While set, writes wait in `pendingWrites`. */
  full = false;
  readonly pendingWrites: PromiseWithResolvers<void>[] = [];
  readonly shutdownDone = withResolvers<void>();

  readonly #streams = streamsOf(this);
  readonly readable = this.#streams.readable;
  readonly writable = this.#streams.writable;

  deliver(text: string | null): void {
    this.pendingReads.shift()!.resolve(text === null ? null : Buffer.from(text));
  }

  read(): Promise<Uint8Array | null> {
    this.calls.push('read');
    const pending = withResolvers<Uint8Array | null>();
    this.pendingReads.push(pending);
    return pending.promise;
  }

  onData(): Promise<void> {
    throw new Error('nothing under test calls onData');
  }

  resume(): void {
    throw new Error('nothing under test calls resume');
  }

  write(data: Uint8Array): Promise<void> {
    return this.writev([data]);
  }

  writev(data: readonly Uint8Array[]): Promise<void> {
    this.calls.push('write');
    for (const chunk of data) this.written.push(Buffer.from(chunk).toString());
    if (!this.full) return Promise.resolve();
    const pending = withResolvers<void>();
    this.pendingWrites.push(pending);
    return pending.promise;
  }

  shutdown(): Promise<void> {
    this.calls.push('shutdown');
    return this.shutdownDone.promise;
  }

  close(): Promise<void> {
    this.calls.push('close');
    return Promise.resolve();
  }

  abort(): void {
    this.calls.push('abort');
  }

  setNoDelay(noDelay: boolean): void {
    this.noDelay = noDelay;
  }

  setKeepAlive(enable: boolean, delayMs?: number): void {
    this.keepAlive = [enable, delayMs];
  }

  get stats(): FlowStats {
    return { bytesAcked: this.bytesAcked } as FlowStats;
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Uint8Array> {
    for (let chunk = await this.read(); chunk !== null; chunk = await this.read()) yield chunk;
  }
}

interface PromiseWithResolvers<T> {
  readonly promise: Promise<T>;
  readonly resolve: (value: T) => void;
  readonly reject: (error: Error) => void;
}

function withResolvers<T>(): PromiseWithResolvers<T> {
  let resolve: (value: T) => void = () => {};
  let reject: (error: Error) => void = () => {};
  const promise = new Promise<T>((onResolve, onReject) => {
    resolve = onResolve;
    reject = onReject;
  });
  return { promise, resolve, reject };
}
