import { IpAddress, MacAddress, type Prefix } from '../address/index.ts';
import { ETHERTYPE_ARP, type Ethernet, type EtherProtocol, TokenBucket } from '../ethernet/index.ts';
import type { Frame } from '../netif/netif.ts';
import type { Clock, TimerWheel } from '../time/index.ts';
import { type Random, randomFraction } from '../time/index.ts';
import { NeighbourCache } from './cache.ts';
import { AddressClaim, type AddressConflict, type ClaimHost } from './claim.ts';
import { Neighbour, type NeighbourHost } from './neighbour.ts';
import {
  getOperation,
  getSenderIp,
  getTargetIp,
  isEthernetIpv4,
  LENGTH,
  REPLY,
  REQUEST,
  SENDER_MAC,
  setEthernetIpv4,
  setOperation,
  setSenderIp,
  setTargetIp,
  TARGET_MAC,
} from './wire.ts';

/** RFC 4861 §10 REACHABLE_TIME. */
const REACHABLE_MS = 30_000;
/** RFC 1122 §2.3.2.1. */
const RETRANSMIT_MS = 1000;
/** What all neighbours together can make us ask and answer. */
const REQUESTS_PER_SECOND = 500;
const REPLIES_PER_SECOND = 1000;
const BURST = 200;

export interface ArpCounters {
  inRequests: number;
  inReplies: number;
  /** Malformed, or from an address that no neighbour can have. */
  inErrors: number;
  outRequests: number;
  outReplies: number;
  /** Requests and replies not sent: too many per second. */
  outLimited: number;
  /** ARP packets for which the device had no room. */
  outStalled: number;
  /** Packets dropped that waited for a neighbour. */
  queueDrops: number;
  conflicts: number;
}

export interface ArpOptions {
  readonly ethernet: Ethernet;
  readonly clock: Clock;
  readonly timers: TimerWheel;
  readonly random: Random;
  readonly onClaimed: (address: Prefix) => void;
  readonly onConflict: (conflict: AddressConflict) => void;
}

/** The address resolution protocol on one Ethernet: RFC 826, RFC 5227, and RFC 4861's idea of reachability. */
export class Arp implements EtherProtocol, NeighbourHost, ClaimHost {
  readonly ethertype = ETHERTYPE_ARP;
  readonly timers: TimerWheel;
  readonly random: Random;
  readonly retransmitMs = RETRANSMIT_MS;
  readonly cache: NeighbourCache;
  readonly counters: ArpCounters = {
    inRequests: 0,
    inReplies: 0,
    inErrors: 0,
    outRequests: 0,
    outReplies: 0,
    outLimited: 0,
    outStalled: 0,
    queueDrops: 0,
    conflicts: 0,
  };
  readonly #ethernet: Ethernet;
  readonly #clock: Clock;
  readonly #onClaimed: (address: Prefix) => void;
  readonly #onConflict: (conflict: AddressConflict) => void;
  readonly #requests = new TokenBucket(REQUESTS_PER_SECOND, BURST);
  readonly #replies = new TokenBucket(REPLIES_PER_SECOND, BURST);
  #claim: AddressClaim | null = null;
  #uses = 0;

  constructor({ ethernet, clock, timers, random, onClaimed, onConflict }: ArpOptions) {
    this.#ethernet = ethernet;
    this.#clock = clock;
    this.timers = timers;
    this.random = random;
    this.#onClaimed = onClaimed;
    this.#onConflict = onConflict;
    this.cache = new NeighbourCache(this, new Map());
    ethernet.register(this);
  }

  /** Takes `prefix`'s address on this link, at once or after RFC 5227 probing, in place of an earlier one. */
  claim(prefix: Prefix, probe: boolean): void {
    this.release();
    this.#claim = new AddressClaim(this, prefix);
    this.#claim.start(probe);
  }

  /** Gives the address up, and forgets the neighbours it was used with. */
  release(): void {
    this.#claim?.stop();
    this.#claim = null;
    this.cache.clear();
  }

  /** An entry of a fixed address, as groups have; not in the cache. */
  permanent(address: number, mac: MacAddress): Neighbour {
    return new Neighbour(this, address).makePermanent(mac);
  }

