import type { Stack, StackStatistics } from '../stack.ts';
import { resolve } from './host.ts';
import { SocketTcp } from './tcp.ts';
import { SocketUdp } from './udp.ts';

export interface SocketStackOptions {
  /** How long `close` waits for flows to end in order before it resets them. Default 5000. */
  readonly closeTimeoutMs?: number;
}

/**
 * The `Stack` over the host's own sockets, so that an application written for
 * it runs where there is a kernel too. Its listeners and sockets, unless given
 * a `host`, are bound to all addresses of both families.
 */
export class SocketStack implements Stack {
  readonly kind = 'socket';
  readonly tcp: SocketTcp = new SocketTcp();
  readonly udp: SocketUdp = new SocketUdp();
  readonly #closeTimeoutMs: number;
  #closing: Promise<void> | null = null;

  constructor(options: SocketStackOptions = {}) {
    this.#closeTimeoutMs = options.closeTimeoutMs ?? 5000;
  }

  resolve(hostname: string): Promise<string[]> {
    return resolve(hostname);
  }

  statistics(): StackStatistics {
    return { tcp: this.tcp.statistics(), udp: this.udp.statistics() };
  }

  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    await Promise.all([this.tcp.close(this.#closeTimeoutMs), this.udp.close()]);
  }
}
