import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { IpAddress, Prefix } from '../../src/address/index.ts';
import { DhcpServer } from '../../src/dhcp/index.ts';
import { DirectStack, type InterfaceOptions, type MultihomedStackOptions } from '../../src/direct/index.ts';
import { Switch } from '../../src/netif/index.ts';
import type { Flow } from '../../src/stack.ts';
import { runVirtual, SeededRandom, VirtualClock } from '../../src/time/index.ts';

let clock: VirtualClock;
let red: Switch;
let blue: Switch;
let stacks: DirectStack[];
let seed: number;

const run = <T>(promise: Promise<T>): Promise<T> => runVirtual(clock, promise, 120_000);
const ip = (text: string): IpAddress => IpAddress.parse(text);

beforeEach(() => {
  clock = new VirtualClock();
  red = new Switch({ clock });
  blue = new Switch({ clock });
  stacks = [];
  seed = 1;
});

afterEach(() => run(Promise.all(stacks.map((stack) => stack.close()))));

async function host(
  interfaces: readonly InterfaceOptions[],
  options: Partial<MultihomedStackOptions> = {},
): Promise<DirectStack> {
  const stack = new DirectStack({ interfaces, clock, random: new SeededRandom(seed++), ...options });
  stacks.push(stack);
  await run(stack.ready());
  return stack;
}

const onRed = (number: number, more: Partial<InterfaceOptions> = {}): InterfaceOptions => ({
  netif: red.port(),
  name: 'red',
  ipv4: `10.1.0.${number}/24`,
  ...more,
});
const onBlue = (number: number, more: Partial<InterfaceOptions> = {}): InterfaceOptions => ({
  netif: blue.port(),
  name: 'blue',
  ipv4: `10.2.0.${number}/24`,
  ...more,
});

/** Says to each connection where it comes from and where it went. */
async function greet(server: DirectStack): Promise<void> {
  await server.tcp.listen({ port: 80 }, async (flow) => {
    await flow.write(Buffer.from(`${flow.remote.address} ${flow.local.address}`));
    await flow.close();
  });
}

const ask = (client: DirectStack, to: string, from?: string): Promise<string> =>
  run(
    client.tcp
      .connect({ host: to, port: 80, timeoutMs: 5000, ...(from === undefined ? {} : { localAddress: from }) })
      .then(async (flow: Flow) => {
        const text = `${await flow.read()}`;
        await flow.close();
        return text;
      }),
  );

