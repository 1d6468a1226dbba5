import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { canTap } from '../support/kernel-host.ts';
import { RunningServer, SERVER, writeRandomFile } from './running-server.ts';

const reason = canTap();
const MIB = 2 ** 20;

describe.skipIf(reason !== null)(`run --workers${reason === null ? '' : ` (${reason})`}`, () => {
  let folder: string;
  let server: RunningServer | null = null;

  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'mirage-net-workers-'));
  });

  afterEach(async () => {
    server?.remove();
    await rm(folder, { recursive: true });
  });

  it.each([
    [2, []],
    [3, ['--no-offloads']],
  ])('%i threads serve one address %s, each its part of the clients', async (workers, flags) => {
    const hash = await writeRandomFile(join(folder, 'file'), 16 * MIB);
    server = await RunningServer.start({
      app: 'examples/web-server.ts',
      flags: ['--workers', `${workers}`, ...flags],
      args: [folder],
    });
    // What one thread says comes before another listens: the last one is waited for.
    await server.shell(
      `for i in $(seq 60); do [ $(grep -c . <<<"$(curl -s http://${SERVER}/)") -gt 0 ] && n=$((n+1)); done; [ $n -ge 30 ]`,
    );
    const sums = await server.shell(
      `for i in $(seq 12); do (curl -sf http://${SERVER}/file | sha256sum) & done; wait`,
    );
    expect(sums.trim().split('\n')).toEqual(new Array(12).fill(`${hash}  -`));
    await writeFile(join(folder, 'put'), 'x'.repeat(3 * MIB));
    await server.shell(
      `for i in $(seq 8); do curl -sf -T ${folder}/put http://${SERVER}/ >/dev/null & done; wait`,
    );
    const ping = await server.shell(`ping -c 20 -i 0.01 ${SERVER}`);
    // One station: one answer to each.
    expect(ping).toMatch(/20 received, 0% packet loss/);
    expect(ping).not.toMatch(/duplicates/);
    expect(await server.stop()).toBe(0);
    expect(server.hasDevice()).toBe(false);
  });
});
