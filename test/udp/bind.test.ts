import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { SeededRandom } from '../../src/time/random.ts';
import { DirectUdp, type DirectUdpSocket, UdpLayer } from '../../src/udp/index.ts';
import { datagram, FakeIp } from './fake-ip.ts';

const PEER = '10.0.0.1';

function setup(ephemeralPorts?: readonly [number, number]) {
  const ip = new FakeIp('10.0.0.2', '10.0.0.3', 'fd00::2');
  const udp = new UdpLayer({
    ip,
    random: new SeededRandom(1),
    ...(ephemeralPorts === undefined ? {} : { ephemeralPorts }),
  });
  return { ip, udp };
}

/** What `socket` has received, by now. */
async function texts(socket: DirectUdpSocket): Promise<string[]> {
  const seen: string[] = [];
  const reader = (async () => {
    for (;;) {
      const next = await socket.receive();
      if (next === null) return;
      seen.push(next.data.toString());
    }
  })();
  await new Promise((resolve) => setImmediate(resolve));
  await socket.close();
  await reader;
  return seen;
}

describe('bind', () => {
  it('says where it is bound', () => {
    const { udp } = setup();
    expect(udp.bind({ port: 53 }).local).toEqual({ address: '0.0.0.0', port: 53, family: 'IPv4' });
    expect(udp.bind({ port: 54, host: '10.0.0.3' }).local.address).toBe('10.0.0.3');
    expect(udp.bind({ port: 55, host: '::' }).local.family).toBe('IPv6');
  });

  it.each([
    ['all', undefined, undefined],
    ['all and one', undefined, '10.0.0.2'],
    ['one and all', '10.0.0.2', '0.0.0.0'],
    ['one twice', '10.0.0.2', '10.0.0.2'],
    [':: and an IPv4 address', '::', '10.0.0.2'],
    ['0.0.0.0 and ::', '0.0.0.0', '::'],
  ])('to a port that is taken is EADDRINUSE: %s', (_what, first, second) => {
    const { udp } = setup();
    const options = (host: string | undefined) => ({ port: 53, ...(host === undefined ? {} : { host }) });
    const socket = udp.bind(options(first));
    expect(() => udp.bind(options(second))).toThrow(
      expect.objectContaining({ code: 'EADDRINUSE', syscall: 'bind', port: 53 }),
    );
    void socket.close();
    expect(udp.bind(options(second)).local.port).toBe(53);
  });

  it('to one port on different addresses or families is fine', async () => {
    const { ip, udp } = setup();
    const sockets = ['10.0.0.2', '10.0.0.3', 'fd00::2'].map((host) => udp.bind({ port: 53, host }));
    for (const local of ['10.0.0.2', '10.0.0.3'])
      ip.deliver(PEER, local, datagram(PEER, 1, local, 53, local));
    ip.deliver('fd00::1', 'fd00::2', datagram('fd00::1', 1, 'fd00::2', 53, 'six'));
    expect(await Promise.all(sockets.map(texts))).toEqual([['10.0.0.2'], ['10.0.0.3'], ['six']]);
  });

  it('to an address that is not ours is EADDRNOTAVAIL', () => {
    const { udp } = setup();
    expect(() => udp.bind({ host: '10.0.0.77', port: 5 })).toThrow(
      expect.objectContaining({ code: 'EADDRNOTAVAIL', address: '10.0.0.77', port: 5 }),
    );
  });

  it.each([{ port: -1 }, { port: 65_536 }, { port: 1.5 }, { receiveBuffer: 0 }, { host: 'name' }])(
    'with %o is EINVAL',
    (options) => {
      const { udp } = setup();
      expect(() => udp.bind(options)).toThrow(expect.objectContaining({ code: 'EINVAL', syscall: 'bind' }));
    },
  );

  it('takes names through the stack’s resolver', async () => {
    const { udp } = setup();
    const direct = new DirectUdp(udp, (name) => Promise.resolve(name === 'me' ? ['10.0.0.3'] : []));
    expect((await direct.bind({ host: 'me' })).local.address).toBe('10.0.0.3');
    await expect(direct.bind({ host: 'who' })).rejects.toMatchObject({ code: 'ENOTFOUND', syscall: 'bind' });
  });

  it('ends with the layer', async () => {
    const { udp } = setup();
    const reader = udp.bind().receive();
    udp.close();
    expect(await reader).toBe(null);
    expect(udp.statistics()).toMatchObject({ sockets: 0 });
    expect(() => udp.bind()).toThrow(expect.objectContaining({ code: 'ENETDOWN' }));
  });
});

