import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { canTap } from '../support/kernel-host.ts';
import { RunningServer, SERVER, sizeFromEnvironment, writeRandomFile } from './running-server.ts';

const SIZE = sizeFromEnvironment('IMPAIRED_MIB', 64);
/** On a line that does everything badly and is slow besides. */
const SMALL = 16 * 2 ** 20;
/** 1 GiB at the rate that 5% loss leaves takes a while. */
const TIMEOUT_MS = 120_000 + Math.ceil(SIZE / 500);

let folder: string;
let sha256: string;
let smallSha256: string;

beforeAll(async () => {
  if (canTap() !== null) return;
  folder = await mkdtemp(join(tmpdir(), 'mirage-net-test-'));
  sha256 = await writeRandomFile(join(folder, `${SIZE}.bin`), SIZE);
  smallSha256 = await writeRandomFile(join(folder, `${SMALL}.bin`), SMALL);
});

afterAll(async () => {
  if (folder !== undefined) await rm(folder, { recursive: true });
});

describe.skipIf(canTap() !== null).each([
  ['loss=1%', SIZE],
  ['loss=5%', SIZE],
  ['delay=30ms,jitter=10ms,reorder=1%', SIZE],
  ['duplicate=2%', SIZE],
  ['corrupt=1%', SIZE],
  ['loss=0.5%,duplicate=0.5%,corrupt=0.5%,delay=5ms,jitter=2ms,rate=200mbit', SMALL],
])('over a TAP with %s both ways', (impairment, size) => {
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
    `curl gets ${size / 2 ** 20} MiB unharmed`,
    async () => {
      const hash = await server.shell(`curl -sS http://${SERVER}/${size}.bin | sha256sum`, TIMEOUT_MS);
      expect(hash.slice(0, 64)).toBe(size === SIZE ? sha256 : smallSha256);
    },
    TIMEOUT_MS + 10_000,
  );

  it(
    `curl puts ${size / 2 ** 20} MiB unharmed`,
    async () => {
      const hash = await server.shell(`curl -sS -T ${folder}/${size}.bin http://${SERVER}/`, TIMEOUT_MS);
      expect(hash.trim()).toBe(size === SIZE ? sha256 : smallSha256);
    },
    TIMEOUT_MS + 10_000,
  );

  it('no connection is left', async () => {
    expect(await server.flowsAfter(30_000)).toBe(0);
    expect(await server.stop()).toBe(0);
  });
});
