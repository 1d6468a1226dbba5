/** Neighbour discovery messages (RFC 4861 §4) and their options. Offsets are from the ICMPv6 header. */
import { IpAddress, MacAddress } from '../address/index.ts';
import { get16, get32 } from '../bytes/index.ts';

export const ROUTER_SOLICITATION = 133;
export const ROUTER_ADVERTISEMENT = 134;
export const NEIGHBOUR_SOLICITATION = 135;
export const NEIGHBOUR_ADVERTISEMENT = 136;
export const REDIRECT = 137;

export const TYPE = 0;
export const CODE = 1;
/** Of solicitations and advertisements of neighbours. */
export const TARGET = 8;
export const NEIGHBOUR_MESSAGE = 24;
export const FLAGS = 4;
export const FLAG_ROUTER = 0x80;
export const FLAG_SOLICITED = 0x40;
export const FLAG_OVERRIDE = 0x20;

export const REDIRECT_LENGTH = 40;

export const ROUTER_SOLICITATION_LENGTH = 8;
export const ROUTER_ADVERTISEMENT_LENGTH = 16;
export const HOP_LIMIT = 4;
export const ROUTER_FLAGS = 5;
export const FLAG_MANAGED = 0x80;
export const FLAG_OTHER = 0x40;
export const ROUTER_LIFETIME = 6;
export const REACHABLE_TIME = 8;
export const RETRANS_TIMER = 12;

export const OPTION_SOURCE_MAC = 1;
export const OPTION_TARGET_MAC = 2;
export const OPTION_PREFIX = 3;
export const OPTION_REDIRECTED = 4;
export const OPTION_MTU = 5;
/** RFC 3971 §5.3.2, used by RFC 7527. */
export const OPTION_NONCE = 14;
/** RFC 4191 §2.3. */
export const OPTION_ROUTE = 24;
/** RFC 8106. */
export const OPTION_DNS_SERVERS = 25;
export const OPTION_DNS_SEARCH = 31;
/** Bytes of a link-layer address option, and of a nonce option with six bytes. */
export const MAC_OPTION = 8;

/** In the flags of a prefix information option. */
export const PREFIX_ON_LINK = 0x80;
export const PREFIX_AUTONOMOUS = 0x40;

/** Whether the options in `bytes[from..end)` are whole and none has length zero (RFC 4861 §6.1, §7.1). */
export function areOptionsSound(bytes: Uint8Array, from: number, end: number): boolean {
  let at = from;
  while (at < end) {
    if (at + 2 > end) return false;
    const length = bytes[at + 1]! << 3;
    if (length === 0 || at + length > end) return false;
    at += length;
  }
  return true;
}

/** Where the first option of `type` begins, or -1. The options are sound. */
export function findOption(bytes: Uint8Array, from: number, end: number, type: number): number {
  for (let at = from; at < end; at += bytes[at + 1]! << 3) if (bytes[at] === type) return at;
  return -1;
}

/** The link-layer address in the first option of `type`, if there is one and it is a station's. */
export function readMac(bytes: Uint8Array, from: number, end: number, type: number): MacAddress | null {
  const at = findOption(bytes, from, end, type);
  if (at < 0 || bytes[at + 1] !== 1) return null;
  const mac = MacAddress.read(bytes, at + 2);
  return mac.isGroup || mac.equals(MacAddress.ZERO) ? null : mac;
}

export function writeMac(bytes: Uint8Array, at: number, type: number, mac: MacAddress): void {
  bytes[at] = type;
  bytes[at + 1] = 1;
  mac.write(bytes, at + 2);
}

/** Bytes of an option. */
export function optionLength(bytes: Uint8Array, option: number): number {
  return bytes[option + 1]! << 3;
}

/** Seconds as unsigned. */
export function getSeconds(bytes: Uint8Array, at: number): number {
  return get32(bytes, at) >>> 0;
}

/** RFC 4191 §2.1: two bits at 0x18; 10 is reserved and means that the route is not to be used, or, of a router, medium. */
export function getPreference(flags: number): -1 | 0 | 1 | null {
  switch ((flags >>> 3) & 3) {
    case 0:
      return 0;
    case 1:
      return 1;
    case 3:
      return -1;
    default:
      return null;
  }
}

/** The addresses of an RDNSS option (RFC 8106 §5.1). */
export function readDnsServers(bytes: Uint8Array, option: number): IpAddress[] {
  const servers: IpAddress[] = [];
  const end = option + optionLength(bytes, option);
  for (let at = option + 8; at + 16 <= end; at += 16) servers.push(new IpAddress().readIpv6(bytes, at));
  return servers;
}

/** The names of a DNSSL option (RFC 8106 §5.2): DNS labels, uncompressed, padded with zeros. Null if they are malformed. */
export function readDnsSearch(bytes: Uint8Array, option: number): string[] | null {
  const names: string[] = [];
  const end = option + optionLength(bytes, option);
  let labels: string[] = [];
  for (let at = option + 8; at < end; ) {
    const length = bytes[at]!;
    if (length === 0) {
      if (labels.length > 0) names.push(labels.join('.'));
      labels = [];
      at++;
      continue;
    }
    if (length > 63 || at + 1 + length > end) return null;
    const label = String.fromCharCode(...bytes.subarray(at + 1, at + 1 + length));
    if (!/^[a-z0-9_-]+$/i.test(label)) return null;
    labels.push(label);
    at += 1 + length;
  }
  return labels.length === 0 ? names : null;
}

export function getMtu(bytes: Uint8Array, option: number): number {
  return get32(bytes, option + 4) >>> 0;
}

export function getRouterLifetime(bytes: Uint8Array, message: number): number {
  return get16(bytes, message + ROUTER_LIFETIME);
}
