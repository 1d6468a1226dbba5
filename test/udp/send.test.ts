import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { IpAddress } from '../../src/address/index.ts';
import { pseudoHeaderSum } from '../../src/checksum/index.ts';
import { PROTOCOL_UDP } from '../../src/ip.ts';
import { CHECKSUM_NONE, CHECKSUM_PARTIAL } from '../../src/netif/netif.ts';
import { SeededRandom } from '../../src/time/random.ts';
import { DATAGRAM_OVERHEAD, DirectUdp, SEND_BUFFER, UdpLayer } from '../../src/udp/index.ts';
import { checksumIsRight, FakeIp } from './fake-ip.ts';

function setup(...locals: string[]) {
  const ip = new FakeIp(...locals);
  const udp = new UdpLayer({ ip, random: new SeededRandom(1) });
  return { ip, udp };
}

const PEER = { host: '10.0.0.1', port: 53 };

describe('what is sent', () => {
  it('has ports, length, data and a checksum that holds, whatever the data', async () => {
    const { ip, udp } = setup('10.0.0.2', 'fd00::2');
    const socket = udp.bind({ port: 4000 });
    await fc.assert(
      fc.asyncProperty(
        fc.uint8Array({ maxLength: 3000 }),
        fc.integer({ min: 1, max: 65_535 }),
        fc.boolean(),
        async (data, port, six) => {
          ip.sent.length = 0;
          await socket.send(data, { host: six ? 'fd00::1' : '10.0.0.1', port });
          expect(ip.sent).toHaveLength(1);
          const sent = ip.sent[0]!;
          expect(sent).toMatchObject({ sourcePort: 4000, destinationPort: port, length: 8 + data.length });
          expect(sent.data.equals(data)).toBe(true);
          expect(sent.checksum).not.toBe(0);
          expect(checksumIsRight(sent)).toBe(true);
          expect(sent.frame.checksum).toBe(CHECKSUM_NONE);
          expect(sent.options).toEqual({ dontFragment: false });
        },
      ),
    );
  });

  it('writes a checksum that comes to zero as all ones (RFC 768)', async () => {
    const { ip, udp } = setup();
    const socket = udp.bind({ port: 4000 });
    // The two bytes that make the sum of the rest all ones, and so the checksum zero.
    await socket.send(Buffer.from([0, 0]), PEER);
    const missing = ip.sent[0]!.checksum;
    const data = Buffer.alloc(2);
    data.writeUInt16BE(missing, 0);
    await socket.send(data, PEER);
    expect(ip.sent[1]!.checksum).toBe(0xffff);
    expect(checksumIsRight(ip.sent[1]!)).toBe(true);
  });

  it('leaves the checksum to a device that makes it, with the pseudo-header sum in the field', async () => {
    const { ip, udp } = setup();
    ip.transmit = { checksum: 'partial', segmentation: 0 };
    const socket = udp.bind({ port: 4000 });
    await socket.send(Buffer.alloc(100, 7), PEER);
    const { frame, checksum, data } = ip.sent[0]!;
    expect(frame).toMatchObject({
      checksum: CHECKSUM_PARTIAL,
      checksumStart: frame.start,
      checksumOffset: 6,
    });
    const [source, destination] = [IpAddress.parse('10.0.0.2'), IpAddress.parse('10.0.0.1')];
    expect(checksum).toBe(pseudoHeaderSum(source, destination, PROTOCOL_UDP, 108));
    expect(data.equals(Buffer.alloc(100, 7))).toBe(true);
  });

  it('sums what will be fragmented itself: a device sees one fragment only', async () => {
    const { ip, udp } = setup();
    ip.transmit = { checksum: 'partial', segmentation: 0 };
    const socket = udp.bind();
    await socket.send(Buffer.alloc(1472, 1), PEER);
    await socket.send(Buffer.alloc(1473, 1), PEER);
    expect(ip.sent.map((sent) => sent.frame.checksum)).toEqual([CHECKSUM_PARTIAL, CHECKSUM_NONE]);
    expect(checksumIsRight(ip.sent[1]!)).toBe(true);
  });

  it('is at most 65,507 bytes over IPv4 and 65,527 over IPv6', async () => {
    const { ip, udp } = setup('10.0.0.2', 'fd00::2');
    const socket = udp.bind();
    await socket.send(Buffer.alloc(65_507), PEER);
    await socket.send(Buffer.alloc(65_527), { host: 'fd00::1', port: 1 });
    await expect(socket.send(Buffer.alloc(65_508), PEER)).rejects.toMatchObject({
      code: 'EMSGSIZE',
      syscall: 'send',
      address: '10.0.0.1',
      port: 53,
    });
    await expect(socket.send(Buffer.alloc(65_528), { host: 'fd00::1', port: 1 })).rejects.toMatchObject({
      code: 'EMSGSIZE',
    });
    expect(ip.sent.map((sent) => sent.length)).toEqual([65_515, 65_535]);
  });
});

