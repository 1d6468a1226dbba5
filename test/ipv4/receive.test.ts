import fc from 'fast-check';
import { beforeEach, describe, expect, it } from 'vitest';
import { CHECKSUM_VERIFIED } from '../../src/netif/netif.ts';
import { createHost, type Host, PEER, RecordingProtocol, US } from '../support/host.ts';
import { BROADCAST_MAC, type Ipv4Fields, packet, pattern } from '../support/packets.ts';

const FROM_PEER = { source: PEER, destination: US };

describe('IPv4 receipt', () => {
  let host: Host;

  beforeEach(() => {
    host = createHost();
  });

  const udp = (fields: Partial<Ipv4Fields> = {}): Uint8Array =>
    packet()
      .ipv4({ ...FROM_PEER, ...fields })
      .payload(17, pattern(20));

  it('hands the datagram up without header and padding', () => {
    const frame = packet()
      .ipv4({ ...FROM_PEER, ttl: 3, trafficClass: 0xb9 })
      .payload(17, pattern(10));
    const padded = new Uint8Array(60);
    padded.set(frame);
    host.netif.inject(padded);
    expect(host.udp.take()).toMatchObject([
      { source: PEER, destination: US, hopLimit: 3, trafficClass: 0xb9, isGroup: false, data: pattern(10) },
    ]);
    expect(host.udp.flushes).toBe(1);
  });

  it('passes on what the device says of checksum and segments', () => {
    host.netif.injectWith(udp(), (frame) => {
      frame.checksum = CHECKSUM_VERIFIED;
      frame.segmentSize = 8;
    });
    expect(host.udp.take()).toMatchObject([{ checksum: CHECKSUM_VERIFIED, segmentSize: 8 }]);
  });

  it.each<[string, Partial<Ipv4Fields>]>([
    ['another version', { version: 6 }],
    ['a header of less than 20 bytes', { headerLength: 16 }],
    ['a header longer than the packet', { headerLength: 60 }],
    ['a total length beyond the frame', { totalLength: 41 }],
    ['a total length below the header', { totalLength: 19 }],
    ['a wrong checksum', { checksum: 0x1234 }],
  ])('drops %s as a header error', (_, fields) => {
    host.netif.inject(udp(fields));
    expect(host.udp.packets).toEqual([]);
    expect(host.network.ipv4.counters.ipInHdrErrors).toBe(1);
    expect(host.netif.take()).toEqual([]);
  });

  it('drops a packet that is shorter than a header', () => {
    host.netif.inject(udp().subarray(0, 33));
    expect(host.network.ipv4.counters.ipInHdrErrors).toBe(1);
  });

  it.each([
    ['from broadcast', { source: '255.255.255.255' }],
    ['from our broadcast', { source: '10.0.0.255' }],
    ['from multicast', { source: '224.0.0.5' }],
    ['from class E', { source: '250.1.2.3' }],
    ['from loopback', { source: '127.0.0.1' }],
    ['from 0.0.0.0 to one host', { source: '0.0.0.0' }],
    ['from network zero', { source: '0.1.2.3' }],
    ['from ourselves', { source: US }],
    ['to loopback', { destination: '127.0.0.1' }],
    ['to another host', { destination: '10.0.0.3' }],
    ['to multicast, which is not received yet', { destination: '224.0.0.251' }],
  ])('drops a packet %s', (_, fields) => {
    host.netif.inject(udp(fields));
    expect(host.udp.packets).toEqual([]);
    expect(host.network.ipv4.counters.ipInAddrErrors).toBe(1);
    expect(host.netif.take()).toEqual([]);
  });

  it.each(['255.255.255.255', '10.0.0.255'])(
    'takes broadcasts to %s and says that they are',
    (destination) => {
      host.netif.inject(
        packet({ destination: BROADCAST_MAC }).ipv4({ source: PEER, destination }).payload(17, [1]),
      );
      expect(host.udp.take()).toMatchObject([{ isGroup: true, destination }]);
    },
  );

  it('takes a DHCP client from 0.0.0.0 to the limited broadcast', () => {
    host.netif.inject(udp({ source: '0.0.0.0', destination: '255.255.255.255' }));
    expect(host.udp.take()).toHaveLength(1);
  });

  it('drops one host’s packet that came by link broadcast (RFC 1122 §3.3.6)', () => {
    host.netif.inject(packet({ destination: BROADCAST_MAC }).ipv4(FROM_PEER).payload(17, [1]));
    expect(host.udp.packets).toEqual([]);
  });

  it('skips options', () => {
    host.netif.inject(udp({ options: [1, 7, 7, 4, 0, 0, 0, 0] }), udp({ options: [0, 0xff, 0xff, 0xff] }));
    expect(host.udp.take().map(({ data }) => data)).toEqual([pattern(20), pattern(20)]);
  });

  it.each([131, 137])('drops source-routed packets (option %i) without a word', (option) => {
    host.netif.inject(udp({ options: [1, option, 7, 4, 192, 0, 2, 1] }));
    expect(host.udp.packets).toEqual([]);
    expect(host.network.ipv4.counters.ipInDiscards).toBe(1);
    expect(host.netif.take()).toEqual([]);
  });

  it('lets an exception of a transport out, and goes on', () => {
    host.udp.onPacket = () => {
      throw new Error('a bug in the application');
    };
    host.netif.inject(udp(), udp());
    expect(() => host.settle()).toThrow('a bug in the application');
    host.udp.onPacket = () => {};
    host.netif.inject(udp());
    expect(host.udp.packets).toHaveLength(3);
  });

  it('gives every transport its flush, whichever throws', () => {
    const other = new RecordingProtocol(6);
    host.network.register(other);
    host.udp.flush = () => {
      throw new Error('a bug in a transport');
    };
    host.netif.inject(udp());
    expect(other.flushes).toBe(1);
    expect(host.netif.flushes).toBeGreaterThan(0);
    expect(() => host.settle()).toThrow('a bug in a transport');
  });

  it('never throws, whatever comes', () => {
    const bytes = fc.uint8Array({ minLength: 0, maxLength: 120 });
    const mutation = fc.array(fc.tuple(fc.nat(79), fc.nat(255)), { maxLength: 6 });
    fc.assert(
      fc.property(bytes, mutation, (tail, changes) => {
        const frame = packet().ipv4(FROM_PEER).payload(17, tail);
        for (const [at, value] of changes) if (at >= 12 && at < frame.length) frame[at] = value;
        host.netif.inject(frame);
        host.run(10);
      }),
      { numRuns: 500 },
    );
  });
});

describe('a link without an address yet', () => {
  it('takes UDP to our station, whatever address a DHCP server sends it to (RFC 2131 §4.1)', () => {
    const host = createHost({ address: null });
    const offered = packet().ipv4({ source: PEER, destination: '10.0.0.77' });
    host.netif.inject(offered.payload(17, pattern(20)));
    host.netif.inject(packet().ipv4({ source: PEER, destination: '10.0.0.77' }).payload(6, pattern(20)));
    const toOthers = packet({ destination: '02:00:00:00:00:55' }).ipv4({
      source: PEER,
      destination: '10.0.0.77',
    });
    host.netif.inject(toOthers.payload(17, pattern(20)));
    expect(host.udp.take()).toHaveLength(1);
    expect(host.network.ipv4.counters.ipInAddrErrors).toBe(1);
    expect(host.netif.take()).toEqual([]);
  });
});
