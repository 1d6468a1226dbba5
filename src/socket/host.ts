import { lookup } from 'node:dns/promises';
import { isIP, isIPv6 } from 'node:net';
import { NetError, type NetErrorCode, type NetErrorDetails } from '../errors.ts';
import type { Endpoint } from '../stack.ts';

const MAPPED = '::ffff:';

/** An endpoint in the words of the contract: an IPv4 peer of a dual-stack socket is an IPv4 peer. */
export function endpoint(address: string, port: number): Endpoint {
  const text = unmapped(address);
  return { address: text, port, family: isIPv6(text) ? 'IPv6' : 'IPv4' };
}

/** `address` as a dual-stack IPv6 socket of the host needs it (RFC 4291 §2.5.5.2). */
export function mapped(address: string): string {
  return isIPv6(address) ? address : MAPPED + address;
}

function unmapped(address: string): string {
  return address.startsWith(MAPPED) && address.includes('.') ? address.slice(MAPPED.length) : address;
}

/** The addresses of `hostname` as the host's resolver gives them; a literal address is its own. */
export async function resolve(hostname: string): Promise<string[]> {
  if (isIP(hostname) !== 0) return [hostname];
  try {
    const found = await lookup(hostname, { all: true });
    return found.map(({ address }) => address);
  } catch (error) {
    throw hostError(error, { syscall: 'getaddrinfo', address: hostname });
  }
}

/**
 * An error of the host. One that already says what a `NetError` says is passed
 * on as it is; where it does not say which endpoint it was about, it becomes
 * the cause of one that does.
 */
export function hostError(error: unknown, details: NetErrorDetails): Error {
  // Several addresses were tried, one after the other: the first is the one that the resolver preferred.
  const first = error instanceof AggregateError ? error.errors[0] : error;
  if (!(first instanceof Error)) return new Error(String(first));
  const { code, syscall, address, port } = first as NodeJS.ErrnoException & NetErrorDetails;
  if (typeof code !== 'string') return first;
  const told =
    syscall !== undefined &&
    (details.address === undefined || (address !== undefined && !address.startsWith(MAPPED))) &&
    (details.port === undefined || port !== undefined);
  // The host knows codes that our own stack never has a reason for; they keep their name.
  return told ? first : new NetError(code as NetErrorCode, { ...details, cause: first });
}

/** What a closed stack answers. */
export function stackClosed(syscall: string): NetError {
  return new NetError('ENETDOWN', { syscall, reason: 'the stack is closed' });
}