describe('ephemeral ports', () => {
  it('are all given out, each once, then EADDRNOTAVAIL', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 65_000 }), fc.integer({ min: 0, max: 300 }), (first, more) => {
        const { udp } = setup([first, first + more]);
        const ports = Array.from({ length: more + 1 }, () => udp.bind().local.port);
        expect(new Set(ports).size).toBe(more + 1);
        expect(Math.min(...ports)).toBe(first);
        expect(Math.max(...ports)).toBe(first + more);
        expect(() => udp.bind()).toThrow(expect.objectContaining({ code: 'EADDRNOTAVAIL' }));
      }),
      { numRuns: 20 },
    );
  });

  it('start at a random one (RFC 6056)', () => {
    const ports = [1, 2, 3, 4].map((seed) => {
      const udp = new UdpLayer({ ip: new FakeIp(), random: new SeededRandom(seed) });
      return udp.bind().local.port;
    });
    expect(new Set(ports).size).toBe(4);
    for (const port of ports) expect(port).toBeGreaterThanOrEqual(32_768);
  });

  it('are free again after close', async () => {
    const { udp } = setup([5000, 5000]);
    await udp.bind().close();
    expect(udp.bind().local.port).toBe(5000);
  });
});

describe('the most specific socket', () => {
  it('is the connected one, then the bound one, then the one for all', async () => {
    const { ip, udp } = setup();
    // Connecting narrows a wildcard to one address, so another may bind beside it; then it is let loose.
    const wildcard = udp.bind({ port: 53 });
    await wildcard.connect({ host: PEER, port: 9 });
    const bound = udp.bind({ port: 53, host: '10.0.0.3' });
    wildcard.disconnect();
    const send = (to: string, text: string) => ip.deliver(PEER, to, datagram(PEER, 9, to, 53, text));
    send('10.0.0.2', 'to all');
    send('10.0.0.3', 'to the bound');
    // Now both match 10.0.0.3:53 from the peer, one connected.
    await bound.connect({ host: PEER, port: 9 });
    send('10.0.0.3', 'to the connected');
    ip.deliver(PEER, '10.0.0.3', datagram(PEER, 10, '10.0.0.3', 53, 'from another port'));
    expect(await texts(bound)).toEqual(['to the bound', 'to the connected']);
    expect(await texts(wildcard)).toEqual(['to all', 'from another port']);
  });
});

describe('group destinations', () => {
  it('reach every socket that matches, each with its own copy, and never answer with ICMP', async () => {
    const { ip, udp } = setup();
    const wildcard = udp.bind({ port: 53 });
    await wildcard.connect({ host: PEER, port: 9 });
    const group = udp.bind({ port: 53, host: '10.0.0.255' });
    const unicast = udp.bind({ port: 53, host: '10.0.0.3' });
    wildcard.disconnect();
    const bytes = datagram(PEER, 9, '10.0.0.255', 53, Buffer.alloc(600, 65));
    const frame = ip.deliver(PEER, '10.0.0.255', bytes, { isGroup: true });
    expect(frame.retained).toBe(false);
    const [a, b] = [(await wildcard.receive())!.data, (await group.receive())!.data];
    a.fill(0);
    expect(b).toEqual(Buffer.alloc(600, 65));
    expect(await texts(unicast)).toEqual([]);
    ip.deliver(PEER, '10.0.0.255', datagram(PEER, 9, '10.0.0.255', 99, 'nobody'), { isGroup: true });
    expect(ip.unreachable).toEqual([]);
    expect(udp.counters.udpNoPorts).toBe(1);
  });

  it('are not a source: what such a socket sends comes from an address of ours', async () => {
    const { ip, udp } = setup();
    const socket = udp.bind({ port: 53, host: '10.0.0.255' });
    await socket.send(Buffer.from('x'), { host: PEER, port: 9 });
    expect(ip.sent[0]!.source).toBe('10.0.0.2');
  });
});

