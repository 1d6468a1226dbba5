import type { Endpoint, Flow, Tcp } from '../stack.ts';
import { codeOf, type ErrorCode } from './node-errors.ts';
import { ReadingHandle } from './reading-handle.ts';
import type { Done, Transport } from './transport.ts';

interface Waiting {
  readonly done: Done;
  readonly bytes: number;
}

/** A `Flow` driven as a kernel's socket is. */
export class FlowTransport extends ReadingHandle implements Transport {
  bytesWritten = 0;
  readonly #tcp: Tcp;
  #flow: Flow | null;
  #bound: { readonly localAddress?: string; readonly localPort?: number } = {};
  readonly #opening = new AbortController();
  #connecting: Done | null = null;
  #writing: Waiting | null = null;
  #finishing: Done | null = null;
  /** A `read` is under way, or `onData` has begun. */
  #readPending = false;
  /** What was read while nobody wanted it; null for the end. */
  #held: Uint8Array | null | undefined;
  #failure: ErrorCode | null = null;
  #ended = false;

  constructor(tcp: Tcp, flow: Flow | null = null) {
    super('TCPWRAP');
    this.#tcp = tcp;
    this.#flow = flow;
  }

  protected get isActive(): boolean {
    return this.isReading || this.#connecting !== null || this.#writing !== null || this.#finishing !== null;
  }

  get writeQueueSize(): number {
    return this.#writing?.bytes ?? 0;
  }

  get local(): Endpoint | null {
    return this.#flow?.local ?? null;
  }

  get remote(): Endpoint | null {
    return this.#flow?.remote ?? null;
  }

  // ---------------------------------------------------------------- opening

  /** Whether it can be had, `connect` tells. */
  bind(address: string | null, port: number): ErrorCode | null {
    const isAny = address === null || address === '0.0.0.0' || address === '::';
    this.#bound = {
      ...(isAny ? {} : { localAddress: address }),
      ...(port === 0 ? {} : { localPort: port }),
    };
    return null;
  }

  connect(host: string, port: number, done: Done): ErrorCode | null {
    this.#connecting = done;
    this.updateHold();
    const { signal } = this.#opening;
    this.#tcp.connect({ host, port, ...this.#bound, signal }).then(
      (flow) => {
        if (this.isClosed) {
          flow.abort();
          return;
        }
        this.#flow = flow;
        this.#connected(null);
      },
      (error) => this.#connected(codeOf(error)),
    );
    return null;
  }

  #connected(error: ErrorCode | null): void {
    this.post(() => {
      const done = this.#connecting;
      if (done === null) return;
      this.#connecting = null;
      this.updateHold();
      done(error);
    });
  }

  // ---------------------------------------------------------------- reading

  readStart(): void {
    if (this.isReading || this.#ended || this.isClosed) return;
    this.isReading = true;
    this.updateHold();
    if (this.#held !== undefined || this.#failure !== null || this.hasRest) this.post(() => this.#deliver());
    else if (this.lends) this.post(() => this.#borrow());
    else this.#readNext();
  }

  readStop(): void {
    this.isReading = false;
    this.updateHold();
  }

  #readNext(): void {
    const flow = this.#flow;
    if (this.#readPending || flow === null) return;
    this.#readPending = true;
    flow.read().then(
      (chunk) => {
        this.#held = chunk;
        this.#arrived();
      },
      (error) => {
        this.#failure = codeOf(error);
        this.#arrived();
      },
    );
  }

  /** Begins to be shown what comes, or goes on. */
  #borrow(): void {
    const flow = this.#flow;
    if (!this.isReading || this.isClosed || flow === null) return;
    if (this.#readPending) {
      flow.resume();
      return;
    }
    this.#readPending = true;
    flow
      .onData((view) => {
        this.giveLent(view);
        return this.isReading;
      })
      .then(
        () => {
          this.#held = null;
          this.#arrived();
        },
        (error) => {
          this.#failure = codeOf(error);
          this.#arrived();
        },
      );
  }

  #arrived(): void {
    this.#readPending = false;
    this.post(() => this.#deliver());
  }

  #deliver(): void {
    if (!this.isReading || this.#ended || this.isClosed) return;
    if (this.hasRest && !this.giveRest()) return;
    const chunk = this.#held;
    if (chunk === undefined || chunk === null) {
      if (chunk === undefined && this.#failure === null) {
        if (this.lends) this.#borrow();
        return;
      }
      this.#ended = true;
      this.readStop();
      if (chunk === null) this.owner?.end();
      else this.owner?.failed(this.#failure!);
      return;
    }
    this.#held = undefined;
    this.bytesRead += chunk.length;
    this.owner?.data(Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength));
    if (this.isReading && !this.isClosed) this.#readNext();
  }

  // ---------------------------------------------------------------- writing

  write(chunks: readonly Uint8Array[], owned: boolean, done: Done): ErrorCode | 'pending' | null {
    const flow = this.#flow;
    if (flow === null) return 'EBADF';
    const own = owned ? chunks : chunks.map((chunk) => Buffer.from(chunk));
    let bytes = 0;
    for (const chunk of own) bytes += chunk.length;
    this.bytesWritten += bytes;
    this.#writing = { done, bytes };
    this.updateHold();
    flow.writev(own).then(
      () => this.#written(null),
      (error) => this.#written(codeOf(error)),
    );
    return 'pending';
  }

  #written(error: ErrorCode | null): void {
    this.post(() => {
      const writing = this.#writing;
      if (writing === null) return;
      this.#writing = null;
      this.updateHold();
      writing.done(error);
    });
  }

  shutdown(done: Done): void {
    this.#finishing = done;
    this.updateHold();
    // What becomes of it, reading or the next connection shows; a kernel does not wait for the peer either.
    this.#flow?.shutdown().catch(() => {});
    this.post(() => {
      if (this.#finishing !== done) return;
      this.#finishing = null;
      this.updateHold();
      done(null);
    });
  }

  // ---------------------------------------------------------------- the end

  close(done?: () => void): void {
    this.#release((flow) => {
      // Bytes that were read and not wanted are unread for the peer as well.
      if (this.#held || this.hasRest) flow.abort();
      else flow.close().catch(() => {});
    }, done);
  }

  reset(done?: () => void): void {
    this.#release((flow) => flow.abort(), done);
  }

  #release(how: (flow: Flow) => void, done?: () => void): void {
    if (!this.markClosed()) return;
    this.isReading = false;
    this.#opening.abort();
    if (this.#flow !== null) how(this.#flow);
    this.post(() => {
      const pending = [this.#connecting, this.#writing?.done, this.#finishing];
      this.#connecting = null;
      this.#writing = null;
      this.#finishing = null;
      for (const callback of pending) callback?.('ECANCELED');
      done?.();
    });
  }

  // ---------------------------------------------------------------- settings

  setNoDelay(noDelay: boolean): void {
    this.#flow?.setNoDelay(noDelay);
  }

  setKeepAlive(enable: boolean, delaySeconds: number): void {
    if (delaySeconds > 0) this.#flow?.setKeepAlive(enable, delaySeconds * 1000);
    else this.#flow?.setKeepAlive(enable);
  }
}
