import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { CHECKSUM_PARTIAL, CHECKSUM_VERIFIED } from '../../src/netif/netif.ts';
import { SeededRandom } from '../../src/time/random.ts';
import { DATAGRAM_OVERHEAD, UdpLayer } from '../../src/udp/index.ts';
import { datagram, FakeIp } from './fake-ip.ts';

const PEER = '10.0.0.1';
const LOCAL = '10.0.0.2';

function setup(...locals: string[]) {
  const ip = new FakeIp(...locals);
  const udp = new UdpLayer({ ip, random: new SeededRandom(1) });
  return { ip, udp };
}

describe('a datagram', () => {
  it('is handed to the socket of its port, with its sender', async () => {
    const { ip, udp } = setup();
    const socket = udp.bind({ port: 53 });
    ip.deliver(PEER, LOCAL, datagram(PEER, 1234, LOCAL, 53, 'hello'));
    const received = (await socket.receive())!;
    expect(Buffer.isBuffer(received.data)).toBe(true);
    expect(received.data.toString()).toBe('hello');
    expect(received.remote).toEqual({ address: PEER, port: 1234, family: 'IPv4' });
    expect(udp.counters.udpInDatagrams).toBe(1);
  });

  it('ends where its length says, not where the packet does', async () => {
    const { ip, udp } = setup();
    const socket = udp.bind({ port: 53 });
    const padded = Buffer.concat([datagram(PEER, 1, LOCAL, 53, 'abc'), Buffer.from('padding')]);
    ip.deliver(PEER, LOCAL, padded);
    expect((await socket.receive())!.data.toString()).toBe('abc');
  });

  it.each([
    ['is shorter than a header', Buffer.alloc(7)],
    ['claims less than a header', datagram(PEER, 1, LOCAL, 53, 'abc', { length: 7 })],
    ['claims a length of zero', datagram(PEER, 1, LOCAL, 53, 'abc', { length: 0 })],
    ['claims more than there is', datagram(PEER, 1, LOCAL, 53, 'abc', { length: 12 })],
  ])('that %s is an error', (_what, bytes) => {
    const { ip, udp } = setup();
    udp.bind({ port: 53 });
    ip.deliver(PEER, LOCAL, bytes);
    expect(udp.counters).toMatchObject({ udpInErrors: 1, udpInCsumErrors: 0, udpInDatagrams: 0 });
    expect(ip.unreachable).toEqual([]);
  });

  it('survives any bytes', () => {
    const { ip, udp } = setup();
    udp.bind({ port: 53 });
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 64 }), fc.boolean(), (bytes, isGroup) => {
        ip.deliver(PEER, LOCAL, bytes, { isGroup });
      }),
    );
    const { udpInErrors, udpInDatagrams, udpNoPorts } = udp.counters;
    expect(udpInErrors + udpInDatagrams + udpNoPorts).toBe(100);
  });

  it('goes up as a view of the frame when large, as a copy when small', async () => {
    const { ip, udp } = setup();
    const socket = udp.bind({ port: 53 });
    const large = ip.deliver(PEER, LOCAL, datagram(PEER, 1, LOCAL, 53, Buffer.alloc(512, 1)));
    const small = ip.deliver(PEER, LOCAL, datagram(PEER, 1, LOCAL, 53, Buffer.alloc(511, 2)));
    expect([large.retained, small.retained]).toEqual([true, false]);
    const view = (await socket.receive())!.data;
    expect(view.buffer).toBe(large.bytes.buffer);
    small.bytes.fill(0xff);
    expect((await socket.receive())!.data).toEqual(Buffer.alloc(511, 2));
  });

  it('to a port that nobody has is answered with port unreachable', () => {
    const { ip, udp } = setup();
    ip.deliver(PEER, LOCAL, datagram(PEER, 1, LOCAL, 53, 'x'));
    expect(ip.unreachable).toEqual([`${PEER} -> ${LOCAL}`]);
    expect(udp.counters.udpNoPorts).toBe(1);
  });
});

describe('a checksum', () => {
  const wrong = datagram(PEER, 1, LOCAL, 53, 'abc', { checksum: 0x1234 });

  it('that is wrong makes the datagram an error, not a "no port"', () => {
    const { ip, udp } = setup();
    ip.deliver(PEER, LOCAL, wrong);
    expect(udp.counters).toMatchObject({ udpInErrors: 1, udpInCsumErrors: 1, udpNoPorts: 0 });
    expect(ip.unreachable).toEqual([]);
  });

  it.each([CHECKSUM_VERIFIED, CHECKSUM_PARTIAL] as const)(
    'that the device vouches for (%i) is not summed again',
    async (checksum) => {
      const { ip, udp } = setup();
      const socket = udp.bind({ port: 53 });
      ip.deliver(PEER, LOCAL, wrong, { checksum });
      expect((await socket.receive())!.data.toString()).toBe('abc');
    },
  );

  it('of zero is none over IPv4, and not allowed over IPv6 (RFC 8200 §8.1)', async () => {
    const { ip, udp } = setup(LOCAL, 'fd00::2');
    const socket = udp.bind({ port: 53 });
    ip.deliver('fd00::1', 'fd00::2', datagram('fd00::1', 1, 'fd00::2', 53, 'six', { checksum: 0 }));
    expect(udp.counters.udpInCsumErrors).toBe(1);
    ip.deliver(PEER, LOCAL, datagram(PEER, 1, LOCAL, 53, 'four', { checksum: 0 }));
    expect((await socket.receive())!.data.toString()).toBe('four');
    ip.deliver('fd00::1', 'fd00::2', datagram('fd00::1', 1, 'fd00::2', 53, 'right'));
    expect((await socket.receive())!.data.toString()).toBe('right');
  });

  it('finds any single flipped bit', () => {
    const { ip, udp } = setup();
    udp.bind({ port: 53 });
    const good = datagram(PEER, 1, LOCAL, 53, 'some data');
    for (let bit = 0; bit < good.length * 8; bit++) {
      const bad = Buffer.from(good);
      bad[bit >> 3]! ^= 1 << (bit & 7);
      ip.deliver(PEER, LOCAL, bad);
    }
    expect(udp.counters.udpInDatagrams).toBe(0);
    expect(udp.counters.udpInErrors).toBe(good.length * 8);
  });
});