describe('a connected socket', () => {
  async function connected() {
    const { ip, udp } = setup();
    const socket = udp.bind({ port: 53 });
    await socket.connect({ host: PEER, port: 9 });
    return { ip, udp, socket };
  }
  const refuse = (ip: FakeIp) => ip.fail('port-unreachable', '10.0.0.2', 53, PEER, 9);

  it('has a local address, and receives from its peer only', async () => {
    const { ip, socket } = await connected();
    expect(socket.local.address).toBe('10.0.0.2');
    ip.deliver(PEER, '10.0.0.2', datagram(PEER, 8, '10.0.0.2', 53, 'wrong port'));
    ip.deliver('10.0.0.9', '10.0.0.2', datagram('10.0.0.9', 9, '10.0.0.2', 53, 'wrong host'));
    ip.deliver(PEER, '10.0.0.3', datagram(PEER, 9, '10.0.0.3', 53, 'wrong local address'));
    ip.deliver(PEER, '10.0.0.2', datagram(PEER, 9, '10.0.0.2', 53, 'right'));
    expect(ip.unreachable).toHaveLength(3);
    expect(await texts(socket)).toEqual(['right']);
  });

  it('is open to all again after disconnect', async () => {
    const { ip, socket } = await connected();
    socket.disconnect();
    expect(socket.local.address).toBe('0.0.0.0');
    ip.deliver('10.0.0.9', '10.0.0.3', datagram('10.0.0.9', 7, '10.0.0.3', 53, 'x'));
    expect(await texts(socket)).toEqual(['x']);
  });

  it('reports an error to the reader that waits', async () => {
    const { ip, socket } = await connected();
    const reader = socket.receive();
    expect(refuse(ip)).toBe(true);
    await expect(reader).rejects.toMatchObject({ code: 'ECONNREFUSED', address: PEER, port: 9 });
    await socket.send(Buffer.from('x'));
  });

  it('reports an error to the next receive, once', async () => {
    const { ip, socket } = await connected();
    refuse(ip);
    await expect(socket.receive()).rejects.toMatchObject({ code: 'ECONNREFUSED' });
    ip.deliver(PEER, '10.0.0.2', datagram(PEER, 9, '10.0.0.2', 53, 'later'));
    expect(await texts(socket)).toEqual(['later']);
  });

  it('reports an error to the next send, once', async () => {
    const { ip, socket } = await connected();
    refuse(ip);
    await expect(socket.send(Buffer.from('x'))).rejects.toMatchObject({
      code: 'ECONNREFUSED',
      syscall: 'send',
      address: PEER,
      port: 9,
    });
    await socket.send(Buffer.from('x'));
    expect(ip.sent).toHaveLength(1);
  });

  it.each([
    ['host-unreachable', 'EHOSTUNREACH'],
    ['net-unreachable', 'ENETUNREACH'],
    ['neighbour-unreachable', 'EHOSTUNREACH'],
    ['time-exceeded', 'EHOSTUNREACH'],
    ['protocol-unreachable', 'ECONNREFUSED'],
    ['parameter-problem', 'EPROTO'],
  ] as const)('is told of %s as %s', async (kind, code) => {
    const { ip, socket } = await connected();
    ip.fail(kind, '10.0.0.2', 53, PEER, 9);
    await expect(socket.receive()).rejects.toMatchObject({ code });
  });

  it('believes only errors about what it sent', async () => {
    const { ip, socket } = await connected();
    const answers = [
      ip.fail('port-unreachable', '10.0.0.2', 54, PEER, 9),
      ip.fail('port-unreachable', '10.0.0.2', 53, PEER, 10),
      ip.fail('port-unreachable', '10.0.0.2', 53, '10.0.0.9', 9),
      ip.fail('port-unreachable', '10.0.0.3', 53, PEER, 9),
      ip.fail('packet-too-big', '10.0.0.2', 53, PEER, 9),
    ];
    expect(answers).toEqual([false, false, false, false, false]);
    await socket.send(Buffer.from('no error is pending'));
  });
});

describe('a socket that is not connected', () => {
  it('is not told of errors, which are believed only about its last destination', async () => {
    const { ip, udp } = setup();
    const socket = udp.bind({ port: 53 });
    expect(ip.fail('port-unreachable', '10.0.0.2', 53, PEER, 9)).toBe(false);
    await socket.send(Buffer.from('x'), { host: PEER, port: 9 });
    expect(ip.fail('port-unreachable', '10.0.0.2', 53, PEER, 9)).toBe(true);
    await socket.send(Buffer.from('x'), { host: PEER, port: 9 });
  });

  it('lets the path MTU be lowered over IPv6, for a destination that it sends to', async () => {
    const { ip, udp } = setup();
    const socket = udp.bind({ port: 53 });
    expect(ip.fail('packet-too-big', 'fd00::2', 53, 'fd00::1', 9)).toBe(false);
    await socket.send(Buffer.from('x'), { host: 'fd00::1', port: 9 });
    expect(ip.fail('packet-too-big', 'fd00::2', 53, 'fd00::1', 9)).toBe(true);
  });
});
