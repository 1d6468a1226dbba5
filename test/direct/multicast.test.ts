import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { DirectStack } from '../../src/direct/index.ts';
import type { UdpSocket } from '../../src/stack.ts';
import type { DirectUdpSocket } from '../../src/udp/index.ts';
import { Lan } from '../dhcp/lan.ts';

const PORT = 4242;

describe.each([
  ['IPv4', '239.1.2.3', '239.1.2.4', ['10.0.0.1', '10.0.0.2', '10.0.0.3']],
  ['IPv6', 'ff05::1:3', 'ff05::1:4', ['2001:db8::1', '2001:db8::2', '2001:db8::3']],
])('multicast of sockets over %s', (_, group, other, addresses) => {
  let lan: Lan;
  let stacks: DirectStack[];

  beforeEach(async () => {
    lan = new Lan();
    stacks = [];
    for (let i = 1; i <= 3; i++) {
      stacks.push(await lan.host(`10.0.0.${i}/24`, { ipv6: `2001:db8::${i}/64`, probeAddress: false }));
    }
  });
  afterEach(() => lan.close());

  const bind = (i: number, port = PORT): Promise<UdpSocket> => lan.run(stacks[i]!.udp.bind({ port }));
  const send = (socket: UdpSocket, text: string, to = group): Promise<void> =>
    lan.run(socket.send(Buffer.from(text), { host: to, port: PORT }));

  /** What has come in by the end of a second. */
  async function heard(socket: UdpSocket): Promise<string[]> {
    await lan.run(lan.clock.sleep(1000));
    const texts: string[] = [];
    for (;;) {
      const next = socket.receive();
      const none = lan.clock.sleep(1).then(() => null);
      const datagram = await lan.run(Promise.race([next, none]));
      if (datagram === null) {
        // The pending read is given something of its own to end with.
        const ender = await lan.run(stacks[0]!.udp.bind());
        const at = stacks.findIndex((stack) => `${stack.network.ipv4.address!.address}` === ownerOf(socket));
        await lan.run(ender.send(Buffer.from('end'), { host: `10.0.0.${at + 1}`, port: socket.local.port }));
        await lan.run(next);
        await ender.close();
        return texts;
      }
      texts.push(Buffer.from(datagram.data).toString());
    }
  }
  const owners = new Map<UdpSocket, string>();
  const ownerOf = (socket: UdpSocket): string => owners.get(socket)!;
  async function member(i: number): Promise<UdpSocket> {
    const socket = await bind(i);
    owners.set(socket, `10.0.0.${i + 1}`);
    return socket;
  }

  it('reaches members, and nobody else, as long as they are members', async () => {
    const one = await member(1);
    const two = await member(2);
    const sender = await bind(0, 9);
    one.addMembership(group);
    await send(sender, 'first');
    expect(await heard(one)).toEqual(['first']);
    expect(await heard(two)).toEqual([]);
    two.addMembership(other);
    await send(sender, 'second');
    expect(await heard(two)).toEqual([]);
    one.dropMembership(group);
    await send(sender, 'third');
    expect(await heard(one)).toEqual(['second']);
  });

  it('takes a source, or all but one', async () => {
    const one = (await member(1)) as DirectUdpSocket;
    const good = await bind(0, 9);
    const bad = await bind(2, 9);
    one.addMembership(group, { source: addresses[0]! });
    await send(good, 'good');
    await send(bad, 'bad');
    expect(await heard(one)).toEqual(['good']);
    one.addMembership(group, { source: addresses[2]! });
    await send(bad, 'now good');
    expect(await heard(one)).toEqual(['now good']);
    one.setSourceFilter(group, 'exclude', [addresses[2]!]);
    await send(good, 'good');
    await send(bad, 'bad again');
    expect(await heard(one)).toEqual(['good']);
  });

  it('comes back to the sender unless it is told not to, and stays inside with TTL 0', async () => {
    const own = await member(0);
    const one = await member(1);
    own.addMembership(group);
    one.addMembership(group);
    await send(own, 'both');
    expect(await heard(own)).toEqual(['both']);
    expect(await heard(one)).toEqual(['both']);
    own.setMulticastLoopback(false);
    await send(own, 'others');
    expect(await heard(own)).toEqual([]);
    expect(await heard(one)).toEqual(['others']);
    own.setMulticastLoopback(true);
    own.setMulticastTtl(0);
    await send(own, 'myself');
    expect(await heard(own)).toEqual(['myself']);
    expect(await heard(one)).toEqual([]);
  });

  it('carries fragments to members and back', async () => {
    const own = await member(0);
    const one = await member(1);
    own.addMembership(group);
    one.addMembership(group);
    const large = 'x'.repeat(5000);
    await send(own, large);
    expect(await heard(own)).toEqual([large]);
    expect(await heard(one)).toEqual([large]);
  });

  it('is shared by sockets of one port that agree to', async () => {
    const options = { port: PORT, reuseAddress: true };
    const first = await lan.run(stacks[1]!.udp.bind(options));
    const second = await lan.run(stacks[1]!.udp.bind(options));
    await expect(lan.run(stacks[1]!.udp.bind({ port: PORT }))).rejects.toMatchObject({ code: 'EADDRINUSE' });
    first.addMembership(group);
    second.addMembership(group);
    const got = Promise.all([first.receive(), second.receive()]);
    await send(await bind(0, 9), 'for two');
    for (const datagram of await lan.run(got)) expect(`${Buffer.from(datagram!.data)}`).toBe('for two');
  });

  it('says what is wrong', async () => {
    const socket = await member(1);
    const code = (code: string) => expect.objectContaining({ code });
    expect(() => socket.addMembership('10.0.0.1')).toThrow(code('EINVAL'));
    expect(() => socket.dropMembership(group)).toThrow(code('EADDRNOTAVAIL'));
    socket.addMembership(group);
    expect(() => socket.addMembership(group)).toThrow(code('EADDRINUSE'));
    expect(() => socket.addMembership(group, { source: addresses[0]! })).toThrow(code('EINVAL'));
    expect(() => socket.addMembership(other, { interface: '192.0.2.1' })).toThrow(code('ENODEV'));
    expect(() => socket.setMulticastInterface('192.0.2.1')).toThrow(code('EADDRNOTAVAIL'));
    socket.setMulticastInterface(addresses[1]!);
    expect(() => socket.setMulticastTtl(256)).toThrow(code('EINVAL'));
    await socket.close();
    expect(() => socket.addMembership(other)).toThrow(code('EPIPE'));
    expect(stacks[1]!.network.ipv4.links[0]!.igmp.groups.has(stacks[1]!.network.ipv4.address!.address)).toBe(
      false,
    );
  });
});