describe('a stack with two interfaces', () => {
  it('speaks on each from its address there', async () => {
    const both = await host([onRed(1), onBlue(1)]);
    for (const peer of [await host([onRed(2)]), await host([onBlue(2)])]) await greet(peer);
    await greet(both);
    expect(await ask(both, '10.1.0.2')).toBe('10.1.0.1 10.1.0.2');
    expect(await ask(both, '10.2.0.2')).toBe('10.2.0.1 10.2.0.2');
    expect(await ask(stacks[1]!, '10.1.0.1')).toBe('10.1.0.2 10.1.0.1');
    expect(await ask(stacks[2]!, '10.2.0.1')).toBe('10.2.0.2 10.2.0.1');
    // To itself, by either address.
    expect(await ask(both, '10.2.0.1')).toBe('10.2.0.1 10.2.0.1');
    expect(await ask(both, '10.2.0.1', '10.1.0.1')).toBe('10.1.0.1 10.2.0.1');
  });

  it('counts for each, and for the loopback', async () => {
    const both = await host([onRed(1), onBlue(1)]);
    const peer = await host([onBlue(2)]);
    await greet(peer);
    await greet(both);
    await ask(both, '10.2.0.2');
    await ask(both, '127.0.0.1');
    const { interfaces } = both.statistics() as never as {
      interfaces: Record<string, { interface: Record<string, number>; arp?: Record<string, number> }>;
    };
    expect(Object.keys(interfaces)).toEqual(['lo', 'red', 'blue']);
    expect(interfaces.red!.arp!.entries).toBe(0);
    expect(interfaces.blue!.arp!.entries).toBe(1);
    expect(interfaces.lo!.interface.rxFrames).toBeGreaterThan(5);
    expect(interfaces.lo!.interface.rxFrames).toBe(interfaces.lo!.interface.txFrames);
  });

  it('takes the default route of the lowest metric, and the other when that interface is gone', async () => {
    const down: string[] = [];
    const first = onRed(1, { gateway: '10.1.0.9', metric: 10 });
    const second = onBlue(1, { gateway: '10.2.0.9', metric: 5 });
    const both = await host([first, second], { onInterfaceDown: (name) => down.push(name) });
    const far = ip('192.0.2.1');
    expect(`${both.network.path(far).source}`).toBe('10.2.0.1');
    const path = both.network.path(far, ip('10.2.0.1'));
    const { epoch } = both.network.ipv4.egress;
    await run(second.netif.close());
    expect(down).toEqual(['blue']);
    expect(both.network.ipv4.egress.epoch).toBeGreaterThan(epoch);
    expect(`${both.network.path(far).source}`).toBe('10.1.0.1');
    // The old path has no way any more: its source is gone.
    const frame = path.reserve(17, 8)!;
    path.commit(frame);
    expect(both.network.ipv4.egress.counters.ipOutNoRoutes).toBe(1);
  });

  it('moves a path along when a better route appears', async () => {
    const both = await host([onRed(1, { gateway: '10.1.0.9' }), onBlue(1, { netif: blue.port() })], {
      hostModel: 'weak',
    });
    const path = both.network.path(ip('192.0.2.1'));
    const arp = (index: number) => both.network.interfaces[index]!.arp.counters.outRequests;
    const before = arp(1);
    const sendOne = async (): Promise<void> => {
      path.commit(path.reserve(17, 8)!);
      await run(Promise.resolve());
    };
    both.network.addRoute(Prefix.parse('192.0.2.0/24'), ip('10.2.0.7'));
    await sendOne();
    expect(arp(1)).toBe(before + 1);
    both.network.removeRoute(Prefix.parse('192.0.2.0/24'));
    const onFirst = arp(0);
    await sendOne();
    expect([arp(0), arp(1)]).toEqual([onFirst + 1, before + 1]);
  });

  it.each([
    ['strong', false],
    ['weak', true],
  ] as const)('in the %s host model, takes packets to its other address: %s', async (hostModel, taken) => {
    const both = await host([onRed(1), onBlue(1)], { hostModel });
    const peer = await host([onRed(2, { gateway: '10.1.0.1' })]);
    await greet(both);
    const asked = ask(peer, '10.2.0.1');
    if (taken) expect(await asked).toBe('10.1.0.2 10.2.0.1');
    else await expect(asked).rejects.toMatchObject({ code: 'ETIMEDOUT' });
  });

  it.each([
    ['strong', [0, 1]],
    ['weak', [1, 0]],
  ] as const)('in the %s host model, sends from its second address by %j', async (hostModel, expected) => {
    const both = await host([onRed(1), onBlue(1, { gateway: '10.2.0.9' })], { hostModel });
    both.network.addRoute(Prefix.parse('192.0.2.0/24'), ip('10.1.0.9'));
    const asked = () => both.network.interfaces.map(({ arp }) => arp.counters.outRequests);
    const before = asked();
    const path = both.network.path(ip('192.0.2.1'), ip('10.2.0.1'));
    path.commit(path.reserve(17, 8)!);
    expect(asked().map((count, index) => count - before[index]!)).toEqual(expected);
  });

  it('refuses two interfaces of one name, and none', () => {
    expect(() => new DirectStack({ interfaces: [onRed(1), { ...onBlue(1), name: 'red' }] })).toThrow(
      /EINVAL.*red/,
    );
    expect(() => new DirectStack({ interfaces: [] })).toThrow(TypeError);
  });

  it('has an address by DHCP on each', async () => {
    for (const [lan, net] of [
      [red, '10.1.0'],
      [blue, '10.2.0'],
    ] as const) {
      const address = `${net}.254/24`;
      const { udp } = await host([{ netif: lan.port(), ipv4: address }]);
      const dhcp = new DhcpServer({ udp, clock, address, range: [`${net}.100`, `${net}.120`] });
      await run(dhcp.start());
    }
    const both = await host([onRed(1, { ipv4: 'dhcp' }), onBlue(1, { ipv4: 'dhcp' })]);
    expect(both.network.interfaces.map(({ ipv4 }) => `${ipv4.address}`)).toEqual([
      expect.stringMatching(/^10\.1\.0\.1\d\d\/24$/),
      expect.stringMatching(/^10\.2\.0\.1\d\d\/24$/),
    ]);
    expect(both.statistics().dhcp).toMatchObject({ red: { state: 'BOUND' }, blue: { state: 'BOUND' } });
  });

  it('binds a UDP socket to one interface', async () => {
    const both = await host([onRed(1), onBlue(1)]);
    const sockets = [
      await both.udp.bind({ port: 5000, interface: 'red', broadcast: true }),
      await both.udp.bind({ port: 5000, interface: 'blue', broadcast: true }),
    ];
    await expect(both.udp.bind({ port: 5000 })).rejects.toMatchObject({ code: 'EADDRINUSE' });
    await expect(both.udp.bind({ port: 5001, interface: 'green' })).rejects.toMatchObject({ code: 'ENODEV' });
    const peers = [await host([onRed(2)]), await host([onBlue(2)])];
    for (const [index, peer] of peers.entries()) {
      const socket = await peer.udp.bind({ port: 6000, broadcast: true });
      await socket.send(Buffer.from(`to ${index}`), { host: '255.255.255.255', port: 5000 });
      const heard = await run(sockets[index]!.receive());
      expect(`${heard!.data}`).toBe(`to ${index}`);
      await sockets[index]!.send(Buffer.from('back'), { host: '255.255.255.255', port: 6000 });
      expect((await run(socket.receive()))!.remote.address).toBe(`10.${index + 1}.0.1`);
    }
  });
});

