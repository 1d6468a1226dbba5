import { beforeEach, describe, expect, it } from 'vitest';
import { Prefix } from '../../src/address/index.ts';
import type { AddressConflict } from '../../src/arp/index.ts';
import {
  createHost,
  GATEWAY,
  GATEWAY_MAC,
  type Host,
  OUR_MAC,
  PEER,
  PEER_MAC,
  send,
  US,
} from '../support/host.ts';
import { BROADCAST_MAC, expectFrame, packet, pattern } from '../support/packets.ts';

const RIVAL = '02:00:00:00:00:77';
const UNKNOWN = '00:00:00:00:00:00';

/** As they leave: who is asked for, and whether by broadcast. */
function requests(host: Host): string[] {
  return host.netif.take().map((frame) => {
    expect((frame[12]! << 8) | frame[13]!).toBe(0x0806);
    return `${frame.subarray(38, 42).join('.')} ${frame[0] === 0xff ? 'broadcast' : 'unicast'}`;
  });
}

describe('address resolution', () => {
  let host: Host;

  beforeEach(() => {
    host = createHost();
  });

  it('asks by broadcast, keeps the packet, and sends it when the reply comes', () => {
    send(host.path(PEER), pattern(20));
    const [request, ...rest] = host.netif.take();
    expect(rest).toEqual([]);
    expectFrame(request)
      .from(OUR_MAC)
      .to(BROADCAST_MAC)
      .arpRequest({ senderMac: OUR_MAC, senderIp: US, targetMac: UNKNOWN, targetIp: PEER });
    host.resolve();
    const [frame] = host.netif.take();
    expect(
      expectFrame(frame).from(OUR_MAC).to(PEER_MAC).ipv4({ source: US, destination: PEER }).payload,
    ).toEqual(pattern(20));
  });

  it('asks for the gateway where the destination is off the link', () => {
    host = createHost({ gateway: host.path(GATEWAY).destination });
    send(host.path('192.0.2.1'), [1]);
    expect(requests(host)).toEqual([`${GATEWAY} broadcast`]);
    host.resolve(GATEWAY, GATEWAY_MAC);
    expectFrame(host.netif.take()[0]).to(GATEWAY_MAC).ipv4({ destination: '192.0.2.1' });
  });

  it('gives up after three tries a second apart, and tells the transport', () => {
    send(host.path(PEER), pattern(9));
    host.run(2900);
    expect(requests(host)).toHaveLength(3);
    expect(host.udp.errors).toEqual([]);
    host.run(200);
    expect(host.udp.errors).toEqual([
      { kind: 'neighbour-unreachable', source: US, destination: PEER, mtu: 0, data: pattern(9) },
    ]);
    expect(requests(host)).toEqual([]);
  });

  it('does not ask again at once for a neighbour that failed, and never reports within the send', () => {
    send(host.path(PEER), [1]);
    host.run(3100);
    host.netif.take();
    host.udp.errors.length = 0;
    for (let i = 0; i < 5; i++) send(host.path(PEER), [i]);
    expect(host.udp.errors).toEqual([]);
    host.settle();
    expect(host.udp.errors.map(({ data }) => data[0])).toEqual([0, 1, 2, 3, 4]);
    expect(requests(host)).toEqual([]);
    host.run(1000);
    send(host.path(PEER), [9]);
    expect(requests(host)).toEqual([`${PEER} broadcast`]);
  });

  it('keeps the latest sixteen packets of a burst', () => {
    for (let i = 0; i < 20; i++) send(host.path(PEER), [i]);
    host.netif.take();
    host.resolve();
    const sent = host.netif.take().map((frame) => expectFrame(frame).ipv4().payload[0]);
    expect(sent).toEqual(Array.from({ length: 16 }, (_, i) => i + 4));
    expect(host.network.arp.counters.queueDrops).toBe(4);
  });

  it('keeps 64 KiB for one neighbour, and a single large datagram whole', () => {
    for (let i = 0; i < 3; i++) send(host.path(PEER), pattern(30_000, i));
    expect(host.network.arp.counters.queueDrops).toBe(1);
    send(host.path(PEER), pattern(65_515));
    expect(host.network.arp.counters.queueDrops).toBe(3);
  });

  it('learns nothing from a reply that nobody asked for', () => {
    host.resolve();
    expect(host.network.arp.cache.size).toBe(0);
  });

  it('answers a request to us, and learns who asked', () => {
    host.netif.inject(packet({ destination: BROADCAST_MAC }).arpRequest({ senderIp: PEER, targetIp: US }));
    const [reply] = host.netif.take();
    expectFrame(reply)
      .to(PEER_MAC)
      .arpReply({ senderMac: OUR_MAC, senderIp: US, targetMac: PEER_MAC, targetIp: PEER });
    send(host.path(PEER), [1]);
    expectFrame(host.netif.take()[0]).to(PEER_MAC).ipv4();
  });

  it('answers a probe without learning, and no request for others', () => {
    host.netif.inject(
      packet({ destination: BROADCAST_MAC }).arpRequest({ senderIp: '0.0.0.0', targetIp: US }),
      packet({ destination: BROADCAST_MAC }).arpRequest({ senderIp: PEER, targetIp: '10.0.0.3' }),
    );
    expect(host.netif.take()).toHaveLength(1);
    expect(host.network.arp.cache.size).toBe(0);
  });

  it('makes no entry for a stranger off the link', () => {
    host.netif.inject(packet().arpRequest({ senderIp: '192.0.2.9', targetIp: US }));
    expect(host.network.arp.cache.size).toBe(0);
  });

  it.each<[string, Uint8Array]>([
    ['a group sender', packet().arpRequest({ senderMac: BROADCAST_MAC, senderIp: PEER, targetIp: US })],
    ['a zero sender', packet().arpRequest({ senderMac: UNKNOWN, senderIp: PEER, targetIp: US })],
    ['a multicast address', packet().arpRequest({ senderIp: '224.0.0.1', targetIp: US })],
    ['a loopback address', packet().arpRequest({ senderIp: '127.0.0.1', targetIp: US })],
    ['too few bytes', packet().arpRequest({ senderIp: PEER, targetIp: US }).subarray(0, 41)],
    [
      'another hardware type',
      packet().raw(0x0806, [0, 6, 8, 0, 6, 4, 0, 1, ...new Array<number>(20).fill(1)]),
    ],
    ['another operation', packet().raw(0x0806, [0, 1, 8, 0, 6, 4, 0, 3, ...new Array<number>(20).fill(2)])],
  ])('drops a packet with %s', (_, frame) => {
    host.netif.inject(frame);
    expect(host.netif.take()).toEqual([]);
    expect(host.network.arp.counters.inErrors).toBe(1);
  });

  it('limits how many requests it answers per second', () => {
    const request = packet().arpRequest({ senderIp: PEER, targetIp: US });
    host.netif.inject(...new Array<Uint8Array>(300).fill(request));
    expect(host.netif.take()).toHaveLength(200);
    expect(host.network.arp.counters.outLimited).toBe(100);
  });
});

