import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { canTap } from '../support/kernel-host.ts';
import { RunningServer, SERVER, writeRandomFile } from './running-server.ts';

const RATE = 100_000;
const SECONDS = 10;
const CLIENTS = 50;
const FILE = 1 << 20;
const ALLOWANCE = 50 * 2 ** 20;
const flood = fileURLToPath(new URL('./syn-flood.py', import.meta.url));

let folder: string;
let sha256: string;
let server: RunningServer;

beforeAll(async () => {
  if (canTap() !== null) return;
  folder = await mkdtemp(join(tmpdir(), 'mirage-net-test-'));
  sha256 = await writeRandomFile(join(folder, 'file.bin'), FILE);
  // The answers to made-up addresses leave by the gateway, which drops them.
  server = await RunningServer.start({
    app: 'examples/web-server.ts',
    args: [folder],
    flags: ['--gateway', '10.0.0.1'],
    // V8's young generation alone may take 48 MiB before it is emptied; kept small, it hides nothing.
    node: ['--max-semi-space-size=2'],
  });
});

afterAll(async () => {
  server?.remove();
  if (folder !== undefined) await rm(folder, { recursive: true });
});

describe.skipIf(canTap() !== null)(`${RATE} SYNs a second for ${SECONDS} s`, () => {
  it(`stop none of ${CLIENTS} real clients, and leave no memory behind`, async () => {
    const get = `curl -sS --max-time 60 http://${SERVER}/file.bin | sha256sum`;
    await server.shell(`for i in $(seq 20); do ${get} >/dev/null; done`);
    const rssAtStart = server.rssBytes();
    const mac = (await server.shell(`ip neigh show ${SERVER}`)).split('lladdr ')[1]!.split(' ')[0]!;
    const flooding = server.shell(
      `python3 ${flood} ${server.device} ${mac} ${SERVER} 80 ${RATE} ${SECONDS}`,
      60_000,
    );
    await sleep(1000);
    // All of them begin while the flood is on; a SYN that the device drops is repeated by the kernel.
    const clients = server.shell(
      `for i in $(seq ${CLIENTS}); do ( sleep 0.$((i % 10)); ${get} ) & done; wait`,
      120_000,
    );
    const [sent, lost] = (await flooding).trim().split(' ').map(Number);
    const hashes = (await clients).trim().split('\n');
    expect(hashes).toHaveLength(CLIENTS);
    for (const hash of hashes) expect(hash.slice(0, 64)).toBe(sha256);
    expect(sent! + lost!).toBeGreaterThan(0.8 * RATE * SECONDS);

    const tcp = (await server.statistics()).tcp as Record<string, number>;
    expect(tcp.synCookiesSent).toBeGreaterThan(0);
    expect(server.rssBytes() - rssAtStart).toBeLessThan(ALLOWANCE);
    console.log(
      `${sent} SYNs sent, ${lost} refused by the device; ${tcp.inSegs} segments in, ${tcp.synCookiesSent} cookies sent, ` +
        `${tcp.synCookiesReceived} taken; RSS ${Math.round((server.rssBytes() - rssAtStart) / 2 ** 20)} MiB above the start`,
    );
  }, 200_000);
});
