import { describe, expect, it } from 'vitest';
import type { NaptOptions } from '../../src/forward/index.ts';
import { CHECKSUM_PARTIAL } from '../../src/netif/netif.ts';
import { expectFrame, internetChecksum, ipBytes, pattern, transportChecksum } from '../support/packets.ts';
import {
  createRouter,
  FAR,
  fromInside,
  fromOutside,
  GATEWAY,
  HOST,
  IN,
  MACS,
  OUT,
  type RouterOptions,
} from './router.ts';

const SECOND = '10.1.0.3';
const data = pattern(40);

function createNapt(napt: Partial<NaptOptions> = {}, options: RouterOptions = {}) {
  const router = createRouter({ ...options, forwarding: { napt: { outside: 'out', ...napt } } });
  const { inside, outside, network, settle } = router;
  /** What leaves when a host sends. */
  const out = (frame: Uint8Array): Uint8Array | undefined => {
    inside.inject(frame);
    settle();
    return outside.take()[0];
  };
  /** What arrives at a host when somebody outside sends. */
  const back = (frame: Uint8Array): Uint8Array | undefined => {
    outside.inject(frame);
    settle();
    return inside.take()[0];
  };
  const sendUdp = (port: number, host = HOST, to = FAR, toPort = 53): number => {
    const frame = out(
      fromInside(host)
        .ipv4({ source: host, destination: to })
        .udp({ sourcePort: port, destinationPort: toPort, data }),
    );
    const { payload } = expectFrame(frame)
      .to(MACS[GATEWAY]!)
      .ipv4({ source: OUT, destination: to, ttl: 63 })
      .udp({ data });
    return (payload[0]! << 8) | payload[1]!;
  };
  const counters = () => network.napt!.counters;
  return { ...router, out, back, sendUdp, counters, mappings: network.napt!.mappings };
}

const reply = (port: number, source = FAR, sourcePort = 53): Uint8Array =>
  fromOutside().ipv4({ source, destination: OUT }).udp({ sourcePort, destinationPort: port, data });

