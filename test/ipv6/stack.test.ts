import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { IpAddress } from '../../src/address/index.ts';
import { DirectStack, type DirectStackOptions } from '../../src/direct/index.ts';
import { createCable, type Netif } from '../../src/netif/index.ts';
import type { Flow } from '../../src/stack.ts';
import { runVirtual, SeededRandom, VirtualClock } from '../../src/time/index.ts';
import { pattern } from '../support/packets.ts';

let clock: VirtualClock;
let ends: [Netif, Netif];
let stacks: DirectStack[];

const run = <T>(promise: Promise<T>): Promise<T> => runVirtual(clock, promise, 120_000);

beforeEach(() => {
  clock = new VirtualClock();
  ends = createCable({ clock });
  stacks = [];
});

afterEach(() => run(Promise.all(stacks.map((stack) => stack.close()))));

function stack(end: 0 | 1, options: Partial<DirectStackOptions> = {}): DirectStack {
  const made = new DirectStack({
    netif: ends[end],
    ipv4: `10.0.0.${end + 1}/24`,
    ipv6: `2001:db8::${end + 1}/64`,
    clock,
    random: new SeededRandom(100 + end),
    ...options,
  });
  stacks.push(made);
  return made;
}

async function both(
  a: Partial<DirectStackOptions> = {},
  b: Partial<DirectStackOptions> = {},
): Promise<[DirectStack, DirectStack]> {
  const pair: [DirectStack, DirectStack] = [stack(0, a), stack(1, b)];
  await run(Promise.all(pair.map((one) => one.ready())));
  return pair;
}

/** Says to each connection where it comes from. */
async function greet(server: DirectStack, port: number, host?: string): Promise<void> {
  await server.tcp.listen({ port, ...(host === undefined ? {} : { host }) }, async (flow) => {
    await flow.write(Buffer.from(flow.remote.address));
    await flow.close();
  });
}

async function greeting(flow: Flow): Promise<string> {
  const text = `${await flow.read()}`;
  await flow.close();
  return text;
}

