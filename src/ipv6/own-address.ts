import type { IpAddress } from '../address/index.ts';
import { type Random, Timer, type TimerWheel } from '../time/index.ts';

/** RFC 4862 §5.1 DupAddrDetectTransmits. */
const PROBES = 1;

/**
 * `tentative`: asked about, not ours yet (RFC 4862 §5.4). `preferred` and
 * `deprecated`: ours, for new connections or for old ones only. `duplicate`:
 * another station has it.
 */
export type AddressState = 'tentative' | 'preferred' | 'deprecated' | 'duplicate';

/** Who gave us an address. */
export type AddressOrigin = 'configured' | 'link-local' | 'advertised';

export interface OwnAddressHost {
  readonly timers: TimerWheel;
  readonly random: Random;
  readonly retransmitMs: number;
  now(): number;
  /** RFC 4862 §5.4.2: a solicitation from `::`, with a nonce (RFC 7527). */
  probe(address: OwnAddress): void;
  /** Nobody objected. */
  assigned(address: OwnAddress): void;
}

export interface OwnAddressOptions {
  readonly address: IpAddress;
  readonly prefixLength: number;
  readonly origin: AddressOrigin;
  /** Clock times; `Infinity` for ever. */
  readonly preferredUntil?: number;
  readonly validUntil?: number;
  /** How often RFC 7217 §5's function was asked again. */
  readonly attempt?: number;
}

/** One unicast address of ours, and its duplicate address detection. */
export class OwnAddress {
  readonly address: IpAddress;
  readonly prefixLength: number;
  readonly origin: AddressOrigin;
  readonly attempt: number;
  state: AddressState = 'tentative';
  preferredUntil: number;
  validUntil: number;
  /** RFC 7527 §4.1: six bytes that tell our own probe, sent back to us, from another's. */
  nonceHigh = 0;
  nonceLow = 0;
  readonly #host: OwnAddressHost;
  readonly #timer: Timer;
  #probesLeft = PROBES;

  constructor(host: OwnAddressHost, options: OwnAddressOptions) {
    const { address, prefixLength, origin, attempt = 0 } = options;
    this.#host = host;
    this.address = address.copy();
    this.prefixLength = prefixLength;
    this.origin = origin;
    this.attempt = attempt;
    this.preferredUntil = options.preferredUntil ?? Number.POSITIVE_INFINITY;
    this.validUntil = options.validUntil ?? Number.POSITIVE_INFINITY;
    this.#timer = new Timer(host.timers, this);
  }

  /** Whether packets may come from and go to it. */
  get isAssigned(): boolean {
    return this.state === 'preferred' || this.state === 'deprecated';
  }

  /** Begins to ask for the address after `delayMs`. */
  detect(delayMs: number): void {
    this.#timer.arm(this.#host.now() + delayMs);
  }

  /** Takes the address, or sees whether it is still preferred. Whether the state changed. */
  settle(): boolean {
    const state = this.preferredUntil > this.#host.now() ? 'preferred' : 'deprecated';
    if (state === this.state) return false;
    this.state = state;
    return true;
  }

  /** Gives the address up, as a duplicate or for another reason. */
  stop(): void {
    this.#timer.cancel();
    this.state = 'duplicate';
  }

  onTimer(): void {
    if (this.#probesLeft > 0) {
      this.#probesLeft--;
      this.nonceHigh = this.#host.random.next32() & 0xffff;
      this.nonceLow = this.#host.random.next32();
      this.#timer.arm(this.#host.now() + this.#host.retransmitMs);
      this.#host.probe(this);
    } else {
      this.settle();
      this.#host.assigned(this);
    }
  }
}
