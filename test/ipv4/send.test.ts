import { beforeEach, describe, expect, it } from 'vitest';
import { CHECKSUM_NONE, CHECKSUM_PARTIAL } from '../../src/netif/netif.ts';
import { createHost, type Host, OUR_MAC, PEER, PEER_MAC, send, US } from '../support/host.ts';
import { expectBytes, expectFrame, pattern, transportChecksum, udpDatagram } from '../support/packets.ts';

const TCP = 6;

function resolvedHost(options: Parameters<typeof createHost>[0] = {}): Host {
  const host = createHost(options);
  send(host.path(PEER), [0]);
  host.resolve();
  host.netif.take();
  return host;
}

/** UDP with the pseudo-header sum in its checksum field, as a transport leaves it to the device. */
function partialUdp(length: number): Uint8Array {
  const datagram = Uint8Array.from(
    udpDatagram(US, PEER, { sourcePort: 1, destinationPort: 2, data: pattern(length), checksum: false }),
  );
  const pseudo = 0xffff - transportChecksum(US, PEER, 17, new Uint8Array(0)) + datagram.length;
  const folded = (pseudo & 0xffff) + (pseudo >>> 16);
  datagram[6] = folded >>> 8;
  datagram[7] = folded;
  return datagram;
}

describe('IPv4 sending', () => {
  let host: Host;

  beforeEach(() => {
    host = resolvedHost();
  });

  it('writes both headers in the device’s memory', () => {
    const path = host.path(PEER);
    expect([path.mtu, path.interfaceMtu, path.headerLength]).toEqual([1500, 1500, 20]);
    send(path, pattern(1480));
    const [frame, ...rest] = host.netif.take();
    expect(rest).toEqual([]);
    const ip = expectFrame(frame)
      .from(OUR_MAC)
      .to(PEER_MAC)
      .ipv4({ source: US, destination: PEER, ttl: 64, trafficClass: 0, protocol: 17, dontFragment: true });
    expectBytes(ip.payload, pattern(1480));
    expect(ip.identification).toBe(0);
  });

  it('takes TTL, traffic class and DF from the transport', () => {
    send(host.path(PEER), [1], { hopLimit: 255, trafficClass: 0xff, dontFragment: false });
    expectFrame(host.netif.take()[0]).ipv4({ ttl: 255, trafficClass: 0xff, dontFragment: false });
  });

  it('gives packets without DF identifications that do not repeat', () => {
    const seen = new Set<number>();
    for (let i = 0; i < 10_000; i++) {
      send(host.path(PEER), [1], { dontFragment: false });
      seen.add(expectFrame(host.netif.take()[0]).ipv4().identification);
    }
    expect(seen.size).toBe(10_000);
  });

  it.each([1481, 2960, 4000, 9001, 65_515])('cuts %i bytes to the MTU', (length) => {
    send(host.path(PEER), pattern(length));
    const fragments = host.netif
      .take()
      .map((frame) => expectFrame(frame).to(PEER_MAC).ipv4({ dontFragment: false }));
    expect(fragments).toHaveLength(Math.ceil(length / 1480));
    const whole = new Uint8Array(length);
    let at = 0;
    for (const [i, fragment] of fragments.entries()) {
      const more = i < fragments.length - 1;
      expectFrame(packetOf(fragment.bytes)).ipv4({ moreFragments: more, fragmentOffset: at });
      expect(fragment.identification).toBe(fragments[0]!.identification);
      whole.set(fragment.payload, at);
      at += fragment.payload.length;
    }
    expectBytes(whole, pattern(length));
  });

  it('finishes a partial checksum before it cuts', () => {
    host = resolvedHost({ transmit: { checksum: 'partial', segmentation: 65_550 } });
    send(host.path(PEER), partialUdp(2000), { partial: 6 });
    const fragments = host.netif.take().map((frame) => expectFrame(frame).ipv4().payload);
    const whole = Uint8Array.from(fragments.flatMap((fragment) => [...fragment]));
    expect(transportChecksum(US, PEER, 17, whole)).toBe(0);
  });

  it('leaves a partial checksum to the device where it waits for a neighbour', () => {
    host = createHost({ transmit: { checksum: 'partial', segmentation: 0 } });
    send(host.path(PEER), partialUdp(100), { partial: 6 });
    host.netif.take();
    host.resolve();
    const [sent] = host.netif.log;
    expect(sent).toMatchObject({ checksum: CHECKSUM_PARTIAL, checksumStart: 34, checksumOffset: 6 });
    expectBytes(sent!.bytes.subarray(34), partialUdp(100));
  });

  it('finishes it itself for a device that does not', () => {
    send(host.path(PEER), partialUdp(101), { partial: 6 });
    expect(host.netif.log[0]!.checksum).toBe(CHECKSUM_NONE);
    expectFrame(host.netif.take()[0])
      .ipv4()
      .udp({ data: pattern(101) });
  });

  it('hands segments of a TSO device over whole', () => {
    host = resolvedHost({ transmit: { checksum: 'partial', segmentation: 65_550 } });
    send(host.path(PEER), pattern(40_000), { protocol: TCP, partial: 16, segmentSize: 1460 });
    const [sent, ...rest] = host.netif.log;
    expect(rest).toEqual([]);
    expect(sent).toMatchObject({
      segmentSize: 1460,
      checksum: CHECKSUM_PARTIAL,
      checksumStart: 34,
      checksumOffset: 16,
    });
    expectFrame(sent!.bytes).ipv4({ totalLength: 40_020, dontFragment: true });
  });

  it('keeps segments whole while they wait for a neighbour', () => {
    host = createHost({ transmit: { checksum: 'partial', segmentation: 65_550 } });
    send(host.path(PEER), pattern(40_000), { protocol: TCP, partial: 16, segmentSize: 1460 });
    host.netif.take();
    host.resolve();
    expect(host.netif.log).toMatchObject([
      { segmentSize: 1460, checksum: CHECKSUM_PARTIAL, checksumStart: 34 },
    ]);
  });

  it('cuts a large TCP packet in the device’s memory that turns out to have no segment size', () => {
    host = resolvedHost({ transmit: { checksum: 'partial', segmentation: 65_550 } });
    send(host.path(PEER), pattern(4000), { protocol: TCP });
    const sent = host.netif.take().flatMap((frame) => [...expectFrame(frame).ipv4().payload]);
    expectBytes(sent, pattern(4000));
  });

  it('answers null while the device is full, and tells the transports when it is not', () => {
    host.netif.room = 1;
    expect(send(host.path(PEER), [1])).toBe(true);
    expect(send(host.path(PEER), [2])).toBe(false);
    host.netif.drain(10);
    expect(host.udp.writables).toBe(1);
    expect(send(host.path(PEER), [2])).toBe(true);
  });

  it('keeps fragments for which there is no room, in order, and holds further datagrams back', () => {
    const path = host.path(PEER);
    host.netif.room = 3;
    let datagrams = 0;
    while (send(path, pattern(60_000))) datagrams++;
    expect(datagrams).toBeGreaterThan(2);
    expect(datagrams).toBeLessThan(8);
    host.netif.drain(5);
    expect(host.udp.writables).toBe(0);
    host.netif.drain(1000);
    expect(host.udp.writables).toBe(1);
    const fragments = host.netif.take().map((frame) => expectFrame(frame).ipv4().payload);
    expect(fragments).toHaveLength(datagrams * 41);
    expectBytes(
      fragments.slice(0, 41).flatMap((fragment) => [...fragment]),
      pattern(60_000),
    );
    expect(host.network.ipv4.links[0]!.outbox.discards).toBe(0);
  });
});