describe('reachability', () => {
  let host: Host;

  beforeEach(() => {
    host = createHost();
    send(host.path(PEER), [0]);
    host.resolve();
    host.netif.take();
  });

  /** Past every reachable time: 1.5 times 30 s at most. */
  const goStale = (): void => host.run(46_000);

  it('asks by unicast, five seconds after a stale entry was used, and believes it again', () => {
    goStale();
    expect(host.netif.take()).toEqual([]);
    send(host.path(PEER), [1]);
    expectFrame(host.netif.take()[0]).to(PEER_MAC).ipv4();
    host.run(4900);
    expect(host.netif.take()).toEqual([]);
    host.run(200);
    expect(requests(host)).toEqual([`${PEER} unicast`]);
    host.resolve();
    host.run(5000);
    expect(requests(host)).toEqual([]);
  });

  it('needs no probe where a transport confirms', () => {
    const path = host.path(PEER);
    for (let second = 0; second < 200; second++) {
      send(path, [1]);
      path.confirm();
      host.run(1000);
    }
    for (const frame of host.netif.take()) expectFrame(frame).to(PEER_MAC).ipv4();
  });

  it('lets go after three probes, and asks by broadcast for the next packet', () => {
    goStale();
    send(host.path(PEER), [1]);
    host.run(5100);
    host.netif.log.shift();
    host.run(2900);
    expect(requests(host)).toEqual([`${PEER} unicast`, `${PEER} unicast`, `${PEER} unicast`]);
    send(host.path(PEER), [2]);
    expect(requests(host)).toEqual([`${PEER} broadcast`]);
    host.resolve();
    expectFrame(host.netif.take()[0]).to(PEER_MAC).ipv4();
  });

  it('asks the old address of a live neighbour before it believes a new one', () => {
    host.resolve(PEER, RIVAL);
    const [probe] = host.netif.take();
    expectFrame(probe).to(PEER_MAC).arpRequest({ targetIp: PEER });
    send(host.path(PEER), [1]);
    expectFrame(host.netif.take()[0]).to(PEER_MAC);
    host.resolve(PEER, PEER_MAC);
    host.run(5000);
    send(host.path(PEER), [2]);
    expectFrame(host.netif.take()[0]).to(PEER_MAC);
  });

  it('moves to the new address within a second where the old one is silent, whatever was in flight', () => {
    const path = host.path(PEER);
    host.netif.inject(
      packet({ source: RIVAL, destination: BROADCAST_MAC }).arpRequest({ senderIp: PEER, targetIp: PEER }),
    );
    path.confirm();
    host.run(1100);
    expect(requests(host)).toEqual([`${PEER} unicast`, `${PEER} unicast`]);
    send(path, [1]);
    expectFrame(host.netif.take()[0]).to(RIVAL).ipv4();
  });

  it('asks the old address once a second at most, however often it is contested', () => {
    for (let i = 0; i < 50; i++) {
      host.resolve(PEER, RIVAL);
      host.resolve(PEER, PEER_MAC);
    }
    expect(requests(host)).toHaveLength(1);
  });

  it('takes a new address for a stale entry as it comes', () => {
    goStale();
    host.resolve(PEER, RIVAL);
    expect(host.netif.take()).toEqual([]);
    send(host.path(PEER), [1]);
    expectFrame(host.netif.take()[0]).to(RIVAL);
  });
});

