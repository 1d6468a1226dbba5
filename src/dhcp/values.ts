/** What options hold. Readers answer null, or an empty list, for what is not well-formed. */
import { IpAddress, Prefix } from '../address/index.ts';
import { get16, get32, set16, set32 } from '../bytes/index.ts';

/** A route that a server tells; `gateway` null where the prefix is on the link itself. */
export interface DhcpRoute {
  readonly prefix: string;
  readonly gateway: string | null;
}

/** Most addresses, names or routes that are taken from one option. */
const MOST = 64;
const MAX_NAME = 253;

export function readU16(value: Uint8Array | undefined): number | null {
  return value?.length === 2 ? get16(value, 0) : null;
}

/** Seconds, as an unsigned number; `Infinity` for 0xffffffff (RFC 2131 §3.3). */
export function readSeconds(value: Uint8Array | undefined): number | null {
  if (value?.length !== 4) return null;
  const seconds = get32(value, 0) >>> 0;
  return seconds === 0xffffffff ? Infinity : seconds;
}

export function readAddress(value: Uint8Array | undefined): IpAddress | null {
  return value?.length === 4 ? new IpAddress().readIpv4(value, 0) : null;
}

/** Addresses that a host can have, in order. */
export function readAddresses(value: Uint8Array | undefined): IpAddress[] {
  const addresses: IpAddress[] = [];
  if (value === undefined || value.length % 4 !== 0) return addresses;
  for (let at = 0; at < value.length && addresses.length < MOST; at += 4) {
    const address = new IpAddress().readIpv4(value, at);
    if (isHostAddress(address)) addresses.push(address);
  }
  return addresses;
}

/** Whether a host on an Ethernet may have `address`. */
export function isHostAddress(address: IpAddress): boolean {
  return (
    address.isIpv4 && address.w3 >>> 24 !== 0 && address.w3 >>> 28 < 14 && !address.isLoopback // classes D and E are nobody's
  );
}

/** The prefix length of a subnet mask; null if its ones are not in front. */
export function readMask(value: Uint8Array | undefined): number | null {
  if (value?.length !== 4) return null;
  const mask = get32(value, 0);
  const length = Math.clz32(~mask);
  return mask === maskOf(length) && length > 0 ? length : null;
}

export function maskOf(length: number): number {
  return length === 0 ? 0 : -1 << (32 - length);
}

/** RFC 3442: width, as many octets of the destination as are significant, router. */
export function readRoutes(value: Uint8Array | undefined): DhcpRoute[] | null {
  if (value === undefined || value.length < 5) return null;
  const routes: DhcpRoute[] = [];
  for (let at = 0; at < value.length && routes.length < MOST; ) {
    const width = value[at++]!;
    const octets = Math.ceil(width / 8);
    if (width > 32 || at + octets + 4 > value.length) return null;
    const bytes = new Uint8Array(4);
    bytes.set(value.subarray(at, at + octets));
    const gateway = new IpAddress().readIpv4(value, at + octets);
    at += octets + 4;
    // RFC 3442: bits beyond the width are cleared, and 0.0.0.0 as router means on this link.
    const prefix = new Prefix(new Prefix(new IpAddress().readIpv4(bytes, 0), width).network, width);
    if (gateway.isUnspecified) routes.push({ prefix: `${prefix}`, gateway: null });
    else if (isHostAddress(gateway)) routes.push({ prefix: `${prefix}`, gateway: `${gateway}` });
  }
  return routes;
}

/** A host or domain name in ASCII (RFC 1123 §2.1), lower case; null if it is none. */
export function readName(value: Uint8Array | undefined): string | null {
  if (value === undefined) return null;
  // Some servers count a C string's terminator.
  const text = String.fromCharCode(...value.subarray(0, MAX_NAME + 2)).replace(/[\0.]+$/, '');
  return isName(text) ? text.toLowerCase() : null;
}

function isName(text: string): boolean {
  return text.length <= MAX_NAME && /^[\w-]{1,63}(\.[\w-]{1,63})*$/.test(text);
}

/** RFC 3397: names in the DNS's form, compressed within the option. */
export function readSearch(value: Uint8Array | undefined): string[] {
  const names: string[] = [];
  for (let at = 0; value !== undefined && at < value.length && names.length < MOST; ) {
    const read = readWireName(value, at);
    if (read === null) return names;
    if (isName(read.name) && !names.includes(read.name)) names.push(read.name);
    at = read.next;
  }
  return names;
}

function readWireName(value: Uint8Array, from: number): { name: string; next: number } | null {
  const labels: string[] = [];
  let next = -1;
  let length = 0;
  let lowest = from;
  for (let at = from; at < value.length; ) {
    const head = value[at]!;
    if (head === 0) {
      return { name: labels.join('.').toLowerCase(), next: next < 0 ? at + 1 : next };
    }
    if ((head & 0xc0) === 0xc0) {
      if (at + 1 >= value.length) return null;
      if (next < 0) next = at + 2;
      // RFC 1035 §4.1.4: a prior occurrence; always further back, so it ends.
      const target = get16(value, at) & 0x3fff;
      if (target >= lowest) return null;
      lowest = target;
      at = target;
      continue;
    }
    length += head + 1;
    if (head > 63 || length > MAX_NAME + 1 || at + 1 + head > value.length) return null;
    labels.push(String.fromCharCode(...value.subarray(at + 1, at + 1 + head)));
    at += 1 + head;
  }
  return null;
}

export function u16(value: number): Uint8Array {
  const bytes = new Uint8Array(2);
  set16(bytes, 0, value);
  return bytes;
}

export function u32(value: number): Uint8Array {
  const bytes = new Uint8Array(4);
  set32(bytes, 0, value);
  return bytes;
}

export function addressBytes(...addresses: readonly IpAddress[]): Uint8Array {
  const bytes = new Uint8Array(4 * addresses.length);
  addresses.forEach((address, i) => {
    address.writeIpv4(bytes, 4 * i);
  });
  return bytes;
}

export function routeBytes(routes: readonly DhcpRoute[]): Uint8Array {
  const bytes: number[] = [];
  for (const { prefix: text, gateway } of routes) {
    const prefix = Prefix.parse(text);
    const octets = Math.ceil(prefix.length / 8);
    bytes.push(prefix.length, ...addressBytes(prefix.network).subarray(0, octets));
    bytes.push(...addressBytes(gateway === null ? IpAddress.ANY_IPV4 : IpAddress.parse(gateway)));
  }
  return Uint8Array.from(bytes);
}

export function searchBytes(names: readonly string[]): Uint8Array {
  const bytes: number[] = [];
  for (const name of names) {
    for (const label of name.split('.')) bytes.push(label.length, ...new TextEncoder().encode(label));
    bytes.push(0);
  }
  return Uint8Array.from(bytes);
}
