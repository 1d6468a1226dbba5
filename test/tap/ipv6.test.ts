import { execFileSync } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { existsSync } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { IpAddress } from '../../src/address/index.ts';
import { DirectStack, type DirectStackOptions } from '../../src/direct/index.ts';
import type { Flow } from '../../src/stack.ts';
import { until } from './support/frames.ts';
import { canTap, KernelHost, type KernelHostOptions } from './support/kernel-host.ts';

const OURS = '2001:db8:77::2';
const THEIRS = '2001:db8:77::1';
const SIZE = 16 << 20;
const skip = canTap();

const closings: (() => Promise<void>)[] = [];

afterEach(async () => {
  for (const close of closings.splice(0).reverse()) await close();
});

function kernel(options: KernelHostOptions = {}): KernelHost {
  const host = new KernelHost({ ipv6: `${THEIRS}/64`, ...options });
  closings.push(() => host.close());
  return host;
}

function stackOn(host: KernelHost, options: Partial<DirectStackOptions> = {}): DirectStack {
  const stack = new DirectStack({
    netif: host.tap,
    ipv4: '10.77.0.2/24',
    ipv6: `${OURS}/64`,
    ...options,
  });
  closings.push(() => stack.close());
  return stack;
}

/** What `sections` of the statistics say. */
function count(stack: DirectStack, section: string, name: string): number {
  return (stack.statistics()[section] as Record<string, number>)[name]!;
}

async function readAll(flow: Flow): Promise<Buffer> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of flow) chunks.push(chunk);
  return Buffer.concat(chunks);
}

function sha256(data: Uint8Array): string {
  return createHash('sha256').update(data).digest('hex');
}

function macOf(host: KernelHost): string {
  return /link\/ether (\S+)/.exec(host.ip('link', 'show', host.device))![1]!;
}

