import { IpAddress } from '../address/index.ts';
import { type Random, randomFraction } from '../time/index.ts';
import { type DhcpLease, readLease } from './lease.ts';
import { ACK, type DhcpMessage, NAK, OFFER, parseMessage } from './message.ts';
import { SERVER_ID } from './options.ts';
import { type Identity, Requests } from './requests.ts';
import { readAddress } from './values.ts';
import { BOOTREPLY } from './wire.ts';

/** RFC 2131 §4.4, figure 5, and `PROBING` where the address is tried out (§4.4.1: ARP). */
export type DhcpState =
  | 'STOPPED'
  | 'INIT'
  | 'SELECTING'
  | 'REQUESTING'
  | 'REBOOTING'
  | 'PROBING'
  | 'BOUND'
  | 'RENEWING'
  | 'REBINDING';

/** What the client has done to its interface, and sends through it. */
export interface DhcpActions {
  /** To the server's port at `to`, or to everybody on the link if that is null. */
  send(message: Uint8Array, to: string | null): void;
  /** Try the address out and take it: then {@link DhcpClient.claimed} or {@link DhcpClient.conflict}. */
  claim(lease: DhcpLease): void;
  /** The lease of the address that we have goes on, perhaps with other options. */
  renewed(lease: DhcpLease): void;
  /** The address is ours no more. */
  lost(lease: DhcpLease): void;
  /** `attempts` DISCOVERs in a row had no answer. */
  unanswered(attempts: number): void;
}

export interface DhcpClientOptions extends Identity {
  readonly random: Random;
  readonly actions: DhcpActions;
  /** An address that we had before, to be asked for first (INIT-REBOOT, RFC 2131 §3.2). */
  readonly previous?: string;
}

export interface DhcpCounters {
  discovers: number;
  requests: number;
  declines: number;
  releases: number;
  offers: number;
  acks: number;
  naks: number;
  /** Datagrams that are no DHCP message, are not for us, or lack what they must have. */
  inErrors: number;
  expirations: number;
}

/** RFC 2131 §4.1: 4 seconds, doubled up to 64, each give or take one. */
const FIRST_DELAY_MS = 4000;
const MAX_DELAY_MS = 64_000;
const JITTER_MS = 1000;
/** RFC 2131 §3.1.5: four retransmissions within a minute. */
const REQUEST_ATTEMPTS = 5;
/** RFC 2131 §3.2 leaves it open; nobody who knows the address seems to be there. */
const REBOOT_ATTEMPTS = 2;
/** RFC 2131 §3.1.5: at least this long after a DECLINE. */
const DECLINE_WAIT_MS = 10_000;
/** After a NAK, doubled with each in a row: servers that disagree do not make a loop. */
const NAK_WAIT_MS = 1000;
/** RFC 2131 §4.4.5. */
const MIN_RENEW_MS = 60_000;

/**
 * The client of RFC 2131: a state machine that is told what came and what time
 * it is, and says through {@link DhcpActions} what to do. Its owner calls
 * {@link timer} at {@link wakeAt}.
 */
export class DhcpClient {
  readonly counters: DhcpCounters = {
    discovers: 0,
    requests: 0,
    declines: 0,
    releases: 0,
    offers: 0,
    acks: 0,
    naks: 0,
    inErrors: 0,
    expirations: 0,
  };
  state: DhcpState = 'STOPPED';
  /** When {@link timer} is to be called; `Infinity` for never. */
  wakeAt = Infinity;
  readonly #random: Random;
  readonly #actions: DhcpActions;
  readonly #requests: Requests;
  readonly #mac: Identity['mac'];
  readonly #previous: IpAddress | null;
  #lease: DhcpLease | null = null;
  /** When the request that the lease answers was sent: its times count from there (RFC 2131 §4.4.1). */
  #leasedAt = 0;
  #offer: DhcpLease | null = null;
  #xid = 0;
  #begunAt = 0;
  /** When the last message of this transaction was sent. */
  #sentAt = 0;
  #attempts = 0;
  #naksInRow = 0;

  constructor(options: DhcpClientOptions) {
    this.#random = options.random;
    this.#actions = options.actions;
    this.#requests = new Requests(options);
    this.#mac = options.mac;
    this.#previous = options.previous === undefined ? null : IpAddress.parse(options.previous);
  }

  /** The lease of the address that is in use, or being tried out. */
  get lease(): DhcpLease | null {
    return this.#lease;
  }

