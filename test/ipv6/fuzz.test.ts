import { expect, it } from 'vitest';
import { randomBelow, SeededRandom } from '../../src/time/index.ts';
import { send } from '../support/host.ts';
import { advertisement, createHost6, PEER_MAC, PEER6, ROUTER, solicitation, US6 } from './host.ts';
import { frame6, icmp6Frame, ip6, ip6Bytes, macOption, u16, u32 } from './packets.ts';

const GROUP = { destination: 'ff02::1', destinationMac: '33:33:00:00:00:01' };

const SEEDS: readonly Uint8Array[] = [
  frame6(ip6({ source: PEER6, destination: US6, next: 17 }, [0, 1, 0, 2, 0, 8, 0, 0])),
  frame6(
    ip6(
      { source: PEER6, destination: US6, next: 0 },
      [60, 0, 5, 2, 0, 0, 1, 0, 43, 0, 1, 4, 0, 0, 0, 0, 17, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 2, 0, 8, 0, 0],
    ),
  ),
  frame6(
    ip6({ source: PEER6, destination: US6, next: 44 }, [17, 0, 0, 1, ...u32(9), ...new Array(64).fill(1)]),
  ),
  frame6(
    ip6({ source: PEER6, destination: US6, next: 44 }, [
      17,
      0,
      ...u16(64),
      ...u32(9),
      ...new Array(9).fill(2),
    ]),
  ),
  icmp6Frame({ source: PEER6, destination: US6, type: 128 }, [0, 7, 0, 1, 1, 2, 3]),
  icmp6Frame({ source: PEER6, destination: US6, type: 2 }, [
    ...u32(1400),
    ...ip6({ source: US6, destination: PEER6, next: 44 }, [17, 0, 0, 0, 0, 0, 0, 1, 0, 1, 0, 2, 0, 8, 0, 0]),
  ]),
  advertisement({ target: PEER6 }),
  solicitation({ source: PEER6, destination: US6, target: US6, options: macOption(1, PEER_MAC) }),
  icmp6Frame({ source: ROUTER, type: 134, hopLimit: 255, ...GROUP }, [
    64,
    0,
    7,
    8,
    ...u32(0),
    ...u32(0),
    ...macOption(1, PEER_MAC),
    5,
    1,
    0,
    0,
    ...u32(1400),
    3,
    4,
    64,
    0xc0,
    ...u32(90_000),
    ...u32(80_000),
    0,
    0,
    0,
    0,
    ...ip6Bytes('2001:db8:1::'),
    24,
    3,
    48,
    0,
    ...u32(600),
    ...ip6Bytes('2001:db8:2::'),
    25,
    3,
    0,
    0,
    ...u32(600),
    ...ip6Bytes('2001:db8::53'),
    31,
    2,
    0,
    0,
    ...u32(600),
    3,
    108,
    97,
    110,
    0,
    0,
    0,
    0,
  ]),
  icmp6Frame({ source: ROUTER, type: 130, hopLimit: 1, ...GROUP }, [
    39,
    16,
    0,
    0,
    ...ip6Bytes('::'),
    2,
    125,
    0,
    0,
  ]),
];

/** Changes some bytes, or the length, and often makes the ICMPv6 checksum right again. */
function mutate(seed: Uint8Array, random: SeededRandom): { bytes: Uint8Array; verified: boolean } {
  let bytes = Uint8Array.from(seed);
  for (let i = randomBelow(random, 4); i >= 0; i--) {
    bytes[14 + randomBelow(random, bytes.length - 14)] = random.next32();
  }
  if (randomBelow(random, 4) === 0) bytes = bytes.slice(0, 14 + randomBelow(random, bytes.length - 13));
  return { bytes, verified: randomBelow(random, 4) !== 0 };
}

it('lives through damaged and forged packets of every kind', () => {
  const host = createHost6({ autoconfigure: true });
  const random = new SeededRandom(2026);
  for (let round = 0; round < 30_000; round++) {
    const { bytes, verified } = mutate(SEEDS[randomBelow(random, SEEDS.length)]!, random);
    host.netif.injectWith(bytes, (frame) => {
      if (verified) frame.checksum = 2;
    });
    if (round % 100 === 0) {
      // What a layer threw comes out here.
      host.run(100);
      host.netif.take();
    }
  }
  host.run(200_000);
  const { link, receiver } = host.ipv6;
  expect(link.ndp.cache.size).toBeLessThanOrEqual(512);
  expect(link.routes.routes.length).toBeLessThanOrEqual(70);
  expect(link.addresses.all.length).toBeLessThanOrEqual(18);
  expect(receiver.reassembly.bytes).toBe(0);
  expect(receiver.counters.ip6InDelivers).toBeGreaterThan(1000);
  host.netif.take();
  send(host.path('::1'), [1]);
  host.settle();
  expect(host.udp.take().at(-1)).toMatchObject({ source: '::1' });
});
