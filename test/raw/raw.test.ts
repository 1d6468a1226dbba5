import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { DirectStack, type DirectStackOptions } from '../../src/direct/index.ts';
import { Switch } from '../../src/netif/index.ts';
import type { RawPacket, RawSocket, SeenFrame } from '../../src/raw/index.ts';
import { runVirtual, SeededRandom, VirtualClock } from '../../src/time/index.ts';
import { expectFrame, internetChecksum, packet, pattern } from '../support/packets.ts';

let clock: VirtualClock;
let lan: Switch;
let stacks: DirectStack[];

const run = <T>(promise: Promise<T>): Promise<T> => runVirtual(clock, promise, 60_000);
const wait = (ms: number): Promise<void> =>
  run(new Promise((resolve) => clock.alarm(resolve).set(clock.now() + ms)));

beforeEach(() => {
  clock = new VirtualClock();
  lan = new Switch({ clock });
  stacks = [];
});
afterEach(() => run(Promise.all(stacks.map((stack) => stack.close()))));

async function stack(number: number, options: Partial<DirectStackOptions> = {}): Promise<DirectStack> {
  const made = new DirectStack({
    netif: lan.port({ name: `nic${number}` }),
    ipv4: `10.0.0.${number}/24`,
    ipv6: `2001:db8::${number}/64`,
    clock,
    random: new SeededRandom(number),
    ...options,
  });
  stacks.push(made);
  await run(made.ready());
  return made;
}

/** An echo request, its checksum made for IPv4. */
function echo(type: number, sequence: number): Uint8Array {
  const message = Uint8Array.from([type, 0, 0, 0, 0x12, 0x34, 0, sequence, ...pattern(20)]);
  const checksum = internetChecksum(message);
  message[2] = checksum >> 8;
  message[3] = checksum & 255;
  return message;
}

const next = (socket: RawSocket): Promise<RawPacket | null> => run(socket.receive());

describe('raw IP sockets', () => {
  it.each([
    [1, 8, 0, '10.0.0.2', '10.0.0.1'],
    [58, 128, 129, '2001:db8::2', '2001:db8::1'],
  ])('of protocol %i ping, with the stack answering as ever', async (protocol, request, reply, to, us) => {
    const [one] = [await stack(1), await stack(2)];
    const socket = one.ip.open(protocol);
    await run(socket.send(echo(request, 7), to, { hopLimit: 33 }));
    let seen = await next(socket);
    // Neighbour discovery comes by, too.
    while (seen!.data[0]! >= 133) seen = await next(socket);
    expect(seen).toMatchObject({ source: to, destination: us, protocol, arrival: 0 });
    expect([...seen!.data.subarray(0, 2)]).toEqual([reply, 0]);
    expect([...seen!.data.subarray(4)]).toEqual([...echo(request, 7).subarray(4)]);
    await socket.close();
    expect(await next(socket)).toBeNull();
  });

  it('see hop limits, and the errors that routers and hosts send', async () => {
    const [one, two] = [await stack(1), await stack(2)];
    const heard = two.ip.open(253);
    const icmp = one.ip.open(1);
    await run(one.ip.open(253).send(pattern(9), '10.0.0.2', { hopLimit: 5, trafficClass: 0x28 }));
    expect(await next(heard)).toMatchObject({
      data: Buffer.from(pattern(9)),
      hopLimit: 5,
      trafficClass: 0x28,
      source: '10.0.0.1',
    });
    await heard.close();
    // Nobody takes the protocol any more.
    await run(one.ip.open(253).send(pattern(9), '10.0.0.2'));
    const error = await next(icmp);
    expect([error!.data[0], error!.data[1]]).toEqual([3, 2]);
  });

  it('are shown packets of the loopback, checksums complete', async () => {
    const one = await stack(1);
    const socket = one.ip.open(17);
    const udp = await one.udp.bind({ port: 5000 });
    await udp.send(Buffer.from('hello'), { host: '127.0.0.1', port: 5000 });
    const seen = await next(socket);
    expect(seen).toMatchObject({ source: '127.0.0.1', arrival: -1 });
    const pseudo = [127, 0, 0, 1, 127, 0, 0, 1, 0, 17, 0, 13];
    expect(internetChecksum([...pseudo, ...seen!.data])).toBe(0);
    expect((await run(udp.receive()))!.data).toEqual(Buffer.from('hello'));
  });

  it('drop and count what is not read, and refuse what is wrong', async () => {
    const [one, two] = [await stack(1), await stack(2)];
    const socket = two.ip.open(253, { receiveBuffer: 4000 });
    const sender = one.ip.open(253);
    for (let i = 0; i < 10; i++) await run(sender.send(pattern(500), '10.0.0.2'));
    await wait(10);
    expect(socket.dropped).toBe(7);
    expect(() => one.ip.open(256)).toThrow(/EINVAL/);
    await expect(sender.send(pattern(70_000), '10.0.0.2')).rejects.toMatchObject({ code: 'EMSGSIZE' });
    await expect(sender.send(pattern(7), '192.0.2.1')).rejects.toMatchObject({ code: 'ENETUNREACH' });
    await expect(run(sender.send(pattern(7), 'nobody'))).rejects.toMatchObject({ code: 'ENOTFOUND' });
    await sender.close();
    await expect(sender.send(pattern(7), '10.0.0.2')).rejects.toMatchObject({ code: 'EPIPE' });
    expect(one.network.ipv4.observer).toBeNull();
  });
});

describe('frame sockets', () => {
  it('see every frame both ways, of others too, and send what they are given', async () => {
    const [one, two] = [await stack(1), await stack(2)];
    const frames = one.frames.open();
    const seen: SeenFrame[] = [];
    void (async () => {
      for await (const frame of frames) seen.push(frame);
    })();
    const udp = await one.udp.bind();
    await udp.send(Buffer.from('hi'), { host: '10.0.0.2', port: 9 });
    await wait(10);
    const kinds = seen.map(({ direction, data }) => `${direction} ${data[12]! * 256 + data[13]!}`);
    expect(kinds.slice(0, 4)).toEqual(['out 2054', 'in 2054', 'out 2048', 'in 2048']);
    expectFrame(seen[2]!.data)
      .ipv4({ source: '10.0.0.1', destination: '10.0.0.2' })
      .udp({ data: Buffer.from('hi') });
    expect(seen[3]!.interface).toBe('nic1');
    seen.length = 0;
    // For a station that nobody knows, so the switch shows it to all.
    const { notOurs } = one.network.ethernet.counters;
    const strange = packet({ destination: '02:00:00:00:00:77' }).raw(0x1234, pattern(50));
    await two.frames.open().send(strange);
    await wait(10);
    expect(seen).toMatchObject([{ direction: 'in', data: Buffer.from(strange) }]);
    expect(one.network.ethernet.counters.notOurs).toBe(notOurs + 1);
    await frames.close();
    expect(one.network.ethernet.observer).toBeNull();
    expect(() => one.frames.open({ interface: 'nic9' })).toThrow(/ENODEV/);
  });
});
