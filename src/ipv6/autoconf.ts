import { IpAddress, Prefix } from '../address/index.ts';
import { get32 } from '../bytes/index.ts';
import { TokenBucket } from '../ethernet/index.ts';
import type { Clock, Random, Timer, TimerWheel } from '../time/index.ts';
import { AddressMap } from './address-map.ts';
import type { AddressTable } from './addresses.ts';
import type { ControlOutput } from './control.ts';
import { DnsConfiguration } from './dns-configuration.ts';
import type { InterfaceIds } from './interface-id.ts';
import { LINK_HOP_LIMIT, type Ndp } from './ndp.ts';
import {
  areOptionsSound,
  CODE,
  FLAG_MANAGED,
  FLAG_OTHER,
  getMtu,
  getPreference,
  getRouterLifetime,
  getSeconds,
  HOP_LIMIT,
  MAC_OPTION,
  OPTION_DNS_SEARCH,
  OPTION_DNS_SERVERS,
  OPTION_MTU,
  OPTION_PREFIX,
  OPTION_ROUTE,
  OPTION_SOURCE_MAC,
  optionLength,
  PREFIX_AUTONOMOUS,
  PREFIX_ON_LINK,
  REACHABLE_TIME,
  RETRANS_TIMER,
  ROUTER_ADVERTISEMENT_LENGTH,
  ROUTER_FLAGS,
  ROUTER_SOLICITATION,
  ROUTER_SOLICITATION_LENGTH,
  readDnsSearch,
  readDnsServers,
  readMac,
  TYPE,
  writeMac,
} from './ndp-wire.ts';
import type { OwnAddress } from './own-address.ts';
import type { Ipv6Packet } from './packet.ts';
import { RoutingTable } from './routes.ts';
import { ALL_ROUTERS, isLinkLocal, multicastMac } from './scope.ts';

/** RFC 4861 §10. */
const MAX_SOLICITATIONS = 3;
const SOLICITATION_INTERVAL_MS = 4000;
/** RFC 4862 §5.5.3 (e): a stranger cannot take our addresses away at once. */
const TWO_HOURS_MS = 7_200_000;
/** RFC 7217 §7: how often another address is tried where one is taken, and how long before. */
const IDGEN_RETRIES = 3;
const IDGEN_DELAY_MS = 1000;
/** Advertised addresses that we take, as Linux's `max_addresses`. */
const MAX_ADDRESSES = 16;
/** Advertisements that are looked at: routers send one per three seconds each at most (RFC 4861 §6.2.6). */
const ADVERTISEMENTS_PER_SECOND = 20;
const BURST = 50;
/** RFC 4861 §6.3.4: no more than an hour. */
const MAX_REACHABLE_MS = 3_600_000;
/** Prefixes whose attempts are remembered. */
const ATTEMPTS = 64;

export interface AutoconfCounters {
  outRouterSolicits: number;
  inRouterAdvertisements: number;
  /** Malformed, or from behind a router. */
  inRouterErrors: number;
  /** Advertisements not looked at: too many per second. */
  inRouterLimited: number;
}

export interface AutoconfHost {
  /** Our link-local address, if it may be used. */
  linkLocal(): IpAddress | null;
  /** Whether addresses are asked for before they are used. */
  readonly detects: boolean;
  /** Routes changed. */
  changed(): void;
  limitMtu(mtu: number): void;
  limitHops(hopLimit: number): void;
}

export interface AutoconfOptions {
  readonly host: AutoconfHost;
  readonly output: ControlOutput;
  readonly clock: Clock;
  readonly timers: TimerWheel;
  readonly random: Random;
  readonly addresses: AddressTable;
  readonly routes: RoutingTable;
  readonly ndp: Ndp;
  readonly ids: InterfaceIds;
}

/** What routers tell a host (RFC 4861 §6.3), and the addresses it makes of that (RFC 4862 §5.5). */
export class Autoconf {
  readonly counters: AutoconfCounters = {
    outRouterSolicits: 0,
    inRouterAdvertisements: 0,
    inRouterErrors: 0,
    inRouterLimited: 0,
  };
  readonly dns: DnsConfiguration;
  /** A router says that addresses, or other configuration, are to be had by DHCPv6. */
  managed = false;
  otherConfiguration = false;
  /** Told when a router begins to say so. */
  onOtherConfiguration: (() => void) | null = null;
  readonly #options: AutoconfOptions;
  readonly #clock: Clock;
  readonly #solicitTimer: Timer;
  readonly #expiryTimer: Timer;
  readonly #bucket = new TokenBucket(ADVERTISEMENTS_PER_SECOND, BURST);
  /** By network. */
  readonly #attempts: AddressMap<number>;
  #solicitationsLeft = 0;

