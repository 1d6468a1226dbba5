import fc from 'fast-check';
import { beforeEach, describe, expect, it } from 'vitest';
import { CHECKSUM_NONE, CHECKSUM_PARTIAL, CHECKSUM_VERIFIED } from '../../src/netif/netif.ts';
import { createHost, type Host, PEER, US } from '../support/host.ts';
import { expectBytes, expectFrame, packet, pattern } from '../support/packets.ts';

const DATA = pattern(4000);
const FROM_PEER = { source: PEER, destination: US, identification: 77 };

interface Cut {
  readonly from: number;
  readonly to: number;
  readonly last?: boolean;
}

function fragment(
  { from, to, last = to === DATA.length }: Cut,
  fields: object = {},
  protocol = 17,
): Uint8Array {
  return packet()
    .ipv4({ ...FROM_PEER, moreFragments: !last, fragmentOffset: from, ...fields })
    .payload(protocol, DATA.subarray(from, to));
}

describe('IPv4 reassembly', () => {
  let host: Host;

  beforeEach(() => {
    // Wide enough for any fragment of these tests.
    host = createHost({ mtu: 5000 });
  });

  const counters = () => host.network.ipv4.reassembly.counters;
  const THREE: Cut[] = [
    { from: 0, to: 1480 },
    { from: 1480, to: 2960 },
    { from: 2960, to: 4000 },
  ];

  it('puts a datagram together in any order, with repetitions', () => {
    const cuts = fc
      .uniqueArray(fc.integer({ min: 6, max: 499 }), { maxLength: 12 })
      .map((units) => [0, ...units.map((unit) => unit * 8).sort((a, b) => a - b), 4000])
      .map((edges) => edges.slice(1).map((to, i) => ({ from: edges[i]!, to })))
      .filter((list) => list.every(({ from, to }) => to === 4000 || to - from >= 48))
      .chain((list) =>
        fc
          .array(fc.constantFrom(...list), { maxLength: 4 })
          .chain((repeated) =>
            fc.shuffledSubarray([...list, ...repeated], { minLength: list.length + repeated.length }),
          ),
      );
    let identification = 0;
    fc.assert(
      fc.property(cuts, (list) => {
        identification++;
        host.netif.inject(...list.map((cut) => fragment(cut, { identification })));
        const [datagram] = host.udp.take();
        // A repetition after the end begins a datagram that times out.
        expectBytes(datagram!.data, DATA);
        host.run(31_000);
        expect(host.network.ipv4.reassembly.size).toBe(0);
        expect(host.network.ipv4.reassembly.bytes).toBe(0);
        host.netif.take();
      }),
      { numRuns: 60 },
    );
  });

  it('keeps apart what differs in source, protocol or identification', () => {
    const others = [{ identification: 78 }, { source: '10.0.0.3' }];
    host.netif.inject(
      fragment(THREE[0]!),
      fragment(THREE[1]!),
      ...others.map((fields) => fragment(THREE[2]!, fields)),
      fragment(THREE[2]!, {}, 6),
    );
    expect(host.udp.packets).toEqual([]);
    host.netif.inject(fragment(THREE[2]!));
    expect(host.udp.packets).toHaveLength(1);
    expect(counters()).toMatchObject({ ipReasmReqds: 6, ipReasmOKs: 1, ipReasmFails: 0 });
  });

  it.each<[string, Cut[]]>([
    [
      'begins inside another',
      [
        { from: 0, to: 1480 },
        { from: 1472, to: 2960 },
      ],
    ],
    [
      'ends inside another',
      [
        { from: 1480, to: 2960 },
        { from: 0, to: 1488 },
      ],
    ],
    [
      'covers another',
      [
        { from: 800, to: 1600 },
        { from: 0, to: 2400 },
      ],
    ],
    [
      'lies within another',
      [
        { from: 0, to: 2400 },
        { from: 800, to: 1600 },
      ],
    ],
    [
      'begins where another does',
      [
        { from: 0, to: 800 },
        { from: 0, to: 1600 },
      ],
    ],
    [
      'goes beyond the end',
      [
        { from: 2960, to: 3200, last: true },
        { from: 3200, to: 4000, last: false },
      ],
    ],
    [
      'ends the datagram before its end',
      [
        { from: 2960, to: 4000 },
        { from: 800, to: 1600, last: true },
      ],
    ],
    [
      'ends the datagram inside what came',
      [
        { from: 1600, to: 2400 },
        { from: 800, to: 1600, last: true },
      ],
    ],
  ])('drops the whole datagram for a fragment that %s', (_, cuts) => {
    host.netif.inject(...cuts.map((cut) => fragment(cut)));
    expect(counters().ipReasmFails).toBe(1);
    expect(host.network.ipv4.reassembly.bytes).toBe(0);
    host.netif.inject(...THREE.map((cut) => fragment(cut)));
    expect(host.udp.packets).toEqual([]);
    host.run(2100);
    host.netif.inject(...THREE.map((cut) => fragment(cut)));
    expect(host.udp.packets).toHaveLength(1);
  });

  it.each<[string, Uint8Array]>([
    ['of odd length that is not the last', fragment({ from: 0, to: 1479, last: false })],
    ['that no link would force', fragment({ from: 0, to: 40, last: false })],
    ['without payload', fragment({ from: 1480, to: 1480, last: true })],
    ['beyond 65,535 bytes', fragment({ from: 0, to: 100, last: true }, { fragmentOffset: 65_512 })],
    ['that hides TCP’s flags', fragment({ from: 0, to: 16, last: false }, {}, 6)],
    ['that rewrites TCP’s flags', fragment({ from: 8, to: 400, last: true }, {}, 6)],
  ])('drops a fragment %s', (_, bytes) => {
    host.netif.inject(bytes);
    expect(counters().ipReasmBadFragments).toBe(1);
    expect(host.network.ipv4.reassembly.size).toBe(0);
  });

  it('gives up after 30 s, and says so if it knows the first fragment', () => {
    host.netif.inject(fragment(THREE[0]!, { trafficClass: 4 }), fragment(THREE[1]!));
    host.run(29_900);
    host.resolve();
    expect(host.netif.take()).toEqual([]);
    host.run(200);
    expect(counters().ipReasmFails).toBe(1);
    expect(host.network.ipv4.reassembly.bytes).toBe(0);
    host.resolve();
    const [, error] = host.netif.take();
    const quote = expectFrame(error).ipv4({ destination: PEER }).icmpError(11, 1);
    expect(quote).toHaveLength(548);
    expectBytes(quote.subarray(20), DATA.subarray(0, 528));
  });

  it('says nothing if the first fragment never came', () => {
    host.netif.inject(fragment(THREE[1]!), fragment(THREE[2]!));
    host.run(31_000);
    expect(counters().ipReasmFails).toBe(1);
    expect(host.netif.take()).toEqual([]);
  });

  it('keeps 4 MiB and 256 datagrams at most; the oldest go', () => {
    const data = pattern(48_000);
    const large = (identification: number): Uint8Array[] =>
      Array.from({ length: 32 }, (_, i) =>
        packet()
          .ipv4({ ...FROM_PEER, identification, moreFragments: true, fragmentOffset: i * 1480 })
          .payload(17, data.subarray(i * 1480, i * 1480 + 1480)),
      );
    for (let i = 0; i < 100; i++) host.netif.inject(...large(i));
    const { reassembly } = host.network.ipv4;
    expect(reassembly.bytes).toBeLessThanOrEqual(4 << 20);
    expect(reassembly.bytes).toBeGreaterThan(4_100_000);
    const before = counters().ipReasmFails;
    expect(before).toBe(100 - reassembly.size);
    for (let i = 1000; i < 1400; i++) host.netif.inject(fragment(THREE[1]!, { identification: i }));
    expect(reassembly.size).toBe(256);
    expect(reassembly.bytes).toBe(256 * 1480);
  });

  it('takes 128 fragments of one datagram and not more', () => {
    for (let i = 0; i < 129; i++) {
      host.netif.inject(
        packet()
          .ipv4({ ...FROM_PEER, moreFragments: true, fragmentOffset: i * 48 })
          .payload(17, pattern(48)),
      );
      expect(counters().ipReasmFails).toBe(i < 128 ? 0 : 1);
    }
  });

  it('trusts no device’s word on a fragment’s checksum', () => {
    for (const cut of THREE) {
      host.netif.injectWith(fragment(cut), (frame) => {
        frame.checksum = CHECKSUM_VERIFIED;
      });
    }
    expect(host.udp.take()).toMatchObject([{ checksum: CHECKSUM_NONE }]);
  });

  it('passes on that a local sender left the sum open', () => {
    for (const cut of THREE) {
      host.netif.injectWith(fragment(cut), (frame) => {
        if (cut.from > 0) return;
        frame.checksum = CHECKSUM_PARTIAL;
        frame.checksumStart = frame.start + 34;
        frame.checksumOffset = 6;
      });
    }
    expect(host.udp.take()).toMatchObject([{ checksum: CHECKSUM_PARTIAL }]);
  });

  it('takes options in fragments, and ends them there', () => {
    host.netif.inject(...THREE.map((cut) => fragment(cut, { options: [1, 1, 1, 0] })));
    expectBytes(host.udp.take()[0]!.data, DATA);
  });
});
