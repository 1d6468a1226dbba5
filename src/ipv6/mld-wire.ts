/** Multicast listener discovery: version 2 (RFC 3810 §5), version 1 (RFC 2710 §3). */
import { IpAddress } from '../address/index.ts';
import { get16, set16 } from '../bytes/index.ts';
import type { GroupRecord } from '../internet/index.ts';

export const LISTENER_QUERY = 130;
export const LISTENER_REPORT_V1 = 131;
export const LISTENER_DONE_V1 = 132;
export const LISTENER_REPORT_V2 = 143;

/** Bytes of a message of version 1, and of a query of version 2 without sources. */
export const MESSAGE_V1 = 24;
export const QUERY_V2 = 28;
export const REPORT_HEADER = 8;
export const RECORD = 20;
export const SOURCE = 16;

export function getMaxResponseCode(bytes: Uint8Array, message: number): number {
  return get16(bytes, message + 4);
}

export function getGroup(bytes: Uint8Array, message: number): IpAddress {
  return new IpAddress().readIpv6(bytes, message + 8);
}

/** Querier's robustness variable (§5.1.8): three bits. */
export function getRobustness(bytes: Uint8Array, message: number): number {
  return bytes[message + 24]! & 7;
}

/** Querier's query interval code (§5.1.9). */
export function getIntervalCode(bytes: Uint8Array, message: number): number {
  return bytes[message + 25]!;
}

export function getSourceCount(bytes: Uint8Array, message: number): number {
  return get16(bytes, message + 26);
}

export function getSource(bytes: Uint8Array, message: number, index: number): IpAddress {
  return new IpAddress().readIpv6(bytes, message + QUERY_V2 + SOURCE * index);
}

export function setRecordCount(bytes: Uint8Array, message: number, count: number): void {
  set16(bytes, message + 6, count);
}

/** Writes a record (§5.2.4) at `at`; answers one past it. */
export function writeRecord(bytes: Uint8Array, at: number, { kind, group, sources }: GroupRecord): number {
  bytes[at] = kind;
  bytes[at + 1] = 0;
  set16(bytes, at + 2, sources.length);
  group.writeIpv6(bytes, at + 4);
  let next = at + RECORD;
  for (const source of sources) {
    source.writeIpv6(bytes, next);
    next += SOURCE;
  }
  return next;
}

/** §5.1.3: beyond 15 bits, a mantissa of twelve bits and an exponent of three. */
export function responseDelay(code: number): number {
  if (code < 0x8000) return code;
  return ((code & 0xfff) | 0x1000) << (((code >>> 12) & 7) + 3);
}
