import { describe, expect, it } from 'vitest';
import { IpAddress, Prefix } from '../../src/address/index.ts';
import { Network } from '../../src/direct/network.ts';
import { CHECKSUM_PARTIAL } from '../../src/netif/netif.ts';
import { SeededRandom, TimerWheel, VirtualClock } from '../../src/time/index.ts';
import { solicitation } from '../ipv6/host.ts';
import {
  ip6,
  ip6Bytes,
  ip6Text,
  long,
  macOption,
  read6,
  type Seen,
  summed,
  u16,
  u32,
} from '../ipv6/packets.ts';
import { macBytes, packet, pattern } from '../support/packets.ts';
import { ScriptedNetif, type ScriptedNetifOptions } from '../support/scripted-netif.ts';

const IN = '2001:db8:1::1';
const OUT = '2001:db8:2::1';
const HOST = '2001:db8:1::2';
const NEAR = '2001:db8:1::3';
const PEER = '2001:db8:2::2';
const GATEWAY = 'fe80::fe';
const FAR = '2001:db8:99::7';
const IN_MAC = '02:00:00:00:01:01';
const OUT_MAC = '02:00:00:00:02:01';
const MACS: Readonly<Record<string, string>> = {
  [HOST]: '02:00:00:00:01:02',
  [NEAR]: '02:00:00:00:01:03',
  [PEER]: '02:00:00:00:02:02',
  [GATEWAY]: '02:00:00:00:02:fe',
};
const TSO = { checksum: 'partial', segmentation: 65_536 } as const;

interface Options {
  readonly inside?: ScriptedNetifOptions;
  readonly outside?: ScriptedNetifOptions;
  readonly advertise?: boolean;
}

function createRouter(options: Options = {}) {
  const clock = new VirtualClock(100_000);
  const inside = new ScriptedNetif({ mac: IN_MAC, ...options.inside });
  const outside = new ScriptedNetif({ mac: OUT_MAC, ...options.outside });
  const ipv6 = (address: string, gateway: string | null) => ({
    address: Prefix.parse(`${address}/64`),
    autoconfigure: false,
    gateway: gateway === null ? null : IpAddress.parse(gateway),
  });
  const network = new Network({
    netif: inside,
    name: 'in',
    address: null,
    ipv6: ipv6(IN, null),
    ...(options.advertise === undefined ? {} : { advertise: options.advertise }),
    others: [{ netif: outside, name: 'out', address: null, ipv6: ipv6(OUT, GATEWAY) }],
    clock,
    timers: new TimerWheel(clock),
    random: new SeededRandom(3),
    forwarding: {},
  });
  void network.start();
  const run = (ms: number): void => clock.advanceTo(clock.now() + ms);
  run(5000);
  const greet = (netif: ScriptedNetif, source: string, target: string, mac: string): void =>
    netif.inject(
      solicitation({
        source,
        destination: target,
        target,
        destinationMac: mac,
        options: macOption(1, MACS[source]!),
      }),
    );
  greet(inside, HOST, IN, IN_MAC);
  greet(inside, NEAR, IN, IN_MAC);
  greet(outside, PEER, OUT, OUT_MAC);
  greet(outside, GATEWAY, OUT, OUT_MAC);
  run(0);
  const advertised = inside.take().map(read6);
  outside.take();
  const take = (netif: ScriptedNetif): Seen[] =>
    netif
      .take()
      .map(read6)
      .filter((seen) => seen !== null);
  return { clock, network, inside, outside, run, settle: () => run(0), take, advertised };
}

const fromInside = (payload: readonly number[], destination = IN_MAC): Uint8Array =>
  packet({ source: MACS[HOST]!, destination }).raw(0x86dd, payload);

const datagram = (source: string, destination: string, hopLimit = 64, size = 100): number[] => {
  const udp = summed(source, destination, 17, [4, 210, 0, 80, ...u16(8 + size), 0, 0, ...pattern(size)], 6);
  return ip6({ source, destination, hopLimit, next: 17 }, udp);
};

