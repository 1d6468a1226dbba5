import { describe, expect, it } from 'vitest';
import { IpAddress } from '../../src/address/index.ts';
import { createHost6, expectOne } from './host.ts';
import { frame6, icmp6Frame, ip6Bytes, long, u16 } from './packets.ts';

const GROUP = 'ff05::1234';
const QUERIER = 'fe80::fe';

function query(group: string, maxResponse: number, version: 1 | 2, fields: object = {}): Uint8Array {
  const body = [...u16(maxResponse), 0, 0, ...ip6Bytes(group), ...(version === 2 ? [2, 125, 0, 0] : [])];
  return icmp6Frame(
    {
      source: QUERIER,
      destination: 'ff02::1',
      destinationMac: '33:33:00:00:00:01',
      type: 130,
      hopLimit: 1,
      ...fields,
    },
    body,
  );
}

/** Type, and records as `kind group`, of what was sent behind a router alert. */
function reports(host: ReturnType<typeof createHost6>) {
  return host
    .take()
    .filter(({ next }) => next === 0)
    .map(({ payload, ...rest }) => {
      const message = payload.slice(8);
      const count = message[0] === 143 ? (message[6]! << 8) | message[7]! : 0;
      const records = Array.from({ length: count }, (_, i) => {
        const record = message.slice(8 + 20 * i, 28 + 20 * i);
        return { kind: record[0], group: record.slice(4) };
      });
      return { ...rest, type: message[0], message, records };
    });
}

describe('multicast listener discovery (RFC 3810)', () => {
  it('tells twice that it joins, and twice that it leaves', () => {
    const host = createHost6();
    const group = IpAddress.parse(GROUP);
    host.ipv6.link.groups.join(group);
    host.ipv6.link.groups.join(group);
    host.run(3000);
    const joins = reports(host);
    expect(joins).toHaveLength(2);
    expect(joins[0]).toMatchObject({
      type: 143,
      source: long(`${host.link.linkLocal()}`),
      destination: long('ff02::16'),
      hopLimit: 1,
      macTo: '33:33:00:00:00:16',
      records: [{ kind: 4, group: ip6Bytes(GROUP) }],
    });
    const datagram = frame6(
      [0x60, 0, 0, 0, 0, 8, 17, 1, ...ip6Bytes('2001:db8::2'), ...ip6Bytes(GROUP), 0, 1, 0, 2, 0, 8, 0, 0],
      { destinationMac: '33:33:00:00:12:34' },
    );
    host.netif.inject(datagram);
    expect(host.udp.take()).toMatchObject([{ isGroup: true, destination: GROUP }]);
    host.ipv6.link.groups.leave(group);
    host.netif.inject(datagram);
    expect(host.udp.take()).toHaveLength(1);
    host.ipv6.link.groups.leave(group);
    host.netif.inject(datagram);
    expect(host.udp.take()).toEqual([]);
    host.run(3000);
    expect(reports(host).map(({ records }) => records)).toEqual([
      [{ kind: 3, group: ip6Bytes(GROUP) }],
      [{ kind: 3, group: ip6Bytes(GROUP) }],
    ]);
  });

  it('answers a general query with all groups but all-nodes, within its time', () => {
    const host = createHost6();
    host.netif.inject(query('::', 10_000, 2));
    host.run(10_000);
    const report = expectOne(reports(host));
    expect(report.records.map(({ kind }) => kind)).toEqual([2, 2]);
    expect(report.records.map(({ group }) => group)).toContainEqual(ip6Bytes('ff02::1:ff00:1'));
  });

  it('answers a query about one group', () => {
    const host = createHost6();
    host.netif.inject(query('ff02::1:ff00:1', 100, 2));
    host.run(200);
    expect(expectOne(reports(host)).records).toHaveLength(1);
    host.netif.inject(query('ff02::1:ff00:77', 100, 2));
    host.run(200);
    expect(reports(host)).toEqual([]);
  });

  it('speaks version 1 to a router of version 1 (RFC 2710)', () => {
    const host = createHost6();
    host.netif.inject(query('::', 1000, 1));
    host.run(1000);
    const old = reports(host);
    expect(old.map(({ type }) => type)).toEqual([131, 131]);
    host.run(261_000);
    host.netif.inject(query('::', 1000, 2));
    host.run(1000);
    expect(reports(host).map(({ type }) => type)).toEqual([143]);
  });

  it.each([
    ['by a router', { hopLimit: 2 }],
    ['from a global address', { source: '2001:db8::2' }],
  ])('does not answer a query %s', (_, fields) => {
    const host = createHost6();
    host.netif.inject(query('::', 100, 2, fields));
    host.run(1000);
    expect(reports(host)).toEqual([]);
  });
});
