import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import {
  chmodSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { runCommand } from '../../src/cli/index.ts';
import { canTap } from './support/kernel-host.ts';

const namespace = `mnd-${process.pid}-uk`;
const inNamespace = (...words: string[]): string[] => ['netns', 'exec', namespace, ...words];

describe.skipIf(canTap() !== null)('mirage-net build --target unix', () => {
  let folder: string;
  let command: string;
  const running: ChildProcess[] = [];

  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), 'mirage-net-unix-'));
    // Who it runs as has to get there.
    chmodSync(folder, 0o755);
    execFileSync('ip', ['netns', 'add', namespace]);
    const io = { stdout: { write: () => true }, stderr: process.stderr, process };
    const words = ['--netif', 'tap:mnduk', '--host-ip', '10.78.0.1/24', '--ip', '10.78.0.2/24'];
    const code = await runCommand(
      ['build', 'examples/web-server.ts', '--target', 'unix', '--out', folder, ...words, '--', folder],
      io,
    );
    expect(code).toBe(0);
    command = join(folder, 'web-server');
    writeFileSync(join(folder, 'data'), randomBytes(3_000_000));
  }, 60_000);

  afterAll(async () => {
    for (const child of running) {
      if (child.exitCode === null && child.signalCode === null) {
        child.kill('SIGKILL');
        await once(child, 'exit');
      }
    }
    execFileSync('ip', ['netns', 'del', namespace]);
    rmSync(folder, { recursive: true });
  });

  const start = async (...words: string[]) => {
    const child = spawn('ip', inNamespace(command, ...words), { stdio: ['ignore', 'pipe', 'pipe'] });
    running.push(child);
    let output = '';
    const exited = once(child, 'exit').then(([code]) => {
      throw new Error(`it ended with ${code}: ${output}`);
    });
    exited.catch(() => {});
    const serving = new Promise<void>((resolve) => {
      const onData = (chunk: Buffer): void => {
        output += chunk.toString();
        if (output.includes('Serving')) resolve();
      };
      child.stdout.on('data', onData);
      child.stderr.on('data', onData);
    });
    await Promise.race([serving, exited]);
    return { child, output: () => output };
  };

  const fetch = (address: string, path: string): Buffer =>
    execFileSync(
      'ip',
      inNamespace('curl', '-sS', '--fail', '--max-time', '30', `http://${address}/${path}`),
      {
        maxBuffer: 16 * 1024 * 1024,
      },
    );

  it('serves, as the user and without any privilege, and ends in order', { timeout: 60_000 }, async () => {
    const { child, output } = await start();
    const hash = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex');
    expect(hash(fetch('10.78.0.2', 'data'))).toBe(hash(readFileSync(join(folder, 'data'))));

    // ip netns exec becomes the command, and the command becomes the unikernel: one process.
    const of = (name: string): string => readFileSync(`/proc/${child.pid}/${name}`, 'utf8');
    const status = new Map(
      of('status')
        .split('\n')
        .map((line) => line.split(':\t', 2) as [string, string]),
    );
    expect(status.get('Uid')).toBe('65534\t65534\t65534\t65534');
    expect(status.get('Gid')).toBe('65534\t65534\t65534\t65534');
    expect(status.get('Groups')?.trim()).toBe('');
    for (const set of ['CapInh', 'CapPrm', 'CapEff', 'CapBnd', 'CapAmb']) {
      expect([set, status.get(set)]).toEqual([set, '0000000000000000']);
    }
    expect(status.get('NoNewPrivs')).toBe('1');
    // All threads, not the first alone.
    for (const thread of readdirSync(`/proc/${child.pid}/task`)) {
      expect(readFileSync(`/proc/${child.pid}/task/${thread}/status`, 'utf8')).toMatch(
        /^Uid:\t65534\t.*^CapPrm:\t0+$.*^CapBnd:\t0+$.*^NoNewPrivs:\t1$/ms,
      );
    }
    const files = readdirSync(`/proc/${child.pid}/fd`).map(
      (fd) => `${fd} ${readlinkSync(`/proc/${child.pid}/fd/${fd}`)}`,
    );
    expect(files.filter((file) => file.endsWith(' /dev/net/tun'))).toHaveLength(1);
    expect(files.filter((file) => /^([3-9]|\d\d+) socket:/.test(file))).toEqual([]);
    expect(of('cmdline')).not.toContain('tap:');
    expect(of('cmdline')).toMatch(/--netif\0fd:\d+\0--ip\0/);

    child.kill('SIGTERM');
    expect(await once(child, 'exit')).toEqual([0, null]);
    expect(output()).toContain('SIGTERM: closing connections');
    // With the process, its device is gone.
    expect(execFileSync('ip', ['-n', namespace, '-br', 'link'], { encoding: 'utf8' })).not.toContain('mnduk');
  });

  it('takes other options and arguments when it is started', { timeout: 60_000 }, async () => {
    const netif = ['--netif=tap:mnduk2,name=lan', '--host-ip', '10.79.0.1/24'];
    const words = [...netif, '--ip', '10.79.0.2/24', '--', '--port', '8080', folder];
    const { child } = await start(...words);
    expect(fetch('10.79.0.2:8080', 'data')).toHaveLength(3_000_000);
    child.kill('SIGTERM');
    expect(await once(child, 'exit')).toEqual([0, null]);
  });

  it('is refused what it cannot use', { timeout: 60_000 }, async () => {
    await expect(start('--netif', 'fd:9')).rejects.toThrow(/ended with 2: .*started with one TAP/);
    await expect(start('--ip', '10.79.0.2')).rejects.toThrow(/ended with 2: .*10.79.0.2\/24/);
  });
});
