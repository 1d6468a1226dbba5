import { describe, expect, it } from 'vitest';
import { IpAddress, Prefix } from '../../src/address/index.ts';
import { CHECKSUM_NONE, CHECKSUM_PARTIAL, CHECKSUM_VERIFIED } from '../../src/netif/netif.ts';
import {
  expectFrame,
  internetChecksum,
  ipBytes,
  packet,
  pattern,
  transportChecksum,
} from '../support/packets.ts';
import {
  createRouter,
  FAR,
  fromInside,
  fromOutside,
  GATEWAY,
  HOST,
  IN,
  IN_MAC,
  MACS,
  OUT,
  OUT_MAC,
  PEER,
} from './router.ts';

const TSO = { checksum: 'partial', segmentation: 65_536 } as const;
const flow = { source: HOST, destination: FAR };
const ports = { sourcePort: 1234, destinationPort: 80 };
const data = pattern(100);

describe('forwarding of IPv4', () => {
  it('passes a packet on to the next hop, one hop shorter, and counts it', () => {
    const router = createRouter();
    router.inside.inject(
      fromInside()
        .ipv4({ ...flow, ttl: 9, trafficClass: 0x2b })
        .udp({ ...ports, data }),
    );
    router.settle();
    const [sent] = router.outside.take();
    expectFrame(sent, { source: OUT_MAC, destination: MACS[GATEWAY]! })
      .ipv4({ ...flow, ttl: 8, trafficClass: 0x2b })
      .udp({ ...ports, data });
    expect(router.inside.take()).toEqual([]);
    expect(router.network.router!.counters).toMatchObject({ forwarded: 1, refused: 0 });
    expect(router.udp.packets).toEqual([]);
  });

  it('leaves the device its batches: what a batch brings leaves with one flush', () => {
    const router = createRouter();
    const { flushes } = router.outside;
    const frame = fromInside()
      .ipv4(flow)
      .udp({ ...ports, data });
    router.inside.inject(frame, frame, frame);
    router.settle();
    expect(router.outside.take()).toHaveLength(3);
    expect(router.outside.flushes - flushes).toBe(1);
  });

  it('asks for the next hop, and sends what waited', () => {
    const router = createRouter({ unresolved: true });
    router.inside.inject(
      fromInside()
        .ipv4({ ...flow, ttl: 5 })
        .udp({ ...ports, data }),
    );
    router.settle();
    expectFrame(router.outside.take()[0]).arpRequest({ targetIp: GATEWAY, senderIp: OUT });
    router.outside.inject(
      packet({ source: MACS[GATEWAY]!, destination: OUT_MAC }).arpReply({
        senderIp: GATEWAY,
        targetIp: OUT,
        targetMac: OUT_MAC,
      }),
    );
    router.settle();
    expectFrame(router.outside.take()[0])
      .to(MACS[GATEWAY]!)
      .ipv4({ ...flow, ttl: 4 })
      .udp({ data });
  });

  it('tells the sender that the next hop does not answer (RFC 1812 §5.2.7.1)', () => {
    const router = createRouter();
    const lost = { source: HOST, destination: '10.2.0.77' };
    router.inside.inject(
      fromInside()
        .ipv4(lost)
        .udp({ ...ports, data }),
    );
    router.run(5000);
    const quoted = expectFrame(router.inside.take()[0])
      .ipv4({ source: IN, destination: HOST })
      .icmpError(3, 1);
    expect([...quoted.subarray(12, 20)]).toEqual([10, 1, 0, 2, 10, 2, 0, 77]);
    expect(router.network.router!.counters.unreachable).toBe(1);
  });

  it('says time exceeded, from the interface that leads back', () => {
    const router = createRouter();
    for (const ttl of [1, 0])
      router.inside.inject(
        fromInside()
          .ipv4({ ...flow, ttl })
          .udp({ ...ports, data }),
      );
    router.settle();
    const answers = router.inside.take();
    expect(answers).toHaveLength(2);
    for (const answer of answers)
      expectFrame(answer).to(MACS[HOST]!).ipv4({ source: IN, destination: HOST }).icmpError(11, 0);
    expect(router.outside.take()).toEqual([]);
    // Never about an error.
    router.inside.inject(
      fromInside()
        .ipv4({ ...flow, ttl: 1 })
        .icmp(3, 1, [0, 0, 0, 0], pattern(28)),
    );
    router.settle();
    expect(router.inside.take()).toEqual([]);
  });

  it('says net unreachable where there is no route', () => {
    const router = createRouter();
    router.network.removeRoute(Prefix.parse('0.0.0.0/0'));
    router.inside.inject(
      fromInside()
        .ipv4(flow)
        .udp({ ...ports, data }),
    );
    router.settle();
    expectFrame(router.inside.take()[0]).ipv4({ source: IN, destination: HOST }).icmpError(3, 0);
    // A route that comes later is taken.
    router.network.addRoute(Prefix.parse('192.0.2.0/24'), IpAddress.parse(PEER));
    router.inside.inject(
      fromInside()
        .ipv4(flow)
        .udp({ ...ports, data }),
    );
    router.settle();
    expectFrame(router.outside.take()[0]).to(MACS[PEER]!).ipv4(flow);
  });

  it.each([
    ['to a multicast group', { source: HOST, destination: '239.1.1.1' }],
    ['to everybody on the other link', { source: HOST, destination: '10.2.0.255' }],
    ['from a link-local address', { source: '169.254.7.7', destination: FAR }],
    ['to a link-local address', { source: HOST, destination: '169.254.7.7' }],
    ['to class E', { source: HOST, destination: '245.1.1.1' }],
    ['to "this network"', { source: HOST, destination: '0.1.2.3' }],
    ['from loopback', { source: '127.0.0.1', destination: FAR }],
    ['to loopback', { source: HOST, destination: '127.0.0.1' }],
    ['from an address of the router', { source: OUT, destination: FAR }],
    ['from nobody', { source: '0.0.0.0', destination: FAR }],
  ])('refuses what comes %s', (_name, addresses) => {
    const router = createRouter();
    router.inside.inject(
      fromInside()
        .ipv4(addresses)
        .udp({ ...ports, data }),
    );
    router.settle();
    expect([...router.inside.take(), ...router.outside.take()]).toEqual([]);
    expect(router.network.router!.counters).toMatchObject({ forwarded: 0, refused: 1 });
    expect(router.network.ipv4.counters.ipInAddrErrors).toBe(1);
  });

  it('refuses a link broadcast to a single address', () => {
    const router = createRouter();
    router.inside.inject(
      packet({ source: MACS[HOST]!, destination: 'ff:ff:ff:ff:ff:ff' })
        .ipv4(flow)
        .udp({ ...ports, data }),
    );
    router.settle();
    expect(router.outside.take()).toEqual([]);
  });

  it('redirects a host that could have sent to the next hop itself, and passes the packet on', () => {
    const router = createRouter();
    router.network.addRoute(Prefix.parse('192.0.2.0/24'), IpAddress.parse('10.1.0.3'));
    router.inside.inject(
      fromInside()
        .ipv4(flow)
        .udp({ ...ports, data }),
    );
    router.settle();
    const [redirect, passed] = router.inside.take();
    expectFrame(redirect)
      .to(MACS[HOST]!)
      .ipv4({ source: IN, destination: HOST })
      .icmpError(5, 1, [10, 1, 0, 3]);
    expectFrame(passed).from(IN_MAC).to(MACS['10.1.0.3']!).ipv4(flow);
  });

  it('cuts what is too large for the next link, unless DF forbids it', () => {
    const router = createRouter({ outside: { mtu: 600 } });
    const large = pattern(1200);
    const frame = (dontFragment: boolean) =>
      fromInside()
        .ipv4({ ...flow, dontFragment, identification: 77 })
        .udp({ ...ports, data: large });
    router.inside.inject(frame(true));
    router.settle();
    expectFrame(router.inside.take()[0])
      .ipv4({ source: IN, destination: HOST })
      .icmpError(3, 4, [0, 0, 600 >> 8, 600 & 255]);
    expect(router.outside.take()).toEqual([]);
    router.inside.inject(frame(false));
    router.settle();
    const fragments = router.outside
      .take()
      .map((one) => expectFrame(one).ipv4({ ...flow, identification: 77, ttl: 63 }));
    expect(fragments.map(({ payload }) => payload.length)).toEqual([576, 576, 56]);
    const whole = fragments.flatMap(({ payload }) => [...payload]);
    expect(transportChecksum(HOST, FAR, 17, whole)).toBe(0);
    expect(whole.slice(8)).toEqual([...large]);
    const [, second, last] = router.outside.log;
    expect([second, last]).toEqual([undefined, undefined]);
  });

  it('cuts a fragment again, and copies only the options that go everywhere', () => {
    const router = createRouter({ outside: { mtu: 300 } });
    // Record route (7, once) and a copied option (0x94: router alert).
    const options = [7, 7, 4, 0, 0, 0, 0, 0x94, 4, 0, 0, 0];
    const fields = { ...flow, options, identification: 9, moreFragments: true, fragmentOffset: 800 };
    router.inside.inject(fromInside().ipv4(fields).payload(17, pattern(480)));
    router.settle();
    const pieces = router.outside.take().map((one) => expectFrame(one).ipv4({ moreFragments: true }));
    expect(pieces.map(({ bytes, payload }) => [bytes[0]! & 15, payload.length])).toEqual([
      [8, 264],
      [6, 216],
    ]);
    expect([...pieces[1]!.bytes.subarray(20, 24)]).toEqual([0x94, 4, 0, 0]);
    expect(((pieces[1]!.bytes[6]! & 0x1f) << 8) | pieces[1]!.bytes[7]!).toBe((800 + 264) / 8);
  });

  const segments = { ...ports, flags: 'FPAC', sequence: 1000, data: pattern(3000) };

  it('passes several segments in one frame to a device that cuts them', () => {
    const router = createRouter({ inside: { receive: TSO }, outside: { transmit: TSO } });
    router.inside.injectWith(
      fromInside()
        .ipv4({ ...flow, dontFragment: true })
        .tcp(segments),
      (frame) => {
        frame.checksum = CHECKSUM_PARTIAL;
        frame.checksumStart = frame.start + 34;
        frame.checksumOffset = 16;
        frame.segmentSize = 1448;
      },
    );
    router.settle();
    expect(router.outside.log).toMatchObject([
      { checksum: CHECKSUM_PARTIAL, checksumStart: 34, checksumOffset: 16, segmentSize: 1448 },
    ]);
  });

  it('leaves the checksum to the device again where segments were put together on the way in', () => {
    const router = createRouter({ inside: { receive: TSO }, outside: { transmit: TSO } });
    for (const length of [3000, 600]) {
      router.inside.injectWith(
        fromInside()
          .ipv4({ ...flow, dontFragment: true })
          .tcp({ ...segments, data: pattern(length) }),
        (frame) => {
          frame.checksum = CHECKSUM_VERIFIED;
          frame.segmentSize = 500;
        },
      );
    }
    router.settle();
    expect(router.outside.log).toHaveLength(2);
    for (const { bytes, ...cursor } of router.outside.log) {
      expect(cursor).toEqual({
        checksum: CHECKSUM_PARTIAL,
        checksumStart: 34,
        checksumOffset: 16,
        segmentSize: 500,
      });
      const length = bytes.length - 34;
      const pseudo =
        0xffff - internetChecksum([...ipBytes(HOST), ...ipBytes(FAR), 0, 6, length >> 8, length & 255]);
      expect((bytes[50]! << 8) | bytes[51]!).toBe(pseudo);
    }
  });

  it.each([
    ['software', {}],
    ['a device that sums', { transmit: { checksum: 'partial', segmentation: 0 } }],
  ] as const)('cuts them itself where the device does not: checksums by %s', (_name, outside) => {
    const router = createRouter({ inside: { receive: TSO }, outside });
    router.inside.injectWith(
      fromInside()
        .ipv4({ ...flow, dontFragment: true, identification: 0xffff })
        .tcp(segments),
      (frame) => {
        frame.checksum = CHECKSUM_PARTIAL;
        frame.checksumStart = frame.start + 34;
        frame.checksumOffset = 16;
        frame.segmentSize = 1400;
      },
    );
    router.settle();
    const sent = router.outside.log.splice(0);
    expect(sent.map(({ segmentSize }) => segmentSize)).toEqual([0, 0, 0]);
    for (const { checksum, bytes } of sent) {
      if (checksum === CHECKSUM_NONE) continue;
      // What the device does.
      bytes.set([0, 0], 50);
      const [high, low] = [
        transportChecksum(HOST, FAR, 6, bytes.subarray(34)) >> 8,
        transportChecksum(HOST, FAR, 6, bytes.subarray(34)) & 255,
      ];
      bytes.set([high, low], 50);
    }
    const [first, second, third] = sent.map(({ bytes }) =>
      expectFrame(bytes).ipv4({ ...flow, ttl: 63, dontFragment: true }),
    );
    first!.tcp({ flags: 'AC', sequence: 1000, data: pattern(3000).slice(0, 1400) });
    second!.tcp({ flags: 'A', sequence: 2400, data: pattern(3000).slice(1400, 2800) });
    third!.tcp({ flags: 'FPA', sequence: 3800, data: pattern(3000).slice(2800) });
    expect([first, second, third].map((one) => one!.identification)).toEqual([0xffff, 0, 1]);
  });

  it('answers too big for segments that do not fit, and cuts them smaller where it may', () => {
    for (const dontFragment of [true, false]) {
      const router = createRouter({ inside: { receive: TSO }, outside: { mtu: 1000, transmit: TSO } });
      router.inside.injectWith(
        fromInside()
          .ipv4({ ...flow, dontFragment })
          .tcp({ ...segments, flags: 'A' }),
        (frame) => {
          frame.checksum = CHECKSUM_PARTIAL;
          frame.checksumStart = frame.start + 34;
          frame.checksumOffset = 16;
          frame.segmentSize = 1448;
        },
      );
      router.settle();
      const sizes = router.outside.take().map((one) => expectFrame(one).ipv4(flow).payload.length - 20);
      expect(sizes).toEqual(dontFragment ? [] : [960, 960, 960, 120]);
      if (dontFragment)
        expectFrame(router.inside.take()[0])
          .ipv4()
          .icmpError(3, 4, [0, 0, 1000 >> 8, 1000 & 255]);
    }
  });

  it('keeps what a full device does not take, up to a bound, in order', () => {
    const router = createRouter();
    router.outside.room = 2;
    const count = 400;
    for (let i = 0; i < count; i++) {
      router.inside.inject(
        fromInside()
          .ipv4({ ...flow, identification: i })
          .udp({ ...ports, data: pattern(1400) }),
      );
    }
    router.settle();
    const { forwarded, discards } = router.network.router!.counters;
    expect(forwarded + discards).toBe(count);
    expect(discards).toBeGreaterThan(100);
    router.outside.drain(1000);
    const order = router.outside.take().map((one) => expectFrame(one).ipv4().identification);
    expect(order).toEqual(Array.from({ length: forwarded }, (_, i) => i));
  });

  it('takes what is for any of its own addresses, and answers', () => {
    const router = createRouter();
    router.inside.inject(fromInside().ipv4({ source: HOST, destination: OUT }).icmpEchoRequest({ data }));
    router.settle();
    expectFrame(router.inside.take()[0]).ipv4({ source: OUT, destination: HOST }).icmpEchoReply({ data });
    router.outside.inject(fromOutside().ipv4({ source: FAR, destination: OUT }).udp(ports));
    expect(router.udp.packets).toHaveLength(1);
  });

  it('refuses packets with source routes, and answers broken options', () => {
    const router = createRouter();
    router.inside.inject(
      fromInside()
        .ipv4({ ...flow, options: [131, 7, 4, 1, 2, 3, 4, 0] })
        .udp(ports),
    );
    router.inside.inject(
      fromInside()
        .ipv4({ ...flow, options: [7, 1, 0, 0] })
        .udp(ports),
    );
    router.settle();
    expect(router.outside.take()).toEqual([]);
    expectFrame(router.inside.take()[0]).ipv4().icmpError(12, 0, [20, 0, 0, 0]);
  });
});