describe('loopback', () => {
  it('delivers after the sender has returned, then flushes, with nothing summed', () => {
    const host = createHost();
    const path = host.path('127.0.0.1');
    expect(path.mtu).toBe(65_535);
    expect(path.transmit).toEqual({ checksum: 'partial', segmentation: 0 });
    send(path, pattern(65_515), { partial: 6 });
    send(path, pattern(5), { trafficClass: 3 });
    expect(host.udp.packets).toEqual([]);
    host.settle();
    expect(host.udp.flushes).toBe(1);
    const [large, small] = host.udp.take();
    expect(large).toMatchObject({
      source: '127.0.0.1',
      destination: '127.0.0.1',
      checksum: CHECKSUM_PARTIAL,
    });
    expectBytes(large!.data, pattern(65_515));
    expect(small).toMatchObject({ data: pattern(5), trafficClass: 3, checksum: CHECKSUM_NONE });
    expect(host.netif.take()).toEqual([]);
  });

  it('is bounded, and says when it has room', () => {
    const host = createHost();
    const path = host.path(US);
    let sent = 0;
    while (send(path, [sent & 255])) sent++;
    expect(sent).toBe(256);
    host.settle();
    expect(host.udp.take()).toHaveLength(256);
    expect(host.udp.writables).toBe(1);
    while (send(path, pattern(60_000))) sent++;
    expect(sent).toBe(256 + 34);
  });

  it('never writes over what was retained', () => {
    const host = createHost();
    const kept: Uint8Array[] = [];
    host.udp.onPacket = ({ frame }) => {
      if (frame.bytes[frame.start]! % 3 !== 0) return;
      frame.retain();
      kept.push(frame.bytes.subarray(frame.start, frame.end));
    };
    for (let i = 0; i < 200; i++) {
      send(host.path(US), new Uint8Array(3000).fill(i));
      if (i % 4 === 0) host.settle();
    }
    host.settle();
    expect(kept).toHaveLength(67);
    for (const [i, view] of kept.entries()) expect(new Set(view)).toEqual(new Set([i * 3]));
  });

  it('carries answers that answers bring forth, without end and without starving time', () => {
    const host = createHost();
    host.udp.onPacket = () => send(host.path(US), [1]);
    send(host.path(US), [1]);
    for (let i = 0; i < 1000; i++) host.clock.step();
    expect(host.udp.packets.length).toBeGreaterThan(100);
  });
});

function packetOf(ip: Uint8Array): Uint8Array {
  return Uint8Array.from([...new Array<number>(12).fill(0), 8, 0, ...ip]);
}
