import { existsSync } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { IpAddress } from '../../src/address/index.ts';
import { DirectStack } from '../../src/direct/index.ts';
import { until } from './support/frames.ts';
import { canTap, KernelHost } from './support/kernel-host.ts';

/** More addresses than a datagram of ours takes; bind has at most 100 of a name. */
const MANY = Array.from({ length: 95 }, (_, i) => `10.1.0.${i + 1}`);

let folder: string;
const closings: (() => unknown)[] = [];
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'mirage-net-test-'));
});
afterEach(async () => {
  for (const close of closings.splice(0).reverse()) await close();
  await rm(folder, { recursive: true });
});

async function daemon(
  host: KernelHost,
  ready: RegExp,
  command: string,
  ...args: string[]
): Promise<() => void> {
  let log = '';
  const child = host.spawn(command, args);
  for (const stream of [child.stdout!, child.stderr!]) {
    stream.on('data', (chunk) => {
      log += chunk;
    });
  }
  await until(command, () => ready.test(log), 15_000).catch((error) => {
    throw new Error(`${error.message}\n${log}`);
  });
  return () => child.kill('SIGKILL');
}

/** Each starts a server for the zone `test` on port `port` of the kernel's end; returns what ends it. */
const SERVERS: Record<
  string,
  { path: string; start: (host: KernelHost, port: number) => Promise<() => void> }
> = {
  unbound: {
    path: '/usr/sbin/unbound',
    start: async (host, port) => {
      const file = join(folder, `unbound-${port}.conf`);
      const data = [
        'www.test. 60 IN A 10.77.0.80',
        'www.test. 60 IN AAAA 2001:db8:77::80',
        '_http._tcp.test. 60 IN SRV 1 2 80 www.test.',
        "text.test. 60 IN TXT 'one' 'two'",
        ...MANY.map((address) => `big.test. 60 IN A ${address}`),
      ].map((record) => `local-data: "${record}"`);
      await writeFile(
        file,
        `server:
  interface: 10.77.0.1@${port}
  access-control: 0.0.0.0/0 allow
  username: ""
  chroot: ""
  pidfile: ""
  use-syslog: no
  logfile: ""
  do-daemonize: no
  local-zone: "test." static
  ${data.join('\n  ')}
  local-data-ptr: "10.77.0.80 www.test"
remote-control:
  control-enable: no
`,
      );
      return daemon(host, /start of service/, '/usr/sbin/unbound', '-d', '-v', '-c', file);
    },
  },
  bind9: {
    path: '/usr/sbin/named',
    start: async (host, port) => {
      const file = join(folder, `named-${port}.conf`);
      await writeFile(
        join(folder, 'test.zone'),
        `$TTL 60
@ IN SOA ns.test. hostmaster.test. 1 3600 600 86400 30
@ IN NS ns.test.
ns IN A 10.77.0.1
www IN A 10.77.0.80
www IN AAAA 2001:db8:77::80
alias IN CNAME www
_http._tcp IN SRV 1 2 80 www
text IN TXT "one" "two"
${MANY.map((address) => `big IN A ${address}`).join('\n')}
`,
      );
      await writeFile(
        join(folder, 'reverse.zone'),
        '$TTL 60\n@ IN SOA ns.test. hostmaster.test. 1 3600 600 86400 30\n@ IN NS ns.test.\n80 IN PTR www.test.\n',
      );
      await writeFile(
        file,
        `options { directory "${folder}"; pid-file none; session-keyfile none; listen-on port ${port} { 10.77.0.1; };
          listen-on-v6 { none; }; recursion no; dnssec-validation no; managed-keys-directory "${folder}"; };
         controls { };
         zone "test" { type primary; file "test.zone"; };
         zone "0.77.10.in-addr.arpa" { type primary; file "reverse.zone"; };`,
      );
      return daemon(host, /all zones loaded/, '/usr/sbin/named', '-g', '-c', file, '-n', '1');
    },
  },
};

describe.each(Object.entries(SERVERS))('DNS from %s', (name, { path, start }) => {
  const skip = canTap() ?? (existsSync(path) ? null : `${path} is not installed`);

  it.skipIf(skip !== null)(
    'answers everything, by TCP what does not fit, and another takes over',
    async () => {
      const host = new KernelHost();
      closings.push(() => host.close());
      const [stop] = await Promise.all([start(host, 53), start(host, 5353)]);
      const stack = new DirectStack({
        netif: host.tap,
        ipv4: '10.77.0.2/24',
        dns: ['10.77.0.1', '10.77.0.1:5353'],
        search: ['test'],
      });
      closings.push(() => stack.close());
      await stack.ready();
      const counts = () => stack.statistics().dns as Record<string, number>;
      expect(await stack.resolve('www')).toEqual(['10.77.0.80']);
      expect(await stack.dns.query('www.test', 'AAAA')).toEqual(['2001:db8:77::80']);
      expect(await stack.dns.query('_http._tcp.test', 'SRV')).toEqual([
        { target: 'www.test', port: 80, priority: 1, weight: 2 },
      ]);
      expect(await stack.dns.query('text.test', 'TXT')).toEqual([['one', 'two']]);
      expect(await stack.dns.reverse(IpAddress.parse('10.77.0.80'))).toEqual(['www.test']);
      if (name === 'bind9') expect(await stack.resolve('alias.test')).toEqual(['10.77.0.80']);
      expect((await stack.resolve('big.test')).sort()).toEqual([...MANY].sort());
      expect(counts()).toMatchObject({ truncated: 1, tcpQueries: 1, mismatches: 0 });
      await expect(stack.resolve('nobody.test')).rejects.toMatchObject({ code: 'ENOTFOUND' });
      expect(await stack.dns.find('www.test', 'TXT')).toMatchObject({ data: [], exists: true });
      const asked = counts().queries;
      expect(await stack.resolve('www.test')).toEqual(['10.77.0.80']);
      await expect(stack.resolve('nobody.test')).rejects.toMatchObject({ code: 'ENOTFOUND' });
      // Both were remembered; but unbound does not say for how long there is no such name.
      expect(counts().queries! - asked!).toBe(name === 'bind9' ? 0 : 2);
      stop();
      stack.dns.cache.clear();
      expect(await stack.resolve('www.test')).toEqual(['10.77.0.80']);
      expect(await stack.resolve('big.test')).toHaveLength(MANY.length);
    },
  );
});