describe('the cache', () => {
  const address = (i: number): string => `10.0.${(i >> 8) + 1}.${i & 255}`;

  it('holds 512 entries; the least recently used goes, and its path looks again', () => {
    const host = createHost({ address: '10.0.0.1/16' });
    const first = host.path(address(0));
    const second = host.path(address(1));
    for (let i = 0; i < 512; i++) {
      send(host.path(address(i)), [1]);
      host.resolve(address(i));
    }
    send(first, [1]);
    host.netif.take();
    expect(host.network.arp.cache.size).toBe(512);
    host.run(500);
    send(host.path(address(600)), [1]);
    host.netif.take();
    expect(host.network.arp.cache.size).toBe(512);
    send(first, [1]);
    expectFrame(host.netif.take()[0]).to(PEER_MAC).ipv4();
    send(second, [1]);
    expect(host.network.arp.cache.evictions).toBe(2);
    expect(host.netif.take().some((frame) => frame.subarray(38, 42).join('.') === address(1))).toBe(true);
  });

  it('is not emptied of live neighbours by strangers who ask', () => {
    const host = createHost({ address: '10.0.0.1/16' });
    for (let i = 0; i < 512; i++) {
      send(host.path(address(i)), [1]);
      host.resolve(address(i));
    }
    host.netif.take();
    host.netif.inject(packet().arpRequest({ senderIp: '10.0.200.1', targetIp: US }));
    expectFrame(host.netif.take()[0]).arpReply();
    expect(host.network.arp.cache.evictions).toBe(0);
    expect(host.network.arp.cache.get(host.path('10.0.200.1').destination.w3)).toBeUndefined();
  });

  it('sends no more than its share of requests for a scan of the link', () => {
    const host = createHost({ address: '10.0.0.1/16' });
    for (let i = 0; i < 1000; i++) send(host.path(address(i)), [1]);
    expect(requests(host)).toHaveLength(200);
    host.run(60_000);
    expect(host.network.arp.cache.size).toBe(512);
  });
});

