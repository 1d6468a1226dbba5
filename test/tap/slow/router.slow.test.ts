import { execFileSync } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { DirectStack, type ForwardingOptions } from '../../../src/direct/index.ts';
import { type CaptureSink, capture, type Netif } from '../../../src/netif/index.ts';
import { RealClock } from '../../../src/time/index.ts';
import { canTap, KernelHost } from '../support/kernel-host.ts';

const MIB = 2 ** 20;
const CLIENT = '10.1.0.2';
const SERVER = '10.2.0.2';
const CLIENT6 = 'fd00:1::2';
const SERVER6 = 'fd00:2::2';
/** Bytes that nobody can guess, the same each time. */
const stream = (bytes: number): string =>
  `head -c ${bytes} /dev/zero | openssl enc -aes-128-ctr -nosalt -K 000102030405060708090a0b0c0d0e0f -iv 0`;

let folder: string;
const digests = new Map<number, string>();

function digest(bytes: number): string {
  let known = digests.get(bytes);
  if (known === undefined) {
    known = execFileSync('sh', ['-c', `${stream(bytes)} 2>/dev/null | sha256sum`], {
      encoding: 'utf8',
    }).slice(0, 64);
    digests.set(bytes, known);
  }
  return known;
}

interface RouterOptions {
  readonly forwarding: ForwardingOptions;
  readonly offloads?: boolean;
  readonly outsideMtu?: number;
  readonly capture?: (name: string) => CaptureSink;
}

interface World {
  readonly client: KernelHost;
  readonly server: KernelHost;
  readonly router: DirectStack;
}

const open: { close(): Promise<void> }[] = [];

/** A namespace behind our router, and one outside, which has no route back but to our own address. */
async function world(options: RouterOptions): Promise<World> {
  const { offloads = true } = options;
  const client = new KernelHost({ address: `${CLIENT}/24`, ipv6: `${CLIENT6}/64`, tap: { offloads } });
  open.push(client);
  const server = new KernelHost({
    address: `${SERVER}/24`,
    ipv6: `${SERVER6}/64`,
    tap: { offloads },
    ...(options.outsideMtu === undefined ? {} : { mtu: options.outsideMtu }),
  });
  open.push(server);
  const clock = new RealClock();
  const seen = (netif: Netif, name: string): Netif =>
    options.capture === undefined ? netif : capture(netif, options.capture(name), { clock });
  const router = new DirectStack({
    clock,
    interfaces: [
      {
        netif: seen(client.tap, 'inside'),
        name: 'inside',
        ipv4: '10.1.0.1/24',
        ipv6: 'fd00:1::1/64',
        probeAddress: false,
      },
      {
        netif: seen(server.tap, 'outside'),
        name: 'outside',
        ipv4: '10.2.0.1/24',
        ipv6: 'fd00:2::1/64',
        probeAddress: false,
      },
    ],
    forwarding: options.forwarding,
  });
  open.push(router);
  await router.ready();
  // The kernel's limit on errors is not what is tested here.
  await server.exec('sh', ['-c', 'echo 0 > /proc/sys/net/ipv4/icmp_ratelimit']);
  client.ip('route', 'add', 'default', 'via', '10.1.0.1');
  client.ip('-6', 'route', 'add', 'default', 'via', 'fd00:1::1');
  server.ip('-6', 'route', 'add', 'default', 'via', 'fd00:2::1');
  if (options.forwarding.napt === undefined) server.ip('route', 'add', 'default', 'via', '10.2.0.1');
  return { client, server, router };
}

async function listening(host: KernelHost, port: number): Promise<void> {
  for (let tries = 0; tries < 200; tries++) {
    const { stdout } = await host.exec('ss', ['-Hltn', `sport = :${port}`]);
    if (stdout.trim() !== '') return;
    await new Promise((resolve) => setTimeout(resolve, 25));
  }
  throw new Error(`nobody listens on ${port}`);
}

