import { type IpAddress, Prefix } from '../address/index.ts';
import type { DhcpMessage } from './message.ts';
import * as option from './options.ts';
import * as value from './values.ts';

/** What a server gave us, and for how long. Addresses are text, times seconds since the request. */
export interface DhcpLease {
  readonly address: string;
  readonly prefixLength: number;
  /** The server's identifier: its address. */
  readonly server: string;
  readonly routes: readonly value.DhcpRoute[];
  readonly dns: readonly string[];
  readonly domain: string | null;
  readonly search: readonly string[];
  /** MTU that the server wants on this link; null if it did not say. From 576 on it is obeyed. */
  readonly mtu: number | null;
  /** `Infinity` for one without end. */
  readonly leaseSeconds: number;
  /** T1: the server that gave it is asked to prolong it. */
  readonly renewSeconds: number;
  /** T2: any server is asked. */
  readonly rebindSeconds: number;
}

/** RFC 2132 §5.1: no smaller MTU is legal. */
const MIN_MTU = 68;
/** RFC 2131 §4.4.5. */
const RENEW = 0.5;
const REBIND = 0.875;
const DEFAULT_ROUTE = '0.0.0.0/0';

/** Null where it lacks what a lease must have, or offers an address that no host can have. */
export function readLease(message: DhcpMessage): DhcpLease | null {
  const { yiaddr, options } = message;
  const server = value.readAddress(options.get(option.SERVER_ID));
  const leaseSeconds = value.readSeconds(options.get(option.LEASE_TIME));
  if (server === null || leaseSeconds === null || leaseSeconds === 0) return null;
  if (!value.isHostAddress(yiaddr) || !value.isHostAddress(server)) return null;
  const prefixLength = value.readMask(options.get(option.SUBNET_MASK)) ?? classfulLength(yiaddr);
  const prefix = new Prefix(yiaddr, prefixLength);
  // The network's own address and its broadcast address are nobody's.
  if (prefixLength < 31 && (prefix.network.equals(yiaddr) || prefix.broadcast!.equals(yiaddr))) return null;
  const domain = value.readName(options.get(option.DOMAIN_NAME));
  const search = value.readSearch(options.get(option.DOMAIN_SEARCH));
  const mtu = value.readU16(options.get(option.INTERFACE_MTU));
  return {
    address: `${yiaddr}`,
    prefixLength,
    server: `${server}`,
    routes: routesOf(options),
    dns: value.readAddresses(options.get(option.DNS_SERVER)).map(String),
    domain,
    search: search.length > 0 || domain === null ? search : [domain],
    mtu: mtu !== null && mtu >= MIN_MTU ? mtu : null,
    leaseSeconds,
    ...times(options, leaseSeconds),
  };
}

/** RFC 3442: where classless routes are given, the router option is ignored. */
function routesOf(options: option.Options): readonly value.DhcpRoute[] {
  const classless = value.readRoutes(options.get(option.CLASSLESS_ROUTES));
  if (classless !== null) return classless;
  const [router] = value.readAddresses(options.get(option.ROUTER));
  return router === undefined ? [] : [{ prefix: DEFAULT_ROUTE, gateway: `${router}` }];
}

/** RFC 2131 §4.4.5: T1 before T2 before the end; what a server says out of order is not believed. */
function times(
  options: option.Options,
  leaseSeconds: number,
): { renewSeconds: number; rebindSeconds: number } {
  const rebind = value.readSeconds(options.get(option.REBINDING_TIME)) ?? leaseSeconds * REBIND;
  const renew = value.readSeconds(options.get(option.RENEWAL_TIME)) ?? Math.min(leaseSeconds * RENEW, rebind);
  if (renew <= rebind && rebind <= leaseSeconds && renew > 0) {
    return { renewSeconds: renew, rebindSeconds: rebind };
  }
  return { renewSeconds: leaseSeconds * RENEW, rebindSeconds: leaseSeconds * REBIND };
}

/** RFC 791 §2.3, for a server that tells no mask. */
function classfulLength(address: IpAddress): number {
  const first = address.w3 >>> 24;
  return first < 128 ? 8 : first < 192 ? 16 : 24;
}
