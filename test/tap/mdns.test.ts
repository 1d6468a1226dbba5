import { existsSync } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import { DirectStack } from '../../src/direct/index.ts';
import { until } from './support/frames.ts';
import { canTap, KernelHost } from './support/kernel-host.ts';

const AVAHI = '/usr/sbin/avahi-daemon';
const skip = canTap() ?? (existsSync(AVAHI) ? null : 'avahi-daemon is not installed');

const closings: (() => unknown)[] = [];
afterEach(async () => {
  for (const close of closings.splice(0).reverse()) await close();
});

/** avahi in a namespace, and what it says. Its run folder is its own, so several may run at once. */
async function avahi(hostname: string, service: string): Promise<{ host: KernelHost; log: () => string }> {
  const folder = await mkdtemp(join(tmpdir(), 'mirage-net-test-'));
  closings.push(() => rm(folder, { recursive: true }));
  const host = new KernelHost({ ipv6: '2001:db8:77::1/64' });
  closings.push(() => host.close());
  await writeFile(
    join(folder, 'avahi.conf'),
    `[server]
host-name=${hostname}
use-ipv4=yes
use-ipv6=yes
allow-interfaces=${host.device}
enable-dbus=no
disallow-other-stacks=no
[publish]
publish-aaaa-on-ipv4=yes
[rlimits]
`,
  );
  await writeFile(
    join(folder, 'one.service'),
    `<service-group><name>${service}</name><service><type>_http._tcp</type><port>8080</port><txt-record>path=/here</txt-record></service></service-group>`,
  );
  let log = '';
  const script = `mount -t tmpfs none /run && mkdir -p /run/avahi-daemon
mount -t tmpfs none /etc/avahi/services && cp ${folder}/one.service /etc/avahi/services/
exec ${AVAHI} --no-drop-root --no-chroot --no-rlimits -f ${folder}/avahi.conf`;
  const child = host.spawn('unshare', ['--mount', 'sh', '-c', script]);
  for (const stream of [child.stdout!, child.stderr!]) {
    stream.on('data', (chunk) => {
      log += chunk;
    });
  }
  await until('avahi', () => log.includes('Server startup complete'), 15_000);
  await until('its service', () => log.includes('successfully established'), 15_000);
  return { host, log: () => log };
}

describe.skipIf(skip !== null)(`multicast DNS with avahi${skip === null ? '' : ` (${skip})`}`, () => {
  it('finds its name and its service, and is found by who asks from an ordinary port', async () => {
    const { host } = await avahi('kernelhost', 'Pages');
    const stack = new DirectStack({
      netif: host.tap,
      ipv4: '10.77.0.2/24',
      ipv6: '2001:db8:77::2/64',
      probeAddress: false,
      mdns: { hostname: 'mirage', services: [{ name: 'Ours', type: '_http._tcp', port: 80 }] },
    });
    closings.push(() => stack.close());
    const seen: string[][] = [];
    await stack.ready();
    const { mdns } = stack;
    mdns!.watch('_http._tcp.local', 'PTR', (instances) => seen.push(instances));
    expect(await stack.resolve('kernelhost.local')).toEqual(
      expect.arrayContaining(['10.77.0.1', '2001:db8:77::1']),
    );
    await until('its service', () => seen.at(-1)?.includes('Pages._http._tcp.local') === true, 10_000);
    expect(await mdns!.query('Pages._http._tcp.local', 'SRV')).toEqual([
      { priority: 0, weight: 0, port: 8080, target: 'kernelhost.local' },
    ]);
    expect(await mdns!.query('Pages._http._tcp.local', 'TXT')).toEqual([['path=/here']]);
    await until('our names', () => mdns!.isReady, 10_000);
    // Asked from an ordinary port, as a legacy resolver does.
    const asked = await host.exec('python3', ['-c', LEGACY]);
    expect(asked.stdout).toContain('10.77.0.2');
  });

  it('gives way to avahi, which has the name already', async () => {
    const { host } = await avahi('mirage', 'Pages');
    const names: string[] = [];
    const stack = new DirectStack({
      netif: host.tap,
      ipv4: '10.77.0.2/24',
      mdns: { hostname: 'mirage', onName: (name) => names.push(name) },
    });
    closings.push(() => stack.close());
    await stack.ready();
    await until('a name', () => names.length > 0, 15_000);
    expect(names).toEqual(['mirage-2.local']);
    expect(await stack.resolve('mirage.local')).toEqual(['10.77.0.1']);
  });

  it('keeps its name from avahi, which takes another', async () => {
    const { host, log } = await avahi('early', 'Pages');
    const stack = new DirectStack({ netif: host.tap, ipv4: '10.77.0.2/24', mdns: { hostname: 'wanted' } });
    closings.push(() => stack.close());
    await stack.ready();
    await until('our name', () => stack.mdns!.isReady, 10_000);
    const ours = (): boolean => stack.mdns!.hostname === 'wanted.local';
    expect(ours()).toBe(true);
    const second = host.spawn('unshare', [
      ...['--mount', 'sh', '-c'],
      `mount -t tmpfs none /run && mkdir -p /run/avahi-daemon && mount -t tmpfs none /etc/avahi/services &&
       printf '[server]\\nhost-name=wanted\\nallow-interfaces=${host.device}\\nenable-dbus=no\\ndisallow-other-stacks=no\\n' > /run/conf &&
       exec ${AVAHI} --no-drop-root --no-chroot --no-rlimits -f /run/conf`,
    ]);
    let said = '';
    for (const stream of [second.stdout!, second.stderr!]) {
      stream.on('data', (chunk) => {
        said += chunk;
      });
    }
    await until('avahi to give way', () => /wanted-2/.test(said), 15_000);
    expect(ours()).toBe(true);
    expect(log()).not.toContain('wanted');
  });
});

const LEGACY = `
import socket, struct
query = struct.pack('>6H', 7, 0, 1, 0, 0, 0) + b'\\x06mirage\\x05local\\x00' + struct.pack('>2H', 1, 1)
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton('10.77.0.1'))
s.settimeout(5)
s.sendto(query, ('224.0.0.251', 5353))
data = s.recv(2000)
assert data[:2] == query[:2]
print(socket.inet_ntoa(data[-4:]) if data[7] == 1 else data)
print('.'.join(str(b) for b in data[data.index(b'\\x00\\x04', 12) + 2:][:4]))
`;
