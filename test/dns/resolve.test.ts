import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { IpAddress } from '../../src/address/index.ts';
import type { DirectStack } from '../../src/direct/index.ts';
import { impair } from '../../src/netif/index.ts';
import { SeededRandom } from '../../src/time/index.ts';
import { DNS, DnsLan, dnsOf } from './lan.ts';

let lan: DnsLan;
beforeEach(() => {
  lan = new DnsLan();
});
afterEach(() => lan.close());

const client = (dns: readonly string[] = [DNS], search?: readonly string[]): Promise<DirectStack> =>
  lan.host('10.0.0.2/24', { dns, ...(search === undefined ? {} : { search }) });

describe('resolve', () => {
  it('asks for IPv4 only where IPv6 is off, and remembers the answer for its time', async () => {
    const server = await lan.dns();
    const stack = await client();
    expect(await lan.run(stack.resolve('WWW.test'))).toEqual(['10.0.0.80']);
    expect(await lan.run(stack.resolve('www.test.'))).toEqual(['10.0.0.80']);
    expect(server.counters.udpQueries).toBe(1);
    expect(dnsOf(stack)).toMatchObject({ queries: 1, cacheHits: 1 });
    await lan.clock.runFor(31_000);
    await lan.run(stack.resolve('www.test'));
    expect(server.counters.udpQueries).toBe(2);
  });

  it('asks for both families where IPv6 is on', async () => {
    await lan.dns();
    const stack = await lan.host('10.0.0.2/24', { dns: [DNS], ipv6: '2001:db8::2/64' });
    expect((await lan.run(stack.resolve('www.test'))).sort()).toEqual(['10.0.0.80', '2001:db8::80']);
    expect(await lan.run(stack.resolve('big.test'))).toHaveLength(100);
  });

  it('says ENOTFOUND for no such name and no such records, and remembers that for a while', async () => {
    const server = await lan.dns({ negativeTtl: 20 });
    const stack = await client();
    for (const name of ['nobody.test', 'text.test', 'nobody.test']) {
      await expect(lan.run(stack.resolve(name))).rejects.toMatchObject({
        code: 'ENOTFOUND',
        syscall: 'getaddrinfo',
      });
    }
    expect(server.counters.udpQueries).toBe(2);
    await lan.clock.runFor(21_000);
    await expect(lan.run(stack.resolve('nobody.test'))).rejects.toMatchObject({ code: 'ENOTFOUND' });
    expect(server.counters.udpQueries).toBe(3);
  });

  it('says ETIMEDOUT when no server answers, having asked each three times', async () => {
    const servers = [await lan.dns(), await lan.dns({}, '10.0.0.54')];
    for (const server of servers) server.answering = false;
    const stack = await client([DNS, '10.0.0.54']);
    const begun = lan.clock.now();
    await expect(lan.run(stack.resolve('www.test'))).rejects.toMatchObject({ code: 'ETIMEDOUT' });
    expect(servers.map((server) => server.counters.udpQueries)).toEqual([3, 3]);
    expect(lan.clock.now() - begun).toBe(14_000);
  });

  it('goes on to the next server when one is silent, absent or refuses, and stays with it', async () => {
    const refusing = await lan.dns({ zones: [] }, '10.0.0.54');
    const server = await lan.dns();
    const silent = await lan.dns({}, '10.0.0.55');
    silent.answering = false;
    // Nobody listens on port 9 of the first.
    const stack = await client([`${DNS}:9`, '10.0.0.54', '10.0.0.55', DNS]);
    expect(await lan.run(stack.resolve('www.test'))).toEqual(['10.0.0.80']);
    expect(await lan.run(stack.resolve('alias.test'))).toEqual(['10.0.0.80']);
    expect(server.counters.udpQueries).toBe(2);
    expect(silent.counters.udpQueries).toBe(1);
    expect(refusing.counters.udpQueries).toBe(1);
  });

  it('says EAGAIN where the servers answer that they cannot tell', async () => {
    await lan.dns({ zones: [] });
    const stack = await client();
    await expect(lan.run(stack.resolve('www.test'))).rejects.toMatchObject({ code: 'EAGAIN' });
  });

  it('follows aliases, bounded', async () => {
    await lan.dns();
    await lan.dns({ zones: ['elsewhere'], records: [] }, '10.0.0.54');
    const stack = await client();
    expect(await lan.run(stack.resolve('chain.test'))).toEqual(['10.0.0.80']);
    await expect(lan.run(stack.resolve('loop.test'))).rejects.toMatchObject({ code: 'ENOTFOUND' });
    // Out of the server's zones: asked on its own, and refused.
    await expect(lan.run(stack.resolve('away.test'))).rejects.toMatchObject({ code: 'EAGAIN' });
  });

  it('takes what does not fit a datagram over TCP', async () => {
    const server = await lan.dns();
    const stack = await client();
    expect(await lan.run(stack.resolve('big.test'))).toHaveLength(100);
    expect(server.counters).toMatchObject({ truncated: 1, tcpQueries: 1 });
    expect(dnsOf(stack)).toMatchObject({ truncated: 1, tcpQueries: 1 });
  });

  it('looks in the search list: bare names there first, others last', async () => {
    const server = await lan.dns();
    const stack = await client([DNS], ['nowhere.test', 'test']);
    expect(await lan.run(stack.resolve('www'))).toEqual(['10.0.0.80']);
    expect(server.counters.udpQueries).toBe(2);
    await expect(lan.run(stack.resolve('www.'))).rejects.toMatchObject({ code: 'EAGAIN' });
  });

  it('knows literals, its table and localhost without asking; without servers nothing else', async () => {
    const stack = await lan.host('10.0.0.2/24', { hosts: { 'printer.test': '10.0.0.9' } });
    for (const [name, address] of [
      ['10.1.2.3', '10.1.2.3'],
      ['Printer.test.', '10.0.0.9'],
      ['localhost', '127.0.0.1'],
      ['a.localhost', '127.0.0.1'],
    ] as const) {
      expect(await lan.run(stack.resolve(name))).toEqual([address]);
    }
    for (const name of ['www.test', 'a.invalid', '', 'a..b', 'x'.repeat(64), 'a b', `${'a.'.repeat(130)}b`]) {
      await expect(lan.run(stack.resolve(name)), name).rejects.toMatchObject({ code: 'ENOTFOUND' });
    }
    expect(dnsOf(stack).queries).toBe(0);
  });

  it('serves connect, with the servers that DHCP tells', async () => {
    await lan.server({ dns: [DNS], domain: 'test' });
    await lan.dns();
    const www = await lan.host('10.0.0.80/24');
    await www.tcp.listen({ port: 80 }, async (flow) => {
      await flow.write(Buffer.from('hello'));
      await flow.close();
    });
    const stack = lan.client();
    await lan.run(stack.ready());
    const flow = await lan.run(stack.tcp.connect({ host: 'www', port: 80 }));
    expect(String(await lan.run(flow.read()))).toBe('hello');
    await lan.run(flow.close());
  });

  it('asks once for what many want at the same time', async () => {
    const server = await lan.dns();
    const stack = await client();
    await lan.run(Promise.all(Array.from({ length: 50 }, () => stack.resolve('www.test'))));
    expect(server.counters.udpQueries).toBe(1);
    expect(stack.statistics().udp).toMatchObject({ sockets: 0 });
  });

  it('gets its answers over a line that loses a fifth of all frames', async () => {
    await lan.dns();
    const bad = { loss: 0.2, delayMs: 20, jitterMs: 30, duplicate: 0.1, corrupt: 0.05 };
    const netif = impair(lan.switch.port(), {
      clock: lan.clock,
      random: new SeededRandom(5),
      transmit: bad,
      receive: bad,
    });
    const stack = lan.stack({ ipv4: '10.0.0.3/24', dns: [DNS, '10.0.0.53:53', DNS] }, netif);
    await lan.run(stack.ready());
    for (let i = 0; i < 30; i++) {
      stack.dns.cache.clear();
      expect(await lan.run(stack.resolve('www.test'))).toEqual(['10.0.0.80']);
    }
  });
});

describe('stack.dns', () => {
  it('asks for SRV, TXT, PTR and CNAME', async () => {
    await lan.dns();
    const { dns } = await client();
    expect(await lan.run(dns.query('_http._tcp.test', 'SRV'))).toEqual([
      { priority: 1, weight: 2, port: 80, target: 'www.test' },
    ]);
    expect(await lan.run(dns.query('text.test', 'TXT'))).toEqual([['one', 'two']]);
    expect(await lan.run(dns.query('alias.test', 'CNAME'))).toEqual(['www.test']);
    expect(await lan.run(dns.reverse(IpAddress.parse('10.0.0.80')))).toEqual(['www.test']);
    await expect(lan.run(dns.query('www.test', 'TXT'))).rejects.toMatchObject({ code: 'ENOTFOUND' });
  });

  it('remembers no more than its cap', async () => {
    await lan.dns();
    const { dns } = await client();
    for (let i = 0; i < 1100; i++) await lan.run(dns.query(`x${i}.test`, 'A').catch(() => {}));
    expect(dns.cache.size).toBe(1000);
  });
});