  receive(frame: Frame): void {
    const { bytes, start: packet } = frame;
    if (frame.end - packet < LENGTH || !isEthernetIpv4(bytes, packet)) {
      this.counters.inErrors++;
      return;
    }
    const operation = getOperation(bytes, packet);
    if (operation === REQUEST) this.counters.inRequests++;
    else if (operation === REPLY) this.counters.inReplies++;
    else {
      this.counters.inErrors++;
      return;
    }
    const sender = getSenderIp(bytes, packet);
    const target = getTargetIp(bytes, packet);
    const mac = MacAddress.read(bytes, packet + SENDER_MAC);
    if (mac.isGroup || mac.equals(MacAddress.ZERO) || !isNeighbourly(sender)) {
      this.counters.inErrors++;
      return;
    }
    // Our own packets, reflected by a bridge, say nothing.
    if (mac.equals(this.#ethernet.netif.mac)) return;
    const claim = this.#claim;
    if (claim !== null && this.#contests(claim, sender, target, operation)) {
      this.counters.conflicts++;
      claim.contest(mac);
      return;
    }
    const toUs = claim?.owned === true && target === claim.address;
    // RFC 5227 §2.1.1: the sender 0.0.0.0 of a probe is nobody's address.
    if (sender !== 0) this.#merge(claim, sender, mac, operation, toUs);
    // RFC 826: only then is it asked whether the packet is a request.
    if (toUs && operation === REQUEST) this.#reply(mac, sender, target);
  }

  now(): number {
    return this.#clock.now();
  }

  defer(task: () => void): void {
    this.#clock.defer(task);
  }

  nextUse(): number {
    return ++this.#uses;
  }

  reachableMs(): number {
    return REACHABLE_MS * (0.5 + randomFraction(this.random));
  }

  dropped(packets: number): void {
    this.counters.queueDrops += packets;
  }

  request(address: number, to: MacAddress | null): boolean {
    if (!this.#requests.take(this.now())) {
      this.counters.outLimited++;
      return true;
    }
    const sender = this.#claim?.owned ? this.#claim.address : 0;
    return this.#send(REQUEST, to ?? MacAddress.BROADCAST, MacAddress.ZERO, sender, address);
  }

  sendProbe(address: number): void {
    this.#send(REQUEST, MacAddress.BROADCAST, MacAddress.ZERO, 0, address);
  }

  sendAnnouncement(address: number): void {
    this.#send(REQUEST, MacAddress.BROADCAST, MacAddress.ZERO, address, address);
  }

  claimed(claim: AddressClaim): void {
    this.#onClaimed(claim.prefix);
  }

  conflict(_claim: AddressClaim, conflict: AddressConflict): void {
    this.#onConflict(conflict);
  }

  /** RFC 5227 §2.4, and §2.1.1 as long as we probe ourselves. */
  #contests(claim: AddressClaim, sender: number, target: number, operation: number): boolean {
    if (sender === claim.address) return claim.owned || claim.probing;
    return claim.probing && sender === 0 && target === claim.address && operation === REQUEST;
  }

  /** RFC 826's merge, with two cautions: only requests to us make entries, and those only on our own link. */
  #merge(
    claim: AddressClaim | null,
    sender: number,
    mac: MacAddress,
    operation: number,
    toUs: boolean,
  ): void {
    let neighbour = this.cache.get(sender) ?? null;
    if (neighbour === null && toUs && operation === REQUEST && isOnLink(claim!.prefix, sender)) {
      neighbour = this.cache.admit(sender);
    }
    neighbour?.heard(mac, toUs && operation === REPLY);
  }

  #reply(mac: MacAddress, sender: number, ourAddress: number): void {
    if (!this.#replies.take(this.now())) {
      this.counters.outLimited++;
      return;
    }
    this.#send(REPLY, mac, mac, ourAddress, sender);
  }

  #send(operation: number, to: MacAddress, targetMac: MacAddress, sender: number, target: number): boolean {
    const frame = this.#ethernet.reserve(LENGTH);
    if (frame === null) {
      // A reply is asked for again, a request repeated: no queue of their own.
      this.counters.outStalled++;
      return false;
    }
    const { bytes, start: packet } = frame;
    setEthernetIpv4(bytes, packet);
    setOperation(bytes, packet, operation);
    this.#ethernet.netif.mac.write(bytes, packet + SENDER_MAC);
    setSenderIp(bytes, packet, sender);
    targetMac.write(bytes, packet + TARGET_MAC);
    setTargetIp(bytes, packet, target);
    this.#ethernet.commit(frame, packet, to, ETHERTYPE_ARP);
    if (operation === REQUEST) this.counters.outRequests++;
    else this.counters.outReplies++;
    return true;
  }
}

/** Whether a station may have `address`: 0.0.0.0 (a probe) or unicast, not loopback. */
function isNeighbourly(address: number): boolean {
  if (address === 0) return true;
  const first = address >>> 24;
  return first !== 0 && first !== 127 && first < 224;
}

function isOnLink(prefix: Prefix, address: number): boolean {
  const candidate = IpAddress.ipv4(address);
  return prefix.contains(candidate) && !(prefix.broadcast?.equals(candidate) ?? false);
}
