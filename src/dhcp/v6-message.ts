/** Messages of DHCPv6 (RFC 8415 §8, §21), as far as a host without addresses from it needs them. */
import { IpAddress, type MacAddress } from '../address/index.ts';
import { get16, get32, set16, set32 } from '../bytes/index.ts';
import { readSearch } from './values.ts';

export const INFORMATION_REQUEST = 11;
export const REPLY = 7;

const OPTION_CLIENT_ID = 1;
const OPTION_SERVER_ID = 2;
const OPTION_REQUEST = 6;
const OPTION_ELAPSED = 8;
/** RFC 3646. */
const OPTION_DNS_SERVERS = 23;
const OPTION_DOMAINS = 24;
const OPTION_REFRESH = 32;
const OPTION_INF_MAX_RT = 83;

const HEADER = 4;
const OPTION_HEADER = 4;
/** DUID-LL (§11.4): type 3, hardware type 1, and the address. */
const DUID_LENGTH = 10;
/** Servers that are taken from one message. */
const MAX_SERVERS = 8;
const WANTED = [OPTION_DNS_SERVERS, OPTION_DOMAINS, OPTION_REFRESH, OPTION_INF_MAX_RT];

/** What a server tells a host that needs no address. Times in seconds, null where it does not say. */
export interface Dhcp6Configuration {
  readonly dns: readonly string[];
  readonly search: readonly string[];
  readonly refreshSeconds: number | null;
  readonly maxRetransmitSeconds: number | null;
}

/** `elapsed` in hundredths of a second, at most 65,535. */
export function encodeInformationRequest(xid: number, mac: MacAddress, elapsed: number): Uint8Array {
  const duid = duidOf(mac);
  const bytes = new Uint8Array(HEADER + 3 * OPTION_HEADER + duid.length + 2 * WANTED.length + 2);
  set32(bytes, 0, (INFORMATION_REQUEST << 24) | (xid & 0xffffff));
  let at = putOption(bytes, HEADER, OPTION_CLIENT_ID, duid.length);
  bytes.set(duid, at);
  at = putOption(bytes, at + duid.length, OPTION_REQUEST, 2 * WANTED.length);
  for (const code of WANTED) {
    set16(bytes, at, code);
    at += 2;
  }
  at = putOption(bytes, at, OPTION_ELAPSED, 2);
  set16(bytes, at, Math.min(elapsed, 0xffff));
  return bytes;
}

/** Null for what is no reply to our request `xid` (§16.10). */
export function readReply(bytes: Uint8Array, xid: number, mac: MacAddress): Dhcp6Configuration | null {
  if (bytes.length < HEADER || get32(bytes, 0) !== ((REPLY << 24) | (xid & 0xffffff))) return null;
  const options = new Map<number, Uint8Array>();
  for (let at = HEADER; at < bytes.length; ) {
    if (at + OPTION_HEADER > bytes.length) return null;
    const end = at + OPTION_HEADER + get16(bytes, at + 2);
    if (end > bytes.length) return null;
    const code = get16(bytes, at);
    // §21.1: none of those that are read may occur twice; the first counts.
    if (!options.has(code)) options.set(code, bytes.subarray(at + OPTION_HEADER, end));
    at = end;
  }
  if (!options.has(OPTION_SERVER_ID)) return null;
  const client = options.get(OPTION_CLIENT_ID);
  if (client !== undefined && !isSame(client, duidOf(mac))) return null;
  return {
    dns: readServers(options.get(OPTION_DNS_SERVERS)),
    search: readSearch(options.get(OPTION_DOMAINS)),
    refreshSeconds: readSeconds(options.get(OPTION_REFRESH)),
    maxRetransmitSeconds: readSeconds(options.get(OPTION_INF_MAX_RT)),
  };
}

function duidOf(mac: MacAddress): Uint8Array {
  const duid = new Uint8Array(DUID_LENGTH);
  set16(duid, 0, 3);
  set16(duid, 2, 1);
  mac.write(duid, 4);
  return duid;
}

function putOption(bytes: Uint8Array, at: number, code: number, length: number): number {
  set16(bytes, at, code);
  set16(bytes, at + 2, length);
  return at + OPTION_HEADER;
}

function readServers(value: Uint8Array | undefined): string[] {
  const servers: string[] = [];
  if (value === undefined || value.length % 16 !== 0) return servers;
  for (let at = 0; at < value.length && servers.length < MAX_SERVERS; at += 16) {
    const address = new IpAddress().readIpv6(value, at);
    if (!address.isIpv4 && !address.isMulticast && !address.isUnspecified && !address.isLoopback) {
      servers.push(`${address}`);
    }
  }
  return servers;
}

function readSeconds(value: Uint8Array | undefined): number | null {
  return value?.length === 4 ? get32(value, 0) >>> 0 : null;
}

function isSame(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && a.every((byte, i) => byte === b[i]);
}
