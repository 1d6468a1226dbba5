/** The UDP header (RFC 768): four 16-bit fields. `start` is the header's first byte. */
import { get16, set16 } from '../bytes/index.ts';

/** Header bytes. */
export const HEADER = 8;
/** Distance of the checksum field from the header's start, for devices that complete it. */
export const CHECKSUM_OFFSET = 6;

export function sourcePort(bytes: Uint8Array, start: number): number {
  return get16(bytes, start);
}

export function destinationPort(bytes: Uint8Array, start: number): number {
  return get16(bytes, start + 2);
}

/** Header and data, in bytes. */
export function length(bytes: Uint8Array, start: number): number {
  return get16(bytes, start + 4);
}

export function checksum(bytes: Uint8Array, start: number): number {
  return get16(bytes, start + CHECKSUM_OFFSET);
}

export function setSourcePort(bytes: Uint8Array, start: number, port: number): void {
  set16(bytes, start, port);
}

export function setDestinationPort(bytes: Uint8Array, start: number, port: number): void {
  set16(bytes, start + 2, port);
}

export function setLength(bytes: Uint8Array, start: number, bytesOfHeaderAndData: number): void {
  set16(bytes, start + 4, bytesOfHeaderAndData);
}

export function setChecksum(bytes: Uint8Array, start: number, value: number): void {
  set16(bytes, start + CHECKSUM_OFFSET, value);
}
