import { describe, expect, it } from 'vitest';
import { DhcpServer } from '../../src/dhcp/index.ts';
import { DirectStack } from '../../src/direct/index.ts';
import { DnsServer, type ZoneRecord } from '../../src/dns/index.ts';
import { Switch } from '../../src/netif/index.ts';
import { runVirtual, SeededRandom, VirtualClock } from '../../src/time/index.ts';

const HOSTS = 200;
const EVERY = 10;
/** As in `src/arp/cache.ts`. */
const CACHE_ENTRIES = 512;

/** The page of a host: its number, and so much else that it takes several segments. */
const page = (number: number): string => `I am ${number}.${'x'.repeat(5000)}`;

async function serve(stack: DirectStack, number: number): Promise<void> {
  await stack.tcp.listen({ port: 80 }, async (flow) => {
    await flow.read();
    await flow.write(Buffer.from(page(number)));
    await flow.close();
  });
}

async function fetch(stack: DirectStack, host: string): Promise<{ text: string; family: string }> {
  const flow = await stack.tcp.connect({ host, port: 80, timeoutMs: 30_000 });
  await flow.write(Buffer.from('GET /'));
  let text = '';
  for await (const chunk of flow) text += chunk;
  const { family } = flow.remote;
  await flow.close();
  return { text, family };
}

describe(`a network of ${HOSTS} hosts on one switch`, () => {
  it('comes up by DHCP, DNS and router advertisements, and everybody fetches from every tenth', async () => {
    const clock = new VirtualClock();
    const lan = new Switch({ clock });
    const run = <T>(promise: Promise<T>): Promise<T> => runVirtual(clock, promise, 600_000);
    const gateway = new DirectStack({
      interfaces: [
        { netif: lan.port({ name: 'lan' }), ipv4: '10.0.0.1/16', ipv6: '2001:db8::1/64', advertise: true },
      ],
      forwarding: true,
      clock,
      random: new SeededRandom(1),
    });
    await run(gateway.ready());
    const dhcp = new DhcpServer({
      udp: gateway.udp,
      clock,
      address: '10.0.0.1/16',
      range: ['10.0.1.1', '10.0.1.250'],
      router: '10.0.0.1',
      dns: ['10.0.0.1'],
      search: ['test'],
    });
    await run(dhcp.start());
    const hosts = Array.from({ length: HOSTS }, (_, number) => {
      const random = new SeededRandom(1000 + number);
      return new DirectStack({ netif: lan.port(), ipv4: 'dhcp', ipv6: 'auto', clock, random });
    });
    // All at once, as after a power cut.
    await run(Promise.all(hosts.map((host) => host.ready())));
    const addressesOf = (host: DirectStack): { ipv4: string; ipv6: string } => ({
      ipv4: `${host.network.ipv4.address!.address}`,
      ipv6: `${host.network.ipv6!.link.addresses.all.find(({ origin }) => origin === 'advertised')?.address}`,
    });
    const addresses = hosts.map(addressesOf);
    expect(new Set(addresses.map(({ ipv4 }) => ipv4)).size).toBe(HOSTS);
    expect(new Set(addresses.map(({ ipv6 }) => ipv6)).size).toBe(HOSTS);
    expect(
      addresses.every(({ ipv6 }) => ipv6.startsWith('2001:db8::') || ipv6.startsWith('2001:db8:0:0:')),
    ).toBe(true);
    const records = addresses.flatMap(({ ipv4, ipv6 }, number): ZoneRecord[] => [
      { name: `h${number}.test`, type: 'A', data: ipv4 },
      { name: `h${number}.test`, type: 'AAAA', data: ipv6 },
      { name: `old${number}.test`, type: 'A', data: ipv4 },
    ]);
    const dns = new DnsServer({ stack: gateway, zones: ['test'], records });
    await run(dns.start());
    for (const [number, host] of hosts.entries()) await serve(host, number);

    const families = { IPv4: 0, IPv6: 0 };
    const visit = async (visitor: DirectStack, own: number): Promise<void> => {
      for (let number = own % EVERY; number < HOSTS; number += EVERY) {
        // One by its short name and both families, the next by a name with an IPv4 address only.
        const name = (number / EVERY + own) & 1 ? `h${number}` : `old${number}.test`;
        const { text, family } = await fetch(visitor, name);
        expect(text).toBe(page(number));
        families[family as 'IPv4' | 'IPv6']++;
      }
    };
    await run(Promise.all(hosts.map(visit)));
    expect(families.IPv4 + families.IPv6).toBe((HOSTS * HOSTS) / EVERY);
    expect(Math.min(families.IPv4, families.IPv6)).toBeGreaterThan((HOSTS * HOSTS) / EVERY / 3);

    for (const host of [gateway, ...hosts]) {
      const { arp, ndp, ip, ip6 } = host.statistics() as Record<string, Record<string, number>>;
      expect(arp!.entries).toBeLessThanOrEqual(CACHE_ENTRIES);
      expect(ndp!.entries).toBeLessThanOrEqual(CACHE_ENTRIES);
      expect([arp!.evictions, ndp!.evictions, arp!.conflicts, ndp!.conflicts]).toEqual([0, 0, 0, 0]);
      expect([ip!.ipOutDiscards, ip6!.ip6OutDiscards]).toEqual([0, 0]);
    }
    // Nobody knows more than whom it met: its own twenty, those that met it, and the gateway.
    const most = Math.max(...hosts.map((host) => host.network.arp.cache.size));
    expect(most).toBeLessThanOrEqual((2 * HOSTS) / EVERY + 2);
    await run(Promise.all([...hosts, gateway].map((host) => host.close())));
  });
});