describe('a direct stack with IPv6', () => {
  it('is off unless asked for, and then knows no IPv6 destination', async () => {
    const one = stack(0, { ipv6: false });
    await run(one.ready());
    expect(await one.resolve('localhost')).toEqual(['127.0.0.1']);
    expect(one.statistics()).not.toHaveProperty('ip6');
    await expect(run(one.tcp.connect({ host: '2001:db8::2', port: 80 }))).rejects.toMatchObject({
      code: 'ENETUNREACH',
    });
  });

  it.each(['10.0.0.1/24', '::1/128', 'ff02::1/64', '::/64', 'automatic'])(
    'refuses the address %s',
    (ipv6) => {
      expect(() => new DirectStack({ netif: ends[0], ipv4: '10.0.0.1/24', ipv6, clock })).toThrow(TypeError);
    },
  );

  it('needs a link of 1280 bytes', () => {
    const [narrow] = createCable({ clock, mtu: 1279 });
    expect(() => new DirectStack({ netif: narrow, ipv4: '10.0.0.1/24', ipv6: 'auto', clock })).toThrow(
      /MTU of 1280/,
    );
  });

  it('may use its addresses at once if nobody is to be asked', async () => {
    const one = stack(0, { probeAddress: false });
    const before = clock.now();
    await run(one.ready());
    expect(clock.now() - before).toBeLessThan(10);
    expect(one.network.isLocal(IpAddress.parse('2001:db8::1'))).toBe(true);
  });

  it('listens on both families with one listener', async () => {
    const [client, server] = await both();
    await run(greet(server, 80));
    const ask = async (host: string): Promise<string> =>
      greeting(await client.tcp.connect({ host, port: 80 }));
    expect(await run(ask('10.0.0.2'))).toBe('10.0.0.1');
    expect(await run(ask('2001:db8::2'))).toBe('2001:db8::1');
  });

  it('speaks from its link-local address to one, with or without a zone', async () => {
    const [client, server] = await both({ ipv6: 'link-local' }, { ipv6: 'auto' });
    const theirs = `${server.network.ipv6!.link.linkLocal()}`;
    const ours = `${client.network.ipv6!.link.linkLocal()}`;
    await run(greet(server, 80));
    for (const host of [theirs, `${theirs}%${client.network.netif.name}`]) {
      expect(await run(client.tcp.connect({ host, port: 80 }).then(greeting))).toBe(ours);
    }
    await expect(run(client.tcp.connect({ host: `${theirs}%nic7`, port: 80 }))).rejects.toMatchObject({
      code: 'ENOTFOUND',
    });
  });

  it('reaches itself as ::1, at its own addresses, and as localhost', async () => {
    const [one] = await both();
    await run(greet(one, 80));
    expect(await one.resolve('localhost')).toEqual(['::1', '127.0.0.1']);
    const ask = (host: string): Promise<string> => run(one.tcp.connect({ host, port: 80 }).then(greeting));
    expect(await ask('::1')).toBe('::1');
    expect(await ask('localhost')).toBe('::1');
    expect(await ask('2001:db8::1')).toBe('2001:db8::1');
    expect(await ask('127.0.0.1')).toBe('127.0.0.1');
  });

  it('falls back to the other family where the first does not answer (RFC 8305)', async () => {
    const hosts = { server: ['2001:db8::99', '10.0.0.2'] };
    const [client, server] = await both({ hosts });
    await run(greet(server, 80));
    const before = clock.now();
    expect(await run(client.tcp.connect({ host: 'server', port: 80 }).then(greeting))).toBe('10.0.0.1');
    expect(clock.now() - before).toBeGreaterThanOrEqual(250);
    expect(clock.now() - before).toBeLessThan(1000);
  });

  it('tries the next address at once where the first refuses', async () => {
    const hosts = { server: ['2001:db8::2', '10.0.0.2'] };
    const [client, server] = await both({ hosts });
    await run(greet(server, 80, '10.0.0.2'));
    const before = clock.now();
    expect(await run(client.tcp.connect({ host: 'server', port: 80 }).then(greeting))).toBe('10.0.0.1');
    expect(clock.now() - before).toBeLessThan(100);
  });

  it('fails with the first address’s error, in the time that was given', async () => {
    const hosts = { server: ['2001:db8::2', '10.0.0.2'], nobody: ['2001:db8::99', '10.0.0.99'] };
    const [client] = await both({ hosts });
    await expect(run(client.tcp.connect({ host: 'server', port: 9 }))).rejects.toMatchObject({
      code: 'ECONNREFUSED',
      address: '2001:db8::2',
    });
    const before = clock.now();
    await expect(run(client.tcp.connect({ host: 'nobody', port: 9, timeoutMs: 700 }))).rejects.toMatchObject({
      code: 'ETIMEDOUT',
    });
    expect(clock.now() - before).toBeLessThan(1000);
    const controller = new AbortController();
    const aborted = client.tcp.connect({ host: 'nobody', port: 9, signal: controller.signal });
    controller.abort(new Error('enough'));
    await expect(run(aborted)).rejects.toThrow('enough');
  });

  it.each([0, 56, 1452, 1453, 9000, 65_527])('pings with %i bytes', async (size) => {
    const [a] = await both();
    const data = pattern(size);
    const replies: string[] = [];
    const { icmpv6 } = a.network;
    icmpv6!.listen(7, ({ source, bytes, start, end }) => {
      expect(Buffer.compare(bytes.subarray(start, end), data)).toBe(0);
      replies.push(`${source}`);
    });
    for (const host of ['2001:db8::2', '2001:db8::1', '::1']) {
      icmpv6!.echo(a.network.path(IpAddress.parse(host)), 7, 1, data);
      await run(clock.sleep(20));
    }
    expect(replies).toEqual(['2001:db8::2', '2001:db8::1', '::1']);
  });

  it('leaves nothing behind', async () => {
    const [a, b] = await both({}, { ipv6: 'auto' });
    await run(Promise.all([a.close(), b.close()]));
    expect([a.statistics().timers, b.statistics().timers]).toEqual([0, 0]);
  });
});
