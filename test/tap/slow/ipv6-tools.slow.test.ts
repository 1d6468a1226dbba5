import { existsSync } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import { DirectStack, type DirectStackOptions } from '../../../src/direct/index.ts';
import { until } from '../support/frames.ts';
import { canTap, KernelHost, type KernelHostOptions } from '../support/kernel-host.ts';

const OURS = '2001:db8:77::2';
const THEIRS = '2001:db8:77::1';
const TOOLS = ['/usr/bin/ndisc6', '/usr/bin/nmap', '/usr/sbin/radvd'];
const missing = TOOLS.filter((tool) => !existsSync(tool));
const skip = canTap() ?? (missing.length === 0 ? null : `${missing.join(', ')} not installed`);

const closings: (() => unknown)[] = [];
afterEach(async () => {
  for (const close of closings.splice(0).reverse()) await close();
});

function kernel(options: KernelHostOptions = {}): KernelHost {
  const host = new KernelHost({ ipv6: `${THEIRS}/64`, ...options });
  closings.push(() => host.close());
  return host;
}

function stackOn(host: KernelHost, options: Partial<DirectStackOptions> = {}): DirectStack {
  const stack = new DirectStack({ netif: host.tap, ipv4: '10.77.0.2/24', ipv6: `${OURS}/64`, ...options });
  closings.push(() => stack.close());
  return stack;
}

async function radvd(host: KernelHost): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), 'mirage-net-test-'));
  closings.push(() => rm(folder, { recursive: true }));
  const file = join(folder, 'radvd.conf');
  const prefix = 'prefix 2001:db8:77::/64 { };';
  await writeFile(
    file,
    `interface ${host.device} { AdvSendAdvert on; MinRtrAdvInterval 3; MaxRtrAdvInterval 4; ${prefix} };`,
  );
  await host.exec('sysctl', ['-qw', 'net.ipv6.conf.all.forwarding=1']);
  host.spawn('radvd', ['-n', '-C', file, '-p', join(folder, 'pid'), '-m', 'stderr']);
}

describe.skipIf(skip !== null)(`the tools of IPv6${skip === null ? '' : ` (${skip})`}`, () => {
  it('is found by ndisc6, and by nmap -6 with its open and its closed ports', async () => {
    const host = kernel();
    const stack = stackOn(host);
    await stack.ready();
    await stack.tcp.listen({ port: 80 }, (flow) => void flow.close().catch(() => {}));
    const socket = await stack.udp.bind({ port: 7 });
    closings.push(() => socket.close());
    const mac = `${host.tap.mac}`.toUpperCase();
    const asked = await host.exec('ndisc6', ['-1', '-w', '2000', OURS, host.device]);
    expect(asked.stdout.toUpperCase()).toContain(mac);
    const tcp = await host.exec('nmap', ['-6', '-n', '-sS', '-p', '80,81', '--reason', OURS], {
      timeout: 30_000,
    });
    expect(tcp.stdout).toMatch(/80\/tcp +open +http +syn-ack/);
    expect(tcp.stdout).toMatch(/81\/tcp +closed +\S+ +reset/);
    const udp = await host.exec('nmap', ['-6', '-n', '-sU', '-p', '9', '--reason', OURS], {
      timeout: 30_000,
    });
    expect(udp.stdout).toMatch(/9\/udp +closed +discard +port-unreach/);
    expect(udp.stdout.toUpperCase()).toContain(mac);
  }, 60_000);

  it('answers a ping of every kind that ping has, and is where traceroute ends', async () => {
    const host = kernel();
    const stack = stackOn(host);
    await stack.ready();
    const linkLocal = `${stack.network.interfaces[0]!.ipv6!.linkLocal()}%${host.device}`;
    for (const args of [
      [OURS],
      ['-s', '1452', OURS],
      ['-s', '1453', OURS],
      ['-s', '60000', OURS],
      [linkLocal],
    ]) {
      const { stdout } = await host.exec('ping', ['-6', '-c', '2', '-i', '0.05', ...args]);
      expect(stdout, args.join(' ')).toContain('2 received, 0% packet loss');
    }
    const trace = await host.exec('traceroute', ['-6', '-n', '-q', '1', '-w', '2', OURS]);
    expect(trace.stdout).toMatch(new RegExp(`^ 1 +${OURS} +[0-9.]+ ms$`, 'm'));
  });

  it('makes another address where radvd leads it to one that the kernel has (RFC 7217 §6)', async () => {
    const tap = { mac: '02:00:00:00:00:42' };
    const options = { ipv6: 'auto', ipv6Secret: 'always the same' } as const;
    const advertised = (stack: DirectStack) =>
      stack.network.interfaces[0]!.ipv6!.addresses.all.find(
        (own) => own.origin === 'advertised' && own.isAssigned,
      );
    const first = kernel({ tap });
    await radvd(first);
    const one = stackOn(first, options);
    await one.ready();
    await until('an address', () => advertised(one) !== undefined, 15_000);
    const address = `${advertised(one)!.address}`;
    await one.close();
    await first.close();
    const second = kernel({ tap });
    second.ip('address', 'add', `${address}/128`, 'dev', second.device, 'nodad');
    await radvd(second);
    const conflicts: string[] = [];
    const two = stackOn(second, { ...options, onConflict: (conflict) => conflicts.push(conflict.address) });
    await two.ready();
    await until('another address', () => advertised(two) !== undefined, 15_000);
    expect(conflicts).toContain(address);
    expect(`${advertised(two)!.address}`).not.toBe(address);
    expect(`${advertised(two)!.address}`).toMatch(/^2001:db8:77:0?:/);
  }, 60_000);
});