  constructor(options: AutoconfOptions) {
    const { clock, timers, random } = options;
    this.#options = options;
    this.#clock = clock;
    this.dns = new DnsConfiguration(clock);
    this.#attempts = new AddressMap(random);
    this.#solicitTimer = timers.timer(() => this.#solicit());
    this.#expiryTimer = timers.timer(() => this.#expire());
  }

  /** Asks for routers after `delayMs`, a few times. */
  start(delayMs: number): void {
    this.#solicitationsLeft = MAX_SOLICITATIONS;
    this.#solicitTimer.arm(this.#clock.now() + delayMs);
  }

  close(): void {
    this.#solicitTimer.cancel();
    this.#expiryTimer.cancel();
    this.dns.clear();
  }

  /** An advertised address is taken by another station: RFC 7217 §6 makes another one. */
  duplicate(own: OwnAddress): void {
    const prefix = new Prefix(own.address, own.prefixLength);
    const attempt = own.attempt + 1;
    if (!this.#attempts.get(prefix.network) && this.#attempts.size >= ATTEMPTS) this.#attempts.deleteOldest();
    this.#attempts.set(prefix.network, attempt);
    if (attempt <= IDGEN_RETRIES) {
      this.#addAddress(prefix, own.preferredUntil, own.validUntil, attempt, IDGEN_DELAY_MS);
    }
  }

  /** A router advertisement; its checksum is good. */
  receive(packet: Ipv6Packet): void {
    const { bytes, start, end } = packet.frame;
    const options = start + ROUTER_ADVERTISEMENT_LENGTH;
    // RFC 4861 §6.1.2.
    const sound =
      packet.hopLimit === LINK_HOP_LIMIT &&
      isLinkLocal(packet.source) &&
      options <= end &&
      bytes[start + CODE] === 0 &&
      areOptionsSound(bytes, options, end);
    if (!sound) {
      this.counters.inRouterErrors++;
      return;
    }
    if (!this.#bucket.take(this.#clock.now())) {
      this.counters.inRouterLimited++;
      return;
    }
    this.counters.inRouterAdvertisements++;
    const router = packet.source.copy();
    this.#readHeader(bytes, start, router);
    this.#options.ndp.heardRouter(router, readMac(bytes, options, end, OPTION_SOURCE_MAC));
    for (let at = options; at < end; at += optionLength(bytes, at)) this.#readOption(bytes, at, router);
    this.#options.addresses.refresh();
    this.#armExpiry();
  }

  /** RFC 4861 §6.3.4. */
  #readHeader(bytes: Uint8Array, start: number, router: IpAddress): void {
    const { host, ndp } = this.#options;
    const flags = bytes[start + ROUTER_FLAGS]!;
    const knew = this.managed || this.otherConfiguration;
    this.managed = (flags & FLAG_MANAGED) !== 0;
    this.otherConfiguration = (flags & FLAG_OTHER) !== 0;
    if (!knew && (this.managed || this.otherConfiguration)) this.onOtherConfiguration?.();
    if (bytes[start + HOP_LIMIT] !== 0) host.limitHops(bytes[start + HOP_LIMIT]!);
    const reachableMs = getSeconds(bytes, start + REACHABLE_TIME);
    if (reachableMs !== 0 && reachableMs <= MAX_REACHABLE_MS) ndp.reachableBaseMs = reachableMs;
    const retransmitMs = getSeconds(bytes, start + RETRANS_TIMER);
    // Faster than ten a second serves nobody but who wants a flood; slower than ten seconds nobody but who wants silence.
    if (retransmitMs !== 0) ndp.retransmitMs = Math.min(Math.max(retransmitMs, 100), 10_000);
    const lifetime = getRouterLifetime(bytes, start);
    if (lifetime > 0) this.#solicitTimer.cancel();
    this.#learn(RoutingTable.DEFAULT, router, getPreference(flags) ?? 0, lifetime);
  }

  #readOption(bytes: Uint8Array, at: number, router: IpAddress): void {
    const length = optionLength(bytes, at);
    switch (bytes[at]) {
      case OPTION_PREFIX:
        if (length === 32) this.#readPrefix(bytes, at);
        return;
      case OPTION_MTU:
        if (length === 8) this.#options.host.limitMtu(getMtu(bytes, at));
        return;
      case OPTION_ROUTE:
        this.#readRoute(bytes, at, length, router);
        return;
      case OPTION_DNS_SERVERS:
        if (length >= 24) this.dns.setServers(readDnsServers(bytes, at), this.#until(bytes, at + 4));
        return;
      case OPTION_DNS_SEARCH: {
        const names = readDnsSearch(bytes, at);
        if (names !== null) this.dns.setSearch(names, this.#until(bytes, at + 4));
        return;
      }
      default:
        return;
    }
  }

  #until(bytes: Uint8Array, at: number): number {
    return this.#clock.now() + getSeconds(bytes, at) * 1000;
  }

