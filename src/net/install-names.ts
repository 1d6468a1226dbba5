/** Puts a stack's resolver in the place of the process's `dns.lookup`. */
import dns from 'node:dns';
import { syncBuiltinESMExports } from 'node:module';
import type { LookupFunction } from 'node:net';
import { promisify } from 'node:util';
import type { Stack } from '../stack.ts';
import { createLookup } from './lookup.ts';
import { networkOf } from './network-of.ts';
import { validateFunction, validateString } from './validate.ts';

/**
 * Replaces `dns.lookup` and `dns.promises.lookup`, which programs call that
 * look names up by themselves. Other queries of `node:dns` stay the host's.
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
  replace(dns, lookup);
  replace(dns.promises, promised);
  syncBuiltinESMExports();
}

function replace(module: object, lookup: unknown): void {
  Object.defineProperty(module, 'lookup', {
    value: lookup,
    configurable: true,
    enumerable: true,
    writable: true,
  });
}
