import { get32 } from '../bytes/index.ts';
import { complement, sum } from '../checksum/index.ts';
import {
  getHeaderLength,
  getTotalLength,
  getVersion,
  HEADER,
  OPTION_END,
  OPTION_LOOSE_SOURCE_ROUTE,
  OPTION_NOP,
  OPTION_STRICT_SOURCE_ROUTE,
  SOURCE,
} from './wire.ts';

/**
 * Whether `bytes[start..end)` begins with a sound IPv4 header (RFC 1122
 * §3.2.1.1, §3.2.1.2; RFC 1812 §5.2.2), with options not yet looked at.
 */
export function isSoundHeader(bytes: Uint8Array, start: number, end: number): boolean {
  if (end - start < HEADER || getVersion(bytes, start) !== 4) return false;
  const headerLength = getHeaderLength(bytes, start);
  const totalLength = getTotalLength(bytes, start);
  if (headerLength < HEADER || totalLength < headerLength || totalLength > end - start) return false;
  return complement(sum(bytes, start, start + headerLength)) === 0;
}

/** Answers of {@link checkOptions} that are not the position of a fault. */
export const OPTIONS_GOOD = -1;
export const OPTIONS_SOURCE_ROUTE = -2;

/**
 * Walks the options. None changes anything here (RFC 1122 §3.2.1.8 lets a host
 * ignore all but source routes, and it may refuse those). A malformed option
 * gives its offset in the header: the pointer of a parameter problem.
 */
export function checkOptions(bytes: Uint8Array, header: number, headerLength: number): number {
  let at = HEADER;
  while (at < headerLength) {
    const type = bytes[header + at]!;
    if (type === OPTION_END) return OPTIONS_GOOD;
    if (type === OPTION_NOP) {
      at++;
      continue;
    }
    // RFC 7126 §4.3, §4.4: dropped without a word by default.
    if (type === OPTION_LOOSE_SOURCE_ROUTE || type === OPTION_STRICT_SOURCE_ROUTE)
      return OPTIONS_SOURCE_ROUTE;
    const length = at + 1 < headerLength ? bytes[header + at + 1]! : 0;
    if (length < 2 || at + length > headerLength) return at;
    at += length;
  }
  return OPTIONS_GOOD;
}

/**
 * Whether a packet from the wire may have this source (RFC 1122 §3.2.1.3): not
 * "this network" (but 0.0.0.0 itself where `mayBeUnspecified`: a DHCP client uses
 * it toward a broadcast, a querier without an address toward groups), not
 * loopback, multicast, class E or broadcast.
 */
export function isWireSource(bytes: Uint8Array, header: number, mayBeUnspecified: boolean): boolean {
  const source = get32(bytes, header + SOURCE);
  const first = source >>> 24;
  if (first === 0) return source === 0 && mayBeUnspecified;
  return first !== 127 && first < 224;
}