describe('a destination', () => {
  it('is looked up once while it stays the same', async () => {
    const { ip, udp } = setup();
    const socket = udp.bind();
    for (let i = 0; i < 5; i++) await socket.send(Buffer.from('x'), PEER);
    await socket.send(Buffer.from('x'), { ...PEER, port: 54 });
    expect(ip.paths).toBe(1);
    await socket.send(Buffer.from('x'), { host: '10.0.0.9', port: 53 });
    expect(ip.paths).toBe(2);
    expect(ip.sent.map((sent) => `${sent.destination}:${sent.destinationPort}`).slice(4)).toEqual([
      '10.0.0.1:53',
      '10.0.0.1:54',
      '10.0.0.9:53',
    ]);
  });

  it.each([
    ['no route', { host: '192.0.2.1', port: 9 }, 'ENETUNREACH'],
    ['the unspecified address', { host: '0.0.0.0', port: 9 }, 'EINVAL'],
    ['port 0', { host: '10.0.0.1', port: 0 }, 'EINVAL'],
    ['a port too high', { host: '10.0.0.1', port: 65_536 }, 'EINVAL'],
    ['a broadcast address', { host: '10.0.0.255', port: 9 }, 'EACCES'],
    ['all ones', { host: '255.255.255.255', port: 9 }, 'EACCES'],
    ['a name, without a resolver', { host: 'example.test', port: 9 }, 'ENOTFOUND'],
  ])('with %s rejects', async (_what, remote, code) => {
    const { ip, udp } = setup();
    await expect(udp.bind().send(Buffer.from('x'), remote)).rejects.toMatchObject({ code, syscall: 'send' });
    expect(ip.sent).toEqual([]);
  });

  it('may be a broadcast address where the socket allows it', async () => {
    const { ip, udp } = setup();
    await udp.bind({ broadcast: true }).send(Buffer.from('x'), { host: '10.0.0.255', port: 9 });
    expect(ip.sent[0]!.destination).toBe('10.0.0.255');
  });

  it('of the other family than the bound address is EINVAL', async () => {
    const { udp } = setup('10.0.0.2', 'fd00::2');
    const socket = udp.bind({ host: '10.0.0.2' });
    await expect(socket.send(Buffer.from('x'), { host: 'fd00::1', port: 1 })).rejects.toMatchObject({
      code: 'EINVAL',
    });
  });

  it('may be a name, resolved to an address of the socket’s family', async () => {
    const { ip, udp } = setup();
    const direct = new DirectUdp(udp, (name) =>
      Promise.resolve(name === 'ns' ? ['fd00::1', '10.0.0.7'] : []),
    );
    const socket = await direct.bind({ host: '10.0.0.3' });
    await socket.send(Buffer.from('x'), { host: 'ns', port: 53 });
    expect(ip.sent[0]).toMatchObject({ source: '10.0.0.3', destination: '10.0.0.7' });
    await expect(socket.send(Buffer.from('x'), { host: 'other', port: 53 })).rejects.toMatchObject({
      code: 'ENOTFOUND',
      syscall: 'send',
      address: 'other',
      port: 53,
    });
  });

  it('must be given, unless connected; then it must not', async () => {
    const { ip, udp } = setup();
    const socket = udp.bind();
    await expect(socket.send(Buffer.from('x'))).rejects.toMatchObject({ code: 'ENOTCONN' });
    await socket.connect(PEER);
    await socket.send(Buffer.from('x'));
    await expect(socket.send(Buffer.from('x'), PEER)).rejects.toMatchObject({ code: 'EISCONN' });
    await expect(socket.connect(PEER)).rejects.toMatchObject({ code: 'EISCONN', syscall: 'connect' });
    expect(ip.sent).toHaveLength(1);
  });
});

describe('a full device', () => {
  it('makes sends wait and go out in order when there is room', async () => {
    const { ip, udp } = setup();
    const socket = udp.bind();
    ip.room = 1;
    const settled: number[] = [];
    const sends = [0, 1, 2, 3].map((i) =>
      socket.send(Buffer.from([i]), PEER).then(() => {
        settled.push(i);
      }),
    );
    await Promise.resolve();
    expect(settled).toEqual([0]);
    ip.makeRoom(2);
    await Promise.all(sends.slice(0, 3));
    expect(settled).toEqual([0, 1, 2]);
    // There is room, but 3 was first.
    ip.room = 1;
    const last = socket.send(Buffer.from([4]), PEER);
    ip.makeRoom(9);
    await Promise.all([...sends, last]);
    expect(ip.sent.map((sent) => sent.data[0])).toEqual([0, 1, 2, 3, 4]);
    expect(udp.counters.udpOutDatagrams).toBe(5);
  });

  it('is shared in turn by the sockets that wait', async () => {
    const { ip, udp } = setup();
    const [a, b] = [udp.bind({ port: 1 }), udp.bind({ port: 2 })];
    ip.room = 0;
    for (let i = 0; i < 3; i++) void a.send(Buffer.from('a'), PEER);
    void b.send(Buffer.from('b'), PEER);
    ip.makeRoom(1);
    ip.makeRoom(1);
    ip.makeRoom(9);
    expect(ip.sent.map((sent) => sent.data.toString())).toEqual(['a', 'b', 'a', 'a']);
  });

  it('holds a bounded number of bytes, empty datagrams included, then ENOBUFS', async () => {
    const { ip, udp } = setup();
    const socket = udp.bind();
    ip.room = 0;
    const most = Math.floor(SEND_BUFFER / DATAGRAM_OVERHEAD);
    const sends = Array.from({ length: most }, () => socket.send(Buffer.alloc(0), PEER));
    await expect(socket.send(Buffer.alloc(0), PEER)).rejects.toMatchObject({
      code: 'ENOBUFS',
      syscall: 'send',
    });
    expect(udp.counters.udpSndbufErrors).toBe(1);
    ip.makeRoom(most);
    await Promise.all(sends);
    expect(ip.sent).toHaveLength(most);
  });

  it('leaves waiting sends an error when the socket is closed', async () => {
    const { ip, udp } = setup();
    const socket = udp.bind();
    ip.room = 0;
    const waiting = socket.send(Buffer.from('x'), PEER);
    await socket.close();
    await expect(waiting).rejects.toMatchObject({ code: 'ECONNABORTED' });
    await expect(socket.send(Buffer.from('x'), PEER)).rejects.toMatchObject({ code: 'EPIPE' });
    ip.makeRoom(9);
    expect(ip.sent).toEqual([]);
  });
});
