/**
 * The messages of xenstore (`io/xs_wire.h`, docs/misc/xenstore.txt): a header of
 * four 32-bit words in the machine's byte order (little-endian wherever Xen
 * runs), then `len` bytes of payload.
 *
 *   0 type · 4 req_id, echoed in the reply · 8 tx_id · 12 len
 */
export const XENSTORE_HEADER = 16;

/** Most bytes of payload, both ways (`XENSTORE_PAYLOAD_MAX`). */
export const XENSTORE_PAYLOAD_MAX = 4096;
/** `XENSTORE_ABS_PATH_MAX`. */
export const XENSTORE_ABSOLUTE_PATH_MAX = 3072;
/** `XENSTORE_REL_PATH_MAX`: of paths without a leading slash, which lie under the caller's home. */
export const XENSTORE_RELATIVE_PATH_MAX = 2048;

export const XS_DIRECTORY = 1;
export const XS_READ = 2;
export const XS_WATCH = 4;
export const XS_UNWATCH = 5;
export const XS_TRANSACTION_START = 6;
export const XS_TRANSACTION_END = 7;
export const XS_WRITE = 11;
export const XS_MKDIR = 12;
export const XS_RM = 13;
export const XS_SET_PERMS = 14;
export const XS_WATCH_EVENT = 15;
export const XS_ERROR = 16;
export const XS_DIRECTORY_PART = 22;

const NAMES: Record<number, string> = {
  [XS_DIRECTORY]: 'directory',
  [XS_READ]: 'read',
  [XS_WATCH]: 'watch',
  [XS_UNWATCH]: 'unwatch',
  [XS_TRANSACTION_START]: 'transaction_start',
  [XS_TRANSACTION_END]: 'transaction_end',
  [XS_WRITE]: 'write',
  [XS_MKDIR]: 'mkdir',
  [XS_RM]: 'rm',
  [XS_SET_PERMS]: 'set_perms',
  [XS_WATCH_EVENT]: 'watch_event',
  [XS_ERROR]: 'error',
  [XS_DIRECTORY_PART]: 'directory_part',
};

/** In the protocol's words, for people: `read`, `type 99`. */
export function messageName(type: number): string {
  return NAMES[type] ?? `type ${type}`;
}

export function messageType(bytes: Uint8Array, at: number): number {
  return getLe32(bytes, at);
}

export function requestId(bytes: Uint8Array, at: number): number {
  return getLe32(bytes, at + 4);
}

export function transactionId(bytes: Uint8Array, at: number): number {
  return getLe32(bytes, at + 8);
}

/** As an unsigned number: a length that lies must not come out negative. */
export function payloadLength(bytes: Uint8Array, at: number): number {
  return getLe32(bytes, at + 12) >>> 0;
}

/** @param length bytes of payload that follow */
export function writeHeader(
  bytes: Uint8Array,
  at: number,
  type: number,
  request: number,
  transaction: number,
  length: number,
): void {
  setLe32(bytes, at, type);
  setLe32(bytes, at + 4, request);
  setLe32(bytes, at + 8, transaction);
  setLe32(bytes, at + 12, length);
}

function getLe32(bytes: Uint8Array, at: number): number {
  return bytes[at]! | (bytes[at + 1]! << 8) | (bytes[at + 2]! << 16) | (bytes[at + 3]! << 24);
}

function setLe32(bytes: Uint8Array, at: number, value: number): void {
  bytes[at] = value;
  bytes[at + 1] = value >>> 8;
  bytes[at + 2] = value >>> 16;
  bytes[at + 3] = value >>> 24;
}
