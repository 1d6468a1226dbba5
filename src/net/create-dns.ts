/** `node:dns`, as far as programs use it, by a stack's own resolver. */
import hostDns from 'node:dns';
import { isIP } from 'node:net';
import { callbackify } from 'node:util';
import { IpAddress } from '../address/index.ts';
import { DirectStack } from '../direct/index.ts';
import { type DnsAnswer, type DnsType, reverseName } from '../dns/index.ts';
import { NetError } from '../errors.ts';
import type { Stack } from '../stack.ts';
import { createLookup } from './lookup.ts';
import { networkOf } from './network-of.ts';
import { invalidArgValue } from './node-errors.ts';
import { validateString } from './validate.ts';

/** What `node:dns/promises` has of these. */
export type StackDnsPromises = Pick<
  typeof hostDns.promises,
  | 'lookup'
  | 'resolve'
  | 'resolve4'
  | 'resolve6'
  | 'resolveCname'
  | 'resolvePtr'
  | 'resolveSrv'
  | 'resolveTxt'
  | 'reverse'
>;

/** The same with callbacks, and the promises beside them. */
export type StackDns = Pick<typeof hostDns, Exclude<keyof StackDnsPromises, never>> & {
  readonly promises: StackDnsPromises;
};

/** c-ares's words, which programs compare with. */
const CODES: Readonly<Record<string, string>> = {
  ETIMEDOUT: 'ETIMEOUT',
  EAGAIN: 'ESERVFAIL',
  ECONNREFUSED: 'ECONNREFUSED',
};

/**
 * `stack`'s resolver with the face of `node:dns`: `lookup`, `reverse`, and
 * `resolve` of A, AAAA, CNAME, PTR, SRV and TXT records; other types reject with
 * `ENOTIMP`. Names in `.local` are asked of the link where the stack has multicast
 * DNS. For a stack on the host's sockets it is the host's.
 */
export function createDns(stack: Stack): StackDns {
  const promises = stack instanceof DirectStack ? promisesOf(stack) : hostDns.promises;
  const lookup = stack instanceof DirectStack ? createLookup(networkOf(stack)) : hostDns.lookup;
  const names = [
    'resolve',
    'resolve4',
    'resolve6',
    'resolveCname',
    'resolvePtr',
    'resolveSrv',
    'resolveTxt',
    'reverse',
  ] as const;
  const callbacks = Object.fromEntries(
    names.map((name) => [name, callbackify(promises[name] as (...args: unknown[]) => Promise<unknown>)]),
  );
  const withOptions = (hostname: string, ...rest: unknown[]): void => {
    const callback = rest.at(-1) as Parameters<typeof lookup>[2];
    const [given] = rest;
    const options = typeof given === 'number' ? { family: given } : typeof given === 'object' ? given : {};
    lookup(hostname, options ?? {}, callback);
  };
  // The overloads of `node:dns` cannot be said of functions that are made from others.
  return { ...callbacks, lookup: withOptions, promises } as unknown as StackDns;
}

function promisesOf(stack: DirectStack): StackDnsPromises {
  const lookup = createLookup(networkOf(stack));
  const find = async <T extends DnsType>(name: unknown, type: T): Promise<DnsAnswer<T>> => {
    validateString(name, 'name');
    try {
      const answer = await ask(stack, name, type);
      if (answer.data.length > 0) return answer;
      throw failure(answer.exists ? 'ENODATA' : 'ENOTFOUND', type, name);
    } catch (error) {
      if (!(error instanceof NetError)) throw error;
      throw failure(CODES[error.code] ?? error.code, type, name, error);
    }
  };
  const data = async <T extends DnsType>(name: unknown, type: T) => [...(await find(name, type)).data];
  const addresses = async (name: unknown, type: 'A' | 'AAAA', options?: { readonly ttl?: boolean }) => {
    const answer = await find(name, type);
    if (options?.ttl !== true) return [...answer.data];
    return answer.data.map((address) => ({ address, ttl: answer.ttl }));
  };
  const services = async (name: unknown) =>
    (await data(name, 'SRV')).map(({ priority, weight, port, target }) => ({
      name: target,
      port,
      priority,
      weight,
    }));
  const resolve = (name: unknown, type: unknown = 'A'): Promise<unknown> => {
    switch (type) {
      case 'A':
      case 'AAAA':
      case 'CNAME':
      case 'PTR':
      case 'TXT':
        return data(name, type);
      case 'SRV':
        return services(name);
      default:
        validateString(type, 'rrtype');
        if (!KNOWN_TO_NODE.has(type)) throw invalidArgValue('rrtype', type);
        return Promise.reject(failure('ENOTIMP', type, String(name)));
    }
  };
  const reverse = async (address: unknown): Promise<string[]> => {
    validateString(address, 'name');
    if (isIP(address) === 0) throw failure('EINVAL', 'getHostByAddr', address);
    return data(reverseName(IpAddress.parse(address)), 'PTR');
  };
  const lookupPromise = (hostname: string, given: unknown = {}): Promise<unknown> =>
    new Promise((done, reject) => {
      const options = typeof given === 'number' ? { family: given } : (given as object);
      lookup(hostname, options, (error, found, family) => {
        if (error) reject(error);
        else done(Array.isArray(found) ? found : { address: found, family });
      });
    });
  const promises = {
    lookup: lookupPromise,
    resolve,
    resolve4: (name: unknown, options?: { ttl?: boolean }) => addresses(name, 'A', options),
    resolve6: (name: unknown, options?: { ttl?: boolean }) => addresses(name, 'AAAA', options),
    resolveCname: (name: unknown) => data(name, 'CNAME'),
    resolvePtr: (name: unknown) => data(name, 'PTR'),
    resolveSrv: services,
    resolveTxt: (name: unknown) => data(name, 'TXT'),
    reverse,
  };
  // As above.
  return promises as unknown as StackDnsPromises;
}

const KNOWN_TO_NODE = new Set(['ANY', 'CAA', 'MX', 'NAPTR', 'NS', 'SOA']);

async function ask<T extends DnsType>(stack: DirectStack, name: string, type: T): Promise<DnsAnswer<T>> {
  if (stack.mdns === null || !/\.local\.?$/i.test(name)) return stack.dns.find(name, type);
  const data = await stack.mdns.query(name, type);
  return { data, ttl: 0, exists: true };
}

/** In Node's form: `queryA ENOTFOUND nobody.test`. */
function failure(code: string, type: string, hostname: string, cause?: unknown): Error {
  const syscall = type === 'getHostByAddr' ? type : `query${type[0]}${type.slice(1).toLowerCase()}`;
  const error = new Error(`${syscall} ${code} ${hostname}`, cause === undefined ? undefined : { cause });
  return Object.assign(error, { code, syscall, hostname });
}
