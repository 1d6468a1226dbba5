import { IpAddress } from '../address/index.ts';
import {
  DELAY,
  FAILED,
  INCOMPLETE,
  type Neighbour,
  PERMANENT,
  PROBE,
  REACHABLE,
  STALE,
} from '../arp/index.ts';
import type { Network } from './network.ts';

/** A neighbour, as `ip neigh` shows it. */
export interface NeighbourEntry {
  readonly interface: string;
  readonly address: string;
  /** Null while it is not known. */
  readonly mac: string | null;
  /** RFC 4861 §7.3.2's word. */
  readonly state: string;
}

/** A route, as `ip route` shows it. */
export interface RouteEntry {
  readonly prefix: string;
  /** Null for what is on the link itself. */
  readonly gateway: string | null;
  readonly interface: string;
  readonly metric: number;
  /** Seconds until a route that a router advertises is over; null for a configured one. */
  readonly expiresInSeconds: number | null;
}

const STATES: Readonly<Record<number, string>> = {
  [INCOMPLETE]: 'INCOMPLETE',
  [REACHABLE]: 'REACHABLE',
  [STALE]: 'STALE',
  [DELAY]: 'DELAY',
  [PROBE]: 'PROBE',
  [FAILED]: 'FAILED',
  [PERMANENT]: 'PERMANENT',
};

/** The ARP and neighbour discovery caches of every interface. */
export function neighbourEntries({ interfaces }: Network): NeighbourEntry[] {
  const entry = (name: string, address: string, { mac, state }: Neighbour<unknown>): NeighbourEntry => ({
    interface: name,
    address,
    mac: mac === null ? null : mac.toString(),
    state: STATES[state] ?? 'NONE',
  });
  return interfaces.flatMap(({ name, arp, ipv6 }) => [
    ...[...arp.cache.all()].map((one) => entry(name, `${IpAddress.ipv4(one.address)}`, one)),
    ...[...(ipv6?.ndp.cache.all() ?? [])].map((one) => entry(name, `${one.address}`, one)),
  ]);
}

/** The routes of every interface and the loopback, of both families. */
export function routeEntries({ interfaces, loopback, ipv4, ipv6, clock }: Network): RouteEntry[] {
  const nameOf = (index: number): string => interfaces[index]!.name;
  const now = clock.now();
  const own = { gateway: null, interface: loopback.name, metric: 0, expiresInSeconds: null } as const;
  return [
    { prefix: '127.0.0.0/8', ...own },
    ...ipv4.routes.all().map(({ prefix, gateway, link, metric }) => ({
      prefix: `${prefix.network}/${prefix.length}`,
      gateway: gateway === null ? null : `${gateway}`,
      interface: nameOf(link.index),
      metric,
      expiresInSeconds: null,
    })),
    ...(ipv6 === null ? [] : [{ prefix: '::1/128', ...own }]),
    ...(ipv6?.links ?? []).flatMap((link) =>
      link.routes.routes.map(({ prefix, gateway, metric = link.metric, expiresAt }) => ({
        prefix: `${prefix.network}/${prefix.length}`,
        gateway: gateway === null ? null : `${gateway}`,
        interface: nameOf(link.index),
        metric,
        expiresInSeconds: Number.isFinite(expiresAt) ? Math.round((expiresAt - now) / 1000) : null,
      })),
    ),
  ];
}
