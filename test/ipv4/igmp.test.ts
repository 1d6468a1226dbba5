import { beforeEach, describe, expect, it } from 'vitest';
import { IpAddress } from '../../src/address/index.ts';
import type { GroupSubscription } from '../../src/internet/index.ts';
import { createHost, type Host, PEER, US } from '../support/host.ts';
import { internetChecksum, ipBytes, packet } from '../support/packets.ts';

const GROUP = '239.1.2.3';
const ROUTER_ALERT = [0x94, 4, 0, 0];
const IS_IN = 1;
const IS_EX = 2;
const TO_IN = 3;
const TO_EX = 4;
const ALLOW = 5;
const BLOCK = 6;

interface QueryFields {
  readonly group?: string;
  readonly sources?: readonly string[];
  /** Max Resp Code. */
  readonly code?: number;
  readonly version?: 1 | 2 | 3;
  readonly ttl?: number;
  readonly alert?: boolean;
  readonly robustness?: number;
  readonly interval?: number;
  readonly source?: string;
}

function igmp(message: number[]): number[] {
  const sum = internetChecksum(message);
  return [message[0]!, message[1]!, sum >>> 8, sum & 255, ...message.slice(4)];
}

function query(fields: QueryFields = {}): Uint8Array {
  const { group = '0.0.0.0', sources = [], version = 3, ttl = 1, alert = version > 1 } = fields;
  const { code = version === 1 ? 0 : 100, robustness = 2, interval = 125 } = fields;
  const message = [0x11, code, 0, 0, ...ipBytes(group)];
  if (version === 3) message.push(robustness, interval, 0, sources.length, ...sources.flatMap(ipBytes));
  const destination = group.startsWith('239.') ? group : '224.0.0.1';
  return packet({ destination: macOf(destination) })
    .ipv4({ source: fields.source ?? PEER, destination, ttl, ...(alert ? { options: ROUTER_ALERT } : {}) })
    .payload(2, Uint8Array.from(igmp(message)));
}

function macOf(group: string): string {
  const [, b, c, d] = ipBytes(group);
  return ['01', '00', '5e', ...[b! & 127, c!, d!].map((octet) => octet.toString(16).padStart(2, '0'))].join(
    ':',
  );
}

/** IGMP messages that were sent, read by the book. */
function reports(host: Host) {
  return host.netif
    .take()
    .map((frame) => Buffer.from('bytes' in frame ? (frame as { bytes: Uint8Array }).bytes : frame))
    .filter((frame) => frame.readUInt16BE(12) === 0x0800 && frame[23] === 2)
    .map((frame) => {
      expect(frame[14]).toBe(0x46);
      expect(internetChecksum(frame.subarray(14, 38))).toBe(0);
      expect([...frame.subarray(34, 38)]).toEqual(ROUTER_ALERT);
      const message = frame.subarray(38, 14 + frame.readUInt16BE(16));
      expect(internetChecksum(message)).toBe(0);
      const records: { kind: number; group: string; sources: string[] }[] = [];
      if (message[0] === 0x22) {
        for (let at = 8; records.length < message.readUInt16BE(6); ) {
          const count = message.readUInt16BE(at + 2);
          const text = (offset: number) => message.subarray(offset, offset + 4).join('.');
          const sources = Array.from({ length: count }, (_, i) => text(at + 8 + 4 * i));
          records.push({ kind: message[at]!, group: text(at + 4), sources });
          at += 8 + 4 * count;
        }
      }
      return {
        type: message[0],
        ttl: frame[22],
        source: frame.subarray(26, 30).join('.'),
        destination: frame.subarray(30, 34).join('.'),
        mac: frame.subarray(0, 6).toString('hex'),
        group: message.subarray(4, 8).join('.'),
        records,
      };
    });
}

const addresses = (...texts: string[]): IpAddress[] => texts.map((text) => IpAddress.parse(text));