  /** When the lease ends; `Infinity` without one, or without end. */
  get expiresAt(): number {
    return this.#lease === null ? Infinity : this.#leasedAt + this.#lease.leaseSeconds * 1000;
  }

  start(now: number): void {
    this.#begin(now);
    if (this.#previous === null) {
      this.#discover(now);
    } else {
      this.state = 'REBOOTING';
      this.#request(now);
    }
  }

  timer(now: number): void {
    if (now < this.wakeAt) return;
    switch (this.state) {
      case 'INIT':
        this.#begin(now);
        this.#discover(now);
        break;
      case 'SELECTING':
        this.#actions.unanswered(this.#attempts);
        this.#discover(now);
        break;
      case 'REQUESTING':
      case 'REBOOTING': {
        const most = this.state === 'REBOOTING' ? REBOOT_ATTEMPTS : REQUEST_ATTEMPTS;
        if (this.#attempts < most) this.#request(now);
        else this.#restart(now, 0);
        break;
      }
      case 'BOUND':
        this.#begin(now);
        this.state = 'RENEWING';
        this.#prolong(now);
        break;
      case 'RENEWING':
      case 'REBINDING':
        this.#prolong(now);
        break;
      case 'PROBING':
      case 'STOPPED':
        this.wakeAt = Infinity;
        break;
    }
  }

  /** A datagram to the client's port. */
  receive(bytes: Uint8Array, now: number): void {
    const message = parseMessage(bytes);
    const isOurs =
      message !== null &&
      message.op === BOOTREPLY &&
      message.xid === this.#xid &&
      message.mac.equals(this.#mac);
    if (!isOurs) {
      this.counters.inErrors++;
      return;
    }
    if (message.type === OFFER) this.#receiveOffer(message, now);
    else if (message.type === ACK) this.#receiveAck(message, now);
    else if (message.type === NAK) this.#receiveNak(message, now);
    else this.counters.inErrors++;
  }

  /** The address of the lease that was to be claimed may be used. */
  claimed(now: number): void {
    if (this.state !== 'PROBING') return;
    this.#bind(now);
  }

  /** Another station has the address: found when it was tried out, or in use (RFC 5227 §2.4). */
  conflict(now: number): void {
    const lease = this.#lease;
    if (lease === null) return;
    const wasInUse = this.state !== 'PROBING';
    this.#lease = null;
    if (wasInUse) this.#actions.lost(lease);
    // RFC 2131 §4.4.4: broadcast, from no address.
    this.counters.declines++;
    this.#newTransaction();
    this.#actions.send(
      this.#requests.decline(this.#xid, IpAddress.parse(lease.address), IpAddress.parse(lease.server)),
      null,
    );
    this.#restart(now, DECLINE_WAIT_MS);
  }

  /** Gives the lease back and rests. */
  stop(): void {
    const lease = this.#lease;
    const inUse = this.state === 'BOUND' || this.state === 'RENEWING' || this.state === 'REBINDING';
    this.state = 'STOPPED';
    this.wakeAt = Infinity;
    this.#lease = null;
    if (lease === null || !inUse) return;
    this.counters.releases++;
    this.#newTransaction();
    // RFC 2131 §4.4.6: unicast to the server, which does not answer.
    this.#actions.send(
      this.#requests.release(this.#xid, IpAddress.parse(lease.address), IpAddress.parse(lease.server)),
      lease.server,
    );
  }