describe('address claims (RFC 5227)', () => {
  it('announces the address twice, two seconds apart', () => {
    const host = createHost({ address: null });
    void host.network.setAddress(Prefix.parse(`${US}/24`));
    const announced = { senderMac: OUR_MAC, senderIp: US, targetIp: US };
    expectFrame(host.netif.take()[0]).to(BROADCAST_MAC).arpRequest(announced);
    host.run(1900);
    expect(host.netif.take()).toEqual([]);
    host.run(200);
    expectFrame(host.netif.take()[0]).arpRequest(announced);
    host.run(60_000);
    expect(host.netif.take()).toEqual([]);
  });

  it('probes three times before use where it is asked to, and does not answer meanwhile', async () => {
    const host = createHost({ probe: true });
    host.run(2000);
    host.netif.inject(packet().arpRequest({ senderIp: PEER, targetIp: US }));
    expect(() => host.path(PEER)).toThrow(/ENETUNREACH/);
    host.run(2800);
    const probes = host.netif.take();
    expect(probes).toHaveLength(3);
    for (const probe of probes) {
      expectFrame(probe)
        .to(BROADCAST_MAC)
        .arpRequest({ senderIp: '0.0.0.0', targetMac: UNKNOWN, targetIp: US });
    }
    host.run(3000);
    await host.started;
    expectFrame(host.netif.take()[0]).arpRequest({ senderIp: US, targetIp: US });
    expect(host.path(PEER).source.toString()).toBe(US);
  });

  it.each([
    ['uses it', { senderIp: US, targetIp: PEER }],
    ['probes for it too', { senderIp: '0.0.0.0', targetIp: US }],
  ])('does not take an address while another station %s', async (_, fields) => {
    const conflicts: AddressConflict[] = [];
    const host = createHost({ probe: true, onConflict: (conflict) => conflicts.push(conflict) });
    const refused = expect(host.started).rejects.toMatchObject({ code: 'EADDRNOTAVAIL', address: US });
    host.run(2000);
    host.netif.inject(packet({ source: RIVAL }).arpRequest(fields));
    await refused;
    expect(conflicts.map(({ mac, outcome }) => `${mac} ${outcome}`)).toEqual([`${RIVAL} probe`]);
    host.run(20_000);
    expect(() => host.path(PEER)).toThrow(/ENETUNREACH/);
  });

  it('defends its address once in ten seconds, and reports what it cannot settle once', () => {
    const outcomes: string[] = [];
    const host = createHost({ onConflict: ({ outcome }) => outcomes.push(outcome) });
    const claim = packet({ source: RIVAL }).arpReply({ senderIp: US, targetIp: PEER });
    host.netif.inject(claim, claim, claim);
    expect(host.netif.take()).toHaveLength(1);
    expect(outcomes).toEqual(['defended', 'contested']);
    host.run(10_000);
    host.netif.inject(claim);
    expectFrame(host.netif.take()[0]).to(BROADCAST_MAC).arpRequest({ senderIp: US, targetIp: US });
    expect(outcomes).toEqual(['defended', 'contested', 'defended']);
    expect(host.network.arp.counters.conflicts).toBe(4);
  });

  it('takes no conflict from its own packets, reflected', () => {
    const host = createHost();
    host.netif.inject(packet({ source: OUR_MAC }).arpRequest({ senderIp: US, targetIp: US }));
    expect(host.network.arp.counters.conflicts).toBe(0);
  });
});

describe('a full device', () => {
  it('costs a neighbour none of its three requests', () => {
    const host = createHost();
    host.netif.room = 0;
    send(host.path(PEER), [1, 2, 3]);
    host.run(500);
    host.netif.room = Number.POSITIVE_INFINITY;
    host.run(20);
    expect(host.netif.take()).toHaveLength(1);
    host.run(2500);
    expect(host.netif.take()).toHaveLength(2);
    host.run(700);
    expect(host.udp.errors).toMatchObject([{ kind: 'neighbour-unreachable' }]);
  });
});
