import { existsSync } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { DhcpLease } from '../../../src/dhcp/index.ts';
import { DirectStack, type DirectStackOptions } from '../../../src/direct/index.ts';
import { until } from '../support/frames.ts';
import { canTap, KernelHost, type KernelHostOptions } from '../support/kernel-host.ts';

let folder: string;
const closings: (() => unknown)[] = [];

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'mirage-net-test-'));
});
afterEach(async () => {
  for (const close of closings.splice(0).reverse()) await close();
  await rm(folder, { recursive: true });
});

function kernel(options: KernelHostOptions = {}): KernelHost {
  const host = new KernelHost(options);
  closings.push(() => host.close());
  return host;
}

interface Daemon {
  log(): string;
  stop(): Promise<unknown>;
}

/** Starts a daemon in the namespace; resolves when it says `ready`. */
async function daemon(host: KernelHost, ready: RegExp, command: string, ...args: string[]): Promise<Daemon> {
  let log = '';
  // Files of its own in /run, so that several may run at once.
  const script = 'mount -t tmpfs none /run && mkdir -p /run/kea /run/lock/kea && exec "$0" "$@"';
  const child = host.spawn('unshare', ['--mount', 'sh', '-c', script, command, ...args]);
  for (const stream of [child.stdout!, child.stderr!]) {
    stream.on('data', (chunk) => {
      log += chunk;
    });
  }
  await until(command, () => ready.test(log), 15_000).catch((error) => {
    throw new Error(`${error.message}\n${log}`);
  });
  return {
    log: () => log,
    stop: () => {
      const ended = new Promise((resolve) => child.once('close', resolve));
      child.kill('SIGKILL');
      return ended;
    },
  };
}

function stackOn(host: KernelHost, options: Partial<DirectStackOptions> = {}): DirectStack {
  const stack = new DirectStack({ netif: host.tap, ipv4: 'dhcp', probeAddress: false, ...options });
  closings.push(() => stack.close());
  return stack;
}

const dhcpOf = (stack: DirectStack) => stack.statistics().dhcp as Record<string, number | string>;

/** Each starts a server that gives addresses of `first..last` for eight seconds, renewed after two. */
const SERVERS: Record<
  string,
  { path: string; start: (host: KernelHost, first: number, last: number) => Promise<Daemon> }
> = {
  kea: {
    path: '/usr/sbin/kea-dhcp4',
    start: async (host, first, last) => {
      const file = join(folder, `kea-${first}.json`);
      const subnet = {
        id: 1,
        subnet: '10.77.0.0/24',
        pools: [{ pool: `10.77.0.${first} - 10.77.0.${last}` }],
        'option-data': [
          { name: 'routers', data: '10.77.0.1' },
          { name: 'domain-name-servers', data: '10.77.0.1' },
        ],
      };
      const configuration = {
        Dhcp4: {
          'interfaces-config': { interfaces: [host.device] },
          'lease-database': { type: 'memfile', persist: false },
          authoritative: true,
          'valid-lifetime': 8,
          'renew-timer': 2,
          'rebind-timer': 6,
          subnet4: [subnet],
          loggers: [{ name: 'kea-dhcp4', output_options: [{ output: 'stdout' }], severity: 'INFO' }],
        },
      };
      await writeFile(file, JSON.stringify(configuration));
      return daemon(host, /DHCP4_STARTED/, '/usr/sbin/kea-dhcp4', '-c', file);
    },
  },
  'ISC dhcpd': {
    path: '/usr/sbin/dhcpd',
    start: async (host, first, last) => {
      const file = join(folder, `dhcpd-${first}.conf`);
      const leases = join(folder, `leases-${first}`);
      await writeFile(leases, '');
      await writeFile(
        file,
        `authoritative; default-lease-time 8; max-lease-time 8; min-lease-time 8;
         option dhcp-renewal-time 2; option dhcp-rebinding-time 6; ping-check false; ddns-update-style none;
         subnet 10.77.0.0 netmask 255.255.255.0 {
           range 10.77.0.${first} 10.77.0.${last};
           option routers 10.77.0.1; option domain-name-servers 10.77.0.1;
         }`,
      );
      const args = ['-4', '-f', '-d', '--no-pid', '-cf', file, '-lf', leases, host.device];
      return daemon(host, /Server starting service/, '/usr/sbin/dhcpd', ...args);
    },
  },
};

