import type { MacAddress } from '../address/index.ts';
import { Timer, type TimerWheel } from '../time/index.ts';

/** Not resolved; asking by broadcast if something waits. */
export const INCOMPLETE = 0;
/** Shown to hear us within the reachable time. */
export const REACHABLE = 1;
/** Believed, not lately confirmed: used as it is, and the first use starts the delay. */
export const STALE = 2;
/** In use, waiting a while for a transport's confirmation before probing. */
export const DELAY = 3;
/** Being asked by unicast. */
export const PROBE = 4;
/** Did not answer: packets fail at once until the hold is over. */
export const FAILED = 5;
/** Group and static addresses: never asked, never forgotten. */
export const PERMANENT = 6;
/** Removed from the cache: whoever still holds it looks the address up again. */
export const EVICTED = 7;

export type NeighbourState = 0 | 1 | 2 | 3 | 4 | 5 | 6 | 7;

const MAX_MULTICAST_SOLICIT = 3;
/** RFC 4861 §10, which RFC 826 has no word about. */
const DELAY_FIRST_PROBE_MS = 5000;
const MAX_UNICAST_SOLICIT = 3;
/** A neighbour that fell silent is not asked again at once, however many packets are sent to it. */
const FAILED_HOLD_MS = 1000;
/** The old address of a live neighbour gets this long to object to a new one. */
const VERIFY_INTERVAL_MS = 500;
const VERIFY_PROBES = 2;
const VERIFY_PAUSE_MS = 1000;
/** A request that found the device full is sent again so soon, and so often: the neighbour is not to blame. */
const STALL_RETRY_MS = 10;
const MAX_STALLS = 100;
/**
 * What waits for one unresolved neighbour: RFC 1122 §2.3.2.2 wants at least the
 * latest packet; 16 of them, or 64 KiB (one large datagram), cover the burst that
 * an application sends before the answer comes. The oldest are dropped.
 */
const QUEUE_PACKETS = 16;
const QUEUE_BYTES = 64 * 1024;

/** A packet that waits for a neighbour's address. */
export interface Waiting {
  /** Bytes of memory. */
  readonly size: number;
  /** The neighbour is known now. */
  transmit(): void;
  /** It does not answer. */
  unreachable(): void;
}

/** What a neighbour entry asks of the cache it is in. */
export interface NeighbourHost<Address = number> {
  readonly timers: TimerWheel;
  /** Between requests for an address: RFC 1122 §2.3.2.1 wants no more than one per second and destination. */
  readonly retransmitMs: number;
  now(): number;
  defer(task: () => void): void;
  /** Sends an ARP request or a neighbour solicitation for `address`, to all or to `to`. False if the device had no room. */
  request(address: Address, to: MacAddress | null): boolean;
  /** RFC 4861 §6.3.2: a random time around the base, so that neighbours do not go stale in step. */
  reachableMs(): number;
  /** Ever growing: the time of the least-recently-used order. */
  nextUse(): number;
  /** Packets were dropped from a queue. */
  dropped(packets: number): void;
}

/**
 * One neighbour on the link, with RFC 4861's reachability states, over ARP too:
 * an entry that goes unconfirmed is probed by unicast before it is given up.
 */
export class Neighbour<Address = number> {
  /** An IPv4 address as int32; whatever else the host understands. */
  readonly address: Address;
  state: NeighbourState = INCOMPLETE;
  /** Null as long as packets must wait. */
  mac: MacAddress | null = null;
  lastUse: number;
  readonly #host: NeighbourHost<Address>;
  readonly #timer: Timer;
  #queue: Waiting[] = [];
  #queuedBytes = 0;
  #tries = 0;
  /** Requests in a row that found the device full. */
  #stalls = 0;
  #confirmed = false;
  /** Claims to be the new address of this neighbour, while the old one is asked. */
  #candidate: MacAddress | null = null;
  #verifiedAt = Number.NEGATIVE_INFINITY;
  #failScheduled = false;

  constructor(host: NeighbourHost<Address>, address: Address) {
    this.#host = host;
    this.address = address;
    this.lastUse = host.nextUse();
    this.#timer = new Timer(host.timers, this);
  }

  /** For group and static addresses. */
  makePermanent(mac: MacAddress): this {
    this.#timer.cancel();
    this.mac = mac;
    this.state = PERMANENT;
    this.#transmitQueue();
    return this;
  }

  /** A packet leaves for `mac`. */
  use(): void {
    this.lastUse = this.#host.nextUse();
    if (this.state === STALE) {
      this.state = DELAY;
      this.#arm(DELAY_FIRST_PROBE_MS);
    }
  }

