/**
 * `mirage-net-direct/register`: starts a stack and puts it in the place of the
 * process's own network, for programs that know nothing of it:
 *
 * ```sh
 * MIRAGE_NET="--netif tap:tap0 --host-ip 10.0.0.1/24 --ip 10.0.0.2/24" \
 *   node --import mirage-net-direct/register app.js
 * ```
 *
 * `MIRAGE_NET` has the options of `mirage-net run`. `MIRAGE_NET_DNS=host`
 * resolves names as the host does; by default the stack does.
 *
 * Then `node:net`, `http`, `https`, `tls` and `dgram` of this process are the
 * stack's. Local sockets and pipes stay the host's. Must come before modules
 * that keep `net.connect` and its like in variables of their own.
 */
import dns from 'node:dns';
import type { LookupFunction } from 'node:net';
import { openStack, parseCommand, UsageError } from '../cli/index.ts';
import { createDgram } from './create-dgram.ts';
import { createNet } from './create-net.ts';
import type { DgramLookup } from './dgram-state.ts';
import { installDgram, installNet } from './install.ts';

const words = (process.env.MIRAGE_NET ?? '').split(/\s+/).filter((word) => word !== '');
if (words.length === 0) {
  throw new UsageError(
    'MIRAGE_NET is not set: it has the options of "mirage-net run", such as --netif tap:tap0.',
  );
}
const command = parseCommand(['run', process.argv[1] ?? 'app', ...words]);
if (command.kind !== 'run') throw new UsageError(`MIRAGE_NET="${words.join(' ')}" describes no stack.`);

// Before anything is replaced: the host's own sockets may be what is below.
const { stack, finishSync } = await openStack(
  command.options,
  {
    onDown: (error) => process.emitWarning(`the interface is gone${error ? `: ${error.message}` : ''}`),
    onConflict: ({ address, mac }) => process.emitWarning(`${mac} uses our address ${address}`),
  },
  { background: true },
);
// On the host's own sockets there is nothing to replace.
if (stack.kind === 'direct') {
  const usesHostNames = process.env.MIRAGE_NET_DNS === 'host';
  installNet(createNet(stack, usesHostNames ? { lookup: dns.lookup as LookupFunction } : {}));
  installDgram(createDgram(stack, usesHostNames ? { lookup: dns.lookup as unknown as DgramLookup } : {}));
}
process.once('exit', () => finishSync());
