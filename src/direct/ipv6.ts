import { IpAddress, Prefix } from '../address/index.ts';
import { NetError } from '../errors.ts';
import type { Ipv6Configuration } from '../ipv6/index.ts';

export interface DirectIpv6Options {
  /**
   * `auto`: a link-local address, and what routers advertise (SLAAC). `link-local`:
   * that address only. An address with prefix length, as `2001:db8::2/64`: this
   * one and a link-local one, and routers are not listened to. Default false:
   * addresses are asked for before they are used (RFC 4862 §5.4), which makes
   * `ready()` one to two seconds later.
   */
  readonly ipv6?: 'auto' | 'link-local' | (string & {}) | false;
  /** IPv6 address of the default router, besides those that are advertised. */
  readonly gateway6?: string;
  /** Kept by who wants the same automatic addresses at every start (RFC 7217): any text that others cannot guess. Random by default. */
  readonly ipv6Secret?: string;
  readonly probeAddress?: boolean;
}

/** Null where IPv6 is off. Throws `TypeError` or `RangeError` for an address that is none. */
export function parseIpv6Options(options: DirectIpv6Options): Ipv6Configuration | null {
  const { ipv6 = false, gateway6, ipv6Secret, probeAddress = true } = options;
  if (ipv6 === false) return null;
  return {
    address: ipv6 === 'auto' || ipv6 === 'link-local' ? null : ipv6Prefix(ipv6),
    autoconfigure: ipv6 === 'auto',
    gateway: gateway6 === undefined ? null : ipv6Address(gateway6),
    detect: probeAddress,
    ...(ipv6Secret === undefined ? {} : { secret: new TextEncoder().encode(ipv6Secret) }),
  };
}

function ipv6Prefix(text: string): Prefix {
  const prefix = Prefix.parse(text);
  const { address } = prefix;
  if (address.isIpv4 || address.isMulticast || address.isUnspecified || address.isLoopback) {
    throw new TypeError(`not an IPv6 address that a host can have: ${text}`);
  }
  return prefix;
}

function ipv6Address(text: string): IpAddress {
  const address = IpAddress.parse(text);
  if (address.isIpv4) throw new TypeError(`not an IPv6 address: ${text}`);
  return address;
}

/** What an address with a zone is looked up in. */
export interface Zone {
  readonly name: string;
  /** What `IpAddress.scope` says of it; one less than the number that stands for the name (RFC 4007 §11.2). */
  readonly index: number;
}

/**
 * `fe80::1%tap0` (RFC 4007 §11) as the address on the interface that the zone
 * names, by name or number; null if the text has none. Throws `ENOTFOUND` where
 * there is no such interface.
 */
export function parseZoned(text: string, zones: readonly Zone[]): IpAddress | null {
  const percent = text.indexOf('%');
  if (percent < 0) return null;
  const address = IpAddress.tryParse(text.slice(0, percent));
  if (address === null || address.isIpv4) return null;
  const name = text.slice(percent + 1);
  const zone = zones.find((one) => one.name === name || `${one.index + 1}` === name);
  if (zone === undefined) {
    throw new NetError('ENOTFOUND', {
      syscall: 'getaddrinfo',
      address: text,
      reason: `no interface ${name}, only ${zones.map((one) => one.name).join(', ')}`,
    });
  }
  address.scope = zone.index;
  return address;
}
