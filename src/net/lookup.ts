import dns from 'node:dns';
import { isIP, type LookupFunction } from 'node:net';
import { hold, release } from './handle.ts';
import { codeOf, invalidArgValue, lookupException } from './node-errors.ts';
import type { Network } from './transport.ts';

const HINTS = dns.ADDRCONFIG | dns.V4MAPPED | dns.ALL;

/** `dns.lookup` by a stack's own resolver. */
export function createLookup(network: Network): LookupFunction {
  return (hostname, options, callback) => {
    const { hints = 0 } = options;
    if ((hints & ~HINTS) !== 0) throw invalidArgValue('hints', hints);
    const family = familyOf(options.family);
    const answer = (addresses: readonly string[]): void => {
      const found = addresses
        .map((address) => ({ address, family: isIP(address) }))
        .filter((entry) => entry.family !== 0 && (family === 0 || entry.family === family))
        // Addresses of a family that we have no way out by are no use (`AI_ADDRCONFIG`).
        .filter((entry) => !(hints & dns.ADDRCONFIG) || entry.family === 4 || network.hasIpv6);
      const [first] = found;
      if (first === undefined) callback(lookupException('ENOTFOUND', hostname), '', 0);
      else if (options.all) callback(null, found);
      else callback(null, first.address, first.family);
    };
    if (isIP(hostname) !== 0) {
      process.nextTick(answer, [hostname]);
      return;
    }
    hold();
    network
      .resolve(hostname)
      .then(
        // Outside the promise: what a listener throws is its own error.
        (addresses) => process.nextTick(answer, addresses),
        (error) => process.nextTick(callback, lookupException(codeOf(error), hostname), '', 0),
      )
      .finally(release);
  };
}

/** 4, 6, or 0 for both. */
export function familyOf(family: unknown): number {
  if (family === 'IPv4' || family === 4) return 4;
  if (family === 'IPv6' || family === 6) return 6;
  return 0;
}
