import type { IpAddress } from '../address/index.ts';

/** Folds a sum of up to 2^53 to 16 bits. */
export function fold(total: number): number {
  let folded = total > 0xffffffff ? (total % 0x100000000) + Math.floor(total / 0x100000000) : total;
  while (folded > 0xffff) folded = (folded & 0xffff) + Math.floor(folded / 0x10000);
  return folded;
}

/** The header field of a sum. */
export function complement(folded: number): number {
  return ~folded & 0xffff;
}

/** The sum of the TCP/UDP pseudo-header (RFC 9293 §3.1, RFC 8200 §8.1), the same code for both families. */
export function pseudoHeaderSum(
  source: IpAddress,
  destination: IpAddress,
  protocol: number,
  length: number,
): number {
  return fold(
    (source.w0 >>> 16) +
      (source.w0 & 0xffff) +
      (source.w1 >>> 16) +
      (source.w1 & 0xffff) +
      (source.w2 >>> 16) +
      (source.w2 & 0xffff) +
      (source.w3 >>> 16) +
      (source.w3 & 0xffff) +
      (destination.w0 >>> 16) +
      (destination.w0 & 0xffff) +
      (destination.w1 >>> 16) +
      (destination.w1 & 0xffff) +
      (destination.w2 >>> 16) +
      (destination.w2 & 0xffff) +
      (destination.w3 >>> 16) +
      (destination.w3 & 0xffff) +
      protocol +
      (length >>> 16) +
      (length & 0xffff),
  );
}

/** A header checksum after a 16-bit word of what it covers changed from `before` to `after` (RFC 1624 eqn. 3). */
export function update16(checksum: number, before: number, after: number): number {
  return complement(fold((~checksum & 0xffff) + (~before & 0xffff) + after));
}
