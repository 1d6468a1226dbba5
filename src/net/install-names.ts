/** Puts a stack's resolver in the place of the process's `node:dns`. */
import dns from 'node:dns';
import { syncBuiltinESMExports } from 'node:module';
import type { LookupFunction } from 'node:net';
import { promisify } from 'node:util';
import type { Stack } from '../stack.ts';
import { createDns } from './create-dns.ts';
import { hold, release } from './handle.ts';
import { createLookup } from './lookup.ts';
import { networkOf } from './network-of.ts';
import { validateFunction, validateString } from './validate.ts';

/**
 * Replaces what `createDns` has of `node:dns`, for programs that look names up
 * by themselves; other queries stay the host's. A query keeps the process.
 * There is no way back.
 */
export function installNames(stack: Stack): void {
  const byStack = createLookup(networkOf(stack));
  const lookup = (hostname: unknown, ...rest: unknown[]): void => {
    const callback = rest.at(-1);
    const [given] = rest;
    const options = typeof given === 'number' ? { family: given } : typeof given === 'object' ? given : {};
    if (hostname) validateString(hostname, 'hostname');
    validateFunction(callback, 'callback');
    if (hostname) byStack(hostname as string, options ?? {}, callback as Parameters<LookupFunction>[2]);
    else
      process.nextTick(
        callback as () => void,
        null,
        null,
        (options as { family?: number }).family === 6 ? 6 : 4,
      );
  };
  const promised = (hostname: unknown, options: unknown = {}): Promise<unknown> =>
    new Promise((resolve, reject) => {
      lookup(hostname, options, (error: Error | null, found: unknown, family: number) => {
        if (error) reject(error);
        else resolve(Array.isArray(found) ? found : { address: found, family });
      });
    });
  Object.defineProperty(lookup, promisify.custom, { value: promised, configurable: true });
  const { promises, lookup: _, ...queries } = createDns(stack);
  for (const [name, query] of Object.entries(queries)) replace(dns, name, holding(query as AnyFunction));
  for (const [name, query] of Object.entries(promises)) {
    replace(dns.promises, name, holdingPromise(query as AnyFunction));
  }
  replace(dns, 'lookup', lookup);
  replace(dns.promises, 'lookup', promised);
  syncBuiltinESMExports();
}

type AnyFunction = (...args: unknown[]) => unknown;

/** With a callback as its last argument. */
function holding(query: AnyFunction): AnyFunction {
  return (...args) => {
    const callback = args.pop();
    validateFunction(callback, 'callback');
    hold();
    return query(...args, (...answer: unknown[]) => {
      release();
      (callback as AnyFunction)(...answer);
    });
  };
}

function holdingPromise(query: AnyFunction): AnyFunction {
  return (...args) => {
    hold();
    return (query(...args) as Promise<unknown>).finally(release);
  };
}

function replace(module: object, name: string, value: unknown): void {
  Object.defineProperty(module, name, { value, configurable: true, enumerable: true, writable: true });
}