describe('forwarding of IPv6', () => {
  it('passes a packet on to the next hop, one hop shorter', () => {
    const router = createRouter();
    router.inside.inject(fromInside(datagram(HOST, FAR, 9)));
    router.settle();
    const [frame] = router.outside.take();
    expect([...frame!.subarray(0, 12)]).toEqual([...macBytes(MACS[GATEWAY]!), ...macBytes(OUT_MAC)]);
    expect([...frame!.subarray(14)]).toEqual(datagram(HOST, FAR, 8));
    expect(router.network.statistics()).toMatchObject({ forward6: { forwarded: 1 } });
  });

  it.each([
    ['hop limit exceeded', datagram(HOST, FAR, 1), [3, 0, 0]],
    ['no route', datagram(HOST, '2001:db8:55::1'), [1, 0, 0]],
  ])('answers %s', (name, bytes, [type, code, rest]) => {
    const router = createRouter();
    if (name === 'no route') router.network.removeRoute(Prefix.parse('::/0'));
    router.inside.inject(fromInside(bytes));
    router.settle();
    const [answer] = router.take(router.inside);
    expect(answer).toMatchObject({ source: long(IN), destination: long(HOST), next: 58 });
    expect([...answer!.payload.slice(0, 2), ...answer!.payload.slice(4, 8)]).toEqual([
      type,
      code,
      ...u32(rest!),
    ]);
    expect([...answer!.payload.slice(8)]).toEqual(bytes);
    expect(router.outside.take()).toEqual([]);
  });

  it('answers too big, and never cuts (RFC 8200 §4.5)', () => {
    const router = createRouter({ outside: { mtu: 1280 } });
    router.inside.inject(fromInside(datagram(HOST, FAR, 64, 1300)));
    router.settle();
    const [answer] = router.take(router.inside);
    expect([...answer!.payload.slice(0, 2), ...answer!.payload.slice(4, 8)]).toEqual([2, 0, ...u32(1280)]);
    expect(answer!.payload.length).toBe(1240);
  });

  it('tells the sender that the next hop does not answer', () => {
    const router = createRouter();
    router.inside.inject(fromInside(datagram(HOST, '2001:db8:2::77')));
    router.run(5000);
    const answer = router.take(router.inside).find(({ payload }) => payload[0] === 1);
    expect([answer!.payload[1], answer!.destination]).toEqual([3, long(HOST)]);
  });

  it.each([
    ['to a group', datagram(HOST, 'ff0e::1')],
    ['to a link-local address', datagram(HOST, 'fe80::99')],
    ['from ::', datagram('::', FAR)],
    ['from an address of the router', datagram(OUT, FAR)],
    ['to ::1', datagram(HOST, '::1')],
    ['to IPv4 in IPv6 clothes', datagram(HOST, '::ffff:a00:1')],
  ])('refuses what comes %s', (_name, bytes) => {
    const router = createRouter();
    router.inside.inject(fromInside(bytes));
    router.settle();
    expect([...router.inside.take(), ...router.outside.take()]).toEqual([]);
    expect(router.network.ipv6!.receiver.counters.ip6InAddrErrors).toBe(1);
  });

  it('answers "beyond scope" to what comes from a link-local address', () => {
    const router = createRouter();
    router.inside.inject(
      solicitation({
        source: 'fe80::22',
        destination: IN,
        target: IN,
        destinationMac: IN_MAC,
        options: macOption(1, MACS[HOST]!),
      }),
    );
    router.inside.take();
    router.inside.inject(fromInside(datagram('fe80::22', FAR)));
    router.settle();
    const answer = router.take(router.inside).find(({ payload }) => payload[0] === 1);
    expect([answer!.payload[1], answer!.destination]).toEqual([2, long('fe80::22')]);
    expect(router.outside.take()).toEqual([]);
  });

  it('redirects a host that could have sent to the next hop itself (RFC 4861 §8.2)', () => {
    const router = createRouter();
    router.inside.inject(fromInside(datagram(HOST, NEAR)));
    router.settle();
    const [redirect, passed] = router.take(router.inside);
    expect(redirect).toMatchObject({
      destination: long(HOST),
      hopLimit: 255,
      source: long(`${router.network.ipv6!.link.linkLocal()}`),
    });
    const { payload } = redirect!;
    expect(payload[0]).toBe(137);
    expect([...payload.slice(8, 40)]).toEqual([...ip6Bytes(NEAR), ...ip6Bytes(NEAR)]);
    expect([...payload.slice(40, 48)]).toEqual(macOption(2, MACS[NEAR]!));
    expect([payload[48], payload[49]! * 8]).toEqual([4, payload.length - 48]);
    expect(passed!.destination).toBe(long(NEAR));
  });

  it.each([
    ['passes segments to a device that cuts them', TSO, [[3000, 1428]]],
    [
      'cuts them where the device does not',
      { checksum: 'none', segmentation: 0 },
      [
        [1428, 0],
        [1428, 0],
        [144, 0],
      ],
    ],
  ] as const)('%s', (_name, transmit, expected) => {
    const router = createRouter({ inside: { receive: TSO }, outside: { transmit } });
    const tcp = [4, 210, 0, 80, ...u32(7), ...u32(9), 0x50, 0x18, 255, 255, 0, 0, 0, 0, ...pattern(3000)];
    router.inside.injectWith(
      fromInside(ip6({ source: HOST, destination: FAR, next: 6 }, summed(HOST, FAR, 6, tcp, 16))),
      (frame) => {
        frame.checksum = CHECKSUM_PARTIAL;
        frame.checksumStart = frame.start + 54;
        frame.checksumOffset = 16;
        frame.segmentSize = 1428;
      },
    );
    router.settle();
    const sent = router.outside.log.splice(0);
    expect(sent.map(({ bytes, segmentSize }) => [bytes.length - 74, segmentSize])).toEqual(expected);
    if (sent.length === 1) return;
    for (const [index, { bytes }] of sent.entries()) {
      const segment = [...bytes.subarray(54)];
      expect(summed(HOST, FAR, 6, [...segment.slice(0, 16), 0, 0, ...segment.slice(18)], 16)).toEqual(
        segment,
      );
      expect(segment.slice(4, 8)).toEqual(u32(7 + index * 1428));
      expect(segment[13]).toBe(index === 2 ? 0x18 : 0x10);
    }
  });

  it('says that it is a router, and advertises its prefix where it is told to', () => {
    const quiet = createRouter();
    const advertisement = quiet.advertised.find(
      (seen) => seen?.payload[0] === 136 && seen.destination === long(HOST),
    );
    expect(advertisement!.payload[4]! & 0x80).toBe(0x80);
    quiet.run(700_000);
    expect(quiet.take(quiet.inside).filter(({ payload }) => payload[0] === 134)).toEqual([]);
    const loud = createRouter({ advertise: true });
    loud.run(60_000);
    const told = loud.take(loud.inside).filter(({ payload }) => payload[0] === 134);
    expect(told.length).toBeGreaterThan(1);
    expect(loud.take(loud.outside).filter(({ payload }) => payload[0] === 134)).toEqual([]);
    const { payload, hopLimit } = told[0]!;
    expect([hopLimit, payload[4], (payload[6]! << 8) | payload[7]!]).toEqual([255, 64, 1800]);
    const prefix = payload.slice(16 + 8 + 8);
    expect([prefix[0], prefix[2], prefix[3]]).toEqual([3, 64, 0xc0]);
    expect(ip6Text(prefix.slice(16, 32))).toBe('2001:db8:1:0:0:0:0:0');
  });
});
