import type { IpAddress } from '../address/index.ts';
import { copy, set16, set32 } from '../bytes/index.ts';
import { TokenBucket } from '../ethernet/index.ts';
import { type Clock, type Random, randomFraction, type Timer, type TimerWheel } from '../time/index.ts';
import type { Link } from './link.ts';
import { LINK_HOP_LIMIT } from './ndp.ts';
import {
  areOptionsSound,
  CODE,
  HOP_LIMIT,
  MAC_OPTION,
  OPTION_MTU,
  OPTION_PREFIX,
  OPTION_REDIRECTED,
  OPTION_SOURCE_MAC,
  OPTION_TARGET_MAC,
  PREFIX_AUTONOMOUS,
  PREFIX_ON_LINK,
  REDIRECT,
  REDIRECT_LENGTH,
  ROUTER_ADVERTISEMENT,
  ROUTER_ADVERTISEMENT_LENGTH,
  ROUTER_LIFETIME,
  ROUTER_SOLICITATION_LENGTH,
  TARGET,
  TYPE,
  writeMac,
} from './ndp-wire.ts';
import type { Ipv6Packet } from './packet.ts';
import { ALL_NODES, ALL_ROUTERS, isLinkLocal, multicastMac } from './scope.ts';
import { HEADER, MIN_MTU } from './wire.ts';

/** RFC 4861 §6.2.1, §10. */
const INITIAL_ADVERTISEMENTS = 3;
const INITIAL_INTERVAL_MS = 16_000;
const MIN_INTERVAL_MS = 200_000;
const MAX_INTERVAL_MS = 600_000;
const MIN_DELAY_BETWEEN_MS = 3000;
const RESPONSE_DELAY_MS = 500;
const ROUTER_LIFETIME_S = 1800;
const PREFIX_VALID_S = 2_592_000;
const PREFIX_PREFERRED_S = 604_800;
const PREFIX_OPTION = 32;
const MTU_OPTION = 8;
/** RFC 4861 §8.2: limited. */
const REDIRECTS_PER_SECOND = 10;
const REDIRECT_BURST = 20;

export interface RouterSideCounters {
  inRouterSolicits: number;
  outRouterAdvertisements: number;
  outRedirects: number;
}

/** What a link has besides where we are a router: it says so, and tells hosts of prefixes and better ways. */
export class RouterSide {
  readonly counters: RouterSideCounters = {
    inRouterSolicits: 0,
    outRouterAdvertisements: 0,
    outRedirects: 0,
  };
  readonly #link: Link;
  readonly #clock: Clock;
  readonly #random: Random;
  /** Null where nothing is advertised. */
  readonly #timer: Timer | null;
  readonly #redirects = new TokenBucket(REDIRECTS_PER_SECOND, REDIRECT_BURST);
  #advertised = 0;
  #lastAt = Number.NEGATIVE_INFINITY;

  /** `advertises`: ourselves as a router, and our /64 prefixes, so that hosts make addresses of them (RFC 4862). */
  constructor(link: Link, clock: Clock, timers: TimerWheel, random: Random, advertises: boolean) {
    this.#link = link;
    this.#clock = clock;
    this.#random = random;
    this.#timer = advertises ? timers.timer(() => this.#advertise()) : null;
  }

  start(): void {
    this.#link.groups.join(ALL_ROUTERS);
    this.#timer?.arm(this.#clock.now());
  }

  close(): void {
    this.#timer?.cancel();
  }

