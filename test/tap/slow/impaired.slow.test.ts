import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { canTap } from '../support/kernel-host.ts';
import { RunningServer, SERVER, sizeFromEnvironment, writeRandomFile } from './running-server.ts';

const SIZE = sizeFromEnvironment('IMPAIRED_MIB', 32);
/** 1 GiB at the rate that 5% loss leaves takes a while. */
const TIMEOUT_MS = 120_000 + Math.ceil(SIZE / 500);

let folder: string;
let sha256: string;

beforeAll(async () => {
  if (canTap() !== null) return;
  folder = await mkdtemp(join(tmpdir(), 'mirage-net-test-'));
  sha256 = await writeRandomFile(join(folder, 'big.bin'), SIZE);
});

afterAll(async () => {
  if (folder !== undefined) await rm(folder, { recursive: true });
});

describe
  .skipIf(canTap() !== null)
  .each([
    'loss=1%',
    'loss=5%',
    'delay=30ms,jitter=10ms,reorder=1%',
    'duplicate=2%',
    'corrupt=1%',
    'loss=0.5%,duplicate=0.5%,corrupt=0.5%,delay=5ms,jitter=2ms,rate=200mbit',
  ])('over a TAP with %s both ways', (impairment) => {
  let server: RunningServer;

  beforeAll(async () => {
    server = await RunningServer.start({
      app: 'examples/web-server.ts',
      args: [folder],
      flags: ['--impair', impairment],
    });
  });

  afterAll(() => server?.remove());

  it(
    `curl gets ${SIZE / 2 ** 20} MiB unharmed`,
    async () => {
      const hash = await server.shell(`curl -sS http://${SERVER}/big.bin | sha256sum`, TIMEOUT_MS);
      expect(hash.slice(0, 64)).toBe(sha256);
    },
    TIMEOUT_MS + 10_000,
  );

  it(
    `curl puts ${SIZE / 2 ** 20} MiB unharmed`,
    async () => {
      const hash = await server.shell(`curl -sS -T ${folder}/big.bin http://${SERVER}/`, TIMEOUT_MS);
      expect(hash.trim()).toBe(sha256);
    },
    TIMEOUT_MS + 10_000,
  );

  it('no connection is left', async () => {
    expect(await server.flowsAfter(30_000)).toBe(0);
    expect(await server.stop()).toBe(0);
  });
});