  #receiveOffer(message: DhcpMessage, now: number): void {
    if (this.state !== 'SELECTING') return;
    const offer = readLease(message);
    if (offer === null) {
      this.counters.inErrors++;
      return;
    }
    this.counters.offers++;
    // RFC 2131 §4.4.1 lets us choose; the first is from the server that is quickest to answer.
    this.#offer = offer;
    this.state = 'REQUESTING';
    this.#attempts = 0;
    this.#request(now);
  }

  #receiveAck(message: DhcpMessage, now: number): void {
    const lease = readLease(message);
    if (lease === null || !this.#awaits(lease.server)) {
      this.counters.inErrors++;
      return;
    }
    // RFC 2131 §4.4.1: of the address that was asked for.
    const asked = this.state === 'REQUESTING' ? this.#offer?.address : null;
    if (typeof asked === 'string' && asked !== lease.address) {
      this.counters.inErrors++;
      return;
    }
    this.counters.acks++;
    this.#naksInRow = 0;
    const before = this.#lease;
    this.#lease = lease;
    this.#leasedAt = this.#sentAt;
    this.#offer = null;
    if (before?.address === lease.address && before.prefixLength === lease.prefixLength) {
      this.#bind(now);
      this.#actions.renewed(lease);
      return;
    }
    if (before !== null) this.#actions.lost(before);
    this.state = 'PROBING';
    this.wakeAt = Infinity;
    this.#actions.claim(lease);
  }

  #receiveNak(message: DhcpMessage, now: number): void {
    const server = readAddress(message.options.get(SERVER_ID));
    // RFC 2131 §4.3.1, table 3: a NAK has a server identifier.
    if (server === null || !this.#awaits(`${server}`)) {
      this.counters.inErrors++;
      return;
    }
    this.counters.naks++;
    const before = this.#lease;
    this.#lease = null;
    if (before !== null) this.#actions.lost(before);
    // RFC 2131 §3.1.4, §4.4.5: from the start, with the wait that keeps it from becoming a loop.
    const waitMs = Math.min(NAK_WAIT_MS * 2 ** this.#naksInRow, MAX_DELAY_MS);
    this.#naksInRow++;
    this.#restart(now, waitMs);
  }

  /** Whether an answer to a REQUEST may come now, and from `server`. */
  #awaits(server: string): boolean {
    switch (this.state) {
      case 'REQUESTING':
        return server === this.#offer?.server;
      case 'RENEWING':
        return server === this.#lease?.server;
      case 'REBOOTING':
      case 'REBINDING':
        return true;
      default:
        return false;
    }
  }

  #begin(now: number): void {
    this.#begunAt = now;
    this.#attempts = 0;
    this.#newTransaction();
  }

  #newTransaction(): void {
    this.#xid = this.#random.next32();
  }

  #discover(now: number): void {
    this.state = 'SELECTING';
    this.counters.discovers++;
    this.#send(this.#requests.discover(this.#transaction(now)), null, now);
    this.wakeAt = now + this.#backoff();
  }

  #request(now: number): void {
    const offer = this.#offer;
    const address = offer === null ? this.#previous! : IpAddress.parse(offer.address);
    const server = offer === null ? null : IpAddress.parse(offer.server);
    this.counters.requests++;
    // RFC 2131 §4.4.1: `secs` as in the DISCOVER, for the relays on the way.
    this.#send(this.#requests.request(this.#transaction(now), address, server), null, now);
    this.wakeAt = now + this.#backoff();
  }

  /** RFC 2131 §4.4.5: the server until T2, everybody until the end. */
  #prolong(now: number): void {
    const lease = this.#lease!;
    const rebindAt = this.#leasedAt + lease.rebindSeconds * 1000;
    const { expiresAt } = this;
    if (now >= expiresAt) {
      this.counters.expirations++;
      this.#lease = null;
      this.#actions.lost(lease);
      this.#restart(now, 0);
      return;
    }
    if (now >= rebindAt) this.state = 'REBINDING';
    const next = this.state === 'RENEWING' ? rebindAt : expiresAt;
    this.counters.requests++;
    // Of its own, so that the answer tells from when the lease counts.
    this.#newTransaction();
    const message = this.#requests.renew(this.#transaction(now), IpAddress.parse(lease.address));
    this.#send(message, this.state === 'RENEWING' ? lease.server : null, now);
    // Half of what is left, but not more often than once a minute.
    this.wakeAt = Math.min(next, now + Math.max((next - now) / 2, MIN_RENEW_MS));
  }

  #bind(now: number): void {
    this.state = 'BOUND';
    this.wakeAt = Math.max(now, this.#leasedAt + this.#lease!.renewSeconds * 1000);
  }

  /** INIT, and DISCOVER after `delayMs`. */
  #restart(now: number, delayMs: number): void {
    this.state = 'INIT';
    this.#offer = null;
    this.wakeAt = now + delayMs;
  }

  #send(message: Uint8Array, to: string | null, now: number): void {
    this.#attempts++;
    this.#sentAt = now;
    this.#actions.send(message, to);
  }

  #transaction(now: number): { xid: number; secs: number } {
    return { xid: this.#xid, secs: Math.floor((now - this.#begunAt) / 1000) };
  }

  #backoff(): number {
    const delayMs = Math.min(FIRST_DELAY_MS * 2 ** (this.#attempts - 1), MAX_DELAY_MS);
    return delayMs + (2 * randomFraction(this.#random) - 1) * JITTER_MS;
  }
}
