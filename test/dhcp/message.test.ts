import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { IpAddress, MacAddress } from '../../src/address/index.ts';
import { DhcpClient } from '../../src/dhcp/client.ts';
import { readLease } from '../../src/dhcp/lease.ts';
import { ACK, encodeMessage, NAK, OFFER, parseMessage } from '../../src/dhcp/message.ts';
import * as option from '../../src/dhcp/options.ts';
import * as value from '../../src/dhcp/values.ts';
import { SeededRandom } from '../../src/time/index.ts';

const MAC = MacAddress.parse('02:00:00:00:00:01');

function offer(
  options: [number, ArrayLike<number>][],
  yiaddr = '10.0.0.5',
  type = OFFER,
  xid = 1,
): Uint8Array {
  return encodeMessage({
    op: 2,
    type,
    xid,
    mac: MAC,
    yiaddr: IpAddress.parse(yiaddr),
    options: new Map(options.map(([code, bytes]) => [code, Uint8Array.from(bytes)])),
  });
}

const LEASE: [number, ArrayLike<number>][] = [
  [option.SERVER_ID, [10, 0, 0, 1]],
  [option.LEASE_TIME, [0, 0, 3, 232]],
  [option.SUBNET_MASK, [255, 255, 255, 0]],
];

const leaseOf = (...options: [number, ArrayLike<number>][]) =>
  readLease(parseMessage(offer([...LEASE, ...options]))!);

describe('DHCP messages', () => {
  it('come out as they went in, and are long enough for old relays', () => {
    const bytes = offer(LEASE);
    expect(bytes.length).toBe(300);
    expect(parseMessage(bytes)).toMatchObject({ op: 2, type: OFFER, xid: 1, broadcast: false });
    expect(`${parseMessage(bytes)!.yiaddr}`).toBe('10.0.0.5');
  });

  it('have long options in parts, which are joined (RFC 3396)', () => {
    const long = Uint8Array.from({ length: 600 }, (_, i) => i);
    const read = parseMessage(offer([[option.MESSAGE, long]]))!;
    expect(read.options.get(option.MESSAGE)).toEqual(long);
  });

  it('have options in file and sname where option 52 says so', () => {
    const bytes = offer([...LEASE, [option.OVERLOAD, [3]]]);
    bytes.set([option.ROUTER, 4, 10, 0, 0, 9, option.END], 108);
    bytes.set([option.DNS_SERVER, 4, 10, 0, 0, 8, option.END], 44);
    expect(readLease(parseMessage(bytes)!)).toMatchObject({
      routes: [{ prefix: '0.0.0.0/0', gateway: '10.0.0.9' }],
      dns: ['10.0.0.8'],
    });
  });

  it('are refused if an option runs over the end, or the cookie is not there', () => {
    const bytes = offer(LEASE);
    expect(parseMessage(bytes.subarray(0, 245))).toBeNull();
    bytes[236] = 0;
    expect(parseMessage(bytes)).toBeNull();
  });

  it('give no lease without server, time, or an address that a host can have', () => {
    for (const without of [0, 1]) {
      const options = LEASE.filter((_, i) => i !== without);
      expect(readLease(parseMessage(offer(options))!)).toBeNull();
    }
    for (const address of [
      '0.0.0.0',
      '127.0.0.1',
      '224.0.0.1',
      '255.255.255.255',
      '10.0.0.0',
      '10.0.0.255',
    ]) {
      expect(readLease(parseMessage(offer(LEASE, address))!), address).toBeNull();
    }
  });

  it('have T1 and T2 of the server if they are in order, else the defaults', () => {
    expect(leaseOf()).toMatchObject({ renewSeconds: 500, rebindSeconds: 875 });
    const t = (t1: number, t2: number) =>
      leaseOf([option.RENEWAL_TIME, [0, 0, 0, t1]], [option.REBINDING_TIME, [0, 0, 0, t2]]);
    expect(t(10, 20)).toMatchObject({ renewSeconds: 10, rebindSeconds: 20 });
    expect(t(20, 10)).toMatchObject({ renewSeconds: 500, rebindSeconds: 875 });
    expect(t(0, 10)).toMatchObject({ renewSeconds: 500, rebindSeconds: 875 });
  });

  it('read compressed search lists (RFC 3397 §2), and end at a loop', () => {
    const list = [3, 101, 110, 103, 5, 97, 112, 112, 108, 101, 3, 99, 111, 109, 0];
    const next = [9, ...new TextEncoder().encode('marketing'), 0xc0, 4];
    expect(value.readSearch(Uint8Array.from([...list, ...next]))).toEqual([
      'eng.apple.com',
      'marketing.apple.com',
    ]);
    expect(value.readSearch(Uint8Array.from([1, 97, 0xc0, 0]))).toEqual([]);
    expect(value.readSearch(Uint8Array.from([0xc0, 0]))).toEqual([]);
  });

  it('read and write routes of any width (RFC 3442)', () => {
    const routes = [
      { prefix: '0.0.0.0/0', gateway: '10.0.0.1' },
      { prefix: '10.17.0.0/16', gateway: '10.0.0.2' },
      { prefix: '10.27.129.0/24', gateway: null },
      { prefix: '10.229.0.128/25', gateway: '10.0.0.3' },
    ];
    expect(value.readRoutes(value.routeBytes(routes))).toEqual(routes);
    expect(value.readRoutes(Uint8Array.of(33, 10, 0, 0, 0, 0, 10, 0, 0, 1))).toBeNull();
  });

  it('of any bytes do no harm', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 700 }), fc.uint8Array({ maxLength: 200 }), (all, options) => {
        parseMessage(all);
        const bytes = offer([]);
        const framed = new Uint8Array(240 + 3 + options.length);
        framed.set(bytes.subarray(0, 243));
        framed.set(options, 243);
        const message = parseMessage(framed);
        if (message !== null) readLease(message);
        value.readSearch(options);
        value.readRoutes(options);
        value.readName(options);
        value.readMask(options);
      }),
      { numRuns: 3000 },
    );
  });
});

