import { type IpAddress, Prefix } from '../address/index.ts';

/** RFC 4191 §2.1: of equal routes. */
export type Preference = -1 | 0 | 1;

/** Where packets for a prefix go. */
export interface Route {
  readonly prefix: Prefix;
  /** The next hop; null where the prefix is on the link itself. */
  readonly gateway: IpAddress | null;
  readonly preference: Preference;
  /** Clock time; `Infinity` for routes that were configured. */
  readonly expiresAt: number;
  /** Of several interfaces' equally good routes, the lowest is taken; by default the interface's. */
  readonly metric?: number;
}

/** How far a gateway is known to answer: the higher, the better. */
export const GATEWAY_SILENT = 0;
export const GATEWAY_UNKNOWN = 1;
export const GATEWAY_ANSWERS = 2;

const DEFAULT = Prefix.parse('::/0');
/** Routes that routers may give us, so that a flood of their messages costs no memory to speak of. */
const LEARNT_ROUTES = 64;

/** Routes, few enough to search: configured ones, and those that routers advertise. */
export class RoutingTable {
  static readonly DEFAULT = DEFAULT;
  /** Routes not learnt because there are too many. */
  refusals = 0;
  readonly #routes: Route[] = [];
  readonly #rank: (gateway: IpAddress) => number;

  /** `rank` says how far a gateway is known to answer. */
  constructor(rank: (gateway: IpAddress) => number) {
    this.#rank = rank;
  }

  get routes(): readonly Route[] {
    return this.#routes;
  }

  /** Adds a configured route, in place of one for the same prefix. */
  add(prefix: Prefix, gateway: IpAddress | null, metric?: number): void {
    this.remove(prefix);
    const route = { prefix, gateway, preference: 0, expiresAt: Number.POSITIVE_INFINITY } as const;
    this.#routes.push(metric === undefined ? route : { ...route, metric });
  }

  /** Whether there was such a configured route. */
  remove(prefix: Prefix): boolean {
    const at = this.#routes.findIndex(
      (route) => route.expiresAt === Number.POSITIVE_INFINITY && isSamePrefix(route.prefix, prefix),
    );
    if (at >= 0) this.#routes.splice(at, 1);
    return at >= 0;
  }

  /** What a router advertises; an `expiresAt` that is not after `now` takes it back. Whether that changed anything but the time. */
  learn(route: Route, now: number): boolean {
    const at = this.#routes.findIndex((known) => isSameLearnt(known, route));
    if (route.expiresAt <= now) {
      if (at >= 0) this.#routes.splice(at, 1);
      return at >= 0;
    }
    if (at >= 0) {
      const changed = this.#routes[at]!.preference !== route.preference;
      this.#routes[at] = route;
      return changed;
    }
    if (this.#routes.filter(isLearnt).length >= LEARNT_ROUTES) {
      this.refusals++;
      return false;
    }
    this.#routes.push(route);
    return true;
  }

  /** Forgets a router altogether (RFC 4861 §6.2.5). Whether it was one. */
  forget(gateway: IpAddress): boolean {
    return this.#removeIf((route) => isLearnt(route) && route.gateway?.equals(gateway) === true);
  }

  /** Whether anything's time was over. */
  expire(now: number): boolean {
    return this.#removeIf((route) => route.expiresAt <= now);
  }

  /** When the next route's time is over. */
  get nextExpiry(): number {
    let next = Number.POSITIVE_INFINITY;
    for (const { expiresAt } of this.#routes) next = Math.min(next, expiresAt);
    return next;
  }

  clear(): void {
    this.#routes.length = 0;
  }

  /**
   * The route of the longest prefix that contains `destination`; among several,
   * a gateway that answers, then by preference (RFC 4191 §3.2), then the first.
   */
  lookup(destination: IpAddress): Route | null {
    let best: Route | null = null;
    let bestRank = 0;
    for (const route of this.#routes) {
      if (!route.prefix.contains(destination)) continue;
      if (best !== null && route.prefix.length < best.prefix.length) continue;
      const score = this.score(route);
      if (best === null || route.prefix.length > best.prefix.length || score > bestRank) {
        best = route;
        bestRank = score;
      }
    }
    return best;
  }

  /** Of routes for equally long prefixes, the higher is better: who answers, then the preference. */
  score({ gateway, preference }: Route): number {
    return (gateway === null ? GATEWAY_ANSWERS : this.#rank(gateway)) * 4 + preference;
  }

  #removeIf(over: (route: Route) => boolean): boolean {
    const kept = this.#routes.filter((route) => !over(route));
    if (kept.length === this.#routes.length) return false;
    this.#routes.splice(0, this.#routes.length, ...kept);
    return true;
  }
}

function isLearnt(route: Route): boolean {
  return route.expiresAt !== Number.POSITIVE_INFINITY;
}

function isSamePrefix(a: Prefix, b: Prefix): boolean {
  return a.length === b.length && a.network.equals(b.network);
}

function isSameLearnt(known: Route, route: Route): boolean {
  if (!isLearnt(known) || !isSamePrefix(known.prefix, route.prefix)) return false;
  if (known.gateway === null || route.gateway === null) return known.gateway === route.gateway;
  return known.gateway.equals(route.gateway);
}