/** Connects as soon as somebody listens. */
async function connect(stack: DirectStack, remote: { host: string; port: number }): Promise<Flow> {
  for (let tries = 0; ; tries++) {
    try {
      return await stack.tcp.connect(remote);
    } catch (error) {
      if (tries === 50) throw error;
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }
}

/** A namespace behind `host`, which routes to it over a link of 1300 bytes. */
function narrowNetworkBehind(host: KernelHost): string {
  const far = `${host.namespace}-far`;
  const ip = (...args: string[]): unknown => execFileSync('ip', args, { stdio: 'pipe' });
  ip('netns', 'add', far);
  closings.push(async () => {
    ip('netns', 'del', far);
  });
  ip('-n', far, 'link', 'add', 'far0', 'mtu', '1300', 'type', 'veth', 'peer', 'near0', 'mtu', '1300');
  ip('-n', far, 'link', 'set', 'near0', 'netns', host.namespace);
  host.ip('address', 'add', '2001:db8:88::1/64', 'dev', 'near0', 'nodad');
  host.ip('link', 'set', 'near0', 'up');
  ip('-n', far, 'address', 'add', '2001:db8:88::2/64', 'dev', 'far0', 'nodad');
  ip('-n', far, 'link', 'set', 'far0', 'up');
  ip('-n', far, 'route', 'add', 'default', 'via', '2001:db8:88::1');
  return far;
}

describe.skipIf(skip !== null)('IPv6 with the kernel at the other end', () => {
  let folder: string;
  let file: string;
  const data = randomBytes(SIZE);

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'mirage-net-test-'));
    file = join(folder, 'data');
    await writeFile(file, data);
  });

  afterAll(() => rm(folder, { recursive: true }));

  it('answers ping, small, fragmented and to all nodes', async () => {
    const host = kernel();
    const stack = stackOn(host);
    await stack.ready();
    const small = await host.exec('ping', ['-6', '-c', '3', '-i', '0.05', OURS]);
    expect(small.stdout).toContain(' 0% packet loss');
    const large = await host.exec('ping', ['-6', '-c', '3', '-i', '0.05', '-s', '20000', OURS]);
    expect(large.stdout).toContain(' 0% packet loss');
    expect(count(stack, 'ip6', 'ip6ReasmOKs')).toBe(3);
    expect(count(stack, 'ip6', 'ip6OutFragOKs')).toBe(3);
    // The kernel answers itself as well, and `ping` ends when enough answers have come from anyone. It asks
    // from its link-local address only when that is not tentative any more, so more than a second is needed.
    const all = await host.exec('ping', ['-6', '-c', '15', '-i', '0.2', `ff02::1%${host.device}`], {
      allowFailure: true,
    });
    expect(all.stdout).toContain(`${stack.network.ipv6!.link.linkLocal()}`);
  });

  it('is known as reachable, and finds the kernel so', async () => {
    const host = kernel();
    const stack = stackOn(host);
    await stack.ready();
    await host.exec('ping', ['-6', '-c', '1', OURS]);
    expect(host.ip('-6', 'neighbour', 'show', OURS)).toMatch(/REACHABLE|DELAY/);
    const groups = await host.exec('cat', ['/proc/net/if_inet6']);
    expect(groups.stdout).toContain(host.device);
    expect(count(stack, 'ndp', 'entries')).toBeGreaterThan(0);
  });

  describe.each([
    ['with offloads', {}],
    ['without offloads', { offloads: false }],
    ['with offloads in software', { offloads: 'software' }],
  ] as const)('%s', (_, tap) => {
    it('takes what the kernel sends', async () => {
      const host = kernel({ tap });
      const stack = stackOn(host);
      await stack.ready();
      let got: Promise<Buffer> | null = null;
      await stack.tcp.listen({ port: 80 }, (flow) => {
        got = readAll(flow).then(async (bytes) => {
          await flow.close();
          return bytes;
        });
      });
      await host.exec('socat', ['-u', `FILE:${file}`, `TCP6:[${OURS}]:80`], { timeout: 20_000 });
      await until('a connection', () => got !== null);
      expect(sha256(await got!)).toBe(sha256(data));
    });

    it('sends what the kernel takes', async () => {
      const host = kernel({ tap });
      const stack = stackOn(host);
      await stack.ready();
      const sum = host.exec('bash', ['-c', `socat -u TCP6-LISTEN:81,ipv6only=1 STDOUT | sha256sum`], {
        timeout: 20_000,
      });
      const flow = await connect(stack, { host: THEIRS, port: 81 });
      await flow.write(data);
      await flow.close();
      expect((await sum).stdout.slice(0, 64)).toBe(sha256(data));
      // The device cuts segments of IPv6 too.
      const frames = count(stack, 'interface', 'txFrames');
      if ('offloads' in tap) expect(frames).toBeGreaterThan(SIZE / 1440);
      else expect(frames).toBeLessThan(SIZE / 7200);
    });

    it('speaks UDP both ways, fragmented too', async () => {
      const host = kernel({ tap });
      const stack = stackOn(host);
      await stack.ready();
      const echo = await stack.udp.bind({ port: 7 });
      const answers = (async () => {
        for await (const { data: bytes, remote } of echo) {
          await echo.send(bytes, { host: remote.address, port: remote.port });
        }
      })();
      for (const size of [5, 1452, 1453, 20_000]) {
        const sent = data.subarray(0, size);
        const back = await host.exec('socat', ['-t0.3', '-b65536', 'STDIO', `UDP6:[${OURS}]:7`], {
          input: sent,
        });
        expect(back.stdout.length).toBe(sent.toString('utf8').length);
      }
      await echo.close();
      await answers;
    });
  });

  it('serves curl -6, by both families from one listener', async () => {
    const host = kernel();
    const stack = stackOn(host);
    await stack.ready();
    await stack.tcp.listen({ port: 80 }, async (flow) => {
      await flow.read();
      await flow.write(Buffer.from(`HTTP/1.0 200 OK\r\n\r\n${flow.remote.family} ${flow.remote.address}\n`));
      await flow.close();
    });
    const linkLocal = stack.network.ipv6!.link.linkLocal();
    const curl = async (url: string): Promise<string> => (await host.exec('curl', ['-sS', '-g', url])).stdout;
    expect(await curl(`http://[${OURS}]/`)).toBe(`IPv6 ${THEIRS}\n`);
    expect(await curl('http://10.77.0.2/')).toBe('IPv4 10.77.0.1\n');
    expect(await curl(`http://[${linkLocal}%25${host.device}]/`)).toMatch(/^IPv6 /);
  });

  it('connects to a link-local address with its zone', async () => {
    const host = kernel();
    const stack = stackOn(host, { ipv6: 'link-local' });
    await stack.ready();
    const [, theirs] = /inet6 (fe80::[0-9a-f:]+)\//.exec(host.ip('address', 'show', 'dev', host.device))!;
    await expect(stack.tcp.connect({ host: `${theirs}%${host.device}`, port: 9 })).rejects.toMatchObject({
      code: 'ECONNREFUSED',
    });
    await expect(stack.tcp.connect({ host: `${theirs}%eth9`, port: 9 })).rejects.toMatchObject({
      code: 'ENOTFOUND',
    });
  });

  it('is refused, and refuses', async () => {
    const host = kernel();
    const stack = stackOn(host);
    await stack.ready();
    await expect(stack.tcp.connect({ host: THEIRS, port: 9 })).rejects.toMatchObject({
      code: 'ECONNREFUSED',
    });
    const curl = await host.exec('curl', ['-sS', '-g', `http://[${OURS}]:9/`], { allowFailure: true });
    expect(curl.code).toBe(7);
    const socket = await stack.udp.bind();
    await socket.connect({ host: THEIRS, port: 9 });
    await socket.send(Buffer.from('x'));
    await expect(socket.receive()).rejects.toMatchObject({ code: 'ECONNREFUSED' });
    await socket.close();
    await host.exec('bash', ['-c', `echo x | socat -t0.2 STDIO UDP6:[${OURS}]:9`], { allowFailure: true });
    await until('our answer', () => count(stack, 'icmp6', 'icmp6OutDestUnreachs') > 0);
  });

  it('gives up an address that the kernel has', async () => {
    const host = kernel();
    const conflicts: { address: string; mac: string }[] = [];
    const stack = stackOn(host, { ipv6: `${THEIRS}/64`, onConflict: (conflict) => conflicts.push(conflict) });
    await expect(stack.ready()).rejects.toMatchObject({ code: 'EADDRNOTAVAIL', address: THEIRS });
    expect(conflicts).toEqual([{ address: THEIRS, mac: macOf(host) }]);
  });

  it('keeps an address that the kernel wants', async () => {
    const host = kernel();
    const stack = stackOn(host);
    await stack.ready();
    host.ip('address', 'add', `${OURS}/64`, 'dev', host.device);
    let state = '';
    await until('the kernel to see it', () => {
      state = host.ip('-6', 'address', 'show', 'dev', host.device, 'dadfailed');
      return state.includes(OURS);
    });
  });

  it('learns a path MTU, and gets a file through', async () => {
    const host = kernel();
    const stack = stackOn(host, { gateway6: THEIRS });
    await stack.ready();
    const far = narrowNetworkBehind(host);
    await host.exec('sysctl', ['-qw', 'net.ipv6.conf.all.forwarding=1']);
    const sum = host.exec(
      'nsenter',
      [`--net=/run/netns/${far}`, 'bash', '-c', 'socat -u TCP6-LISTEN:81 STDOUT | sha256sum'],
      { timeout: 15_000 },
    );
    const flow = await connect(stack, { host: '2001:db8:88::2', port: 81 });
    const part = data.subarray(0, 1 << 20);
    await flow.write(part);
    await flow.close();
    expect((await sum).stdout.slice(0, 64)).toBe(sha256(part));
    // Its SYN-ACK may have told; whatever does not fit is told by the router.
    const socket = await stack.udp.bind();
    await socket.connect({ host: '2001:db8:88::2', port: 9 });
    await socket.send(data.subarray(0, 1400));
    await until('a path MTU', () => count(stack, 'ip6', 'pathMtus') === 1);
    await socket.close();
  });

  it.skipIf(!existsSync('/usr/sbin/radvd'))(
    'takes what radvd (if installed) advertises, and loses it in time',
    async () => {
      const host = kernel();
      const stack = stackOn(host, { ipv6: 'auto' });
      await host.exec('sysctl', ['-qw', 'net.ipv6.conf.all.forwarding=1']);
      const configuration = join(folder, 'radvd.conf');
      await writeFile(
        configuration,
        `interface ${host.device} {
        AdvSendAdvert on; MinRtrAdvInterval 3; MaxRtrAdvInterval 4; AdvDefaultLifetime 12; AdvLinkMTU 1400;
        prefix 2001:db8:77::/64 { AdvValidLifetime 7200; AdvPreferredLifetime 4; };
        route 2001:db8:99::/48 { AdvRouteLifetime 60; };
        RDNSS 2001:db8:77::53 { AdvRDNSSLifetime 60; };
        DNSSL example.org { AdvDNSSLLifetime 60; };
      };`,
      );
      const radvd = host.spawn('radvd', [
        '-n',
        '-C',
        configuration,
        '-p',
        join(folder, 'pid'),
        '-m',
        'stderr',
      ]);
      await stack.ready();
      const { link } = stack.network.ipv6!;
      const advertised = () => link.addresses.all.filter(({ origin }) => origin === 'advertised');
      await until('an address', () => advertised().some(({ isAssigned }) => isAssigned), 8000);
      const own = advertised()[0]!;
      expect(`${own.address}`).toMatch(/^2001:db8:77:0?:/);
      expect(link.mtu).toBe(1400);
      expect(link.autoconf!.dns.servers.map(String)).toEqual(['2001:db8:77::53']);
      expect(link.autoconf!.dns.search).toEqual(['example.org']);
      expect((await host.exec('ping', ['-6', '-c', '1', `${own.address}`])).stdout).toContain(
        ' 0% packet loss',
      );
      // By the router, to an address that it has elsewhere.
      host.ip('address', 'add', '2001:db8:99::1/128', 'dev', 'lo');
      await expect(stack.tcp.connect({ host: '2001:db8:99::1', port: 9 })).rejects.toMatchObject({
        code: 'ECONNREFUSED',
      });
      radvd.kill('SIGKILL');
      await until('the address to be deprecated', () => own.state === 'deprecated', 6000);
      await until(
        'the router to be forgotten',
        () => link.routes.lookup(IpAddress.parse('2001:db8:1::1')) === null,
        14_000,
      );
      expect(link.routes.lookup(IpAddress.parse('2001:db8:99::1'))).not.toBeNull();
    },
    40_000,
  );
});