describe('the client', () => {
  function machine() {
    const log: string[] = [];
    const client = new DhcpClient({
      mac: MAC,
      random: new SeededRandom(3),
      actions: {
        send: (message, to) => log.push(`${parseMessage(message)!.type} to ${to ?? 'all'}`),
        claim: (lease) => log.push(`claim ${lease.address}`),
        renewed: (lease) => log.push(`renewed ${lease.address}`),
        lost: (lease) => log.push(`lost ${lease.address}`),
        unanswered: () => log.push('unanswered'),
      },
    });
    /** The xid in use, as only the server's side may know it. */
    const xid = new SeededRandom(3).next32();
    return { client, log, xid, take: () => log.splice(0) };
  }

  it('waits 4, 8, 16, 32, 64, 64 seconds, each give or take one', () => {
    const { client } = machine();
    client.start(0);
    let now = 0;
    for (const seconds of [4, 8, 16, 32, 64, 64]) {
      expect(Math.abs(client.wakeAt - now - seconds * 1000)).toBeLessThanOrEqual(1000);
      now = client.wakeAt;
      client.timer(now);
    }
  });

  it('believes only its own transaction, its own address, and the server whose offer it took', () => {
    const { client, take, xid } = machine();
    client.start(0);
    expect(take()).toEqual(['1 to all']);
    client.receive(offer(LEASE, '10.0.0.5', OFFER, xid + 1), 1);
    const foreign = offer(LEASE, '10.0.0.5', OFFER, xid);
    foreign[33] = 9;
    client.receive(foreign, 1);
    client.receive(offer(LEASE, '10.0.0.5', ACK, xid), 1);
    client.receive(offer(LEASE, '10.0.0.5', NAK, xid), 1);
    expect(take()).toEqual([]);
    client.receive(offer(LEASE, '10.0.0.5', OFFER, xid), 1);
    expect(take()).toEqual(['3 to all']);
    const other = LEASE.map(([code, bytes]): [number, ArrayLike<number>] =>
      code === option.SERVER_ID ? [code, [10, 0, 0, 2]] : [code, bytes],
    );
    client.receive(offer(other, '10.0.0.5', ACK, xid), 2);
    client.receive(offer(other, '10.0.0.5', NAK, xid), 2);
    client.receive(offer(LEASE, '10.0.0.6', ACK, xid), 2);
    expect(take()).toEqual([]);
    client.receive(offer(LEASE, '10.0.0.5', ACK, xid), 2);
    expect(take()).toEqual(['claim 10.0.0.5']);
    client.claimed(9);
    expect(client.state).toBe('BOUND');
    // T1 counts from the request.
    expect(client.wakeAt).toBe(500_001);
  });

  it('survives any datagrams in any state', () => {
    fc.assert(
      fc.property(
        fc.array(
          fc.record({
            type: fc.integer({ min: 1, max: 8 }),
            tail: fc.uint8Array({ maxLength: 80 }),
            good: fc.boolean(),
            wait: fc.integer({ min: 0, max: 700_000 }),
          }),
          { maxLength: 30 },
        ),
        (events) => {
          const { client, xid } = machine();
          let now = 0;
          client.start(now);
          for (const { type, tail, good, wait } of events) {
            const bytes = offer(good ? LEASE : [[60, tail]], '10.0.0.5', type, xid);
            bytes.set(tail.subarray(0, 40), 243 + (good ? 18 : 0));
            client.receive(bytes, now);
            if (client.state === 'PROBING' && good) client.claimed(now);
            now += wait;
            client.timer(now);
            client.timer(client.wakeAt === Infinity ? now : client.wakeAt);
          }
          client.stop();
          expect(client.wakeAt).toBe(Infinity);
        },
      ),
      { numRuns: 500 },
    );
  });
});
