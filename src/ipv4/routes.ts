import { type IpAddress, Prefix } from '../address/index.ts';
import type { Link } from './link.ts';

/** Where packets for a prefix go. */
export interface Route {
  readonly prefix: Prefix;
  /** The next hop; null where the prefix is on the link itself. */
  readonly gateway: IpAddress | null;
  readonly link: Link;
  /** Of several routes for one prefix, the lowest is taken. */
  readonly metric: number;
}

const DEFAULT = Prefix.parse('0.0.0.0/0');

/** Routes of all interfaces, one per prefix and interface, searched for the longest that matches. */
export class RoutingTable {
  /** By prefix length; each by network word, the lowest metric first. At most 33 look-ups, and those only of lengths that occur. */
  readonly #byLength: (Map<number, Route[]> | undefined)[] = new Array(33).fill(undefined);

  static readonly DEFAULT = DEFAULT;

  /** Adds a route, in place of one for the same prefix and link. */
  add(prefix: Prefix, gateway: IpAddress | null, link: Link, metric = link.metric): void {
    this.remove(prefix, link);
    this.#byLength[prefix.length] ??= new Map();
    const networks = this.#byLength[prefix.length]!;
    const routes = networks.get(prefix.network.w3) ?? [];
    const at = routes.findIndex((other) => other.metric > metric);
    routes.splice(at < 0 ? routes.length : at, 0, { prefix, gateway, link, metric });
    networks.set(prefix.network.w3, routes);
  }

  /** Removes the route of `link`, of every link if none is given. Whether there was one. */
  remove(prefix: Prefix, link?: Link): boolean {
    return this.#removeFrom(prefix.length, prefix.network.w3, (route) =>
      link === undefined ? true : route.link === link,
    );
  }

  /** Removes every route of `link`. */
  removeLink(link: Link): void {
    for (let length = 0; length <= 32; length++) {
      for (const network of [...(this.#byLength[length]?.keys() ?? [])]) {
        this.#removeFrom(length, network, (route) => route.link === link);
      }
    }
  }

  /**
   * The route of the longest prefix that contains `destination` (RFC 1812
   * §5.2.4.3). With `link`, only its routes count (`strictly`), or they win
   * against equally long ones.
   */
  lookup(destination: IpAddress, link: Link | null = null, strictly = false): Route | null {
    for (let length = 32; length >= 0; length--) {
      const mask = length === 0 ? 0 : -1 << (32 - length);
      const routes = this.#byLength[length]?.get(destination.w3 & mask);
      if (routes === undefined) continue;
      if (link === null) return routes[0]!;
      const own = routes.find((route) => route.link === link);
      if (own !== undefined) return own;
      if (!strictly) return routes[0]!;
    }
    return null;
  }

  /** All routes, the longest prefixes first. */
  all(): Route[] {
    const routes: Route[] = [];
    for (let length = 32; length >= 0; length--) {
      for (const sharers of this.#byLength[length]?.values() ?? []) routes.push(...sharers);
    }
    return routes;
  }

  #removeFrom(length: number, network: number, isOver: (route: Route) => boolean): boolean {
    const networks = this.#byLength[length];
    const routes = networks?.get(network);
    if (networks === undefined || routes === undefined) return false;
    const kept = routes.filter((route) => !isOver(route));
    if (kept.length === routes.length) return false;
    if (kept.length > 0) networks.set(network, kept);
    else networks.delete(network);
    if (networks.size === 0) this.#byLength[length] = undefined;
    return true;
  }
}
