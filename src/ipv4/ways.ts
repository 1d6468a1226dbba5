/** By which link, to which next hop, and how large packets leave (RFC 1122 §3.3). */
import type { IpAddress } from '../address/index.ts';
import { multicastMac } from './igmp.ts';
import type { Ipv4 } from './ipv4.ts';
import type { Link } from './link.ts';
import type { Way } from './path.ts';
import type { Route } from './routes.ts';

/** RFC 1112 §6.1: multicast stays on the link unless the application says otherwise. */
const MULTICAST_TTL = 1;

export function findWay(ip: Ipv4, destination: IpAddress, source: IpAddress): Way {
  if (!ip.isLocal(source) && !source.isUnspecified) return { kind: 'none' };
  if (ip.isLocal(destination)) return { kind: 'loopback' };
  // RFC 1122 §3.2.1.3 (g): loopback addresses stay inside.
  if (source.isLoopback) return { kind: 'none' };
  if (ip.isBroadcast(destination)) return wayToEverybody(ip, destination);
  if (destination.isMulticast) return wayToGroup(ip, destination, source);
  // An address of ours is needed to be answered, and to ask for neighbours.
  if (source.isUnspecified) return { kind: 'none' };
  const route = routeFrom(ip, destination, source);
  if (route === null) return { kind: 'none' };
  const { link, gateway } = route;
  return {
    kind: 'link',
    link,
    nextHop: (gateway ?? destination).w3,
    group: null,
    mtu: Math.min(link.mtu, ip.pathMtu.get(destination.w3) ?? link.mtu),
    mayFragment: ip.pathMtu.mayFragment(destination.w3),
    ttl: ip.egress.defaultTtl,
  };
}

function wayToEverybody(ip: Ipv4, destination: IpAddress): Way {
  const link =
    ip.links.find((candidate) => candidate.isDirectedBroadcast(destination)) ?? scopeLink(ip, destination);
  if (link === null) return { kind: 'none' };
  return {
    kind: 'link',
    link,
    nextHop: destination.w3,
    group: link.everybody,
    mtu: link.mtu,
    mayFragment: false,
    ttl: ip.egress.defaultTtl,
  };
}

function wayToGroup(ip: Ipv4, destination: IpAddress, source: IpAddress): Way {
  const link = destination.scope === 0 ? ip.linkOf(source) : scopeLink(ip, destination);
  if (link === null) return { kind: 'none' };
  const group = link.arp.permanent(destination.w3, multicastMac(destination));
  return {
    kind: 'link',
    link,
    nextHop: destination.w3,
    group,
    mtu: link.mtu,
    mayFragment: false,
    ttl: MULTICAST_TTL,
  };
}

/** The link that a broadcast or multicast destination means. */
export function scopeLink(ip: Ipv4, { scope }: IpAddress): Link | null {
  return ip.links.find((link) => link.index === scope) ?? null;
}

/** RFC 1122 §3.3.4.2: by the interface of the source, or by any. */
function routeFrom(ip: Ipv4, destination: IpAddress, source: IpAddress): Route | null {
  return ip.routes.lookup(destination, ip.linkOf(source), ip.strong);
}
