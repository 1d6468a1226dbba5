/** Options of RFC 2132 and their successors: from bytes to a map of code and value, and back. */
import { FILE, OPTIONS, SNAME } from './wire.ts';

export const PAD = 0;
export const SUBNET_MASK = 1;
export const ROUTER = 3;
export const DNS_SERVER = 6;
export const HOST_NAME = 12;
export const DOMAIN_NAME = 15;
export const INTERFACE_MTU = 26;
export const REQUESTED_ADDRESS = 50;
export const LEASE_TIME = 51;
export const OVERLOAD = 52;
export const MESSAGE_TYPE = 53;
export const SERVER_ID = 54;
export const PARAMETER_REQUEST = 55;
export const MESSAGE = 56;
export const MAX_MESSAGE_SIZE = 57;
export const RENEWAL_TIME = 58;
export const REBINDING_TIME = 59;
export const CLIENT_ID = 61;
/** RFC 3397. */
export const DOMAIN_SEARCH = 119;
/** RFC 3442. */
export const CLASSLESS_ROUTES = 121;
export const END = 255;

/** By code. What a code has been given in several parts is joined (RFC 3396 §7). */
export type Options = ReadonlyMap<number, Uint8Array>;

/** Longest value in one option; longer ones are split (RFC 3396 §6). */
const MAX_PART = 255;

const SNAME_LENGTH = 64;
const FILE_LENGTH = 128;

/** The options of a message, those in `file` and `sname` too where it says so; null if one runs over its end. */
export function readOptions(bytes: Uint8Array): Options | null {
  const options = new Map<number, Uint8Array>();
  if (!readField(bytes, OPTIONS, bytes.length, options)) return null;
  const overload = options.get(OVERLOAD)?.[0] ?? 0;
  // RFC 2131 §4.1: options, then file, then sname.
  if ((overload & 1) !== 0 && !readField(bytes, FILE, FILE + FILE_LENGTH, options)) return null;
  if ((overload & 2) !== 0 && !readField(bytes, SNAME, SNAME + SNAME_LENGTH, options)) return null;
  return options;
}

function readField(bytes: Uint8Array, from: number, to: number, options: Map<number, Uint8Array>): boolean {
  for (let at = from; at < to; ) {
    const code = bytes[at++]!;
    if (code === PAD) continue;
    if (code === END) return true;
    const length = at < to ? bytes[at++]! : to;
    if (at + length > to) return false;
    const part = bytes.slice(at, at + length);
    const known = options.get(code);
    options.set(code, known === undefined ? part : Uint8Array.of(...known, ...part));
    at += length;
  }
  // An end that is missing harms nobody: several servers leave it out of full fields.
  return true;
}

/** Bytes of `options` with their end mark. */
export function writeOptions(options: Options): Uint8Array {
  const bytes: number[] = [];
  for (const [code, value] of options) {
    let at = 0;
    do {
      const part = value.subarray(at, at + MAX_PART);
      bytes.push(code, part.length, ...part);
      at += MAX_PART;
    } while (at < value.length);
  }
  bytes.push(END);
  return Uint8Array.from(bytes);
}
