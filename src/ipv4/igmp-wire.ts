/** Internet group management: version 3 (RFC 3376 §4), 2 (RFC 2236 §2), 1 (RFC 1112 appendix I). */
import { IpAddress } from '../address/index.ts';
import { get16, set16 } from '../bytes/index.ts';
import type { GroupRecord } from '../internet/index.ts';

export const MEMBERSHIP_QUERY = 0x11;
export const REPORT_V1 = 0x12;
export const REPORT_V2 = 0x16;
export const LEAVE_V2 = 0x17;
export const REPORT_V3 = 0x22;

/** Bytes of a message of version 1 or 2, and of a query of version 3 without sources. */
export const MESSAGE = 8;
export const QUERY_V3 = 12;
export const REPORT_HEADER = 8;
export const RECORD = 8;
export const SOURCE = 4;

export const CHECKSUM = 2;

/** In tenths of a second; version 3 has it as a code (§4.1.1). */
export function getMaxResponse(bytes: Uint8Array, message: number): number {
  return bytes[message + 1]!;
}

export function getGroup(bytes: Uint8Array, message: number): IpAddress {
  return new IpAddress().readIpv4(bytes, message + 4);
}

export function setGroup(bytes: Uint8Array, message: number, group: IpAddress): void {
  group.writeIpv4(bytes, message + 4);
}

/** Querier's robustness variable (§4.1.6): three bits. */
export function getRobustness(bytes: Uint8Array, message: number): number {
  return bytes[message + 8]! & 7;
}

/** Querier's query interval code (§4.1.7). */
export function getIntervalCode(bytes: Uint8Array, message: number): number {
  return bytes[message + 9]!;
}

export function getSourceCount(bytes: Uint8Array, message: number): number {
  return get16(bytes, message + 10);
}

export function getSource(bytes: Uint8Array, message: number, index: number): IpAddress {
  return new IpAddress().readIpv4(bytes, message + QUERY_V3 + SOURCE * index);
}

export function setRecordCount(bytes: Uint8Array, message: number, count: number): void {
  set16(bytes, message + 6, count);
}

/** Writes a record (§4.2.4) at `at`; answers one past it. */
export function writeRecord(bytes: Uint8Array, at: number, { kind, group, sources }: GroupRecord): number {
  bytes[at] = kind;
  bytes[at + 1] = 0;
  set16(bytes, at + 2, sources.length);
  group.writeIpv4(bytes, at + 4);
  let next = at + RECORD;
  for (const source of sources) {
    source.writeIpv4(bytes, next);
    next += SOURCE;
  }
  return next;
}
