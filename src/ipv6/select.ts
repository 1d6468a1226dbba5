/** Default address selection (RFC 6724). */
import { type IpAddress, Prefix } from '../address/index.ts';
import type { OwnAddress } from './own-address.ts';
import { commonPrefix, scopeOf } from './scope.ts';

interface Policy {
  readonly prefix: Prefix;
  readonly precedence: number;
  readonly label: number;
}

function policy(prefix: string, precedence: number, label: number): Policy {
  return { prefix: Prefix.parse(prefix), precedence, label };
}

/** RFC 6724 §2.1; the longest first. `::ffff:0:0/96` is how IPv4 stands here. */
const POLICIES: readonly Policy[] = [
  policy('::1/128', 50, 0),
  policy('::/96', 1, 3),
  policy('2001::/32', 5, 5),
  policy('2002::/16', 30, 2),
  policy('3ffe::/16', 1, 12),
  policy('fec0::/10', 1, 11),
  policy('fc00::/7', 3, 13),
  policy('::/0', 40, 1),
];
const IPV4_POLICY = { precedence: 35, label: 4 };

function policyOf(address: IpAddress): { readonly precedence: number; readonly label: number } {
  if (address.isIpv4) return IPV4_POLICY;
  for (const entry of POLICIES) if (entry.prefix.contains(address)) return entry;
  throw new RangeError('::/0 contains every IPv6 address');
}

/** The best of our assigned addresses for `destination` (RFC 6724 §5), or null if there is none. */
export function selectSource(addresses: readonly OwnAddress[], destination: IpAddress): OwnAddress | null {
  let best: OwnAddress | null = null;
  for (const candidate of addresses) {
    if (!candidate.isAssigned) continue;
    if (best === null || isBetterSource(candidate, best, destination)) best = candidate;
  }
  return best;
}

function isBetterSource(a: OwnAddress, b: OwnAddress, destination: IpAddress): boolean {
  // Rule 1: the same address.
  if (a.address.equals(destination)) return true;
  if (b.address.equals(destination)) return false;
  // Rule 2: appropriate scope.
  const scopeA = scopeOf(a.address);
  const scopeB = scopeOf(b.address);
  if (scopeA !== scopeB) {
    const scope = scopeOf(destination);
    return scopeA < scopeB ? scopeA >= scope : scopeB < scope;
  }
  // Rule 3: no deprecated address.
  if (a.state !== b.state) return a.state === 'preferred';
  // Rules 4 and 5 (home addresses, outgoing interface) have no say on one interface, rule 7 (temporary) none without such.
  // Rule 6: a matching label.
  const { label } = policyOf(destination);
  const labelA = policyOf(a.address).label === label;
  const labelB = policyOf(b.address).label === label;
  if (labelA !== labelB) return labelA;
  // Rule 8: the longest matching prefix, the source's prefix length at most.
  return (
    commonPrefix(a.address, destination, a.prefixLength) >
    commonPrefix(b.address, destination, b.prefixLength)
  );
}

/**
 * `destinations` in the order in which to try them (RFC 6724 §6). `sourceFor`
 * is the source address that a packet would have, null where there is no way.
 */
export function sortDestinations(
  destinations: readonly IpAddress[],
  sourceFor: (destination: IpAddress) => { readonly address: IpAddress; readonly deprecated: boolean } | null,
): IpAddress[] {
  const ranked = destinations.map((destination) => {
    const source = sourceFor(destination);
    const { precedence, label } = policyOf(destination);
    const scope = scopeOf(destination);
    return {
      destination,
      // Rules 1 to 3, 5 to 8, each as a number of which the higher is better.
      keys: [
        source !== null ? 1 : 0,
        source !== null && scopeOf(source.address) === scope ? 1 : 0,
        source?.deprecated === true ? 0 : 1,
        source !== null && policyOf(source.address).label === label ? 1 : 0,
        precedence,
        -scope,
      ],
      // Rule 9, which compares addresses of one family only. RFC 6724 §6 allows leaving it out for IPv4, where it breaks round robin.
      matching: source === null || destination.isIpv4 ? -1 : commonPrefix(source.address, destination, 64),
    };
  });
  // Rule 10: the sort is stable.
  ranked.sort((a, b) => {
    for (let i = 0; i < a.keys.length; i++) {
      const difference = b.keys[i]! - a.keys[i]!;
      if (difference !== 0) return difference;
    }
    return a.destination.isIpv4 === b.destination.isIpv4 ? b.matching - a.matching : 0;
  });
  return ranked.map(({ destination }) => destination);
}
