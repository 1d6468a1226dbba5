import { type IpAddress, Prefix } from '../address/index.ts';

/** Where packets for a prefix go. */
export interface Route {
  readonly prefix: Prefix;
  /** The next hop; null where the prefix is on the link itself. */
  readonly gateway: IpAddress | null;
}

const DEFAULT = Prefix.parse('0.0.0.0/0');

/** A table of one route per prefix, searched for the longest that matches. */
export class RoutingTable {
  /** By prefix length; each by network word. At most 33 look-ups, and those only of lengths that occur. */
  readonly #byLength: (Map<number, Route> | undefined)[] = new Array(33).fill(undefined);

  static readonly DEFAULT = DEFAULT;

  /** Adds a route, in place of one for the same prefix. */
  add(prefix: Prefix, gateway: IpAddress | null): void {
    this.#byLength[prefix.length] ??= new Map();
    this.#byLength[prefix.length]!.set(prefix.network.w3, { prefix, gateway });
  }

  /** Whether there was such a route. */
  remove(prefix: Prefix): boolean {
    const routes = this.#byLength[prefix.length];
    if (routes === undefined || !routes.delete(prefix.network.w3)) return false;
    if (routes.size === 0) this.#byLength[prefix.length] = undefined;
    return true;
  }

  /** The route of the longest prefix that contains `destination` (RFC 1812 §5.2.4.3). */
  lookup(destination: IpAddress): Route | null {
    for (let length = 32; length >= 0; length--) {
      const mask = length === 0 ? 0 : -1 << (32 - length);
      const route = this.#byLength[length]?.get(destination.w3 & mask);
      if (route !== undefined) return route;
    }
    return null;
  }
}
