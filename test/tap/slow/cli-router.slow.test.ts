import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import { canTap } from '../support/kernel-host.ts';

const MAIN = new URL('../../../dist/cli/main.js', import.meta.url).pathname;

let namespaces: string[] = [];
let children: ChildProcess[] = [];

function namespace(letter: string): string {
  const name = `mndc-${process.pid}-${letter}`;
  execFileSync('ip', ['netns', 'add', name]);
  namespaces.push(name);
  ip(name, 'link', 'set', 'lo', 'up');
  return name;
}

const ip = (name: string, ...args: string[]): string =>
  execFileSync('ip', ['-n', name, ...args], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] });

/** Runs in a namespace; what it prints, and its exit code. */
function run(
  name: string,
  command: string,
  ...args: string[]
): Promise<{ code: number | null; out: string; err: string }> {
  const child = spawn('ip', ['netns', 'exec', name, command, ...args]);
  children.push(child);
  return new Promise((resolve) => {
    let out = '';
    let err = '';
    child.stdout.on('data', (chunk) => {
      out += chunk;
    });
    child.stderr.on('data', (chunk) => {
      err += chunk;
    });
    child.once('close', (code) => resolve({ code, out, err }));
  });
}

async function until(what: string, isSo: () => boolean | Promise<boolean>): Promise<void> {
  for (let tries = 0; tries < 300; tries++) {
    if (await isSo()) return;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  throw new Error(`not within 15 s: ${what}`);
}

afterEach(() => {
  for (const child of children) child.kill('SIGKILL');
  for (const name of namespaces) execFileSync('ip', ['netns', 'del', name]);
  namespaces = [];
  children = [];
});

describe.skipIf(canTap() !== null)('mirage-net router and ping', () => {
  it('carries packets between two namespaces, configures one, and shows its tables', async () => {
    const [router, inside, outside] = [namespace('r'), namespace('a'), namespace('b')];
    const control = join(tmpdir(), `mirage-net-${process.pid}.sock`);
    const running = run(
      router,
      process.execPath,
      ...[MAIN, 'router', '--control', control, '--napt', 'wan'],
      ...['--netif', 'tap:lan,ip=10.1.0.1/24,ip6=fd00:1::1/64,advertise'],
      ...['--netif', 'tap:wan,ip=10.2.0.1/24,ip6=fd00:2::1/64,gateway6=fd00:2::2'],
    );
    await until('the router answers', () => existsSync(control));
    ip(router, 'link', 'set', 'lan', 'netns', inside);
    ip(router, 'link', 'set', 'wan', 'netns', outside);
    ip(inside, 'address', 'add', '10.1.0.2/24', 'dev', 'lan');
    ip(inside, 'link', 'set', 'lan', 'up');
    ip(inside, 'route', 'add', 'default', 'via', '10.1.0.1');
    ip(outside, 'address', 'add', '10.2.0.2/24', 'dev', 'wan');
    ip(outside, 'address', 'add', 'fd00:2::2/64', 'dev', 'wan', 'nodad');
    ip(outside, 'link', 'set', 'wan', 'up');
    ip(outside, 'route', 'add', 'fd00:1::/64', 'via', 'fd00:2::1');
    const ping = await run(inside, 'ping', '-c', '2', '-i', '0.2', '10.2.0.2');
    expect(ping.out).toContain(' 0% packet loss');
    // The kernel has made an address of what we advertise, and has its default route from us.
    await until('the kernel has an address', () =>
      /inet6 fd00:1::.*dynamic/.test(ip(inside, '-6', 'address', 'show', 'dev', 'lan')),
    );
    await until('no address is tentative', () => !ip(inside, '-6', 'address', 'show').includes('tentative'));
    const ping6 = await run(inside, 'ping', '-c', '2', '-i', '0.2', 'fd00:2::2');
    expect(ping6.out).toContain(' 0% packet loss');
    const ask = async (...words: string[]): Promise<string> =>
      (await run(router, process.execPath, MAIN, ...words, '--control', control)).out;
    const [arp, routes, stats] = await Promise.all([ask('arp'), ask('routes'), ask('stats', '--json')]);
    expect(arp).toMatch(/^ADDRESS +MAC +INTERFACE +STATE\n/);
    expect(arp).toMatch(/\n10\.1\.0\.2 +[0-9a-f:]{17} +lan +(REACHABLE|STALE|DELAY)\n/);
    expect(arp).toMatch(/\nfd00:2::2 +[0-9a-f:]{17} +wan /);
    expect(routes).toMatch(/\n10\.2\.0\.0\/24 +- +wan +0 +-\n/);
    expect(routes).toMatch(/\n::\/0 +fd00:2::2 +wan /);
    expect(JSON.parse(stats)).toMatchObject({
      napt: { mappings: 1, outbound: 2, inbound: 2 },
      forward6: { discards: 0 },
    });
    expect((await run(router, process.execPath, MAIN, 'arp', '--control', '/nowhere')).code).toBe(1);
    children[0]!.kill('SIGTERM');
    expect(await running).toMatchObject({ code: 0 });
    expect(existsSync(control)).toBe(false);
  }, 60_000);

  it('pings the kernel over a TAP, and fails where nobody answers', async () => {
    const only = namespace('p');
    const ping = (...words: string[]) =>
      run(
        only,
        process.execPath,
        MAIN,
        'ping',
        ...words,
        '--netif',
        'tap:mnd0',
        '--host-ip',
        '10.0.0.1/24',
        '--ip',
        '10.0.0.2/24',
      );
    const good = await ping('10.0.0.1', '-c', '3', '-i', '0.1', '-s', '4000');
    expect(good.out).toMatch(
      /^PING 10\.0\.0\.1 \(10\.0\.0\.1\) 4000 bytes of data\.\n4008 bytes from 10\.0\.0\.1: icmp_seq=1 ttl=64 time=/,
    );
    expect(good.out).toMatch(
      /\n3 packets transmitted, 3 received, 0% packet loss, time \d+ms\nrtt min\/avg\/max\/mdev = /,
    );
    expect(good.code).toBe(0);
    const bad = await ping('10.0.0.9', '-c', '1', '-W', '0.2');
    expect(bad.out).toContain('1 packets transmitted, 0 received, 100% packet loss');
    expect(bad).toMatchObject({ code: 1 });
  }, 60_000);
});