describe('a stack with IPv6 on two interfaces', () => {
  const six = (net: number, number: number): string => `2001:db8:${net}::${number}/64`;

  it('tells link-local neighbours on different links apart by their zone', async () => {
    const both = await host([onRed(1, { ipv6: 'link-local' }), onBlue(1, { ipv6: 'link-local' })]);
    // Both neighbours have the same link-local address.
    const a = await host([onRed(2, { ipv6: 'fe80::77/64' })]);
    const b = await host([onBlue(2, { ipv6: 'fe80::77/64' })]);
    await greet(a);
    await greet(b);
    const [one, two] = both.network.ipv6!.links.map((link) => `${link.linkLocal()}`);
    expect(two).toMatch(/^fe80:.*%2$/);
    expect(await ask(both, 'fe80::77')).toBe(`${one} fe80::77`);
    expect(await ask(both, 'fe80::77%red')).toBe(`${one} fe80::77`);
    const plain = two!.replace('%2', '');
    expect(await ask(both, 'fe80::77%blue')).toBe(`${plain} fe80::77`);
    expect(await ask(both, 'fe80::77%2')).toBe(`${plain} fe80::77`);
    await expect(ask(both, 'fe80::77%green')).rejects.toMatchObject({ code: 'ENOTFOUND' });
    // And back, to the address that the flow tells.
    await greet(both);
    expect(await ask(b, plain)).toMatch(/^fe80::.*%2 fe80::.*%2$/);
    expect(await ask(both, two!)).toBe(`${two} ${two}`);
  });

  it('chooses the source of the link that the route leaves by', async () => {
    const both = await host([
      onRed(1, { ipv6: six(1, 1), gateway6: '2001:db8:1::9' }),
      onBlue(1, { ipv6: six(2, 1) }),
    ]);
    const a = await host([onRed(2, { ipv6: six(1, 2) })]);
    const b = await host([onBlue(2, { ipv6: six(2, 2) })]);
    await greet(a);
    await greet(b);
    expect(await ask(both, '2001:db8:1::2')).toBe('2001:db8:1::1 2001:db8:1::2');
    expect(await ask(both, '2001:db8:2::2')).toBe('2001:db8:2::1 2001:db8:2::2');
    expect(`${both.network.path(ip('2001:db8:99::1')).source}`).toBe('2001:db8:1::1');
    await expect(ask(both, '2001:db8:2::2', '2001:db8:1::1')).rejects.toMatchObject({
      code: 'EHOSTUNREACH', // It may leave by the first link only, whose router does not answer.
    });
    await run(both.network.interfaces[0]!.netif.close());
    expect(() => both.network.path(ip('2001:db8:99::1'))).toThrow(/ENETUNREACH/);
    expect(await ask(both, '2001:db8:2::2')).toBe('2001:db8:2::1 2001:db8:2::2');
  });

  it('may have IPv6 on one of them only', async () => {
    const both = await host([onRed(1), onBlue(1, { ipv6: six(2, 1) })]);
    const peer = await host([onBlue(2, { ipv6: six(2, 2) })]);
    await greet(peer);
    expect(await ask(both, '2001:db8:2::2')).toBe('2001:db8:2::1 2001:db8:2::2');
    expect(both.network.interfaces.map(({ ipv6 }) => ipv6 === null)).toEqual([true, false]);
    expect(() => both.network.interfaces[0]!.addRoute(Prefix.parse('2001:db8:7::/48'), null)).toThrow(
      /IPv6 is off/,
    );
  });
});

describe('multicast on two interfaces', () => {
  it.each([
    ['239.1.2.3', '0.0.0.0'],
    ['ff15::77', '::'],
  ])('joins %s on one, and sends to it by one', async (group, any) => {
    const more = { ipv6: 'link-local' } as const;
    const both = await host([onRed(1, more), onBlue(1, more)]);
    const peers = [await host([onRed(2, more)]), await host([onBlue(2, more)])];
    const socket = await both.udp.bind({ port: 5000, host: any });
    socket.addMembership(group, { interface: 'blue' });
    const heard: string[] = [];
    void (async () => {
      for await (const { data } of socket) heard.push(`${data}`);
    })();
    for (const [index, peer] of peers.entries()) {
      const sender = await peer.udp.bind({ port: 5000, host: any });
      sender.addMembership(group);
      await sender.send(Buffer.from(`from ${index}`), { host: group, port: 5000 });
      void (async () => {
        for await (const { data } of sender) heard.push(`${index} heard ${data}`);
      })();
    }
    await run(new Promise<void>((resolve) => clock.alarm(resolve).set(clock.now() + 1000)));
    expect(heard.splice(0).sort()).toEqual(['0 heard from 0', '1 heard from 1', 'from 1']);
    for (const name of ['blue', 'red']) {
      socket.setMulticastInterface(name);
      await socket.send(Buffer.from(`by ${name}`), { host: group, port: 5000 });
    }
    await run(new Promise<void>((resolve) => clock.alarm(resolve).set(clock.now() + 1000)));
    expect(heard.sort()).toEqual(['0 heard by red', '1 heard by blue', 'by blue']);
    expect(() => socket.setMulticastInterface('green')).toThrow(/EADDRNOTAVAIL/);
  });
});
