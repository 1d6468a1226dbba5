import type { MacAddress } from '../address/index.ts';
import { type Random, randomFraction } from '../time/index.ts';
import { type Dhcp6Configuration, encodeInformationRequest, readReply } from './v6-message.ts';

/** RFC 8415 §7.6. */
const MAX_DELAY_MS = 1000;
const TIMEOUT_MS = 1000;
const MAX_TIMEOUT_MS = 3_600_000;
const REFRESH_DEFAULT_S = 86_400;
const REFRESH_MINIMUM_S = 600;
/** §21.25: what a server may say of the longest wait. */
const MAX_RT_S = { least: 60, most: 86_400 } as const;
/** A refresh time of 0xffffffff is for ever; nobody here waits longer than a month. */
const REFRESH_MOST_S = 30 * 86_400;

export interface Dhcp6ClientOptions {
  readonly mac: MacAddress;
  readonly random: Random;
  /** To all servers on the link. */
  readonly send: (message: Uint8Array) => void;
}

export type Dhcp6State = 'STOPPED' | 'WAITING' | 'REQUESTING' | 'CONFIGURED';

/**
 * A host that has its addresses from routers and asks for the rest (RFC 8415
 * §6.1, §18.2.6: stateless). A state machine, as `DhcpClient`: its owner calls
 * {@link timer} at {@link wakeAt}.
 */
export class Dhcp6Client {
  state: Dhcp6State = 'STOPPED';
  wakeAt = Infinity;
  /** What was last told; null until something was. */
  configuration: Dhcp6Configuration | null = null;
  readonly counters = { requests: 0, replies: 0, inErrors: 0 };
  readonly #options: Dhcp6ClientOptions;
  #xid = 0;
  #begunAt = 0;
  #timeoutMs = 0;
  #maxTimeoutMs = MAX_TIMEOUT_MS;

  constructor(options: Dhcp6ClientOptions) {
    this.#options = options;
  }

  /** A router says that there is more to know. */
  start(now: number): void {
    if (this.state !== 'STOPPED') return;
    this.#begin(now);
  }

  timer(now: number): void {
    if (now < this.wakeAt) return;
    if (this.state === 'CONFIGURED') this.#begin(now);
    else if (this.state !== 'STOPPED') this.#request(now);
  }

  /** A datagram to the client's port. */
  receive(bytes: Uint8Array, now: number): void {
    const told = this.state === 'REQUESTING' ? readReply(bytes, this.#xid, this.#options.mac) : null;
    if (told === null) {
      this.counters.inErrors++;
      return;
    }
    this.counters.replies++;
    this.configuration = told;
    this.state = 'CONFIGURED';
    const { refreshSeconds, maxRetransmitSeconds: most } = told;
    if (most !== null && most >= MAX_RT_S.least && most <= MAX_RT_S.most) this.#maxTimeoutMs = most * 1000;
    const seconds = Math.max(refreshSeconds ?? REFRESH_DEFAULT_S, REFRESH_MINIMUM_S);
    this.wakeAt = now + Math.min(seconds, REFRESH_MOST_S) * 1000;
  }

  stop(): void {
    this.state = 'STOPPED';
    this.wakeAt = Infinity;
  }

  /** §18.2.6: so that hosts that heard the same router do not ask together. */
  #begin(now: number): void {
    const { random } = this.#options;
    this.state = 'WAITING';
    this.#xid = random.next32() & 0xffffff;
    this.#timeoutMs = 0;
    this.wakeAt = now + randomFraction(random) * MAX_DELAY_MS;
    this.#begunAt = this.wakeAt;
  }

  #request(now: number): void {
    this.state = 'REQUESTING';
    this.counters.requests++;
    const { mac, send } = this.#options;
    send(encodeInformationRequest(this.#xid, mac, Math.floor((now - this.#begunAt) / 10)));
    // §15: doubled each time, up to the longest, each give or take a tenth.
    const base = this.#timeoutMs === 0 ? TIMEOUT_MS : Math.min(2 * this.#timeoutMs, this.#maxTimeoutMs);
    this.#timeoutMs = base * (0.9 + 0.2 * randomFraction(this.#options.random));
    this.wakeAt = now + this.#timeoutMs;
  }
}
