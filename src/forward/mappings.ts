import { PROTOCOL_ICMP, PROTOCOL_TCP } from '../ip.ts';
import {
  type Clock,
  type Random,
  randomBelow,
  Timer,
  type TimerOwner,
  type TimerWheel,
} from '../time/index.ts';
import { prune, type Session, type Sessions, type Timeouts } from './sessions.ts';

export interface MappingLimits {
  readonly maxMappings?: number;
  readonly maxMappingsPerHost?: number;
  readonly udpTimeoutMs?: number;
  readonly tcpTimeoutMs?: number;
}

export interface MappingDependencies {
  readonly clock: Clock;
  readonly timers: TimerWheel;
  readonly random: Random;
  readonly isPortInUse: (protocol: number, port: number) => boolean;
}

/** RFC 4787 §4.2.1: ports that tell something about the sender stay among their like. */
const FIRST_UNPRIVILEGED = 1024;
const PORTS = 0x1_0000;
/**
 * Left to the connections of the stack itself, which begin at these; hosts behind us
 * choose their own from lower ones, as Linux does.
 */
export const OWN_EPHEMERAL_PORTS: readonly [first: number, last: number] = [61_000, 65_535];
const UDP_MS = 300_000;
const TCP_MS = 7_440_000;

/** A port of a host behind us, and what it is outside. For ICMP queries, identifiers. */
export class Mapping implements Sessions, TimerOwner {
  readonly protocol: number;
  readonly insideAddress: number;
  readonly insidePort: number;
  readonly outsidePort: number;
  readonly peers = new Map<number, Map<number, Session>>();
  sessionCount = 0;
  expiresAt = 0;
  readonly timer: Timer;
  readonly #table: MappingTable;

  constructor(
    table: MappingTable,
    timers: TimerWheel,
    protocol: number,
    insideAddress: number,
    insidePort: number,
    outsidePort: number,
  ) {
    this.#table = table;
    this.protocol = protocol;
    this.insideAddress = insideAddress;
    this.insidePort = insidePort;
    this.outsidePort = outsidePort;
    this.timer = new Timer(timers, this);
  }

  onTimer(): void {
    this.#table.expire(this);
  }
}

interface Host {
  readonly address: number;
  /** By {@link key}. */
  readonly mappings: Map<number, Mapping>;
}

/** All mappings, by their insides and by their outsides. */
export class MappingTable {
  readonly timeouts: Timeouts;
  created = 0;
  expired = 0;
  readonly #clock: Clock;
  readonly #timers: TimerWheel;
  readonly #random: Random;
  readonly #isPortInUse: (protocol: number, port: number) => boolean;
  readonly #most: number;
  readonly #mostPerHost: number;
  readonly #hosts = new Map<number, Host>();
  readonly #outside = new Map<number, Mapping>();

  constructor(limits: MappingLimits, { clock, timers, random, isPortInUse }: MappingDependencies) {
    this.#clock = clock;
    this.#timers = timers;
    this.#random = random;
    this.#isPortInUse = isPortInUse;
    this.#most = limits.maxMappings ?? 16_384;
    this.#mostPerHost = limits.maxMappingsPerHost ?? 4096;
    this.timeouts = { udpMs: limits.udpTimeoutMs ?? UDP_MS, tcpMs: limits.tcpTimeoutMs ?? TCP_MS };
  }

  get size(): number {
    return this.#outside.size;
  }

  fromInside(protocol: number, address: number, port: number): Mapping | null {
    return this.#hosts.get(address)?.mappings.get(key(protocol, port)) ?? null;
  }

  fromOutside(protocol: number, port: number): Mapping | null {
    return this.#outside.get(key(protocol, port)) ?? null;
  }

  /** A mapping for a port that has none; null if there are too many, or no port is free. */
  create(protocol: number, address: number, port: number): Mapping | null {
    const host = this.#hosts.get(address) ?? { address, mappings: new Map<number, Mapping>() };
    if (this.#outside.size >= this.#most || host.mappings.size >= this.#mostPerHost) return null;
    const outsidePort = this.#choosePort(protocol, port);
    if (outsidePort < 0) return null;
    const mapping = new Mapping(this, this.#timers, protocol, address, port, outsidePort);
    this.#hosts.set(address, host);
    host.mappings.set(key(protocol, port), mapping);
    this.#outside.set(key(protocol, outsidePort), mapping);
    this.created++;
    // The first packet is about to say how long it lives.
    mapping.timer.arm(this.#clock.now() + 1);
    return mapping;
  }

  /** Looks whether a mapping's time is over. */
  expire(mapping: Mapping): void {
    prune(mapping, this.#clock.now());
    if (mapping.expiresAt > 0) {
      mapping.timer.arm(mapping.expiresAt);
      return;
    }
    this.expired++;
    this.#forget(mapping);
  }

  /** The outside address changed, or all is over. */
  clear(): void {
    for (const mapping of [...this.#outside.values()]) {
      mapping.timer.cancel();
      this.#forget(mapping);
    }
  }

  #forget(mapping: Mapping): void {
    const { protocol, insideAddress, insidePort, outsidePort } = mapping;
    this.#outside.delete(key(protocol, outsidePort));
    const host = this.#hosts.get(insideAddress);
    host?.mappings.delete(key(protocol, insidePort));
    if (host?.mappings.size === 0) this.#hosts.delete(insideAddress);
  }

  /** RFC 4787 §4.2: the same where that is free, else any of its kind; -1 if none is. */
  #choosePort(protocol: number, port: number): number {
    if (this.#isFree(protocol, port)) return port;
    const isLow = port < FIRST_UNPRIVILEGED && protocol !== PROTOCOL_ICMP;
    const first = isLow ? 1 : protocol === PROTOCOL_ICMP ? 0 : FIRST_UNPRIVILEGED;
    const last = isLow ? FIRST_UNPRIVILEGED - 1 : PORTS - 1;
    const range = last - first + 1;
    const start = randomBelow(this.#random, range);
    for (let i = 0; i < range; i++) {
      const candidate = first + ((start + i) % range);
      if (this.#isFree(protocol, candidate)) return candidate;
    }
    return -1;
  }

  #isFree(protocol: number, port: number): boolean {
    if (this.#outside.has(key(protocol, port))) return false;
    if (protocol === PROTOCOL_ICMP) return true;
    const [first, last] = OWN_EPHEMERAL_PORTS;
    return port !== 0 && (port < first || port > last) && !this.#isPortInUse(protocol, port);
  }
}

function key(protocol: number, port: number): number {
  return ((protocol === PROTOCOL_TCP ? 1 : protocol === PROTOCOL_ICMP ? 2 : 0) << 16) | port;
}
