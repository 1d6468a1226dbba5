import packet from 'dns-packet';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { DirectStack } from '../../src/direct/index.ts';
import type { MdnsOptions } from '../../src/mdns/index.ts';
import {
  decode,
  encodeQuery,
  encodeResponse,
  type MdnsMessage,
  type MdnsRecord,
} from '../../src/mdns/message.ts';
import type { UdpSocket } from '../../src/stack.ts';
import { Lan } from '../dhcp/lan.ts';

const GROUP = '224.0.0.251';

describe('multicast DNS', () => {
  let lan: Lan;
  let listener: DirectStack;
  let ear: UdpSocket;
  /** What came by the group, and what came to the listener alone. */
  let heard: { message: MdnsMessage; from: string; atMs: number }[];
  let hosts = 0;

  beforeEach(async () => {
    lan = new Lan(11);
    hosts = 0;
    heard = [];
    listener = await lan.host('10.0.0.250/24');
    ear = await lan.run(listener.udp.bind({ port: 5353 }));
    ear.addMembership(GROUP);
    ear.setMulticastTtl(255);
    ear.setMulticastLoopback(false);
    void (async () => {
      for await (const { data, remote } of ear) {
        const message = decode(data);
        if (message !== null) heard.push({ message, from: remote.address, atMs: lan.clock.now() });
      }
    })();
  });
  afterEach(() => lan.close());

  async function host(mdns: MdnsOptions | boolean, settleMs = 3000): Promise<DirectStack> {
    const stack = await lan.host(`10.0.0.${++hosts}/24`, { mdns });
    await sleep(settleMs);
    return stack;
  }
  const sleep = (ms: number): Promise<void> => lan.run(lan.clock.sleep(ms));
  const take = () => heard.splice(0);
  const send = (bytes: Uint8Array): Promise<void> => lan.run(ear.send(bytes, { host: GROUP, port: 5353 }));
  const stats = (stack: DirectStack) => stack.statistics().mdns as Record<string, number | string>;
  const a = (name: string, data: string, unique = true): MdnsRecord => ({
    name,
    type: 'A',
    data,
    ttl: 120,
    unique,
  });

  it('probes three times, announces twice, and says goodbye (RFC 6762 §8, §10.1)', async () => {
    const stack = await host({ hostname: 'alice' });
    const messages = take();
    const probes = messages.filter(({ message }) => !message.isResponse);
    expect(probes).toHaveLength(3);
    expect(probes[0]!.message.questions[0]).toEqual({ name: 'alice.local', type: 'ANY', unicast: true });
    expect(probes[0]!.message.authorities).toContainEqual({ ...a('alice.local', '10.0.0.1'), unique: false });
    const gaps = probes.slice(1).map(({ atMs }, i) => Math.round(atMs - probes[i]!.atMs));
    expect(gaps).toEqual([250, 250]);
    const announcements = messages.filter(({ message }) => message.isResponse);
    expect(announcements).toHaveLength(2);
    expect(announcements[0]!.message.answers).toContainEqual(a('alice.local', '10.0.0.1'));
    expect(announcements[1]!.atMs - announcements[0]!.atMs).toBeCloseTo(1000, -1);
    await lan.run(stack.close());
    await sleep(100);
    expect(take().at(-1)!.message.answers).toContainEqual({ ...a('alice.local', '10.0.0.1'), ttl: 0 });
  });

  it('resolves the names of others, once they are known without a question', async () => {
    await host({ hostname: 'alice' });
    const bob = await host({ hostname: 'bob' });
    take();
    expect(await lan.run(bob.resolve('alice.local'))).toEqual(['10.0.0.1']);
    expect(await lan.run(bob.resolve('ALICE.local.'))).toEqual(['10.0.0.1']);
    expect(take().filter(({ message }) => !message.isResponse)).toHaveLength(1);
    expect(await lan.run(bob.resolve('bob.local'))).toEqual(['10.0.0.2']);
    await expect(lan.run(bob.resolve('nobody.local'))).rejects.toMatchObject({ code: 'ENOTFOUND' });
    const flow = lan.run(bob.tcp.connect({ host: 'alice.local', port: 9 }));
    await expect(flow).rejects.toMatchObject({ code: 'ECONNREFUSED' });
  });

  it('takes another name where one has it already (§9)', async () => {
    const names: string[] = [];
    await host({ hostname: 'alice' });
    const second = await host({ hostname: 'alice', onName: (name) => names.push(name) }, 5000);
    expect(names).toEqual(['alice-2.local']);
    expect(second.mdns!.hostname).toBe('alice-2.local');
    expect(await lan.run(second.resolve('alice.local'))).toEqual(['10.0.0.1']);
  });

  it('gives two that start at once two names (§8.2)', async () => {
    const stacks = [1, 2, 3].map((i) => lan.stack({ ipv4: `10.0.0.${i}/24`, mdns: { hostname: 'same' } }));
    await lan.run(Promise.all(stacks.map((stack) => stack.ready())));
    await sleep(15_000);
    expect(new Set(stacks.map((stack) => stack.mdns!.hostname)).size).toBe(3);
    expect(stacks.every((stack) => stack.mdns!.isReady)).toBe(true);
  });

  it('defends a name that it has, and asks for it again where another insists (§9)', async () => {
    const stack = await host({ hostname: 'alice' });
    take();
    await send(
      encodeQuery({
        questions: [{ name: 'alice.local', type: 'ANY', unicast: true }],
        authorities: [a('alice.local', '10.0.0.66')],
      }),
    );
    await sleep(50);
    expect(take()[0]!.message.answers).toContainEqual(a('alice.local', '10.0.0.1'));
    await send(encodeResponse({ answers: [a('alice.local', '10.0.0.66')] }));
    await sleep(1500);
    expect(take().filter(({ message }) => message.authorities.length > 0)).toHaveLength(3);
    expect(stack.mdns!.hostname).toBe('alice.local');
    expect(stats(stack)).toMatchObject({ conflicts: 1, state: expect.stringMatching(/announcing|ready/) });
  });

  const SERVICE = { name: 'Web of Alice', type: '_http._tcp', port: 80, txt: ['path=/'] };

  it('tells its services, with all that who asks will ask next (RFC 6763)', async () => {
    await host({ hostname: 'alice', services: [SERVICE] });
    take();
    await send(encodeQuery({ questions: [{ name: '_http._tcp.local', type: 'PTR', unicast: false }] }));
    await sleep(200);
    const { message } = take()[0]!;
    expect(message.answers).toEqual([
      {
        name: '_http._tcp.local',
        type: 'PTR',
        data: 'Web of Alice._http._tcp.local',
        ttl: 4500,
        unique: false,
      },
    ]);
    expect(message.additionals.map(({ type, name }) => [type, name])).toEqual(
      expect.arrayContaining([
        ['SRV', 'web of alice._http._tcp.local'],
        ['TXT', 'web of alice._http._tcp.local'],
        ['A', 'alice.local'],
      ]),
    );
  });

  it('does not tell what is known already (§7.1), nor the same thing twice a second (§6)', async () => {
    const stack = await host({ hostname: 'alice', services: [SERVICE] });
    await sleep(5000);
    take();
    const questions = [{ name: '_http._tcp.local', type: 'PTR', unicast: false }] as const;
    const known = {
      name: '_http._tcp.local',
      type: 'PTR',
      data: 'Web of Alice._http._tcp.local',
      unique: false,
    } as const;
    await send(encodeQuery({ questions, answers: [{ ...known, ttl: 4000 }] }));
    await sleep(500);
    expect(take()).toEqual([]);
    // Half of its time is over: it is told again.
    await send(encodeQuery({ questions, answers: [{ ...known, ttl: 2000 }] }));
    await send(encodeQuery({ questions }));
    await sleep(500);
    expect(take()).toHaveLength(1);
    for (let i = 0; i < 1000; i++) {
      await send(encodeQuery({ questions: [{ name: 'alice.local', type: 'A', unicast: false }] }));
      if (i % 100 === 0) await sleep(1);
    }
    await sleep(100);
    expect(take().length).toBeLessThanOrEqual(1);
    expect(Number(stats(stack).limited)).toBeGreaterThan(800);
  });

  it('answers one alone who asks for that, and one who knows nothing of it (§5.4, §6.7)', async () => {
    await host({ hostname: 'alice' });
    take();
    const other = await lan.run(listener.udp.bind({ port: 40_000 }));
    const query = packet.encode({ type: 'query', id: 77, questions: [{ name: 'alice.local', type: 'A' }] });
    await lan.run(other.send(query, { host: GROUP, port: 5353 }));
    const answer = packet.decode(Buffer.from((await lan.run(other.receive()))!.data));
    expect(answer).toMatchObject({
      id: 77,
      type: 'response',
      questions: [{ name: 'alice.local' }],
      answers: [{ name: 'alice.local', type: 'A', data: '10.0.0.1', ttl: 10, flush: false }],
    });
    expect(take().filter(({ message }) => message.isResponse)).toEqual([]);
  });

  it('watches what comes and goes, tells what it knows, and asks ever less often (§5.2)', async () => {
    const bob = await host({ hostname: 'bob' });
    take();
    const seen: string[][] = [];
    const end = bob.mdns!.watch('_http._tcp.local', 'PTR', (instances) => seen.push(instances));
    const alice = await host({ hostname: 'alice', services: [SERVICE] });
    await sleep(60_000);
    const asked = take().filter(
      ({ message, from }) =>
        from === '10.0.0.1' && message.questions.some(({ name }) => name === '_http._tcp.local'),
    );
    expect(asked.length).toBeGreaterThan(4);
    expect(asked.length).toBeLessThan(9);
    expect(asked.at(-1)!.message.answers.map(({ data }) => data)).toEqual(['Web of Alice._http._tcp.local']);
    await lan.run(alice.close());
    await sleep(2000);
    expect(seen).toEqual([['Web of Alice._http._tcp.local'], []]);
    end();
    await sleep(200_000);
    take();
    await sleep(200_000);
    expect(take()).toEqual([]);
  });

  it('asks again before what it watches is forgotten, and forgets it if nobody answers', async () => {
    const bob = await host({ hostname: 'bob' });
    const seen: string[][] = [];
    bob.mdns!.watch('ghost.local', 'A', (addresses) => seen.push(addresses));
    await send(encodeResponse({ answers: [a('ghost.local', '10.0.0.99')] }));
    await sleep(90_000);
    take();
    await sleep(35_000);
    expect(
      take().filter(({ message }) => message.questions.some(({ name }) => name === 'ghost.local')).length,
    ).toBeGreaterThanOrEqual(3);
    expect(seen).toEqual([['10.0.0.99'], []]);
  });

  it('follows its address, and takes the old one back', async () => {
    const stack = await host({ hostname: 'alice' });
    take();
    await stack.network.setAddress((await import('../../src/address/index.ts')).Prefix.parse('10.0.0.77/24'));
    await sleep(1500);
    const answers = take().flatMap(({ message }) => message.answers);
    expect(answers).toContainEqual(a('alice.local', '10.0.0.77'));
    expect(answers).not.toContainEqual(a('alice.local', '10.0.0.1'));
  });

  it('stays within its limits, whatever it is told', async () => {
    const stack = await host({ hostname: 'alice' });
    for (let i = 0; i < 3000; i++) {
      const answers = [a(`host${i}.local`, '10.0.0.66'), a(`other${i}.local`, '10.0.0.67', false)];
      await send(encodeResponse({ answers }));
      if (i % 100 === 0) await sleep(1);
    }
    await sleep(10);
    // A response from another port, one from another network, and noise.
    const other = await lan.run(listener.udp.bind());
    await lan.run(
      other.send(encodeResponse({ answers: [a('evil.local', '10.0.0.66')] }), { host: GROUP, port: 5353 }),
    );
    await send(Uint8Array.from({ length: 100 }, (_, i) => i * 7));
    await sleep(100);
    expect(stats(stack)).toMatchObject({ cached: 512, inErrors: 2 });
    expect(stack.mdns!.isReady).toBe(true);
    await expect(lan.run(stack.resolve('evil.local'))).rejects.toMatchObject({ code: 'ENOTFOUND' });
  });

  it.each([
    [{ hostname: 'a.b' }],
    [{ services: [{ ...SERVICE, type: 'http' }] }],
    [{ services: [{ ...SERVICE, name: 'a.b' }] }],
  ])('refuses %j', (mdns) => {
    expect(() => lan.stack({ ipv4: '10.0.0.9/24', mdns })).toThrow(TypeError);
  });
});
