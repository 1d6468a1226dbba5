import { get16, set16 } from '../bytes/index.ts';
import { update16 } from '../checksum/index.ts';
import { IPV4_CHECKSUM, TTL } from '../ipv4/index.ts';
import { HOP_LIMIT } from '../ipv6/index.ts';
import type { Frame } from '../netif/netif.ts';
import type { Edit } from './exit.ts';

/** RFC 1812 §5.3.1: one hop less, and the header checksum after it (RFC 1624). */
export function decrementTtl(bytes: Uint8Array, header: number): void {
  const before = get16(bytes, header + TTL);
  const after = before - 0x100;
  set16(bytes, header + TTL, after);
  set16(bytes, header + IPV4_CHECKSUM, update16(get16(bytes, header + IPV4_CHECKSUM), before, after));
}

export const IPV4_HOP: Edit = { apply: ({ bytes }, header) => decrementTtl(bytes, header) };

export const IPV6_HOP: Edit = {
  apply: ({ bytes }: Frame, header) => {
    bytes[header + HOP_LIMIT]!--;
  },
};
