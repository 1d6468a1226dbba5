import type { MacAddress, Prefix } from '../address/index.ts';
import { type Random, randomFraction, Timer, type TimerWheel } from '../time/index.ts';

/** RFC 5227 §1.1. */
const PROBE_WAIT_MS = 1000;
const PROBE_NUM = 3;
const PROBE_MIN_MS = 1000;
const PROBE_MAX_MS = 2000;
const ANNOUNCE_WAIT_MS = 2000;
const ANNOUNCE_NUM = 2;
const ANNOUNCE_INTERVAL_MS = 2000;
const DEFEND_INTERVAL_MS = 10_000;

/** Another station uses, or wants, our address. */
export interface AddressConflict {
  /** Our address, as text. */
  readonly address: string;
  /** Who else claims it. */
  readonly mac: MacAddress;
  /**
   * `probe`: found before use, the address was not taken. `defended`: we
   * announced it once more and keep it. `contested`: again within ten seconds;
   * RFC 5227 §2.4 (b) gives the address up now, (c) keeps it: the owner of the
   * address decides, and if it does nothing it is kept, with at most one
   * announcement per ten seconds.
   */
  readonly outcome: 'probe' | 'defended' | 'contested';
}

export interface ClaimHost {
  readonly timers: TimerWheel;
  readonly random: Random;
  now(): number;
  /** RFC 5227 §2.1.1: a request from 0.0.0.0. */
  sendProbe(address: number): void;
  /** RFC 5227 §2.3: a request from and for the address itself. */
  sendAnnouncement(address: number): void;
  /** The address may be used. */
  claimed(claim: AddressClaim): void;
  conflict(claim: AddressClaim, conflict: AddressConflict): void;
}

/** One IPv4 address of ours on the link: probed, announced and defended as RFC 5227 says. */
export class AddressClaim {
  readonly prefix: Prefix;
  /** The address may be used: probing is over or was not asked for. */
  owned = false;
  readonly #host: ClaimHost;
  readonly #timer: Timer;
  #probesLeft = 0;
  #announcementsLeft = 0;
  #lost = false;
  #defendedAt = Number.NEGATIVE_INFINITY;
  #contestReported = false;

  constructor(host: ClaimHost, prefix: Prefix) {
    this.#host = host;
    this.prefix = prefix;
    this.#timer = new Timer(host.timers, this);
  }

  /** The address as int32. */
  get address(): number {
    return this.prefix.address.w3;
  }

  get probing(): boolean {
    return !this.owned && !this.#lost;
  }

  start(probe: boolean): void {
    if (probe) {
      this.#probesLeft = PROBE_NUM;
      this.#arm(randomFraction(this.#host.random) * PROBE_WAIT_MS);
    } else {
      this.#own();
    }
  }

  stop(): void {
    this.#timer.cancel();
    this.owned = false;
    this.#lost = true;
  }

  /** An ARP packet shows that `mac` uses the address, or probes for it while we do. */
  contest(mac: MacAddress): void {
    const address = this.prefix.address.toString();
    if (this.probing) {
      // RFC 5227 §2.1.1: any such packet during probing is a conflict.
      this.stop();
      this.#host.conflict(this, { address, mac, outcome: 'probe' });
      return;
    }
    if (!this.owned) return;
    const now = this.#host.now();
    if (now - this.#defendedAt >= DEFEND_INTERVAL_MS) {
      this.#defendedAt = now;
      this.#contestReported = false;
      this.#host.sendAnnouncement(this.address);
      this.#host.conflict(this, { address, mac, outcome: 'defended' });
    } else if (!this.#contestReported) {
      this.#contestReported = true;
      this.#host.conflict(this, { address, mac, outcome: 'contested' });
    }
  }

  onTimer(): void {
    if (this.#probesLeft > 0) {
      this.#probesLeft--;
      this.#host.sendProbe(this.address);
      this.#arm(
        this.#probesLeft > 0
          ? PROBE_MIN_MS + randomFraction(this.#host.random) * (PROBE_MAX_MS - PROBE_MIN_MS)
          : ANNOUNCE_WAIT_MS,
      );
    } else if (this.owned) {
      this.#announce();
    } else {
      this.#own();
    }
  }

  #own(): void {
    this.owned = true;
    this.#announcementsLeft = ANNOUNCE_NUM;
    this.#announce();
    this.#host.claimed(this);
  }

  #announce(): void {
    this.#host.sendAnnouncement(this.address);
    if (--this.#announcementsLeft > 0) this.#arm(ANNOUNCE_INTERVAL_MS);
  }

  #arm(delayMs: number): void {
    this.#timer.arm(this.#host.now() + delayMs);
  }
}