  /** RFC 4861 §6.2.6: asked for, an advertisement comes sooner, but not too often. */
  receiveSolicitation(packet: Ipv6Packet): void {
    const { bytes, start, end } = packet.frame;
    const options = start + ROUTER_SOLICITATION_LENGTH;
    const isSound =
      packet.hopLimit === LINK_HOP_LIMIT &&
      options <= end &&
      bytes[start + CODE] === 0 &&
      areOptionsSound(bytes, options, end);
    if (!isSound) return;
    this.counters.inRouterSolicits++;
    const timer = this.#timer;
    if (timer === null) return;
    const delayMs = randomFraction(this.#random) * RESPONSE_DELAY_MS;
    const at = Math.max(this.#clock.now() + delayMs, this.#lastAt + MIN_DELAY_BETWEEN_MS);
    if (at < timer.deadline) timer.arm(at);
  }

  /**
   * RFC 4861 §8.2: the sender of `packet`, on this link, had better use `nextHop`, which
   * is the destination itself or a router's link-local address. Whether it was told.
   */
  redirect(packet: Ipv6Packet, nextHop: IpAddress): boolean {
    const link = this.#link;
    const own = link.linkLocal();
    const isDirect = nextHop.equals(packet.destination);
    if (own === null || !(isDirect || isLinkLocal(nextHop))) return false;
    if (link.routes.lookup(packet.source)?.gateway !== null) return false;
    const sender = link.ndp.cache.get(packet.source)?.mac ?? null;
    if (sender === null || !this.#redirects.take(this.#clock.now())) return false;
    const target = link.ndp.cache.get(nextHop)?.mac ?? null;
    const macOption = target === null ? 0 : MAC_OPTION;
    const room = MIN_MTU - HEADER - REDIRECT_LENGTH - macOption - 8;
    const quoted = Math.min(packet.end - packet.header, room) & ~7;
    const frame = link.output.reserve(REDIRECT_LENGTH + macOption + 8 + quoted);
    if (frame === null) return false;
    const { bytes, start } = frame;
    bytes[start + TYPE] = REDIRECT;
    nextHop.writeIpv6(bytes, start + TARGET);
    packet.destination.writeIpv6(bytes, start + TARGET + 16);
    let at = start + REDIRECT_LENGTH;
    if (target !== null) writeMac(bytes, at, OPTION_TARGET_MAC, target);
    at += macOption;
    bytes[at] = OPTION_REDIRECTED;
    bytes[at + 1] = (8 + quoted) >>> 3;
    copy(bytes, at + 8, packet.frame.bytes, packet.header, packet.header + quoted);
    link.output.commit(frame, own, packet.source, sender, LINK_HOP_LIMIT);
    this.counters.outRedirects++;
    return true;
  }

  /** RFC 4861 §6.2.3. */
  #advertise(): void {
    const link = this.#link;
    const now = this.#clock.now();
    const own = link.linkLocal();
    if (own === null) {
      this.#timer?.arm(now + RESPONSE_DELAY_MS);
      return;
    }
    this.#lastAt = now;
    this.#advertised++;
    const spread = MIN_INTERVAL_MS + randomFraction(this.#random) * (MAX_INTERVAL_MS - MIN_INTERVAL_MS);
    const isInitial = this.#advertised < INITIAL_ADVERTISEMENTS;
    this.#timer?.arm(now + (isInitial ? Math.min(spread, INITIAL_INTERVAL_MS) : spread));
    const prefixes = link.addresses.all.filter(
      ({ origin, prefixLength, isAssigned }) => origin === 'configured' && prefixLength === 64 && isAssigned,
    );
    const length = ROUTER_ADVERTISEMENT_LENGTH + MAC_OPTION + MTU_OPTION + prefixes.length * PREFIX_OPTION;
    const frame = link.output.reserve(length);
    if (frame === null) return;
    const { bytes, start } = frame;
    bytes[start + TYPE] = ROUTER_ADVERTISEMENT;
    bytes[start + HOP_LIMIT] = link.hopLimit;
    set16(bytes, start + ROUTER_LIFETIME, ROUTER_LIFETIME_S);
    let at = start + ROUTER_ADVERTISEMENT_LENGTH;
    writeMac(bytes, at, OPTION_SOURCE_MAC, link.output.mac);
    at += MAC_OPTION;
    bytes[at] = OPTION_MTU;
    bytes[at + 1] = MTU_OPTION >>> 3;
    set32(bytes, at + 4, link.mtu);
    at += MTU_OPTION;
    for (const { address, prefixLength } of prefixes) {
      bytes[at] = OPTION_PREFIX;
      bytes[at + 1] = PREFIX_OPTION >>> 3;
      bytes[at + 2] = prefixLength;
      bytes[at + 3] = PREFIX_ON_LINK | PREFIX_AUTONOMOUS;
      set32(bytes, at + 4, PREFIX_VALID_S);
      set32(bytes, at + 8, PREFIX_PREFERRED_S);
      set32(bytes, at + 16, address.w0);
      set32(bytes, at + 20, address.w1);
      at += PREFIX_OPTION;
    }
    link.output.commit(frame, own, ALL_NODES, multicastMac(ALL_NODES), LINK_HOP_LIMIT);
    this.counters.outRouterAdvertisements++;
  }
}
