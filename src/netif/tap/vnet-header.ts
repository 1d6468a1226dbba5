/**
 * The header that the kernel and we put before each frame of a TAP opened with
 * `IFF_VNET_HDR`: `struct virtio_net_hdr` (virtio 1.2 §5.1.6), 10 bytes, legacy
 * layout, in the machine's byte order (little-endian on every machine that koffi
 * supports). Drivers may ask for a longer one; what follows is zero.
 *
 *   0 flags · 1 gso_type · 2 hdr_len · 4 gso_size · 6 csum_start · 8 csum_offset
 */
export const VNET_HEADER = 10;

/** `flags`: the checksum at `csum_start + csum_offset` is to be completed from `csum_start` on. */
export const NEEDS_CSUM = 1;
/** `flags`: the checksum has been verified. */
export const DATA_VALID = 2;

/** `gso_type`: an ordinary frame. */
export const GSO_NONE = 0;
export const GSO_TCPV4 = 1;
export const GSO_TCPV6 = 4;
/** Datagrams of one size, of either family. */
export const GSO_UDP = 5;
/** `gso_type`, a bit on top: the first segment may carry CWR (RFC 3168). */
export const GSO_ECN = 0x80;

export function flags(bytes: Uint8Array, at: number): number {
  return bytes[at]!;
}

/** Without the ECN bit. */
export function gsoType(bytes: Uint8Array, at: number): number {
  return bytes[at + 1]! & ~GSO_ECN;
}

/** Payload bytes per segment. */
export function gsoSize(bytes: Uint8Array, at: number): number {
  return bytes[at + 4]! | (bytes[at + 5]! << 8);
}

/** Distance from the first byte of the frame to where the checksum starts. */
export function csumStart(bytes: Uint8Array, at: number): number {
  return bytes[at + 6]! | (bytes[at + 7]! << 8);
}

export function csumOffset(bytes: Uint8Array, at: number): number {
  return bytes[at + 8]! | (bytes[at + 9]! << 8);
}

/** A frame with its checksum in place and one segment at most. */
export function writePlain(bytes: Uint8Array, at: number): void {
  for (let i = 0; i < VNET_HEADER; i++) bytes[at + i] = 0;
}

/** `start` and `offset` as in {@link csumStart} and {@link csumOffset}. */
export function writePartial(bytes: Uint8Array, at: number, start: number, offset: number): void {
  bytes[at] = NEEDS_CSUM;
  bytes[at + 1] = GSO_NONE;
  bytes[at + 2] = 0;
  bytes[at + 3] = 0;
  bytes[at + 4] = 0;
  bytes[at + 5] = 0;
  bytes[at + 6] = start;
  bytes[at + 7] = start >>> 8;
  bytes[at + 8] = offset;
  bytes[at + 9] = offset >>> 8;
}

/**
 * Makes what {@link writePartial} wrote a frame of several segments.
 *
 * @param type `GSO_TCPV4`, `GSO_TCPV6` or `GSO_UDP`
 * @param headerLength bytes of all headers, Ethernet to TCP with options or UDP, that each segment repeats
 * @param size payload bytes per segment
 */
export function addSegmentation(
  bytes: Uint8Array,
  at: number,
  type: number,
  headerLength: number,
  size: number,
): void {
  bytes[at + 1] = type;
  bytes[at + 2] = headerLength;
  bytes[at + 3] = headerLength >>> 8;
  bytes[at + 4] = size;
  bytes[at + 5] = size >>> 8;
}