/** Whether `bytes` bytes from one to the other arrive as they were. */
async function transfer(
  { client, server }: World,
  address: string,
  bytes: number,
  up: boolean,
): Promise<string> {
  const target = address.includes(':') ? `TCP6:[${address}]:9000` : `TCP4:${address}:9000`;
  const listen = 'TCP6-LISTEN:9000,ipv6only=0,reuseaddr';
  const send = (to: string): string => `${stream(bytes)} 2>/dev/null | socat -u -b 262144 - ${to}`;
  const receive = (from: string): string => `socat -u -b 262144 ${from} - | sha256sum`;
  const options = { timeout: 120_000 };
  const serving = server.exec('sh', ['-c', up ? receive(listen) : send(listen)], options);
  await listening(server, 9000);
  const asking = client.exec('sh', ['-c', up ? send(target) : receive(target)], options);
  const [served, asked] = await Promise.all([serving, asking]);
  return (up ? served : asked).stdout.slice(0, 64);
}

describe.skipIf(canTap() !== null)('a router between two kernels', () => {
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'mirage-net-router-'));
  });
  afterAll(async () => {
    await rm(folder, { recursive: true });
  });
  afterEach(async () => {
    for (const one of open.splice(0).reverse()) await one.close();
  });

  it('is a hop that traceroute sees, in both families', async () => {
    const { client } = await world({ forwarding: {} });
    const hops = async (...args: string[]): Promise<string[]> => {
      const { stdout } = await client.exec('traceroute', ['-n', '-w', '2', '-q', '1', ...args], {
        timeout: 20_000,
      });
      return stdout.split('\n').flatMap((line) => /^\s*\d+\s+(\S+)\s+[\d.]+ ms/.exec(line)?.[1] ?? []);
    };
    for (const method of ['-U', '-I', '-T']) {
      expect(await hops(method, SERVER), method).toEqual(['10.1.0.1', SERVER]);
      expect(await hops('-6', method, SERVER6), method).toEqual(['fd00:1::1', SERVER6]);
    }
  });

  it.each([
    ['with offloads', true, 128],
    ['without', false, 32],
  ])(
    'carries transfers of both families both ways, %s',
    async (_name, offloads, mib) => {
      const all = await world({ forwarding: {}, offloads });
      for (const address of [SERVER, SERVER6]) {
        for (const up of [true, false])
          expect(await transfer(all, address, mib * MIB, up)).toBe(digest(mib * MIB));
      }
      expect(all.router.statistics()).toMatchObject({ forward: { discards: 0 }, forward6: { discards: 0 } });
    },
    180_000,
  );

  it('tells the kernel of a narrower link, in both families', async () => {
    const all = await world({ forwarding: {}, outsideMtu: 1300 });
    const { client, server } = all;
    // So that the far end's MSS does not tell, and only the router can.
    server.ip('route', 'replace', 'default', 'via', '10.2.0.1', 'advmss', '1460');
    server.ip('-6', 'route', 'replace', 'default', 'via', 'fd00:2::1', 'advmss', '1440');
    for (const address of [SERVER, SERVER6]) {
      for (const up of [true, false]) expect(await transfer(all, address, 8 * MIB, up)).toBe(digest(8 * MIB));
      const { stdout } = await client.exec('ip', ['route', 'get', address]);
      expect(stdout).toContain('mtu 1300');
    }
    const { forward, forward6 } = all.router.statistics() as Record<string, Record<string, number>>;
    expect([forward!.tooBig! > 0, forward6!.tooBig! > 0]).toEqual([true, true]);
    // IPv4 without DF is cut, and what is too large for the first link too.
    client.ip('route', 'flush', 'cache');
    const ping = await client.exec('ping', ['-M', 'dont', '-c', '3', '-i', '0.1', '-s', '4000', SERVER]);
    expect(ping.stdout).toContain(' 0% packet loss');
  }, 60_000);

  it('translates a gigabyte each way, and curl, ping and traceroute', async () => {
    const all = await world({ forwarding: { napt: { outside: 'outside' } } });
    const { client, server, router } = all;
    for (const up of [true, false])
      expect(await transfer(all, SERVER, 1024 * MIB, up)).toBe(digest(1024 * MIB));
    await writeFile(join(folder, 'index.html'), 'hello\n'.repeat(20_000));
    server.spawn('python3', ['-m', 'http.server', '-d', folder, '--bind', '0.0.0.0', '80']).stderr?.resume();
    await listening(server, 80);
    const got = await client.exec('curl', ['-sS', `http://${SERVER}/`]);
    expect(got.stdout).toBe('hello\n'.repeat(20_000));
    const many = await client.exec('ab', ['-q', '-n', '500', '-c', '20', `http://${SERVER}/`], {
      timeout: 60_000,
    });
    expect(many.stdout).toMatch(/Complete requests:\s+500\nFailed requests:\s+0/);
    const { stdout: sockets } = await server.exec('ss', ['-Htn', 'state', 'time-wait']);
    expect(sockets).not.toContain(CLIENT);
    expect(sockets).toContain('10.2.0.1');
    const ping = await client.exec('ping', ['-c', '5', '-i', '0.05', '-s', '4000', SERVER]);
    expect(ping.stdout).toContain(' 0% packet loss');
    for (const method of ['-U', '-I']) {
      const { stdout } = await client.exec('traceroute', ['-n', '-w', '2', '-q', '1', method, SERVER], {
        timeout: 20_000,
      });
      expect(stdout, method).toMatch(/ 1 {2}10\.1\.0\.1 .*\n 2 {2}10\.2\.0\.2 /);
    }
    // Nobody listens: the kernel's refusal and its ICMP error come back to the host that asked.
    const refused = await client.exec('curl', ['-sS', '-m', '5', `http://${SERVER}:81/`], {
      allowFailure: true,
    });
    expect(refused.stderr).toMatch(/refused|Failed to connect/);
    const unreachable = await client.exec('python3', [
      '-c',
      `import socket\ns=socket.socket(socket.AF_INET,socket.SOCK_DGRAM)\ns.settimeout(3)\ns.connect(("${SERVER}",9))\ns.send(b"x")\ntry:\n s.recv(1)\nexcept ConnectionRefusedError: print("refused")`,
    ]);
    expect(unreachable.stdout).toBe('refused\n');
    const { napt, forward } = router.statistics() as Record<string, Record<string, number>>;
    expect(forward!.discards).toBe(0);
    expect(napt).toMatchObject({ exhausted: 0, unsupported: 0, strayErrors: 0 });
    expect(napt!.errors).toBeGreaterThan(0);
  }, 180_000);

  it('sends nothing on either side that tshark finds fault with', async () => {
    const files = new Map<string, Buffer[]>();
    const all = await world({
      offloads: false,
      forwarding: { napt: { outside: 'outside' } },
      capture: (name) => {
        const chunks: Buffer[] = [];
        files.set(name, chunks);
        return { write: (chunk) => void chunks.push(Buffer.from(chunk)), end: async () => {} };
      },
    });
    expect(await transfer(all, SERVER, 4 * MIB, true)).toBe(digest(4 * MIB));
    expect(await transfer(all, SERVER6, 4 * MIB, false)).toBe(digest(4 * MIB));
    await all.client.exec('ping', ['-c', '3', '-i', '0.05', '-s', '4000', SERVER]);
    await all.client.exec('traceroute', ['-n', '-w', '1', '-q', '1', SERVER], { timeout: 20_000 });
    await all.client.exec('traceroute', ['-6', '-n', '-w', '1', '-q', '1', SERVER6], { timeout: 20_000 });
    await all.router.close();
    for (const [name, chunks] of files) {
      const file = join(folder, `${name}.pcap`);
      await writeFile(file, Buffer.concat(chunks));
      const tshark = (...args: string[]): string =>
        execFileSync(
          'tshark',
          [
            '-r',
            file,
            // Random bytes: whoever guesses at them finds a broken protocol in the end.
            ...['-d', 'tcp.port==9000,data'],
            ...['ip.check_checksum', 'tcp.check_checksum', 'udp.check_checksum'].flatMap((one) => [
              '-o',
              `${one}:TRUE`,
            ]),
            ...args,
          ],
          { encoding: 'utf8', maxBuffer: 2 ** 26, stdio: ['ignore', 'pipe', 'ignore'] },
        );
      expect(tshark('-Y', '_ws.malformed || _ws.short || _ws.expert.severity == "Error"')).toBe('');
      const bad = ['ip.checksum', 'tcp.checksum', 'udp.checksum', 'icmp.checksum', 'icmpv6.checksum'];
      expect(tshark('-Y', bad.map((field) => `${field}.status == "Bad"`).join(' || '))).toBe('');
      const inner = tshark(
        '-Y',
        `ip.addr == ${CLIENT} && !icmp.type == 3`,
        '-T',
        'fields',
        '-e',
        'frame.number',
      );
      if (name === 'outside') expect(inner).toBe('');
      else expect(inner).not.toBe('');
    }
  }, 60_000);
});
