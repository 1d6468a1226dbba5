import { beforeEach, describe, expect, it } from 'vitest';
import type { IpErrorKind } from '../../src/ip.ts';
import { createHost, type Host, PEER, PEER_MAC, send, US } from '../support/host.ts';
import {
  BROADCAST_MAC,
  expectBytes,
  expectFrame,
  type Ipv4Fields,
  packet,
  pattern,
} from '../support/packets.ts';

const FROM_PEER = { source: PEER, destination: US };

describe('ICMP', () => {
  let host: Host;

  beforeEach(() => {
    host = createHost();
    host.netif.inject(packet().arpRequest({ senderIp: PEER, targetIp: US }));
    host.netif.take();
  });

  const counters = () => host.network.icmp.counters;
  const unknown = (fields: Partial<Ipv4Fields> = {}, length = 100): Uint8Array =>
    packet()
      .ipv4({ ...FROM_PEER, ...fields })
      .payload(253, pattern(length));

  describe('echo', () => {
    it('is answered with the same data, DSCP without ECN, to who asked', () => {
      const data = pattern(1000);
      host.netif.inject(
        packet()
          .ipv4({ ...FROM_PEER, trafficClass: 0xbb })
          .icmpEchoRequest({ identifier: 9, sequence: 8, data }),
      );
      expectFrame(host.netif.take()[0])
        .to(PEER_MAC)
        .ipv4({ source: US, destination: PEER, trafficClass: 0xb8, ttl: 64 })
        .icmpEchoReply({ identifier: 9, sequence: 8, data });
    });

    it.each<[string, Uint8Array]>([
      [
        'to broadcast',
        packet({ destination: BROADCAST_MAC })
          .ipv4({ source: PEER, destination: '10.0.0.255' })
          .icmpEchoRequest(),
      ],
      [
        'from 0.0.0.0',
        packet().ipv4({ source: '0.0.0.0', destination: '255.255.255.255' }).icmpEchoRequest(),
      ],
      ['with a wrong checksum', packet().ipv4(FROM_PEER).payload(1, [8, 0, 0, 0, 1, 1, 1, 1])],
      ['cut short', packet().ipv4(FROM_PEER).payload(1, [8, 0, 247, 255])],
      [
        'off the link, with no way back',
        packet()
          .ipv4({ ...FROM_PEER, source: '192.0.2.1' })
          .icmpEchoRequest(),
      ],
    ])('is not answered %s', (_, frame) => {
      host.netif.inject(frame);
      expect(host.netif.take()).toEqual([]);
    });

    it('is limited', () => {
      const request = packet().ipv4(FROM_PEER).icmpEchoRequest();
      host.netif.inject(...new Array<Uint8Array>(1500).fill(request));
      expect(host.netif.take()).toHaveLength(1000);
      expect(counters()).toMatchObject({ icmpInEchos: 1500, icmpOutEchoReps: 1000, icmpOutLimited: 500 });
    });

    it('goes out and its reply is heard by identifier', () => {
      const heard: number[] = [];
      host.network.icmp.listen(5, ({ sequence }) => heard.push(sequence));
      host.network.icmp.echo(host.path(PEER), 5, 77, pattern(3));
      expectFrame(host.netif.take()[0])
        .ipv4()
        .icmpEchoRequest({ identifier: 5, sequence: 77, data: pattern(3) });
      const reply = packet().ipv4(FROM_PEER).icmpEchoReply({ identifier: 5, sequence: 77 });
      host.netif.inject(reply, packet().ipv4(FROM_PEER).icmpEchoReply({ identifier: 6, sequence: 78 }));
      host.network.icmp.listen(5, null);
      host.netif.inject(reply);
      expect(heard).toEqual([77]);
    });
  });

  describe('errors that we send', () => {
    it('tell of an unknown protocol, quoting as much as fits 576 bytes', () => {
      host.netif.inject(unknown({}, 1400));
      const ip = expectFrame(host.netif.take()[0])
        .to(PEER_MAC)
        .ipv4({ source: US, destination: PEER, totalLength: 576 });
      expectBytes(ip.icmpError(3, 2), unknown({}, 1400).subarray(14, 14 + 548));
      expect(host.network.ipv4.counters.ipInUnknownProtos).toBe(1);
    });

    it('tell of a closed port when the transport asks for it', () => {
      host.udp.onPacket = (received) => {
        received.frame.start += 8;
        host.network.portUnreachable(received);
      };
      const frame = packet()
        .ipv4({ ...FROM_PEER, options: [1, 1, 1, 1] })
        .udp({ sourcePort: 1, destinationPort: 2 });
      host.netif.inject(frame);
      expectBytes(expectFrame(host.netif.take()[0]).ipv4().icmpError(3, 3), frame.subarray(14));
    });

    it('reach our own transports over the loopback', () => {
      host.udp.onPacket = (received) => host.network.portUnreachable(received);
      for (let i = 0; i < 100; i++) send(host.path('127.0.0.1'), pattern(8));
      host.settle();
      expect(host.udp.errors).toHaveLength(100);
      expect(host.udp.errors[0]).toMatchObject({
        kind: 'port-unreachable',
        source: '127.0.0.1',
        data: pattern(8),
      });
    });

    it('point at a malformed option', () => {
      host.netif.inject(unknown({ options: [1, 7, 9, 4] }));
      expectFrame(host.netif.take()[0]).ipv4().icmpError(12, 0, [21, 0, 0, 0]);
      host.netif.inject(unknown({ options: [1, 1, 1, 7] }));
      expectFrame(host.netif.take()[0]).ipv4().icmpError(12, 0, [23, 0, 0, 0]);
    });

    it.each<[string, Uint8Array]>([
      [
        'an ICMP error',
        packet()
          .ipv4({ ...FROM_PEER, options: [7, 9, 1, 1] })
          .icmp(3, 1, [0, 0, 0, 0], pattern(28)),
      ],
      [
        'ICMP of an unknown type',
        packet()
          .ipv4({ ...FROM_PEER, options: [7, 9, 1, 1] })
          .icmp(99, 0, [0, 0, 0, 0], []),
      ],
      [
        'a broadcast',
        packet({ destination: BROADCAST_MAC })
          .ipv4({ source: PEER, destination: '10.0.0.255' })
          .payload(253, [1]),
      ],
      ['a limited broadcast in a unicast frame', unknown({ destination: '255.255.255.255' })],
      ['a fragment that is not the first', unknown({ options: [7, 9, 1, 1], fragmentOffset: 800 })],
      ['a packet from nobody', unknown({ source: '0.0.0.0', destination: '255.255.255.255' })],
    ])('never answer %s (RFC 1122 §3.2.2)', (_, frame) => {
      host.netif.inject(frame);
      expect(host.netif.take()).toEqual([]);
      expect(counters().icmpOutMsgs).toBe(0);
    });

    it('do answer an echo request that cannot be understood', () => {
      host.netif.inject(
        packet()
          .ipv4({ ...FROM_PEER, options: [7, 9, 1, 1] })
          .icmpEchoRequest(),
      );
      expectFrame(host.netif.take()[0]).ipv4().icmpError(12, 0, [20, 0, 0, 0]);
    });

    it('are limited for each destination', () => {
      host.netif.inject(...new Array<Uint8Array>(40).fill(unknown()));
      expect(host.netif.take()).toHaveLength(10);
      host.run(500);
      host.netif.inject(...new Array<Uint8Array>(40).fill(unknown()));
      expect(host.netif.take()).toHaveLength(5);
      expect(counters().icmpOutLimited).toBe(65);
    });

    it('are limited for all destinations together, by an amount that cannot be counted', () => {
      const answers = [1, 2, 3].map((second) => {
        host.run(second * 1000);
        const before = counters().icmpOutDestUnreachs;
        for (let i = 0; i < 200; i++) host.netif.inject(unknown({ source: `10.0.0.${(i % 200) + 3}` }));
        return counters().icmpOutDestUnreachs - before;
      });
      for (const count of answers) {
        expect(count).toBeGreaterThanOrEqual(25);
        expect(count).toBeLessThan(50);
      }
    });
  });

  describe('errors that we receive', () => {
    const ours = (fields: Partial<Ipv4Fields> = {}, protocol = 17): Uint8Array =>
      packet()
        .ipv4({ source: US, destination: PEER, ...fields })
        .payload(protocol, pattern(8))
        .subarray(14);
    const error = (type: number, code: number, quoted: ArrayLike<number>): void =>
      host.netif.inject(
        packet().ipv4({ source: '10.0.0.254', destination: US }).icmp(type, code, [0, 0, 0, 0], quoted),
      );

    it.each<[number, number, IpErrorKind]>([
      [3, 0, 'net-unreachable'],
      [3, 1, 'host-unreachable'],
      [3, 2, 'protocol-unreachable'],
      [3, 3, 'port-unreachable'],
      [3, 5, 'source-route-failed'],
      [3, 6, 'net-unreachable'],
      [3, 7, 'host-unreachable'],
      [3, 8, 'host-unreachable'],
      [3, 9, 'prohibited'],
      [3, 10, 'prohibited'],
      [3, 11, 'net-unreachable'],
      [3, 12, 'host-unreachable'],
      [3, 13, 'prohibited'],
      [3, 14, 'prohibited'],
      [3, 15, 'prohibited'],
      [11, 0, 'time-exceeded'],
      [11, 1, 'reassembly-time-exceeded'],
      [12, 0, 'parameter-problem'],
    ])('type %i code %i reach the transport as %s', (type, code, kind) => {
      error(type, code, ours());
      expect(host.udp.errors).toEqual([{ kind, source: US, destination: PEER, mtu: 0, data: pattern(8) }]);
    });

    it('find the transport header behind options', () => {
      error(3, 3, ours({ options: [1, 1, 1, 1] }));
      expect(host.udp.errors).toMatchObject([{ data: pattern(8) }]);
    });

    it.each<[string, () => void]>([
      ['of other hosts’ packets', () => error(3, 3, ours({ source: '10.0.0.9' }))],
      ['of protocols that we do not speak', () => error(3, 3, ours({}, 253))],
      ['that quote too little', () => error(3, 3, ours().subarray(0, 27))],
      [
        'that quote too little behind options',
        () => error(3, 3, ours({ options: [1, 1, 1, 1] }).subarray(0, 28)),
      ],
      ['that quote nonsense', () => error(3, 3, ours({ version: 6 }))],
      ['with a header length that is none', () => error(3, 3, ours({ headerLength: 8 }))],
      ['of an unknown code', () => error(3, 16, ours())],
      ['that quench (RFC 6633)', () => error(4, 0, ours())],
      ['that redirect', () => error(5, 1, ours())],
    ])('are ignored %s', (_, act) => {
      act();
      expect(host.udp.errors).toEqual([]);
      expect(host.netif.take()).toEqual([]);
    });
  });
});
