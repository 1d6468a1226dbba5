import { describe, expect, it } from 'vitest';
import { IpAddress } from '../../src/address/index.ts';
import { send } from '../support/host.ts';
import { advertisement, createHost6, expectOne, NS, ofType, RA, ROUTER, ROUTER_MAC, RS } from './host.ts';
import { icmp6Frame, ip6Bytes, long, macOption, u16, u32 } from './packets.ts';

const PREFIX = '2001:db8:1::';
const FAR = '2001:db8:ffff::9';
const DAY = 86_400;

interface RouterFields {
  readonly router?: string;
  readonly mac?: string;
  readonly lifetime?: number;
  readonly flags?: number;
  readonly hopLimit?: number;
  readonly reachable?: number;
  readonly retrans?: number;
  readonly options?: readonly (readonly number[])[];
  /** Of the packet. */
  readonly ttl?: number;
}

function router(fields: RouterFields = {}): Uint8Array {
  const { router: source = ROUTER, mac = ROUTER_MAC, lifetime = 1800, flags = 0, hopLimit = 0 } = fields;
  const { reachable = 0, retrans = 0, options = [], ttl = 255 } = fields;
  return icmp6Frame(
    {
      source,
      destination: 'ff02::1',
      destinationMac: '33:33:00:00:00:01',
      sourceMac: mac,
      type: RA,
      hopLimit: ttl,
    },
    [
      hopLimit,
      flags,
      ...u16(lifetime),
      ...u32(reachable),
      ...u32(retrans),
      ...macOption(1, mac),
      ...options.flat(),
    ],
  );
}

function prefix(
  fields: { network?: string; length?: number; flags?: number; valid?: number; preferred?: number } = {},
): number[] {
  const { network = PREFIX, length = 64, flags = 0xc0, valid = 30 * DAY, preferred = 7 * DAY } = fields;
  return [3, 4, length, flags, ...u32(valid), ...u32(preferred), 0, 0, 0, 0, ...ip6Bytes(network)];
}

function route(network: string, length: number, lifetime: number, preference = 0): number[] {
  return [24, 3, length, preference << 3, ...u32(lifetime), ...ip6Bytes(network)];
}

function autoHost() {
  const host = createHost6({ address: null, autoconfigure: true });
  const advertised = () => host.link.addresses.all.filter(({ origin }) => origin === 'advertised');
  return { ...host, advertised, gateway: () => host.link.routes.lookup(IpAddress.parse(FAR))?.gateway };
}

