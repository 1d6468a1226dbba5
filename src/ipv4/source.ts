/** Which address of ours packets come from (RFC 1122 §3.3.4.3). */
import { IpAddress } from '../address/index.ts';
import { NetError } from '../errors.ts';
import type { Ipv4 } from './ipv4.ts';
import { scopeLink } from './ways.ts';

const LOCALHOST = IpAddress.parse('127.0.0.1');

/** `source` if that is ours, which may be somebody's cursor; the address toward `destination` if none is given. */
export function selectSource(ip: Ipv4, destination: IpAddress, source: IpAddress | undefined): IpAddress {
  if (destination.isUnspecified || !destination.isIpv4) {
    throw new NetError('EINVAL', {
      syscall: 'connect',
      address: `${destination}`,
      reason: 'no IPv4 destination',
    });
  }
  if (source !== undefined && !source.isUnspecified) {
    if (!ip.isLocal(source)) {
      throw new NetError('EADDRNOTAVAIL', {
        syscall: 'bind',
        address: `${source}`,
        reason: 'not an address of ours',
      });
    }
    return source;
  }
  if (destination.isLoopback) return LOCALHOST;
  const own = addressToward(ip, destination);
  if (own !== null) return own;
  // A DHCP client has no address yet (RFC 2131 §4.1).
  if (destination.isLimitedBroadcast) return IpAddress.ANY_IPV4;
  throw new NetError('ENETUNREACH', {
    syscall: 'connect',
    address: `${destination}`,
    reason: 'no address on any interface',
  });
}

/** RFC 1122 §3.3.4.3: the address of the interface that the route leaves by. */
export function addressToward(ip: Ipv4, destination: IpAddress): IpAddress | null {
  if (destination.isLimitedBroadcast || (destination.isMulticast && destination.scope !== 0)) {
    return scopeLink(ip, destination)?.address?.address ?? null;
  }
  const own = ip.linkOf(destination) ?? ip.routes.lookup(destination)?.link;
  const link = own?.address ? own : ip.links.find((candidate) => candidate.address !== null);
  return link?.address?.address ?? null;
}
