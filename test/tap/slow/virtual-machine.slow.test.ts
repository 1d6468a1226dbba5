import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DhcpServer, DirectStack, DnsServer, RealClock } from 'mirage-net-direct';
import { openStream } from 'mirage-net-direct/stream';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import webServer from '../../../examples/web-server.ts';
import { writeRandomFile } from './running-server.ts';
import { buildInitramfs, cannotEmulate, runMachine, unpackKernel } from './virtual-machine.ts';

const SIZE = 16 * 2 ** 20;
const skip = cannotEmulate();

/** What the machine does when it is up. */
const SCRIPT = `echo 0 > /proc/sys/net/ipv6/conf/eth0/accept_dad
ip link set eth0 up
ip -6 address add fd00:9::99/64 dev eth0
udhcpc -i eth0 -n -q -f -t 10 -s /lease
nslookup four.test
for name in four.test six.test; do
  wget -q -O /tmp/file http://$name/big.bin && echo "$name: $(sha256sum < /tmp/file)"
done
wget -q -O - http://both.test/small.bin | sha256sum
ping -c 3 -q six.test`;

describe.skipIf(skip !== null)(
  `a virtual machine on QEMU's -netdev stream${skip === null ? '' : ` (${skip})`}`,
  () => {
    let folder: string;

    beforeAll(async () => {
      folder = await mkdtemp(join(tmpdir(), 'mirage-net-test-'));
    });
    afterAll(() => rm(folder, { recursive: true }));

    it('gets its address, a name and a file from us, over IPv4 and IPv6', async () => {
      const sha256 = await writeRandomFile(join(folder, 'big.bin'), SIZE);
      const small = await writeRandomFile(join(folder, 'small.bin'), 10_000);
      const kernel = await unpackKernel(folder);
      const initrd = await buildInitramfs(folder, kernel, SCRIPT);
      const path = join(folder, 'net.sock');
      const clock = new RealClock();
      const netif = await openStream({ path, listen: true });
      const stack = new DirectStack({ netif, clock, ipv4: '10.9.0.1/24', ipv6: 'fd00:9::1/64' });
      try {
        await stack.ready();
        const { udp } = stack;
        const dhcp = new DhcpServer({
          udp,
          clock,
          address: '10.9.0.1/24',
          range: ['10.9.0.100', '10.9.0.110'],
          router: '10.9.0.1',
          dns: ['10.9.0.1'],
          domain: 'test',
        });
        await dhcp.start();
        const dns = new DnsServer({
          stack,
          zones: ['test'],
          records: [
            { name: 'four.test', type: 'A', data: '10.9.0.1' },
            { name: 'six.test', type: 'AAAA', data: 'fd00:9::1' },
            { name: 'both.test', type: 'A', data: '10.9.0.1' },
            { name: 'both.test', type: 'AAAA', data: 'fd00:9::1' },
          ],
        });
        await dns.start();
        await webServer(stack, [folder]);
        const printed = await runMachine(kernel, initrd, path, 240_000);
        expect(printed).toContain('lease: 10.9.0.100/24 router 10.9.0.1 dns 10.9.0.1 domain test');
        expect(printed).toContain(`four.test: ${sha256}`);
        expect(printed).toContain(`six.test: ${sha256}`);
        expect(printed).toContain(small);
        expect(printed).toContain('3 packets received, 0% packet loss');
        expect(dhcp.counters).toMatchObject({ acks: 1, naks: 0 });
        expect(netif.counters).toMatchObject({ rxErrors: 0, rxDropped: 0, txErrors: 0 });
      } finally {
        await stack.close();
      }
    });
  },
);
