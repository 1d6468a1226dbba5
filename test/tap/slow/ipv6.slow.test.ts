import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { canTap } from '../support/kernel-host.ts';
import { RunningServer, SERVER6, sizeFromEnvironment, writeRandomFile } from './running-server.ts';

const SIZE = sizeFromEnvironment('TRANSFER_MIB', 1024);
const IMPAIRED = sizeFromEnvironment('IMPAIRED_MIB', 64);
/** On the lines that are bad in other ways. */
const SMALL = 128 * 2 ** 20;
const TIMEOUT_MS = 120_000 + Math.ceil(SIZE / 500);

let folder: string;
const sha256 = new Map<number, string>();

beforeAll(async () => {
  if (canTap() !== null) return;
  folder = await mkdtemp(join(tmpdir(), 'mirage-net-test-'));
  for (const size of new Set([SIZE, IMPAIRED, SMALL])) {
    sha256.set(size, await writeRandomFile(join(folder, `${size}.bin`), size));
  }
});

afterAll(async () => {
  if (folder !== undefined) await rm(folder, { recursive: true });
});

describe.skipIf(canTap() !== null).each<[string, string[], number]>([
  ['with offloads', [], SIZE],
  ['without offloads', ['--no-offloads'], SIZE],
  ['loss of 1% both ways', ['--impair', 'loss=1%'], IMPAIRED],
  ['jitter and reordering', ['--impair', 'delay=30ms,jitter=10ms,reorder=1%'], SMALL],
  ['duplicates and damage', ['--impair', 'duplicate=2%,corrupt=1%'], SMALL],
])('the web server over IPv6, %s', (_, flags, size) => {
  let server: RunningServer;

  beforeAll(async () => {
    server = await RunningServer.start({ app: 'examples/web-server.ts', args: [folder], flags, ipv6: true });
  });

  afterAll(() => server?.remove());

  it(
    `gives curl -6 ${size / 2 ** 20} MiB unharmed`,
    async () => {
      const hash = await server.shell(
        `curl -6 -g -sS http://[${SERVER6}]/${size}.bin | sha256sum`,
        TIMEOUT_MS,
      );
      expect(hash.slice(0, 64)).toBe(sha256.get(size));
    },
    TIMEOUT_MS + 10_000,
  );

  it(
    `takes ${size / 2 ** 20} MiB from curl -6 unharmed`,
    async () => {
      const hash = await server.shell(
        `curl -6 -g -sS -T ${folder}/${size}.bin http://[${SERVER6}]/`,
        TIMEOUT_MS,
      );
      expect(hash.trim()).toBe(sha256.get(size));
    },
    TIMEOUT_MS + 10_000,
  );

  it('no connection is left', async () => {
    expect(await server.flowsAfter(30_000)).toBe(0);
    expect(await server.stop()).toBe(0);
  });
});
