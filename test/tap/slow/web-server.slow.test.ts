import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { canTap } from '../support/kernel-host.ts';
import { RunningServer, SERVER, sizeFromEnvironment, writeRandomFile } from './running-server.ts';

const SIZE = sizeFromEnvironment('TRANSFER_MIB', 1024);
/** What V8 may keep of its own accord after gigabytes have passed through. */
const RSS_ALLOWANCE = 96 * 2 ** 20;

let folder: string;
let sha256: string;

beforeAll(async () => {
  if (canTap() !== null) return;
  folder = await mkdtemp(join(tmpdir(), 'mirage-net-test-'));
  sha256 = await writeRandomFile(join(folder, 'big.bin'), SIZE);
  await writeRandomFile(join(folder, 'small.bin'), 10_000);
});

afterAll(async () => {
  if (folder !== undefined) await rm(folder, { recursive: true });
});

describe.skipIf(canTap() !== null).each([
  ['with offloads', []],
  ['without offloads', ['--no-offloads']],
])('the web server over TAP, %s', (_name, flags) => {
  let server: RunningServer;
  let rssAtStart: number;

  beforeAll(async () => {
    server = await RunningServer.start({ app: 'examples/web-server.ts', args: [folder], flags });
    // The first requests load and compile what every later one needs.
    await server.shell(`for i in $(seq 50); do curl -sS -o /dev/null http://${SERVER}/small.bin; done`);
    rssAtStart = server.rssBytes();
  });

  afterAll(() => server?.remove());

  it(`gives curl ${SIZE / 2 ** 20} MiB unharmed`, async () => {
    const hash = await server.shell(`curl -sS http://${SERVER}/big.bin | sha256sum`, 300_000);
    expect(hash.slice(0, 64)).toBe(sha256);
  });

  it(`takes ${SIZE / 2 ** 20} MiB from curl unharmed`, async () => {
    const hash = await server.shell(`curl -sS -T ${folder}/big.bin http://${SERVER}/`, 300_000);
    expect(hash.trim()).toBe(sha256);
  });

  it('answers 100 pings, 10 ms apart', async () => {
    expect(await server.shell(`ping -c 100 -i 0.01 ${SERVER}`)).toContain(
      '100 packets transmitted, 100 received, 0% packet loss',
    );
  });

  it('answers pings in fragments', async () => {
    expect(await server.shell(`ping -c 50 -i 0.02 -s 8000 ${SERVER}`)).toContain(
      '50 packets transmitted, 50 received, 0% packet loss',
    );
  });

  it('serves 200 curls at once', async () => {
    const codes = await server.shell(
      `for i in $(seq 200); do curl -sS -o /dev/null -w '%{http_code}:%{size_download}\\n' http://${SERVER}/small.bin & done; wait`,
    );
    expect(codes.trim().split('\n')).toEqual(Array(200).fill('200:10000'));
  });

  it('serves 5,000 requests of ab, 100 at a time, without a failure', async () => {
    const report = await server.shell(`ab -q -n 5000 -c 100 http://${SERVER}/small.bin`, 120_000);
    expect(report).toMatch(/Complete requests:\s+5000\n/);
    expect(report).toMatch(/Failed requests:\s+0\n/);
    expect(report).not.toContain('Non-2xx responses');
  });

  it('serves 5,000 requests of ab on connections that are kept', async () => {
    const report = await server.shell(`ab -q -k -n 5000 -c 100 http://${SERVER}/small.bin`, 120_000);
    expect(report).toMatch(/Failed requests:\s+0\n/);
  });

  it('has leaked no connection after all of it, and its memory is back near its start', async () => {
    expect(await server.flowsAfter(20_000)).toBe(0);
    expect(server.rssBytes()).toBeLessThan(rssAtStart + RSS_ALLOWANCE);
  });

  it('ends in order at SIGINT and removes the device', async () => {
    expect(await server.stop()).toBe(0);
    expect(server.hasDevice()).toBe(false);
  });
});