async function refuseRenewReplace({ start }: (typeof SERVERS)[string]): Promise<void> {
  const host = kernel();
  const first = await start(host, 50, 60);
  const leases: (DhcpLease | null)[] = [];
  const dhcp = {
    previousAddress: '192.168.1.7',
    onLease: (lease: DhcpLease | null) => leases.push(lease),
  };
  const stack = stackOn(host, { dhcp });
  await stack.ready();
  // INIT-REBOOT with an address that is none of this network's.
  expect(dhcpOf(stack)).toMatchObject({ naks: 1, state: 'BOUND' });
  expect(leases[0]).toMatchObject({
    server: '10.77.0.1',
    leaseSeconds: 8,
    renewSeconds: 2,
    rebindSeconds: 6,
    dns: ['10.77.0.1'],
    routes: [{ prefix: '0.0.0.0/0', gateway: '10.77.0.1' }],
  });
  const { address } = dhcpOf(stack);
  expect(address).toMatch(/^10\.77\.0\.(5\d|60)\/24$/);
  await until('two renewals', () => Number(dhcpOf(stack).acks) >= 3, 10_000);
  expect(dhcpOf(stack)).toMatchObject({ address, state: 'BOUND', discovers: 1 });
  await first.stop();
  // Another server, which knows nothing of us and gives other addresses.
  await start(host, 70, 80);
  await until('another address', () => /^10\.77\.0\.(7\d|80)\//.test(`${dhcpOf(stack).address}`), 20_000);
  // One that knows nothing of a lease may refuse it, or keep silent until it is over (RFC 2131 §4.3.2).
  expect(Number(dhcpOf(stack).naks) + Number(dhcpOf(stack).expirations)).toBe(2);
  expect(leases).toContain(null);
  await host.exec('ping', ['-c', '1', '-W', '2', `${dhcpOf(stack).address}`.replace(/\/.*/, '')]);
}

describe('DHCP from kea and ISC dhcpd', () => {
  const absent = Object.values(SERVERS).filter(({ path }) => !existsSync(path));
  const skip = canTap() ?? (absent.length === 0 ? null : `${absent[0]!.path} is not installed`);

  // Both at once: most of it is waiting.
  it.skipIf(skip !== null)(
    'is refused an address of another network, renews a short lease, and finds another when it is over',
    () => Promise.all(Object.values(SERVERS).map(refuseRenewReplace)),
    60_000,
  );
});

describe('DHCPv6 beside router advertisements', () => {
  const skip = canTap() ?? (existsSync('/usr/sbin/dnsmasq') ? null : 'dnsmasq is not installed');

  it.skipIf(skip !== null)(
    'asks dnsmasq for DNS servers and search list, and resolves by them',
    async () => {
      const host = kernel({ ipv6: '2001:db8:77::1/64' });
      await daemon(
        host,
        /started/,
        ...([
          '/usr/sbin/dnsmasq',
          '--keep-in-foreground',
          '--log-facility=-',
          '--conf-file=/dev/null',
        ] as const),
        ...['--no-resolv', '--no-hosts', '--user=root', '--pid-file=', '--leasefile-ro', '--enable-ra'],
        // The O flag, and nothing of DNS in the advertisement itself.
        ...[
          `--ra-param=${host.device},10,0`,
          `--dhcp-range=::,constructor:${host.device},ra-stateless,ra-names`,
        ],
        ...[
          '--dhcp-option=option6:dns-server,[2001:db8:77::1]',
          '--dhcp-option=option6:domain-search,lan.test',
        ],
        ...[
          '--dhcp-option=option6:information-refresh-time,900',
          '--host-record=six.lan.test,2001:db8:77::66',
        ],
      );
      const stack = stackOn(host, { ipv4: '10.77.0.2/24', ipv6: 'auto' });
      await stack.ready();
      const dhcp6 = () => stack.statistics().dhcp6 as Record<string, number | string>;
      await until('a reply', () => dhcp6().state === 'CONFIGURED', 15_000);
      expect(dhcp6()).toMatchObject({ dns: '2001:db8:77::1', replies: 1 });
      await until(
        'an address',
        () =>
          stack.network.interfaces[0]!.ipv6!.addresses.all.some(
            ({ origin, isAssigned }) => origin === 'advertised' && isAssigned,
          ),
        10_000,
      );
      expect(await stack.resolve('six')).toEqual(['2001:db8:77::66']);
    },
    30_000,
  );
});
