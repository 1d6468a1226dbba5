/** Reading and writing the fields that are mutated, without the code under test. */

export const ETHERNET = 14;
export const TCP = 6;
export const UDP = 17;
export const ICMP = 1;

export function get16(bytes: Uint8Array, at: number): number {
  return (bytes[at]! << 8) | bytes[at + 1]!;
}

export function set16(bytes: Uint8Array, at: number, value: number): void {
  bytes[at] = value >>> 8;
  bytes[at + 1] = value;
}

export function get32(bytes: Uint8Array, at: number): number {
  return (bytes[at]! << 24) | (bytes[at + 1]! << 16) | (bytes[at + 2]! << 8) | bytes[at + 3]!;
}

export function set32(bytes: Uint8Array, at: number, value: number): void {
  bytes[at] = value >>> 24;
  bytes[at + 1] = value >>> 16;
  bytes[at + 2] = value >>> 8;
  bytes[at + 3] = value;
}

/** The folded one's-complement sum of `bytes[start..end)` and `initial`. */
export function onesSum(bytes: Uint8Array, start: number, end: number, initial: number): number {
  let sum = initial;
  let at = start;
  for (; at + 1 < end; at += 2) sum += (bytes[at]! << 8) | bytes[at + 1]!;
  if (at < end) sum += bytes[at]! << 8;
  sum = (sum & 0xffff) + (sum >>> 16);
  return (sum & 0xffff) + (sum >>> 16);
}

/** Writes the checksums that the frame of `length` bytes should have, as far as its lengths make sense. */
export function repair(bytes: Uint8Array, length: number): void {
  const ip = ETHERNET;
  if (length < ip + 20 || get16(bytes, 12) !== 0x0800) return;
  const header = (bytes[ip]! & 15) * 4;
  const end = Math.min(length, ip + get16(bytes, ip + 2));
  if (header < 20 || ip + header > end) return;
  set16(bytes, ip + 10, 0);
  set16(bytes, ip + 10, ~onesSum(bytes, ip, ip + header, 0));
  // Only the whole datagram has a sum.
  if ((get16(bytes, ip + 6) & 0x3fff) !== 0) return;
  const protocol = bytes[ip + 9]!;
  const at = ip + header;
  const field = { [TCP]: 16, [UDP]: 6, [ICMP]: 2 }[protocol];
  if (field === undefined || at + field + 2 > end) return;
  if (protocol === UDP && get16(bytes, at + field) === 0) return;
  set16(bytes, at + field, 0);
  const pseudo = protocol === ICMP ? 0 : onesSum(bytes, ip + 12, ip + 20, protocol + end - at);
  const sum = ~onesSum(bytes, at, end, pseudo) & 0xffff;
  set16(bytes, at + field, protocol === UDP ? sum || 0xffff : sum);
}

/** An echo request or reply from the peer to the victim. */
export function icmpEcho(reply: boolean): Uint8Array {
  const frame = new Uint8Array(ETHERNET + 20 + 8 + 56);
  frame.set([0x02, 0x42, 0x22, 0x22, 0x22, 0x22, 0x02, 0x42, 0x11, 0x11, 0x11, 0x11, 0x08, 0x00]);
  frame.set(
    [0x45, 0, 0, frame.length - ETHERNET, 0, 1, 0, 0, 64, ICMP, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2],
    ETHERNET,
  );
  frame.set([reply ? 0 : 8, 0, 0, 0, 0, 1, 0, 1], ETHERNET + 20);
  repair(frame, frame.length);
  return frame;
}