  #readPrefix(bytes: Uint8Array, at: number): void {
    const prefixLength = bytes[at + 2]!;
    const flags = bytes[at + 3]!;
    const valid = getSeconds(bytes, at + 4);
    const preferred = getSeconds(bytes, at + 8);
    const network = new IpAddress().readIpv6(bytes, at + 16);
    if (prefixLength > 128 || isLinkLocal(network) || network.isMulticast || network.isIpv4) return;
    const prefix = new Prefix(new Prefix(network, prefixLength).network, prefixLength);
    if ((flags & PREFIX_ON_LINK) !== 0) this.#learn(prefix, null, 0, valid);
    if ((flags & PREFIX_AUTONOMOUS) !== 0) this.#autoconfigure(prefix, preferred, valid);
  }

  /** RFC 4862 §5.5.3. */
  #autoconfigure(prefix: Prefix, preferred: number, valid: number): void {
    if (preferred > valid) return;
    const now = this.#clock.now();
    const preferredUntil = now + preferred * 1000;
    const validUntil = now + valid * 1000;
    const mine = this.#options.addresses.all.filter(
      (own) =>
        own.origin === 'advertised' && own.prefixLength === prefix.length && prefix.contains(own.address),
    );
    for (const own of mine) {
      own.preferredUntil = preferredUntil;
      // (e): what is more than two hours, or more than is left, is believed; else two hours stay, if there are.
      const twoHours = now + TWO_HOURS_MS;
      const believed = validUntil > twoHours || validUntil > own.validUntil;
      own.validUntil = believed ? validUntil : Math.min(own.validUntil, twoHours);
    }
    // Interface identifiers have 64 bits (RFC 4291 §2.5.1).
    if (mine.length > 0 || valid === 0 || prefix.length !== 64) return;
    const attempt = this.#attempts.get(prefix.network) ?? 0;
    if (attempt <= IDGEN_RETRIES) this.#addAddress(prefix, preferredUntil, validUntil, attempt, null);
  }

  #addAddress(
    prefix: Prefix,
    preferredUntil: number,
    validUntil: number,
    attempt: number,
    delayMs: number | null,
  ): void {
    const { addresses, ids, host } = this.#options;
    const advertised = addresses.all.filter((own) => own.origin === 'advertised');
    if (advertised.length >= MAX_ADDRESSES) return;
    const address = ids.address(prefix, attempt);
    const options = {
      address,
      prefixLength: prefix.length,
      origin: 'advertised',
      preferredUntil,
      validUntil,
      attempt,
    } as const;
    addresses.add(options, host.detects, delayMs);
  }

  /** RFC 4191 §2.3. */
  #readRoute(bytes: Uint8Array, at: number, length: number, router: IpAddress): void {
    const prefixLength = bytes[at + 2]!;
    const preference = getPreference(bytes[at + 3]!);
    if (preference === null || prefixLength > 128 || length < 8 + Math.ceil(prefixLength / 64) * 8) return;
    const word = (i: number): number => (8 + 4 * i < length ? get32(bytes, at + 8 + 4 * i) : 0);
    const network = new IpAddress().setWords(word(0), word(1), word(2), word(3));
    const prefix = new Prefix(new Prefix(network, prefixLength).network, prefixLength);
    this.#learn(prefix, router, preference, getSeconds(bytes, at + 4));
  }

  #learn(prefix: Prefix, gateway: IpAddress | null, preference: -1 | 0 | 1, seconds: number): void {
    const now = this.#clock.now();
    const { routes, host } = this.#options;
    const before = routes.routes.length;
    const changed = routes.learn({ prefix, gateway, preference, expiresAt: now + seconds * 1000 }, now);
    if (changed || routes.routes.length !== before) host.changed();
  }

  #armExpiry(): void {
    this.#expiryTimer.arm(this.#options.routes.nextExpiry);
  }

  #expire(): void {
    if (this.#options.routes.expire(this.#clock.now())) this.#options.host.changed();
    this.#armExpiry();
  }

  /** RFC 4861 §6.3.7. */
  #solicit(): void {
    const { host, output } = this.#options;
    this.#solicitationsLeft--;
    if (this.#solicitationsLeft > 0) this.#solicitTimer.arm(this.#clock.now() + SOLICITATION_INTERVAL_MS);
    const source = host.linkLocal();
    const frame = output.reserve(ROUTER_SOLICITATION_LENGTH + (source === null ? 0 : MAC_OPTION));
    if (frame === null) return;
    const { bytes, start } = frame;
    bytes[start + TYPE] = ROUTER_SOLICITATION;
    if (source !== null) writeMac(bytes, start + ROUTER_SOLICITATION_LENGTH, OPTION_SOURCE_MAC, output.mac);
    output.commit(
      frame,
      source ?? IpAddress.ANY_IPV6,
      ALL_ROUTERS,
      multicastMac(ALL_ROUTERS),
      LINK_HOP_LIMIT,
    );
    this.counters.outRouterSolicits++;
  }
}
