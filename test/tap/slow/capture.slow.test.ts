import { execFile } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { canTap } from '../support/kernel-host.ts';
import { RunningServer, SERVER, writeRandomFile } from './running-server.ts';

const SIZE = 24 * 2 ** 20;

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

async function tshark(pcap: string, ...args: string[]): Promise<string> {
  const preferences = [
    'ip.check_checksum:TRUE',
    'tcp.check_checksum:TRUE',
    'udp.check_checksum:TRUE',
    // Otherwise tshark takes every retransmission inside an HTTP message for a reassembly error.
    'tcp.reassemble_out_of_order:TRUE',
  ].flatMap((preference) => ['-o', preference]);
  const { stdout } = await promisify(execFile)('tshark', ['-r', pcap, ...preferences, ...args], {
    maxBuffer: 2 ** 26,
  });
  return stdout;
}

describe.skipIf(canTap() !== null).each([
  ['with offloads', []],
  ['without offloads', ['--no-offloads']],
  ['on a bad line', ['--impair', 'loss=1%,duplicate=1%,delay=2ms,jitter=1ms']],
])('what tshark finds in the capture of a web server over TAP, %s', (name, flags) => {
  let pcap: string;

  beforeAll(async () => {
    pcap = join(folder, `${name.replaceAll(' ', '-')}.pcap`);
    const server = await RunningServer.start({
      app: 'examples/web-server.ts',
      args: [folder],
      flags: ['--pcap', pcap, ...flags],
    });
    try {
      const got = await server.shell(`curl -sS http://${SERVER}/big.bin | sha256sum`);
      expect(got.slice(0, 64)).toBe(sha256);
      expect((await server.shell(`curl -sS -T ${folder}/big.bin http://${SERVER}/`)).trim()).toBe(sha256);
      await server.shell(
        `ping -q -c 20 -i 0.01 ${SERVER} || true; ping -q -c 10 -i 0.02 -s 8000 ${SERVER} || true`,
      );
      await server.shell(
        `ab -q -n 300 -c 30 http://${SERVER}/small.bin; curl -sS http://${SERVER}:81/ || true`,
      );
      expect(await server.stop(), server.stderr).toBe(0);
    } finally {
      server.remove();
    }
  }, 180_000);

  it('is all of it', async () => {
    const ends = await tshark(
      pcap,
      '-Y',
      'tcp.flags.syn == 1 && tcp.flags.ack == 0',
      '-T',
      'fields',
      '-e',
      'tcp.stream',
    );
    expect(new Set(ends.trim().split('\n')).size).toBeGreaterThanOrEqual(303);
  });

  it('is well formed', async () => {
    expect(await tshark(pcap, '-Y', '_ws.malformed || _ws.short')).toBe('');
  });

  it('has no bad checksum', async () => {
    const bad = ['ip', 'tcp', 'udp', 'icmp'].map((protocol) => `${protocol}.checksum.status == "Bad"`);
    // The kernel writes 0xffff where a sum comes to zero, of TCP too (CSUM_MANGLED_0), once in 65,536
    // segments; that is as good in one's complement, and tshark calls it bad.
    const kernelsZero = `tcp.checksum == 0xffff && ip.dst == ${SERVER}`;
    expect(await tshark(pcap, '-Y', `(${bad.join(' || ')}) && !(${kernelsZero})`)).toBe('');
  });

  it('has no expert error', async () => {
    expect(await tshark(pcap, '-Y', '_ws.expert.severity == "Error"')).toBe('');
  });
});