describe('a receive queue', () => {
  it('is bounded in bytes and counts what it drops', async () => {
    const { ip, udp } = setup();
    const socket = udp.bind({ port: 53, receiveBuffer: 4 * (DATAGRAM_OVERHEAD + 100) });
    for (let i = 0; i < 7; i++) ip.deliver(PEER, LOCAL, datagram(PEER, 1, LOCAL, 53, Buffer.alloc(100, i)));
    expect(socket.dropped).toBe(3);
    expect(udp.counters).toMatchObject({ udpInDatagrams: 4, udpRcvbufErrors: 3, udpInErrors: 3 });
    for (let i = 0; i < 4; i++) expect((await socket.receive())!.data[0]).toBe(i);
    ip.deliver(PEER, LOCAL, datagram(PEER, 1, LOCAL, 53, Buffer.alloc(100, 9)));
    expect((await socket.receive())!.data[0]).toBe(9);
  });

  it('has its whole room again once it is read', async () => {
    const { ip, udp } = setup();
    const socket = udp.bind({ port: 53, receiveBuffer: 3 * (DATAGRAM_OVERHEAD + 100) });
    for (let round = 0; round < 5; round++) {
      for (let i = 0; i < 3; i++) ip.deliver(PEER, LOCAL, datagram(PEER, 1, LOCAL, 53, Buffer.alloc(100, i)));
      for (let i = 0; i < 3; i++) expect((await socket.receive())!.data[0]).toBe(i);
    }
    expect(socket.dropped).toBe(0);
  });

  it('is filled by empty datagrams too', () => {
    const { ip, udp } = setup();
    const socket = udp.bind({ port: 53, receiveBuffer: 10 * DATAGRAM_OVERHEAD });
    for (let i = 0; i < 25; i++) ip.deliver(PEER, LOCAL, datagram(PEER, 1, LOCAL, 53, ''));
    expect(socket.dropped).toBe(15);
  });

  it('that is empty takes a datagram of any size', async () => {
    const { ip, udp } = setup();
    const socket = udp.bind({ port: 53, receiveBuffer: 1 });
    ip.deliver(PEER, LOCAL, datagram(PEER, 1, LOCAL, 53, Buffer.alloc(9000)));
    ip.deliver(PEER, LOCAL, datagram(PEER, 1, LOCAL, 53, 'x'));
    expect((await socket.receive())!.data.length).toBe(9000);
    expect(socket.dropped).toBe(1);
  });

  it('serves several readers in the order in which they came', async () => {
    const { ip, udp } = setup();
    const socket = udp.bind({ port: 53 });
    const readers = [socket.receive(), socket.receive(), socket.receive()];
    for (const text of ['a', 'b', 'c']) ip.deliver(PEER, LOCAL, datagram(PEER, 1, LOCAL, 53, text));
    expect((await Promise.all(readers)).map((got) => got!.data.toString())).toEqual(['a', 'b', 'c']);
  });

  it('ends readers with null at close, those who wait and those who come later', async () => {
    const { ip, udp } = setup();
    const socket = udp.bind({ port: 53 });
    const readers = [socket.receive(), socket.receive()];
    await socket.close();
    expect(await Promise.all(readers)).toEqual([null, null]);
    expect(await socket.receive()).toBe(null);
    ip.deliver(PEER, LOCAL, datagram(PEER, 1, LOCAL, 53, 'x'));
    expect(udp.counters.udpNoPorts).toBe(1);
  });

  it('can be iterated until close', async () => {
    const { ip, udp } = setup();
    const socket = udp.bind({ port: 53 });
    for (const text of ['a', 'b']) ip.deliver(PEER, LOCAL, datagram(PEER, 1, LOCAL, 53, text));
    const seen: string[] = [];
    for await (const { data } of socket) {
      seen.push(data.toString());
      if (seen.length === 2) await socket.close();
    }
    expect(seen).toEqual(['a', 'b']);
  });

  it('formats the address of a sender that stays the same once', async () => {
    const { ip, udp } = setup();
    const socket = udp.bind({ port: 53 });
    for (const from of [PEER, PEER, '10.0.0.8']) ip.deliver(from, LOCAL, datagram(from, 1, LOCAL, 53, 'x'));
    const [a, b, c] = [await socket.receive(), await socket.receive(), await socket.receive()];
    expect(a!.remote).toBe(b!.remote);
    expect(c!.remote.address).toBe('10.0.0.8');
  });
});