describe('router discovery (RFC 4861 §6.3)', () => {
  it('asks three times, and no more where there is no router', () => {
    const host = createHost6({ address: null, autoconfigure: true, fresh: true });
    host.run(60_000);
    const asked = ofType(host.take(), RS);
    expect(asked).toHaveLength(3);
    expect(asked[0]).toMatchObject({ source: long('::'), destination: long('ff02::2'), hopLimit: 255 });
    expect(asked[0]!.payload).toHaveLength(8);
    expect(asked[1]!.source).toBe(long(`${host.link.linkLocal()}`));
    expect(asked[1]!.payload.slice(8)).toEqual(macOption(1, '02:00:00:00:00:01'));
    // Nothing goes on afterwards.
    expect(host.timers.pending).toBe(0);
  });

  it('asks no more when one has answered', () => {
    const host = createHost6({ address: null, autoconfigure: true, fresh: true });
    host.run(1000);
    expect(ofType(host.take(), RS)).toHaveLength(1);
    host.netif.inject(router());
    host.run(20_000);
    expect(ofType(host.take(), RS)).toEqual([]);
  });

  it('takes the address, and what is on the link, the router and the rest', () => {
    const host = autoHost();
    host.netif.inject(
      router({
        hopLimit: 33,
        flags: 0xc0,
        reachable: 10_000,
        retrans: 500,
        options: [
          prefix(),
          [5, 1, 0, 0, ...u32(1400)],
          [25, 5, 0, 0, ...u32(600), ...ip6Bytes('2001:db8::53'), ...ip6Bytes('2001:db8::54')],
          [31, 3, 0, 0, ...u32(600), 3, 108, 97, 110, 4, 116, 101, 115, 116, 0, 0, 0, 0, 0, 0, 0],
        ],
      }),
    );
    const own = expectOne(host.advertised());
    expect(own.state).toBe('tentative');
    host.run(2100);
    expect(own.state).toBe('preferred');
    expect(`${own.address}`).toMatch(/^2001:db8:1:/);
    expect(host.link).toMatchObject({ mtu: 1400, hopLimit: 33 });
    expect(host.link.ndp).toMatchObject({ reachableBaseMs: 10_000, retransmitMs: 500 });
    expect(host.link.autoconf).toMatchObject({ managed: true, otherConfiguration: true });
    expect(host.link.autoconf!.dns.servers.map(String)).toEqual(['2001:db8::53', '2001:db8::54']);
    expect(host.link.autoconf!.dns.search).toEqual(['lan.test']);
    host.run(600_000);
    expect(host.link.autoconf!.dns.servers).toEqual([]);
    host.take();
    // The router told where it is: nothing has to be asked.
    send(host.path(FAR), [1]);
    expect(expectOne(host.take())).toMatchObject({
      source: long(`${own.address}`),
      macTo: ROUTER_MAC,
      hopLimit: 33,
    });
    // What is on the link is asked for there.
    send(host.path(`${PREFIX}5`), [1]);
    expect(expectOne(host.take()).payload[0]).toBe(NS);
  });

  it.each([
    ['that came by a router', { ttl: 254 }],
    ['from a global address', { router: '2001:db8::fe' }],
    ['with half an option', { options: [[3, 4, 0, 0, 0, 0, 0, 0]] }],
    ['with an option of length zero', { options: [[3, 0, 0, 0, 0, 0, 0, 0]] }],
  ])('does not believe an advertisement %s', (_, fields) => {
    const host = autoHost();
    host.netif.inject(router(fields));
    expect(host.gateway()).toBeUndefined();
    expect(host.link.autoconf!.counters.inRouterErrors).toBe(1);
  });

  it('forgets a router in time, at its word, and when it is none any more', () => {
    const host = autoHost();
    host.netif.inject(router({ lifetime: 60 }));
    expect(`${host.gateway()}`).toBe(ROUTER);
    host.run(61_000);
    expect(host.gateway()).toBeUndefined();
    host.netif.inject(router({ lifetime: 60 }));
    host.netif.inject(router({ lifetime: 0 }));
    expect(host.gateway()).toBeUndefined();
    host.netif.inject(router({ lifetime: 60 }));
    host.netif.inject(
      advertisement({
        target: ROUTER,
        mac: ROUTER_MAC,
        flags: 0x20,
        destination: 'ff02::1',
        destinationMac: '33:33:00:00:00:01',
      }),
    );
    expect(host.gateway()).toBeUndefined();
  });

  it('goes by preference, by the longest prefix, and past a router that is silent (RFC 4191)', () => {
    const host = autoHost();
    const high = { router: 'fe80::aa', mac: '02:00:00:00:00:aa', flags: 0x08 };
    host.netif.inject(router({ options: [prefix(), route(PREFIX.replace('1::', '77::'), 48, 600)] }));
    host.netif.inject(router(high));
    host.run(3000);
    expect(`${host.gateway()}`).toBe('fe80::aa');
    expect(`${host.link.routes.lookup(IpAddress.parse('2001:db8:77::5'))!.gateway}`).toBe(ROUTER);
    // The better one dies: a use, five seconds of patience, three probes.
    const path = host.path(FAR);
    host.take();
    send(path, [1]);
    expect(host.take().map(({ macTo }) => macTo)).toEqual(['02:00:00:00:00:aa']);
    host.run(9000);
    host.take();
    send(path, [2]);
    expect(host.take().map(({ macTo }) => macTo)).toContain(ROUTER_MAC);
  });

  it('stays within its limits in a flood of rogue routers', () => {
    const host = autoHost();
    host.netif.inject(router({ options: [prefix()] }));
    for (let i = 1; i < 400; i++) {
      host.run(60);
      const name = i.toString(16);
      host.netif.inject(
        router({ router: `fe80::${name}`, options: [prefix({ network: `2001:db8:${name}::` })] }),
      );
    }
    expect(host.link.addresses.all.length).toBeLessThanOrEqual(17);
    expect(host.link.routes.routes.length).toBeLessThanOrEqual(66);
    expect(host.link.ndp.cache.size).toBeLessThanOrEqual(512);
    expect(host.link.routes.refusals).toBeGreaterThan(0);
    for (let i = 0; i < 1000; i++) host.netif.inject(router());
    expect(host.link.autoconf!.counters.inRouterLimited).toBeGreaterThan(900);
  });
});

