import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { IpAddress, Prefix } from '../../src/address/index.ts';
import { Network } from '../../src/direct/network.ts';
import { createCable } from '../../src/netif/index.ts';
import { SeededRandom, TimerWheel, VirtualClock } from '../../src/time/index.ts';
import { createHost, PEER, send, US } from '../support/host.ts';
import { packet, pattern } from '../support/packets.ts';

const A = IpAddress.parse('10.0.0.1');
const B = IpAddress.parse('10.0.0.2');

describe('two networks on a cable', () => {
  let clock: VirtualClock;
  let a: Network;
  let b: Network;

  function network(
    netif: ConstructorParameters<typeof Network>[0]['netif'],
    address: string,
    seed: number,
  ): Network {
    const timers = new TimerWheel(clock);
    return new Network({
      netif,
      address: Prefix.parse(address),
      clock,
      timers,
      random: new SeededRandom(seed),
    });
  }

  beforeEach(() => {
    clock = new VirtualClock(1000);
    const [left, right] = createCable({ clock });
    a = network(left, '10.0.0.1/24', 1);
    b = network(right, '10.0.0.2/24', 2);
    a.start();
    b.start();
    clock.advanceTo(clock.now() + 10);
  });

  afterEach(async () => {
    await a.close();
    await b.close();
  });

  it.each([0, 56, 1472, 1473, 9000, 65_507])('ping each other with %i bytes', (size) => {
    const data = pattern(size);
    const replies: string[] = [];
    a.icmp.listen(7, ({ source, sequence, bytes, start, end }) => {
      expect(Buffer.compare(bytes.subarray(start, end), data)).toBe(0);
      replies.push(`${source} ${sequence}`);
    });
    a.icmp.echo(a.path(B), 7, 1, data);
    clock.advanceTo(clock.now() + 10);
    a.icmp.echo(a.path(B), 7, 2, data);
    clock.advanceTo(clock.now() + 10);
    expect(replies).toEqual(['10.0.0.2 1', '10.0.0.2 2']);
  });

  it.each(['127.0.0.1', '127.9.9.9', '10.0.0.1'])('ping themselves at %s', (address) => {
    const replies: string[] = [];
    a.icmp.listen(7, ({ source }) => replies.push(`${source}`));
    a.icmp.echo(a.path(IpAddress.parse(address)), 7, 1, pattern(60_000));
    expect(replies).toEqual([]);
    clock.advanceTo(clock.now() + 1);
    expect(replies).toEqual([address]);
    expect(a.path(A).mtu).toBe(65_535);
  });
});

describe('Network', () => {
  it('reports counters of every layer as plain numbers', async () => {
    const host = createHost();
    host.netif.inject(packet().ipv4({ source: PEER, destination: US }).payload(17, [1]));
    const statistics = host.network.statistics();
    expect(statistics).toMatchObject({
      interface: { txFrames: 2 },
      ethernet: { runts: 0 },
      arp: { outRequests: 2, entries: 0 },
      ip: { ipInReceives: 1, ipInDelivers: 1, ipOutRequests: 0, ipReasmReqds: 0 },
      icmp: { icmpInMsgs: 0 },
    });
    expect(structuredClone(statistics)).toEqual(statistics);
    await host.network.close();
  });

  it('keeps an address until another is set, and routes with it', async () => {
    const host = createHost({ address: null });
    await host.network.setAddress(Prefix.parse('192.0.2.5/24'), IpAddress.parse('192.0.2.1'));
    expect(`${host.path('198.51.100.1').source}`).toBe('192.0.2.5');
    await host.network.setAddress(null);
    expect(() => host.path('198.51.100.1')).toThrow(/ENETUNREACH/);
  });

  it('settles a claim that is overtaken or closed', async () => {
    const host = createHost({ probe: true });
    const overtaken = expect(host.started).rejects.toMatchObject({ code: 'EADDRNOTAVAIL' });
    const second = host.network.setAddress(Prefix.parse('10.0.0.3/24'), null, true);
    await overtaken;
    const closed = expect(second).rejects.toMatchObject({ code: 'ENETDOWN' });
    await host.network.close();
    await closed;
  });

  it('closes once, leaves no timer behind, and says so', async () => {
    const closings: (Error | undefined)[] = [];
    const host = createHost({ onClosed: (error) => closings.push(error) });
    send(host.path(PEER), [1]);
    send(host.path('127.0.0.1'), [1]);
    await host.network.close();
    await host.network.close();
    expect(host.netif.closes).toBe(1);
    expect(closings).toEqual([undefined]);
    host.netif.take();
    host.run(100_000);
    expect(host.udp.packets).toEqual([]);
    expect(host.netif.take()).toEqual([]);
    expect(host.timers.pending).toBe(0);
  });
});
