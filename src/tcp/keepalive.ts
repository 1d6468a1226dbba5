import type { TcpConfig } from './config.ts';

const NEVER = Number.POSITIVE_INFINITY;

/** What a keep-alive timer that fires leads to. */
export const WAIT = 0;
export const PROBE = 1;
export const GIVE_UP = 2;

/** Keep-alive (RFC 9293 §3.8.4): off until it is enabled. */
export class KeepAlive {
  #idleMs = 0;
  #intervalMs: number;
  #probes: number;
  #sent = 0;
  /** When the timer is due. */
  at = NEVER;

  constructor(config: TcpConfig) {
    this.#intervalMs = config.keepAliveIntervalMs;
    this.#probes = config.keepAliveProbes;
  }

  /** An idle time of 0 turns it off. */
  set(idleMs: number, intervalMs: number, probes: number): void {
    this.#idleMs = idleMs;
    this.#intervalMs = intervalMs;
    this.#probes = probes;
  }

  /** Counts from now, if it is on and the connection open. */
  restart(now: number, isOpen: boolean): void {
    this.at = this.#idleMs > 0 && isOpen ? now + this.#idleMs : NEVER;
  }

  /** The peer was heard of. */
  heard(): void {
    this.#sent = 0;
  }

  /** The timer has fired: decides, and sets it anew. */
  decide(now: number, lastReceivedAt: number, isBusy: boolean): typeof WAIT | typeof PROBE | typeof GIVE_UP {
    // Data in flight has timers of its own.
    if (isBusy) {
      this.at = now + this.#idleMs;
      return WAIT;
    }
    // A peer heard of lately needs no probe.
    const idleAt = lastReceivedAt + this.#idleMs;
    if (this.#sent === 0 && now < idleAt) {
      this.at = idleAt;
      return WAIT;
    }
    if (this.#sent >= this.#probes) return GIVE_UP;
    this.#sent++;
    this.at = now + this.#intervalMs;
    return PROBE;
  }
}
