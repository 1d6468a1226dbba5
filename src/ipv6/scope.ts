/** Kinds of IPv6 address (RFC 4291, RFC 4007, RFC 7346). */
import { IpAddress, MacAddress } from '../address/index.ts';

/** Scope values of RFC 7346 §2, which RFC 6724 §3.1 uses for unicast addresses too. */
export const SCOPE_INTERFACE = 1;
export const SCOPE_LINK = 2;
export const SCOPE_SITE = 5;
export const SCOPE_GLOBAL = 14;

export const LOCALHOST = IpAddress.parse('::1');
export const ALL_NODES = IpAddress.parse('ff02::1');
export const ALL_ROUTERS = IpAddress.parse('ff02::2');
export const ALL_MLDV2_ROUTERS = IpAddress.parse('ff02::16');

/** `fe80::/10`. */
export function isLinkLocal(address: IpAddress): boolean {
  return address.w0 >>> 22 === 0x3fa;
}

/** RFC 4291 §2.5.7; deprecated, but RFC 6724 §3.1 still tells them apart. */
function isSiteLocal(address: IpAddress): boolean {
  return address.w0 >>> 22 === 0x3fb;
}

/** RFC 6724 §3.1 and §3.2: loopback and IPv4 autoconfiguration addresses are link-local, all other IPv4 is global. */
export function scopeOf(address: IpAddress): number {
  if (address.isIpv4) {
    return address.isLoopback || address.w3 >>> 16 === 0xa9fe ? SCOPE_LINK : SCOPE_GLOBAL;
  }
  if (address.isMulticast) return (address.w0 >>> 16) & 15;
  if (isLinkLocal(address) || address.isLoopback) return SCOPE_LINK;
  return isSiteLocal(address) ? SCOPE_SITE : SCOPE_GLOBAL;
}

/** RFC 4291 §2.7.1: `ff02::1:ff` and the low 24 bits. */
export function solicitedNode(address: IpAddress): IpAddress {
  return new IpAddress().setWords(0xff020000, 0, 1, 0xff000000 | (address.w3 & 0xffffff));
}

/** Whether `group` is {@link solicitedNode} of `address`. */
export function isSolicitedNodeOf(group: IpAddress, address: IpAddress): boolean {
  return group.w2 === 1 && group.w1 === 0 && group.w3 === (0xff000000 | (address.w3 & 0xffffff));
}

/** RFC 2464 §7: 33:33 and the low 32 bits. */
export function multicastMac(group: IpAddress): MacAddress {
  return new MacAddress(0x3333, group.w3);
}

/**
 * Whether an address may not stand in a packet on a wire: `::1`, and everything
 * in `::ffff:0:0/96`, which inside this stack means IPv4 (RFC 4942 §2.2).
 */
export function isNeverOnWire(address: IpAddress): boolean {
  return address.isIpv4 || address.isLoopback;
}

/** Leading bits that two addresses share: RFC 6724 §2.2's common prefix length, at most `limit`. */
export function commonPrefix(a: IpAddress, b: IpAddress, limit: number): number {
  const bits =
    a.w0 !== b.w0
      ? Math.clz32(a.w0 ^ b.w0)
      : a.w1 !== b.w1
        ? 32 + Math.clz32(a.w1 ^ b.w1)
        : a.w2 !== b.w2
          ? 64 + Math.clz32(a.w2 ^ b.w2)
          : 96 + Math.clz32(a.w3 ^ b.w3);
  return Math.min(bits, limit);
}