describe('IGMP of a host (RFC 3376)', () => {
  let host: Host;
  let join: (group?: string) => GroupSubscription;

  beforeEach(() => {
    host = createHost();
    join = (group = GROUP) => host.network.subscribe(IpAddress.parse(group));
  });

  const kinds = () =>
    reports(host).map(({ records }) => records.map(({ kind, sources }) => [kind, ...sources]));

  it('tells twice that it joins and that it leaves, by a router alert and with TTL 1', () => {
    const membership = join();
    host.run(5000);
    const told = reports(host);
    expect(told).toHaveLength(2);
    expect(told[0]).toMatchObject({
      type: 0x22,
      ttl: 1,
      source: US,
      destination: '224.0.0.22',
      mac: '01005e000016',
      records: [{ kind: TO_EX, group: GROUP, sources: [] }],
    });
    membership.close();
    host.run(5000);
    expect(kinds()).toEqual([[[TO_IN]], [[TO_IN]]]);
    host.netif.inject(query());
    host.run(20_000);
    expect(kinds()).toEqual([]);
  });

  it('takes packets to its groups only, and only from the link', () => {
    const datagram = (destination: string): Uint8Array =>
      packet({ destination: macOf(destination) })
        .ipv4({ source: PEER, destination })
        .payload(17, new Uint8Array(8));
    host.netif.inject(datagram(GROUP));
    expect(host.udp.take()).toEqual([]);
    const membership = join();
    host.netif.inject(datagram(GROUP));
    // 239.129.2.3 has the same link address.
    host.netif.inject(datagram('239.129.2.3'));
    host.netif.inject(datagram('224.0.0.1'));
    expect(host.udp.take().map(({ destination, isGroup }) => [destination, isGroup])).toEqual([
      [GROUP, true],
      ['224.0.0.1', true],
    ]);
    membership.close();
    host.netif.inject(datagram(GROUP));
    expect(host.udp.take()).toEqual([]);
  });

  it('tells what changes in a list of sources, and merges the lists of sockets (§3.2, §5.1)', () => {
    const one = join();
    one.filter = { mode: 'include', sources: addresses('10.0.0.7', '10.0.0.8') };
    host.run(5000);
    // Joined and narrowed in one turn: the interface has included from the start.
    expect(kinds()).toEqual([[[TO_IN, '10.0.0.7', '10.0.0.8']], [[TO_IN, '10.0.0.7', '10.0.0.8']]]);
    one.filter = { mode: 'include', sources: addresses('10.0.0.8', '10.0.0.9') };
    host.run(5000);
    expect(kinds()).toEqual([
      [
        [ALLOW, '10.0.0.9'],
        [BLOCK, '10.0.0.7'],
      ],
      [
        [ALLOW, '10.0.0.9'],
        [BLOCK, '10.0.0.7'],
      ],
    ]);
    const two = join();
    two.filter = { mode: 'exclude', sources: addresses('10.0.0.8', '10.0.0.66') };
    host.run(5000);
    expect(kinds()).toEqual([[[TO_EX, '10.0.0.66']], [[TO_EX, '10.0.0.66']]]);
    one.close();
    host.run(5000);
    expect(kinds()).toEqual([[[BLOCK, '10.0.0.8']], [[BLOCK, '10.0.0.8']]]);
  });

  it('answers queries: general, about a group, about sources (§5.2)', () => {
    join().filter = { mode: 'exclude', sources: addresses('10.0.0.7') };
    join('239.9.9.9').filter = { mode: 'include', sources: addresses('10.0.0.8', '10.0.0.9') };
    host.run(5000);
    reports(host);
    host.netif.inject(query());
    host.run(10_000);
    expect(kinds()).toEqual([
      [
        [IS_EX, '10.0.0.7'],
        [IS_IN, '10.0.0.8', '10.0.0.9'],
      ],
    ]);
    host.netif.inject(query({ group: GROUP, code: 10 }));
    host.run(1000);
    expect(kinds()).toEqual([[[IS_EX, '10.0.0.7']]]);
    host.netif.inject(query({ group: GROUP, sources: ['10.0.0.7', '10.0.0.8'], code: 10 }));
    host.run(1000);
    expect(kinds()).toEqual([[[IS_IN, '10.0.0.8']]]);
    host.netif.inject(query({ group: '239.9.9.9', sources: ['10.0.0.7', '10.0.0.8'], code: 10 }));
    host.run(1000);
    expect(kinds()).toEqual([[[IS_IN, '10.0.0.8']]]);
    host.netif.inject(query({ group: GROUP, sources: ['10.0.0.7'], code: 10 }));
    host.netif.inject(query({ group: '239.77.7.7', code: 10 }));
    host.run(1000);
    expect(kinds()).toEqual([]);
  });

  it('speaks version 2 to a router of version 2, and leaves out loud (RFC 2236)', () => {
    const membership = join();
    host.run(5000);
    reports(host);
    host.netif.inject(query({ version: 2 }));
    host.run(10_000);
    expect(reports(host)).toMatchObject([{ type: 0x16, destination: GROUP, group: GROUP, ttl: 1 }]);
    // Another member was faster.
    host.netif.inject(query({ version: 2 }));
    host.netif.inject(
      packet({ destination: macOf(GROUP) })
        .ipv4({ source: PEER, destination: GROUP, ttl: 1, options: ROUTER_ALERT })
        .payload(2, Uint8Array.from(igmp([0x16, 0, 0, 0, ...ipBytes(GROUP)]))),
    );
    host.run(10_000);
    expect(reports(host)).toEqual([]);
    membership.close();
    host.run(20_000);
    expect(reports(host)).toMatchObject([{ type: 0x17, destination: '224.0.0.2', group: GROUP }]);
    // The older querier is forgotten after two intervals and a response time.
    host.run(261_000);
    join();
    host.settle();
    expect(reports(host)).toMatchObject([{ type: 0x22 }]);
  });

  it('speaks version 1 to a router of version 1, which knows no leaving', () => {
    host.netif.inject(query({ version: 1 }));
    const membership = join();
    host.run(15_000);
    expect(reports(host).map(({ type, group }) => [type, group])).toEqual([
      [0x12, GROUP],
      [0x12, GROUP],
    ]);
    membership.close();
    host.run(15_000);
    expect(reports(host)).toEqual([]);
  });

  it('says things as often as the querier holds for robust (§8.1)', () => {
    join();
    host.run(5000);
    host.netif.inject(query({ robustness: 4, code: 1 }));
    host.run(1000);
    reports(host);
    join('239.4.4.4');
    host.run(10_000);
    expect(kinds()).toHaveLength(4);
  });

  it.each<[string, QueryFields]>([
    ['by a router', { ttl: 2 }],
    ['without a router alert', { alert: false }],
    ['about an address that is no group', { group: '10.0.0.7' }],
  ])('counts and ignores a query %s', (_, fields) => {
    join();
    host.run(5000);
    reports(host);
    host.netif.inject(query(fields));
    host.run(20_000);
    expect(reports(host)).toEqual([]);
    expect(host.network.ipv4.links[0]!.igmp.counters.igmpInErrors).toBe(1);
  });

  it('answers a querier that has no address (RFC 4541 §2.1.1)', () => {
    join();
    host.run(5000);
    reports(host);
    host.netif.inject(query({ source: '0.0.0.0' }));
    host.run(20_000);
    expect(kinds()).toEqual([[[IS_EX]]]);
  });

  it('answers a flood of queries no more than a few times a second', () => {
    join();
    host.run(5000);
    reports(host);
    for (let i = 0; i < 6000; i++) {
      host.netif.inject(query({ group: GROUP, code: 0 }));
      if (i % 20 === 0) host.run(1);
    }
    expect(reports(host).length).toBeLessThan(60);
    expect(host.network.ipv4.links[0]!.igmp.counters.igmpInLimited).toBeGreaterThan(5900);
  });

  it('puts many groups in as many reports as the MTU wants, and takes no more than it may', () => {
    for (let i = 0; i < 256; i++) join(`239.0.1.${i}`);
    expect(() => join('239.0.2.1')).toThrow(expect.objectContaining({ code: 'ENOBUFS' }));
    host.settle();
    const told = reports(host);
    expect(told).toHaveLength(2);
    expect(told.flatMap(({ records }) => records)).toHaveLength(256);
  });
});
