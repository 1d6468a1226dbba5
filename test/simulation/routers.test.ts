import { createHash } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { DirectStack, type ForwardingOptions, type InterfaceOptions } from '../../src/direct/index.ts';
import { impair, type Netif, Switch } from '../../src/netif/index.ts';
import { runVirtual, SeededRandom, VirtualClock } from '../../src/time/index.ts';

const BYTES = 200_000;

interface Lan {
  port(): Netif;
}

/** Three LANs in a row, joined by two routers, a host at either end; the one in the middle is bad. */
function build(seed: number, forwarding: ForwardingOptions | true, middleMtu = 1500, isBad = true) {
  const clock = new VirtualClock();
  const random = new SeededRandom(seed);
  const lans = [1500, middleMtu, 1500].map((mtu): Lan => new Switch({ clock, mtu }));
  const bad = (netif: Netif): Netif => {
    const line = {
      loss: 0.02,
      delayMs: 5,
      jitterMs: 2,
      reorder: { probability: 0.02, delayMs: 8 },
      duplicate: 0.01,
    };
    return impair(netif, { clock, random, transmit: line, receive: {} });
  };
  const stack = (interfaces: InterfaceOptions[], isRouter: boolean): DirectStack =>
    new DirectStack({ interfaces, clock, random, ...(isRouter && { forwarding }) });
  const on = (lan: number, host: number, more: Partial<InterfaceOptions> = {}): InterfaceOptions => ({
    netif: lan === 1 && isBad ? bad(lans[lan]!.port()) : lans[lan]!.port(),
    name: `lan${lan}`,
    ipv4: `10.${lan}.0.${host}/24`,
    ipv6: lan === 0 ? `2001:db8::${host}/64` : `2001:db8:${lan}::${host}/64`,
    ...more,
  });
  const hosts = [
    stack([on(0, 2, { gateway: '10.0.0.1', gateway6: '2001:db8::1' })], false),
    stack([on(2, 2, { gateway: '10.2.0.1', gateway6: '2001:db8:2::1' })], false),
  ] as const;
  const routers = [
    stack([on(0, 1), on(1, 1, { gateway: '10.1.0.2', gateway6: '2001:db8:1::2' })], true),
    stack([on(2, 1), on(1, 2, { gateway: '10.1.0.1', gateway6: '2001:db8:1::1' })], true),
  ] as const;
  const run = <T>(promise: Promise<T>): Promise<T> => runVirtual(clock, promise, 600_000);
  return { clock, hosts, routers, run, all: [...hosts, ...routers] };
}

const bytes = Buffer.from(Array.from({ length: BYTES }, (_, i) => (i * 7 + (i >> 8)) & 255));
const digest = (data: Uint8Array): string => createHash('sha256').update(data).digest('hex');

/** Sends the bytes there and back; what the other end saw of us. */
async function exchange(
  client: DirectStack,
  server: DirectStack,
  host: string,
  port: number,
): Promise<string> {
  let seen = '';
  const listener = await server.tcp.listen({ port }, async (flow) => {
    seen = flow.remote.address;
    for await (const chunk of flow) await flow.write(chunk);
    await flow.close();
  });
  const flow = await client.tcp.connect({ host, port });
  const chunks: Uint8Array[] = [];
  const reading = (async () => {
    for await (const chunk of flow) chunks.push(Buffer.from(chunk));
  })();
  await flow.write(bytes);
  await flow.shutdown();
  await reading;
  await flow.close();
  await listener.close();
  expect(digest(Buffer.concat(chunks))).toBe(digest(bytes));
  return seen;
}

describe('routers between LANs', () => {
  it.each([1, 2, 3, 4, 5, 6])(
    'carry transfers over a bad and narrow line, both families (seed %i)',
    async (seed) => {
      const { hosts, routers, run, all } = build(seed, true, seed % 2 === 0 ? 1300 : 1500);
      await run(Promise.all(all.map((one) => one.ready())));
      const [a, b] = hosts;
      expect(await run(exchange(a, b, '10.2.0.2', 80))).toBe('10.0.0.2');
      expect(await run(exchange(b, a, '10.0.0.2', 80))).toBe('10.2.0.2');
      expect(await run(exchange(a, b, '2001:db8:2::2', 80))).toBe('2001:db8::2');
      expect(await run(exchange(b, a, '2001:db8::2', 80))).toBe('2001:db8:2::2');
      for (const router of routers) {
        const { forward, forward6 } = router.statistics() as Record<string, Record<string, number>>;
        expect(forward).toMatchObject({ discards: 0, refused: 0, noRoutes: 0, ttlExceeded: 0 });
        expect(forward6).toMatchObject({ discards: 0, refused: 0, noRoutes: 0, ttlExceeded: 0 });
      }
      await run(Promise.all(all.map((one) => one.close())));
    },
  );

  it.each([1, 2, 3])('translate on both sides of it (seed %i)', async (seed) => {
    const { hosts, routers, run, all } = build(seed, { napt: { outside: 'lan1' } });
    await run(Promise.all(all.map((one) => one.ready())));
    const [a, b] = hosts;
    // A host behind the one reaches a service of the other router, and nobody behind that.
    expect(await run(exchange(a, routers[1], '10.1.0.2', 80))).toBe('10.1.0.1');
    expect(await run(exchange(b, routers[0], '10.1.0.1', 80))).toBe('10.1.0.2');
    await expect(run(a.tcp.connect({ host: '10.2.0.2', port: 80, timeoutMs: 5000 }))).rejects.toMatchObject({
      code: 'ETIMEDOUT',
    });
    const mappings = routers.map((router) => router.network.napt!.mappings.size);
    expect(mappings).toEqual([2, 1]);
    await run(Promise.all(all.map((one) => one.close())));
    for (const router of routers) expect(router.network.napt!.mappings.size).toBe(0);
  });

  it('end a loop of routes when the hops are used up', async () => {
    const { hosts, routers, run, all } = build(9, true, 1500, false);
    await run(Promise.all(all.map((one) => one.ready())));
    // 192.0.2.0/24 is nowhere: each router takes the other for the way.
    const icmp = hosts[0].ip.open(1);
    await run(hosts[0].ip.open(253).send(Buffer.from('nobody'), '192.0.2.1'));
    const answer = await run(icmp.receive());
    expect([...answer!.data.subarray(0, 2)]).toEqual([11, 0]);
    const passed = routers.map((router) => router.network.router!.counters.forwarded);
    expect(passed[0]! + passed[1]!).toBeGreaterThanOrEqual(63);
    expect(passed[0]! + passed[1]!).toBeLessThanOrEqual(66);
    await run(Promise.all(all.map((one) => one.close())));
  });
});