describe('stateless autoconfiguration (RFC 4862 §5.5)', () => {
  it.each([
    ['is not autonomous', { flags: 0x80 }],
    ['has a preferred lifetime beyond the valid one', { valid: 10, preferred: 20 }],
    ['is link-local', { network: 'fe80::' }],
    ['has not 64 bits', { length: 56 }],
    ['is over', { valid: 0, preferred: 0 }],
  ])('makes no address of a prefix that %s', (_, fields) => {
    const host = autoHost();
    host.netif.inject(router({ options: [prefix(fields)] }));
    expect(host.advertised()).toEqual([]);
  });

  it('deprecates and removes an address in time', () => {
    const host = autoHost();
    host.netif.inject(router({ options: [prefix({ valid: 7300, preferred: 100 })] }));
    const own = expectOne(host.advertised());
    host.run(99_000);
    expect(own.state).toBe('preferred');
    host.run(2000);
    expect(own.state).toBe('deprecated');
    expect(host.ipv6.isLocal(own.address)).toBe(true);
    host.run(7_200_000);
    expect(host.advertised()).toEqual([]);
    expect(host.ipv6.isLocal(own.address)).toBe(false);
  });

  it('lets nobody take a long-lived address away at once', () => {
    const host = autoHost();
    host.netif.inject(router({ options: [prefix()] }));
    host.run(3000);
    const own = expectOne(host.advertised());
    host.netif.inject(router({ options: [prefix({ valid: 1, preferred: 0 })] }));
    expect(own.state).toBe('deprecated');
    host.run(7_190_000);
    expect(host.advertised()).toHaveLength(1);
    host.run(20_000);
    expect(host.advertised()).toEqual([]);
  });

  it('makes the same address of the same prefix and secret, and another of another (RFC 7217)', () => {
    const make = (secret: number, network: string): string => {
      const host = createHost6({ address: null, autoconfigure: true, secret: Uint8Array.of(secret) });
      host.netif.inject(router({ options: [prefix({ network })] }));
      return `${host.link.addresses.all.find(({ origin }) => origin === 'advertised')!.address}`;
    };
    expect(make(1, PREFIX)).toBe(make(1, PREFIX));
    expect(make(1, PREFIX)).not.toBe(make(2, PREFIX));
    expect(make(1, PREFIX).split(':').slice(-4)).not.toEqual(make(1, '2001:db8:2::').split(':').slice(-4));
  });

  it('makes another address where one is taken, three times', () => {
    const host = autoHost();
    host.netif.inject(router({ options: [prefix()] }));
    const tried: string[] = [];
    for (let i = 0; i < 5; i++) {
      const [own] = host.advertised();
      if (own === undefined) break;
      tried.push(`${own.address}`);
      host.netif.inject(
        advertisement({
          target: `${own.address}`,
          destination: 'ff02::1',
          destinationMac: '33:33:00:00:00:01',
          flags: 0x20,
        }),
      );
    }
    expect(new Set(tried).size).toBe(4);
    host.netif.inject(router({ options: [prefix()] }));
    expect(host.advertised()).toEqual([]);
  });
});
