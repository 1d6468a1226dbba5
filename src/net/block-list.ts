/** `blockList` of `net.connect` and of servers, as Nodes after 20 have it. */
import { BlockList } from 'node:net';
import { blockedAddress, type CodedError, invalidArgType } from './node-errors.ts';

/** Null for none. Throws `ERR_INVALID_ARG_TYPE` for what is none. */
export function blockListOf(value: unknown): BlockList | null {
  if (!value) return null;
  if (value instanceof BlockList) return value;
  throw invalidArgType('options.blockList', 'net.BlockList', value);
}

/** The error for an address that is not to be talked to; null for any other. */
export function blockedBy(list: BlockList | null, address: string, family: number): CodedError | null {
  const isBlocked = list?.check(address, family === 6 ? 'ipv6' : 'ipv4') ?? false;
  return isBlocked ? blockedAddress(address) : null;
}
