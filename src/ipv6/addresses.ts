import type { IpAddress, MacAddress } from '../address/index.ts';
import type { AddressConflict } from '../arp/index.ts';
import { type Random, randomFraction, Timer, type TimerWheel } from '../time/index.ts';
import { OwnAddress, type OwnAddressHost, type OwnAddressOptions } from './own-address.ts';
import { solicitedNode } from './scope.ts';

/** RFC 4861 §10 MAX_RTR_SOLICITATION_DELAY, which RFC 4862 §5.4.2 waits before it joins and probes. */
export const INITIAL_DELAY_MS = 1000;
/** Another station's claim to an address of ours is answered no more often than this. */
const DEFEND_INTERVAL_MS = 10_000;

/** What the addresses of an interface ask of it. */
export interface AddressTableHost {
  readonly timers: TimerWheel;
  readonly random: Random;
  readonly retransmitMs: number;
  now(): number;
  join(group: IpAddress): void;
  leave(group: IpAddress): void;
  probe(address: OwnAddress): void;
  /** RFC 4861 §7.2.6: an unsolicited advertisement that overrides. */
  announce(address: IpAddress): void;
  /** An address was added, taken, deprecated or given up: what was derived from them is to be looked at again. */
  changed(): void;
  /** An address may be used. */
  assigned(address: OwnAddress): void;
  /** Another station had it first. */
  duplicate(address: OwnAddress): void;
  conflict(conflict: AddressConflict): void;
}

/** The unicast addresses of one interface (RFC 4862). */
export class AddressTable implements OwnAddressHost {
  readonly timers: TimerWheel;
  readonly random: Random;
  conflicts = 0;
  readonly #host: AddressTableHost;
  readonly #addresses: OwnAddress[] = [];
  readonly #timer: Timer;
  #defendedAt = Number.NEGATIVE_INFINITY;

  constructor(host: AddressTableHost) {
    this.#host = host;
    this.timers = host.timers;
    this.random = host.random;
    this.#timer = new Timer(host.timers, this);
  }

  get retransmitMs(): number {
    return this.#host.retransmitMs;
  }

  get all(): readonly OwnAddress[] {
    return this.#addresses;
  }

  /** Whether an address is still being asked about. */
  get isSettled(): boolean {
    return this.#addresses.every((own) => own.state !== 'tentative');
  }

  now(): number {
    return this.#host.now();
  }

  /** Our entry for `address`, whatever its state. */
  find(address: IpAddress): OwnAddress | null {
    for (let i = 0; i < this.#addresses.length; i++) {
      if (this.#addresses[i]!.address.equals(address)) return this.#addresses[i]!;
    }
    return null;
  }

  /** Whether packets to `address` are ours. */
  isAssigned(address: IpAddress): boolean {
    return this.find(address)?.isAssigned === true;
  }

  /** Takes an address, at once or (`detect`) when nobody objected; `delayMs` waits before, null a random while, so that stations that start together do not ask together. */
  add(options: OwnAddressOptions, detect: boolean, delayMs: number | null): OwnAddress {
    const own = new OwnAddress(this, options);
    this.#addresses.push(own);
    this.#host.join(solicitedNode(own.address));
    if (detect) {
      own.detect(delayMs ?? randomFraction(this.random) * INITIAL_DELAY_MS);
    } else {
      own.settle();
      this.assigned(own);
    }
    return own;
  }

  remove(own: OwnAddress): void {
    const at = this.#addresses.indexOf(own);
    if (at < 0) return;
    this.#addresses.splice(at, 1);
    own.stop();
    this.#host.leave(solicitedNode(own.address));
    this.#host.changed();
  }

  clear(): void {
    this.#timer.cancel();
    for (const own of [...this.#addresses]) this.remove(own);
  }

  /** Lifetimes were changed: deprecates and removes in time. */
  refresh(): void {
    const now = this.now();
    let changed = false;
    let next = Number.POSITIVE_INFINITY;
    for (const own of [...this.#addresses]) {
      if (own.validUntil <= now) {
        this.remove(own);
        continue;
      }
      if (own.isAssigned && own.settle()) changed = true;
      next = Math.min(next, own.validUntil, own.preferredUntil > now ? own.preferredUntil : next);
    }
    this.#timer.arm(next);
    if (changed) this.#host.changed();
  }

  onTimer(): void {
    this.refresh();
  }

  /** Another station advertises `own`, or probes for it while we do. */
  contest(own: OwnAddress, mac: MacAddress): void {
    if (own.state === 'duplicate') return;
    this.conflicts++;
    const address = `${own.address}`;
    if (own.state === 'tentative') {
      // RFC 4862 §5.4.5: it must not be assigned.
      this.remove(own);
      this.#host.duplicate(own);
      this.#host.conflict({ address, mac, outcome: 'probe' });
      return;
    }
    const now = this.now();
    if (now - this.#defendedAt < DEFEND_INTERVAL_MS) return;
    this.#defendedAt = now;
    this.#host.announce(own.address);
    this.#host.conflict({ address, mac, outcome: 'defended' });
  }

  probe(own: OwnAddress): void {
    this.#host.probe(own);
  }

  assigned(own: OwnAddress): void {
    this.refresh();
    this.#host.changed();
    this.#host.assigned(own);
  }
}