  /** A transport has seen this neighbour's side make progress (RFC 1122 §2.3.2.1). */
  confirm(): void {
    if (this.state === REACHABLE) {
      this.#confirmed = true;
    } else if (
      this.state === STALE ||
      this.state === DELAY ||
      (this.state === PROBE && this.#candidate === null)
    ) {
      // With a rival address, what was in flight proves nothing: the probe decides.
      this.#reachable();
    }
  }

  /** Keeps a packet until the neighbour is resolved, and asks for it. */
  enqueue(packet: Waiting): void {
    this.lastUse = this.#host.nextUse();
    this.#queue.push(packet);
    this.#queuedBytes += packet.size;
    while (
      this.#queue.length > QUEUE_PACKETS ||
      (this.#queuedBytes > QUEUE_BYTES && this.#queue.length > 1)
    ) {
      this.#queuedBytes -= this.#queue.shift()!.size;
      this.#host.dropped(1);
    }
    if (this.state === FAILED) {
      this.#scheduleFailure();
    } else if (this.state === INCOMPLETE && !this.#timer.armed) {
      this.#tries = 0;
      this.#solicit(null, this.#host.retransmitMs);
    }
  }

  /** The neighbour's address was in an ARP or neighbour discovery packet; `solicited` if that was a reply to us. */
  heard(mac: MacAddress, solicited: boolean): void {
    switch (this.state) {
      case INCOMPLETE:
      case FAILED: {
        const asked = this.state === INCOMPLETE && this.#timer.armed;
        this.mac = mac;
        this.#timer.cancel();
        if (asked && solicited) this.#reachable();
        else this.state = STALE;
        this.#transmitQueue();
        return;
      }
      case STALE:
        // RFC 826 merges; nothing has vouched for either, and the next use leads to a probe.
        if (!mac.equals(this.mac!)) this.mac = mac;
        return;
      case REACHABLE:
      case DELAY:
        if (!mac.equals(this.mac!)) this.#verify(mac);
        return;
      case PROBE:
        if (!mac.equals(this.mac!)) this.#candidate = mac;
        else if (solicited) this.#reachable();
        return;
      default:
        return;
    }
  }

  /** Out of the cache: what waits is dropped, and whoever holds the entry sees that it is over. */
  evict(): void {
    this.#timer.cancel();
    this.#host.dropped(this.#queue.length);
    this.#queue = [];
    this.#queuedBytes = 0;
    this.mac = null;
    this.state = EVICTED;
  }

  onTimer(): void {
    switch (this.state) {
      case INCOMPLETE:
        if (this.#tries < MAX_MULTICAST_SOLICIT) this.#solicit(null, this.#host.retransmitMs);
        else this.#fail();
        return;
      case REACHABLE:
        if (this.#confirmed) this.#reachable();
        else this.state = STALE;
        return;
      case DELAY:
        this.state = PROBE;
        this.#tries = 0;
        this.#solicit(this.mac, this.#host.retransmitMs);
        return;
      case PROBE:
        this.#probeUnanswered();
        return;
      case FAILED:
        this.state = INCOMPLETE;
        return;
      default:
        return;
    }
  }

  #probeUnanswered(): void {
    const candidate = this.#candidate;
    const verifying = candidate !== null;
    if (this.#tries < (verifying ? VERIFY_PROBES : MAX_UNICAST_SOLICIT)) {
      this.#solicit(this.mac, verifying ? VERIFY_INTERVAL_MS : this.#host.retransmitMs);
    } else if (verifying) {
      this.#candidate = null;
      this.mac = candidate;
      this.state = STALE;
    } else {
      // RFC 4861 §7.3.3: the next packet begins anew, by broadcast.
      this.mac = null;
      this.state = INCOMPLETE;
    }
  }

  /** Asks the old address whether it is still there before the new one is believed. */
  #verify(candidate: MacAddress): void {
    const now = this.#host.now();
    if (now - this.#verifiedAt < VERIFY_PAUSE_MS) return;
    this.#verifiedAt = now;
    this.#candidate = candidate;
    this.state = PROBE;
    this.#tries = 0;
    this.#solicit(this.mac, VERIFY_INTERVAL_MS);
  }

  #reachable(): void {
    this.state = REACHABLE;
    this.#confirmed = false;
    this.#candidate = null;
    this.#arm(this.#host.reachableMs());
  }

  #solicit(to: MacAddress | null, intervalMs: number): void {
    if (this.#host.request(this.address, to) || this.#stalls >= MAX_STALLS) {
      this.#stalls = 0;
      this.#tries++;
      this.#arm(intervalMs);
      return;
    }
    this.#stalls++;
    this.#arm(STALL_RETRY_MS);
  }

  #arm(delayMs: number): void {
    this.#timer.arm(this.#host.now() + delayMs);
  }

  #fail(): void {
    this.state = FAILED;
    this.#arm(FAILED_HOLD_MS);
    this.#failQueue();
  }

  #scheduleFailure(): void {
    if (this.#failScheduled) return;
    this.#failScheduled = true;
    // Never from within the call that sends: the transport is in the middle of something.
    this.#host.defer(() => {
      this.#failScheduled = false;
      if (this.state === FAILED) this.#failQueue();
    });
  }

  #failQueue(): void {
    for (const packet of this.#takeQueue()) packet.unreachable();
  }

  #transmitQueue(): void {
    for (const packet of this.#takeQueue()) packet.transmit();
  }

  #takeQueue(): Waiting[] {
    const queue = this.#queue;
    this.#queue = [];
    this.#queuedBytes = 0;
    return queue;
  }
}
