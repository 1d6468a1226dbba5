import { execFileSync } from 'node:child_process';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { IpAddress } from '../../src/address/index.ts';
import { shardOf } from '../../src/netif/index.ts';
import { openTap, openTapQueues, type TapNetif } from '../../src/netif/tap/index.ts';
import { canTap, KernelHost } from './support/kernel-host.ts';

const reason = canTap();
const QUEUES = 3;
const MAC = '02:00:00:00:00:77';

describe.skipIf(reason !== null)(`a TAP with queues${reason === null ? '' : ` (${reason})`}`, () => {
  let host: KernelHost;
  const netifs: TapNetif[] = [];
  /** `remote port > local port` of each datagram, by queue. */
  const seen: string[][] = Array.from({ length: QUEUES }, () => []);
  const arp: number[] = new Array(QUEUES).fill(0);

  beforeAll(async () => {
    host = new KernelHost({ ipv6: 'fd00:77::1/64' });
    const name = `q${host.device}`.slice(0, 15);
    const queues = openTapQueues(QUEUES, { name, mac: MAC });
    for (const [index, fd] of queues.descriptors.entries()) {
      const netif = openTap({ fd, mac: queues.mac, mtu: queues.mtu });
      netifs.push(netif);
      netif.start({
        receive: ({ bytes, start }) => {
          const get16 = (at: number): number => (bytes[start + at]! << 8) | bytes[start + at + 1]!;
          if (get16(12) === 0x0806) arp[index]!++;
          const [isUdp, ports] =
            get16(12) === 0x0800
              ? [bytes[start + 23] === 17, 34]
              : [get16(12) === 0x86dd && bytes[start + 20] === 17, 54];
          if (isUdp) seen[index]!.push(`${get16(ports)} > ${get16(ports + 2)}`);
        },
        flush() {},
        writable() {},
        closed() {},
      });
    }
    execFileSync('ip', ['link', 'set', name, 'netns', host.namespace]);
  });

  afterAll(async () => {
    for (const netif of netifs) await netif.close();
    await host.close();
  });

  it.each([
    ['10.99.0.2', '10.99.0.1/24'],
    ['fd00:99::2', 'fd00:99::1/64'],
  ])('gets each datagram to %s on the queue that the rule names', async (target, own) => {
    const name = `q${host.device}`.slice(0, 15);
    const isIpv4 = IpAddress.parse(target).isIpv4;
    host.ip('address', 'add', own, 'dev', name, ...(isIpv4 ? [] : ['nodad']));
    host.ip('link', 'set', name, 'up');
    host.ip('neighbour', 'replace', target, 'lladdr', MAC, 'dev', name, 'nud', 'permanent');
    for (const queue of seen) queue.length = 0;
    const script = `
import socket
for i in range(60):
    for local in (53, 80, 32768, 40000 + 400 * i, 65535):
        s = socket.socket(socket.AF_INET${isIpv4 ? '' : '6'}, socket.SOCK_DGRAM)
        s.bind(('', 20000 + 7 * i))
        s.sendto(b'x', ('${target}', local))
        s.close()
`;
    await host.exec('python3', ['-c', script]);
    const count = (): number => seen.reduce((total, queue) => total + queue.length, 0);
    const deadline = performance.now() + 10_000;
    while (count() < 300 && performance.now() < deadline)
      await new Promise((resolve) => setTimeout(resolve, 10));
    expect(count()).toBe(300);
    seen.forEach((queue, index) => {
      expect(queue.length).toBeGreaterThan(50);
      for (const ports of queue) {
        const [remote, local] = ports.split(' > ').map(Number);
        expect(shardOf(remote!, local!, QUEUES), ports).toBe(index);
      }
    });
  });

  it('gets ARP on the first queue', async () => {
    await host.exec('ping', ['-c', '1', '-W', '1', '10.99.0.77'], { allowFailure: true });
    expect(arp[0]).toBeGreaterThan(0);
    expect(arp.slice(1)).toEqual([0, 0]);
  });
});