describe('translation of addresses and ports', () => {
  it('gives what leaves our address, and lets the answers back in', () => {
    const napt = createNapt();
    expect(napt.sendUdp(5000)).toBe(5000);
    expectFrame(napt.back(reply(5000)))
      .to(MACS[HOST]!)
      .ipv4({ source: FAR, destination: HOST, ttl: 63 })
      .udp({ sourcePort: 53, destinationPort: 5000, data });
    expect(napt.counters()).toMatchObject({ outbound: 1, inbound: 1 });
    expect(napt.udp.packets).toEqual([]);
  });

  it('keeps a UDP checksum that was not made, and makes 0xffff of zero', () => {
    const napt = createNapt();
    const frame = napt.out(
      fromInside()
        .ipv4({ source: HOST, destination: FAR })
        .udp({ sourcePort: 1, destinationPort: 2, checksum: false, data }),
    );
    const { payload } = expectFrame(frame).ipv4({ source: OUT });
    expect([payload[6], payload[7]]).toEqual([0, 0]);
    // Data chosen so that the sum with our address is zero in one's complement.
    for (let word = 0; word < 0x1_0000; word += 1) {
      const udp = [0x13, 0x88, 0, 53, 0, 10, 0, 0, word >> 8, word & 255];
      if (transportChecksum(OUT, FAR, 17, udp) !== 0) continue;
      const sent = napt.out(
        fromInside()
          .ipv4({ source: HOST, destination: FAR })
          .udp({ sourcePort: 5000, destinationPort: 53, data: [word >> 8, word & 255] }),
      );
      const checked = expectFrame(sent).ipv4({ source: OUT }).udp();
      expect([checked.payload[6], checked.payload[7]]).toEqual([0xff, 0xff]);
      return;
    }
    throw new Error('no such data');
  });

  it('maps a port the same whomever it talks to (RFC 4787 REQ-1), and two hosts apart', () => {
    const napt = createNapt();
    expect(napt.sendUdp(5000)).toBe(5000);
    expect(napt.sendUdp(5000, HOST, '198.51.100.1', 99)).toBe(5000);
    expect(napt.mappings.size).toBe(1);
    const other = napt.sendUdp(5000, SECOND);
    expect(other).not.toBe(5000);
    expect(other).toBeGreaterThanOrEqual(1024);
    expect(napt.sendUdp(5000, SECOND, '198.51.100.9')).toBe(other);
    expectFrame(napt.back(reply(other)))
      .to(MACS[SECOND]!)
      .ipv4({ destination: SECOND })
      .udp({ destinationPort: 5000 });
  });

  it('keeps privileged ports among their like, and away from ports that the stack has', () => {
    const napt = createNapt({}, { isPortInUse: (protocol, port) => protocol === 17 && port === 5353 });
    expect(napt.sendUdp(123)).toBe(123);
    const privileged = napt.sendUdp(123, SECOND);
    expect(privileged).toBeLessThan(1024);
    expect(privileged).not.toBe(123);
    expect(napt.sendUdp(5353)).not.toBe(5353);
    // The stack's own connections begin there.
    expect(napt.sendUdp(61_234)).toBeLessThan(61_000);
  });

  it.each([
    ['endpoint-independent', [true, true, true]],
    ['address-dependent', [true, true, false]],
    ['address-and-port-dependent', [true, false, false]],
  ] as const)('filters %s', (filtering, admitted) => {
    const napt = createNapt({ filtering });
    napt.sendUdp(5000);
    const senders = [reply(5000), reply(5000, FAR, 54), reply(5000, '198.51.100.1')];
    expect(senders.map((frame) => napt.back(frame) !== undefined)).toEqual(admitted);
    expect(napt.counters().filtered).toBe(admitted.filter((is) => !is).length);
    expect(napt.udp.packets).toEqual([]);
  });

  it('filters by addresses unless told otherwise', () => {
    const napt = createNapt();
    napt.sendUdp(5000);
    expect(napt.back(reply(5000, '198.51.100.1'))).toBeUndefined();
    expect(napt.back(reply(5000, FAR, 99))).toBeDefined();
  });

  it('leaves to the stack what no mapping has', () => {
    const napt = createNapt();
    napt.sendUdp(5000);
    napt.back(reply(5001));
    expect(napt.udp.packets).toHaveLength(1);
    napt.outside.inject(fromOutside().ipv4({ source: FAR, destination: OUT }).icmpEchoRequest({ data }));
    napt.settle();
    expectFrame(napt.outside.take()[0]).ipv4({ source: OUT }).icmpEchoReply({ data });
  });

  it('does not route from outside to the hosts behind it', () => {
    const napt = createNapt();
    napt.outside.inject(
      fromOutside().ipv4({ source: FAR, destination: HOST }).udp({ sourcePort: 1, destinationPort: 2 }),
    );
    napt.settle();
    expect(napt.inside.take()).toEqual([]);
    expect(napt.network.router!.counters.refused).toBe(1);
  });

  it('forgets a UDP mapping after a time of silence, of five minutes unless told (RFC 4787 REQ-5)', () => {
    expect(createNapt().mappings.timeouts.udpMs).toBe(300_000);
    const napt = createNapt({ udpTimeoutMs: 4000 });
    napt.sendUdp(5000);
    napt.run(3000);
    napt.sendUdp(5000);
    napt.run(3900);
    expect(napt.mappings.size).toBe(1);
    expect(napt.back(reply(5000))).toBeDefined();
    napt.run(3900);
    expect(napt.mappings.size).toBe(1);
    napt.run(200);
    expect([napt.mappings.size, napt.mappings.expired]).toEqual([0, 1]);
  });

  const tcp = (flags: string, port = 4000, more: object = {}) =>
    fromInside()
      .ipv4({ source: HOST, destination: FAR })
      .tcp({ sourcePort: port, destinationPort: 80, flags, ...more });
  const tcpBack = (flags: string, port = 4000) =>
    fromOutside()
      .ipv4({ source: FAR, destination: OUT })
      .tcp({ sourcePort: 80, destinationPort: port, flags });

  it('keeps an established TCP connection for two hours and four minutes (RFC 5382 REQ-5)', () => {
    const napt = createNapt();
    expectFrame(napt.out(tcp('S', 4000, { options: [2, 4, 5, 0xb4], data })))
      .ipv4({ source: OUT })
      .tcp({ sourcePort: 4000, flags: 'S', data });
    expectFrame(napt.back(tcpBack('SA')))
      .ipv4({ destination: HOST })
      .tcp({ destinationPort: 4000, flags: 'SA' });
    napt.out(tcp('A'));
    napt.run(7_439_000);
    expect(napt.mappings.size).toBe(1);
    napt.run(2000);
    expect(napt.mappings.size).toBe(0);
  });

  it.each([
    ['that was never answered', ['S'], []],
    ['that is over', ['S', 'A', 'FA', 'A'], ['SA', 'FA']],
    ['that was reset', ['S', 'A', 'R'], ['SA']],
  ] as const)('keeps a TCP connection %s for four minutes', (_name, ours, theirs) => {
    const napt = createNapt();
    napt.out(tcp(ours[0]!));
    for (const flags of theirs) napt.back(tcpBack(flags));
    for (const flags of ours.slice(1)) napt.out(tcp(flags));
    napt.run(239_000);
    expect(napt.mappings.size).toBe(1);
    napt.run(2000);
    expect(napt.mappings.size).toBe(0);
  });

  it('makes no mapping of a stray reset', () => {
    const napt = createNapt();
    expect(napt.out(tcp('R'))).toBeUndefined();
    expect(napt.mappings.size).toBe(0);
  });

  it('translates echo requests by their identifiers', () => {
    const napt = createNapt();
    const ping = (host: string) =>
      napt.out(
        fromInside(host)
          .ipv4({ source: host, destination: FAR })
          .icmpEchoRequest({ identifier: 7, sequence: 3, data }),
      );
    expectFrame(ping(HOST)).ipv4({ source: OUT }).icmpEchoRequest({ identifier: 7, sequence: 3, data });
    const second = expectFrame(ping(SECOND)).ipv4({ source: OUT }).icmpEchoRequest({ sequence: 3, data });
    const identifier = (second.payload[4]! << 8) | second.payload[5]!;
    expect(identifier).not.toBe(7);
    const answer = napt.back(
      fromOutside().ipv4({ source: FAR, destination: OUT }).icmpEchoReply({ identifier, sequence: 3, data }),
    );
    expectFrame(answer)
      .to(MACS[SECOND]!)
      .ipv4({ destination: SECOND })
      .icmpEchoReply({ identifier: 7, sequence: 3, data });
    napt.run(59_000);
    expect(napt.mappings.size).toBe(2);
    napt.run(2000);
    expect(napt.mappings.size).toBe(0);
  });

  /** A packet as some router quotes it, header and the first bytes. */
  const quoted = (frame: Uint8Array, bytes = 48) => frame.subarray(14, 14 + bytes);

  it('translates ICMP errors that come in, and what they quote (RFC 5508 REQ-4)', () => {
    const napt = createNapt();
    napt.sendUdp(5000, SECOND);
    napt.sendUdp(5000);
    const [mapped] = [...napt.outside.take()];
    expect(mapped).toBeUndefined();
    const sent = napt.out(
      fromInside()
        .ipv4({ source: HOST, destination: FAR, identification: 9 })
        .udp({ sourcePort: 5000, destinationPort: 53, data }),
    )!;
    const error = napt.back(
      fromOutside()
        .ipv4({ source: '203.0.113.1', destination: OUT })
        .icmp(3, 1, [0, 0, 0, 0], quoted(sent, 68)),
    );
    const inner = expectFrame(error)
      .to(MACS[HOST]!)
      .ipv4({ source: '203.0.113.1', destination: HOST, ttl: 63 })
      .icmpError(3, 1);
    expect(internetChecksum(inner.subarray(0, 20))).toBe(0);
    expect([...inner.subarray(12, 20)]).toEqual([...ipBytes(HOST), ...ipBytes(FAR)]);
    expect((inner[20]! << 8) | inner[21]!).toBe(5000);
    expect(transportChecksum(HOST, FAR, 17, inner.subarray(20))).toBe(0);
    expect(napt.counters()).toMatchObject({ errors: 1 });
    // A quote of eight transport bytes is enough; a wrong checksum is none of a host's business.
    expect(
      napt.back(
        fromOutside().ipv4({ source: FAR, destination: OUT }).icmp(11, 0, [0, 0, 0, 0], quoted(sent, 28)),
      ),
    ).toBeDefined();
    const bad = fromOutside()
      .ipv4({ source: FAR, destination: OUT })
      .icmp(11, 0, [0, 0, 0, 0], quoted(sent, 28));
    bad[bad.length - 1]! ^= 1;
    expect(napt.back(bad)).toBeUndefined();
  });

  it('translates ICMP errors that go out (RFC 5508 REQ-5)', () => {
    const napt = createNapt();
    napt.sendUdp(5000, SECOND);
    const port = napt.sendUdp(5000);
    expect(port).not.toBe(5000);
    const received = napt.back(reply(port))!;
    const sent = napt.out(
      fromInside().ipv4({ source: HOST, destination: FAR }).icmp(3, 3, [0, 0, 0, 0], quoted(received, 68)),
    );
    const inner = expectFrame(sent).ipv4({ source: OUT, destination: FAR }).icmpError(3, 3);
    expect([...inner.subarray(12, 20)]).toEqual([...ipBytes(FAR), ...ipBytes(OUT)]);
    expect((inner[22]! << 8) | inner[23]!).toBe(port);
    expect(transportChecksum(FAR, OUT, 17, inner.subarray(20))).toBe(0);
    const stray = quoted(reply(9999), 68);
    expect(
      napt.out(fromInside().ipv4({ source: HOST, destination: FAR }).icmp(3, 3, [0, 0, 0, 0], stray)),
    ).toBeUndefined();
    expect(napt.counters().strayErrors).toBe(1);
  });

  it('sends its own errors about what it translates to the host, as the host sent it', () => {
    const napt = createNapt({}, { outside: { mtu: 600 } });
    napt.inside.inject(
      fromInside()
        .ipv4({ source: HOST, destination: FAR, dontFragment: true })
        .udp({ sourcePort: 5000, destinationPort: 53, data: pattern(1000) }),
    );
    napt.inside.inject(
      fromInside()
        .ipv4({ source: HOST, destination: FAR, ttl: 1 })
        .udp({ sourcePort: 5000, destinationPort: 53 }),
    );
    napt.settle();
    const [tooBig, exceeded] = napt.inside.take();
    for (const quote of [
      expectFrame(tooBig).ipv4({ source: IN, destination: HOST }).icmpError(3, 4, [0, 0, 2, 88]),
      expectFrame(exceeded).ipv4({ source: IN, destination: HOST }).icmpError(11, 0),
    ]) {
      expect([...quote.subarray(12, 16)]).toEqual(ipBytes(HOST));
    }
  });

  it('lets hosts behind it reach each other by their outside addresses (RFC 4787 REQ-9)', () => {
    const napt = createNapt({ filtering: 'endpoint-independent' });
    napt.sendUdp(7000);
    const target = napt.sendUdp(7000, SECOND);
    napt.inside.inject(
      fromInside(HOST)
        .ipv4({ source: HOST, destination: OUT })
        .udp({ sourcePort: 7001, destinationPort: target, data }),
    );
    napt.settle();
    expectFrame(napt.inside.take()[0])
      .to(MACS[SECOND]!)
      .ipv4({ source: OUT, destination: SECOND, ttl: 63 })
      .udp({ sourcePort: 7001, destinationPort: 7000, data });
    expect(napt.counters().hairpinned).toBe(1);
    napt.inside.inject(
      fromInside(SECOND)
        .ipv4({ source: SECOND, destination: OUT })
        .udp({ sourcePort: 7000, destinationPort: 7001, data }),
    );
    napt.settle();
    expectFrame(napt.inside.take()[0])
      .to(MACS[HOST]!)
      .ipv4({ source: OUT, destination: HOST })
      .udp({ sourcePort: target, destinationPort: 7001 });
  });

  it.each([[[0, 1]], [[1, 0]]])('joins fragments in the order %j, translates, and cuts anew', (order) => {
    const napt = createNapt();
    const large = pattern(2000);
    const whole = fromInside()
      .ipv4({ source: HOST, destination: FAR })
      .udp({ sourcePort: 5000, destinationPort: 53, data: large });
    const payload = whole.subarray(34);
    const pieces = [
      fromInside()
        .ipv4({ source: HOST, destination: FAR, identification: 5, moreFragments: true })
        .payload(17, payload.subarray(0, 1480)),
      fromInside()
        .ipv4({ source: HOST, destination: FAR, identification: 5, fragmentOffset: 1480 })
        .payload(17, payload.subarray(1480)),
    ];
    for (const index of order) napt.inside.inject(pieces[index]!);
    napt.settle();
    const sent = napt.outside.take().map((one) => expectFrame(one).ipv4({ source: OUT, ttl: 63 }).payload);
    expect(sent).toHaveLength(2);
    const joined = sent.flatMap((piece) => [...piece]);
    expect(transportChecksum(OUT, FAR, 17, joined)).toBe(0);
    expect(joined.slice(8)).toEqual([...large]);
  });

  it('leaves a checksum to the device where the sender did', () => {
    const napt = createNapt(
      {},
      {
        inside: { receive: { checksum: 'partial', segmentation: 65_536 } },
        outside: { transmit: { checksum: 'partial', segmentation: 65_536 } },
      },
    );
    const frame = fromInside()
      .ipv4({ source: HOST, destination: FAR, dontFragment: true })
      .tcp({ sourcePort: 4000, destinationPort: 80, flags: 'A', data: pattern(3000) });
    // As the sender's device would be told: the sum of the pseudo-header, not inverted.
    const pseudo = (source: string) =>
      0xffff - internetChecksum([...ipBytes(source), ...ipBytes(FAR), 0, 6, 3020 >> 8, 3020 & 255]);
    frame.set([pseudo(HOST) >> 8, pseudo(HOST) & 255], 34 + 16);
    napt.inside.injectWith(frame, (cursor) => {
      cursor.checksum = CHECKSUM_PARTIAL;
      cursor.checksumStart = cursor.start + 34;
      cursor.checksumOffset = 16;
      cursor.segmentSize = 1448;
    });
    napt.settle();
    const [sent] = napt.outside.log;
    expect(sent).toMatchObject({
      checksum: CHECKSUM_PARTIAL,
      checksumStart: 34,
      checksumOffset: 16,
      segmentSize: 1448,
    });
    expect((sent!.bytes[50]! << 8) | sent!.bytes[51]!).toBe(pseudo(OUT));
  });

  it('has limits, for all and for each host', () => {
    const napt = createNapt({ maxMappings: 5, maxMappingsPerHost: 3 });
    const tries = (host: string, count: number) => {
      let passed = 0;
      for (let port = 2000; port < 2000 + count; port++) {
        const frame = fromInside(host)
          .ipv4({ source: host, destination: FAR })
          .udp({ sourcePort: port, destinationPort: 53 });
        if (napt.out(frame) !== undefined) passed++;
      }
      return passed;
    };
    expect([tries(HOST, 10), tries(SECOND, 10)]).toEqual([3, 2]);
    expect(napt.counters().exhausted).toBe(15);
    // Those that are there go on.
    expect(tries(HOST, 3)).toBe(3);
  });

  it('keeps no more than so many remote ends of one port', () => {
    const napt = createNapt();
    for (let i = 0; i < 600; i++) napt.sendUdp(5000, HOST, `198.51.${100 + (i >> 8)}.${i & 255}`);
    const mapping = napt.mappings.fromInside(17, (10 << 24) | (1 << 16) | 2, 5000)!;
    expect(mapping.sessionCount).toBe(512);
    expect([...mapping.peers.values()].reduce((sum, ports) => sum + ports.size, 0)).toBe(512);
    expect(napt.back(reply(5000, '198.51.100.1'))).toBeUndefined();
    expect(napt.back(reply(5000, '198.51.102.80'))).toBeDefined();
  });

  it('refuses protocols that it cannot tell apart', () => {
    const napt = createNapt();
    expect(
      napt.out(fromInside().ipv4({ source: HOST, destination: FAR }).payload(47, pattern(40))),
    ).toBeUndefined();
    expect(
      napt.out(fromInside().ipv4({ source: HOST, destination: FAR }).payload(17, pattern(4))),
    ).toBeUndefined();
    expect(napt.counters().unsupported).toBe(2);
  });

  it('shows its counters', () => {
    const napt = createNapt();
    napt.sendUdp(5000);
    expect(napt.network.statistics()).toMatchObject({
      forward: { forwarded: 1 },
      napt: { outbound: 1, mappings: 1, created: 1 },
    });
  });
});
