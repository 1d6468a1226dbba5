import { execFileSync } from 'node:child_process';
import { afterAll, beforeAll, describe } from 'vitest';
import { DirectStack } from '../../src/direct/index.ts';
import { openTap } from '../../src/netif/tap/index.ts';
import { SocketStack } from '../../src/socket/index.ts';
import { type Network, stackContract } from '../contract/contract.ts';
import { canTap } from './support/kernel-host.ts';

const skip = canTap();
let count = 0;

/** Of this process: two runs on one machine must not answer each other. */
const NETWORK = `198.${18 + ((process.pid >> 8) & 1)}.${process.pid & 255}`;

/**
 * Our stack and the kernel's, through a TAP device of the test's own. The kernel's
 * end is in this namespace, where this process's sockets are; the addresses are
 * those reserved for such measurements (RFC 2544).
 */
async function overTap(
  direct: 'client' | 'server',
  offloads: boolean | 'software',
  ioUring = true,
): Promise<Network> {
  const name = `mnd${process.pid % 100_000}-${count++ % 1000}`;
  const netif = openTap({ name, hostAddress: `${NETWORK}.1/24`, offloads, ioUring });
  const ours = new DirectStack({ netif, ipv4: `${NETWORK}.2/24` });
  const kernel = new SocketStack({ closeTimeoutMs: 500 });
  await ours.ready();
  const close = async (): Promise<void> => {
    await Promise.all([ours.close(), kernel.close()]);
  };
  if (direct === 'server') {
    return {
      client: kernel,
      server: ours,
      clientAddress: `${NETWORK}.1`,
      serverAddress: `${NETWORK}.2`,
      close,
    };
  }
  return {
    client: ours,
    server: kernel,
    clientAddress: `${NETWORK}.2`,
    serverAddress: `${NETWORK}.1`,
    // On the link, and nobody answers for it.
    blackHole: { host: `${NETWORK}.99`, port: 9 },
    close,
  };
}

describe.skipIf(skip !== null)(`over TAP${skip ? `: ${skip}` : ''}`, () => {
  // Behind the device's own route: once that is gone, its addresses are nowhere, whatever the host's default route.
  const nowhere = ['unreachable', `${NETWORK}.0/24`, 'metric', '4242'];
  beforeAll(() => {
    execFileSync('ip', ['route', 'replace', ...nowhere]);
  });
  afterAll(() => {
    execFileSync('ip', ['route', 'del', ...nowhere]);
  });

  for (const offloads of [true, 'software', false] as const) {
    const how = { true: 'with offloads', software: 'with offloads in software', false: 'without offloads' }[
      `${offloads}`
    ];
    stackContract(`the kernel as client of our stack, ${how}`, () => overTap('server', offloads));
    // Which end opens makes no difference to how frames are cut.
    if (offloads === 'software') {
      stackContract(`the kernel as client of our stack, ${how}, without io_uring`, () =>
        overTap('server', offloads, false),
      );
      continue;
    }
    stackContract(`our stack as client of the kernel, ${how}`, () => overTap('client', offloads), {
      blackHole: true,
    });
  }
});
