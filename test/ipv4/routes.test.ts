import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { IpAddress, Prefix } from '../../src/address/index.ts';
import { RoutingTable } from '../../src/ipv4/index.ts';
import { createHost, GATEWAY, GATEWAY_MAC, PEER, send, US } from '../support/host.ts';
import { BROADCAST_MAC, expectFrame } from '../support/packets.ts';

const ip = (text: string): IpAddress => IpAddress.parse(text);

describe('RoutingTable', () => {
  it('finds the longest prefix, as a naive search does', () => {
    const word = fc.integer({ min: -(2 ** 31), max: 2 ** 31 - 1 });
    // Few distinct bits, so that prefixes nest.
    const near = word.map((bits) => bits & 0x0f0000f0);
    const link = createHost().network.ipv4.links[0]!;
    const operation = fc.record({ add: fc.boolean(), word: near, length: fc.integer({ min: 0, max: 32 }) });
    fc.assert(
      fc.property(
        fc.array(operation, { maxLength: 40 }),
        fc.array(near, { maxLength: 20 }),
        (operations, probes) => {
          const table = new RoutingTable();
          let model: Prefix[] = [];
          for (const { add, word, length } of operations) {
            const prefix = new Prefix(IpAddress.ipv4(word), length);
            const rest = model.filter(
              (other) => other.length !== length || !other.network.equals(prefix.network),
            );
            if (add) table.add(prefix, null, link);
            else expect(table.remove(prefix)).toBe(rest.length < model.length);
            model = add ? [...rest, prefix] : rest;
          }
          for (const probe of probes) {
            const address = IpAddress.ipv4(probe);
            const best = model
              .filter((prefix) => prefix.contains(address))
              .sort((a, b) => b.length - a.length)[0];
            expect(table.lookup(address)?.prefix ?? null).toBe(best ?? null);
          }
        },
      ),
    );
  });
});

describe('paths', () => {
  it('choose the source by destination', () => {
    const host = createHost({ gateway: ip(GATEWAY) });
    const source = (destination: string): string => `${host.path(destination).source}`;
    expect([PEER, '192.0.2.1', US, '127.0.0.1', '127.1.2.3'].map(source)).toEqual([
      US,
      US,
      US,
      '127.0.0.1',
      '127.0.0.1',
    ]);
    expect(`${host.path('127.0.0.1', US).source}`).toBe(US);
  });

  it('are shared by those who go the same way, from the second on: a flood of strangers leaves none', () => {
    const host = createHost();
    const first = host.path(PEER);
    const second = host.path(PEER, US);
    expect(second).not.toBe(first);
    expect(host.path(PEER)).toBe(second);
    for (let i = 0; i < 2000; i++) host.path(`10.0.0.${(i % 200) + 20}`);
    expect(host.path(PEER).source.toString()).toBe(US);
  });

  it('refuse with the code that applies', () => {
    const host = createHost();
    expect(() => host.path('192.0.2.1')).toThrow(/ENETUNREACH.*192\.0\.2\.1/);
    expect(() => host.path(PEER, '10.0.0.77')).toThrow(/EADDRNOTAVAIL/);
    expect(() => host.path('0.0.0.0')).toThrow(/EINVAL/);
    expect(() => host.path('2001:db8::1')).toThrow(/ENETUNREACH/);
    expect(() => host.path(PEER, '127.0.0.1')).toThrow(/ENETUNREACH/);
    expect(() => host.path(PEER).reserve(17, 65_516)).toThrow(/EMSGSIZE/);
  });

  it('follow a change of routes', () => {
    const host = createHost({ gateway: ip(GATEWAY) });
    const path = host.path('192.0.2.1');
    send(path, [1]);
    host.resolve(GATEWAY, GATEWAY_MAC);
    host.netif.take();
    host.network.addRoute(Prefix.parse('192.0.2.0/24'), ip(PEER));
    send(path, [2]);
    expectFrame(host.netif.take()[0]).arpRequest({ targetIp: PEER });
    host.network.removeRoute(Prefix.parse('192.0.2.0/24'));
    send(path, [3]);
    expectFrame(host.netif.take()[0]).to(GATEWAY_MAC).ipv4({ destination: '192.0.2.1' });
  });

  it('report, after the send, that no way is left', () => {
    const host = createHost({ gateway: ip(GATEWAY) });
    const path = host.path('192.0.2.1');
    host.network.removeRoute(Prefix.parse('0.0.0.0/0'));
    send(path, [1, 2, 3]);
    expect(host.udp.errors).toEqual([]);
    host.settle();
    expect(host.udp.errors).toMatchObject([{ kind: 'net-unreachable', destination: '192.0.2.1' }]);
    expect(host.network.ipv4.egress.counters.ipOutNoRoutes).toBe(1);
  });

  it('end with the address that they are from', () => {
    const host = createHost();
    const path = host.path(PEER);
    void host.network.setAddress(Prefix.parse('10.0.0.9/24'));
    send(path, [1]);
    host.settle();
    expect(host.udp.errors).toMatchObject([{ kind: 'net-unreachable', source: US }]);
    expect(`${host.path(PEER).source}`).toBe('10.0.0.9');
  });

  it.each(['255.255.255.255', '10.0.0.255'])('send broadcasts to %s at once', (destination) => {
    const host = createHost();
    send(host.path(destination), [1]);
    expectFrame(host.netif.take()[0]).to(BROADCAST_MAC).ipv4({ source: US, destination, ttl: 64 });
  });

  it('send multicast to the group’s MAC, one hop far (RFC 1112)', () => {
    const host = createHost();
    send(host.path('239.129.2.3'), [1]);
    expect(() => host.path('224.0.0.251')).not.toThrow();
    expectFrame(host.netif.take()[0]).to('01:00:5e:01:02:03').ipv4({ ttl: 1 });
  });

  it('lead a host without address to the limited broadcast only', () => {
    const host = createHost({ address: null });
    send(host.path('255.255.255.255'), [1]);
    expectFrame(host.netif.take()[0]).to(BROADCAST_MAC).ipv4({ source: '0.0.0.0' });
    expect(() => host.path(PEER)).toThrow(/ENETUNREACH/);
  });

  it('know their own and broadcast addresses', () => {
    const host = createHost();
    const { network } = host;
    expect([US, '127.5.5.5', PEER, '10.0.0.255'].map((text) => network.isLocal(ip(text)))).toEqual([
      true,
      true,
      false,
      false,
    ]);
    expect(['10.0.0.255', '255.255.255.255', PEER].map((text) => network.isBroadcast(ip(text)))).toEqual([
      true,
      true,
      false,
    ]);
  });
});
