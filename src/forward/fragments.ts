import { copy, set16 } from '../bytes/index.ts';
import { complement, sum } from '../checksum/index.ts';
import {
  FLAGS_FRAGMENT,
  getFlagsFragment,
  getHeaderLength,
  IPV4_CHECKSUM,
  IPV4_HEADER,
  MORE_FRAGMENTS,
  OFFSET_MASK,
  OPTION_END,
  OPTION_NOP,
  TOTAL_LENGTH,
  VERSION_IHL,
} from '../ipv4/index.ts';
import type { Frame } from '../netif/netif.ts';
import type { Exit } from './exit.ts';
import type { Hop } from './hop.ts';

/** RFC 791 §3.1: options of this bit are in every fragment. */
const COPIED = 0x80;

/**
 * Cuts an IPv4 packet (or a fragment of one) at `whole.bytes[0]`, whose checksums
 * are complete, into fragments that the next link carries (RFC 791 §3.2). How many
 * went out; the rest found no room.
 */
export function sendFragments(whole: Frame, exit: Exit, hop: Hop): number {
  const { bytes, end } = whole;
  const headerLength = getHeaderLength(bytes, 0);
  const word = getFlagsFragment(bytes, 0);
  let length = headerLength;
  let sent = 0;
  for (let from = headerLength; from < end; ) {
    const to = Math.min(from + ((hop.mtu - length) & ~7), end);
    const frame = exit.reserve(length + to - from, hop);
    if (frame === null) return sent;
    const { at } = exit;
    const { bytes: out } = frame;
    copy(out, at, bytes, 0, IPV4_HEADER);
    if (sent === 0) copy(out, at + IPV4_HEADER, bytes, IPV4_HEADER, headerLength);
    else length = IPV4_HEADER + copyOptions(out, at + IPV4_HEADER, bytes, headerLength);
    copy(out, at + length, bytes, from, to);
    const offset = (word & OFFSET_MASK) + ((from - headerLength) >>> 3);
    const more = to < end ? MORE_FRAGMENTS : word & MORE_FRAGMENTS;
    out[at + VERSION_IHL] = 0x40 | (length >>> 2);
    set16(out, at + TOTAL_LENGTH, length + to - from);
    set16(out, at + FLAGS_FRAGMENT, more | offset);
    set16(out, at + IPV4_CHECKSUM, 0);
    set16(out, at + IPV4_CHECKSUM, complement(sum(out, at, at + length)));
    exit.commit(frame, hop);
    sent++;
    from = to;
    length = IPV4_HEADER + copiedLength(bytes, headerLength);
  }
  return sent;
}

/** Bytes of the options that go into later fragments, padded to whole words. */
function copiedLength(bytes: Uint8Array, headerLength: number): number {
  let length = 0;
  for (let at = IPV4_HEADER; at < headerLength; ) {
    const size = optionLength(bytes, at);
    if (size === 0) break;
    if ((bytes[at]! & COPIED) !== 0) length += size;
    at += size;
  }
  return (length + 3) & ~3;
}

function copyOptions(out: Uint8Array, to: number, bytes: Uint8Array, headerLength: number): number {
  const length = copiedLength(bytes, headerLength);
  out.fill(OPTION_END, to, to + length);
  let next = to;
  for (let at = IPV4_HEADER; at < headerLength; ) {
    const size = optionLength(bytes, at);
    if (size === 0) break;
    if ((bytes[at]! & COPIED) !== 0) {
      copy(out, next, bytes, at, at + size);
      next += size;
    }
    at += size;
  }
  return length;
}

/** 0 at the end; the options have been found to be sound. */
function optionLength(bytes: Uint8Array, at: number): number {
  if (bytes[at] === OPTION_END) return 0;
  return bytes[at] === OPTION_NOP ? 1 : bytes[at + 1]!;
}
