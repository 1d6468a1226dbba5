import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { DirectStack } from '../../src/direct/index.ts';
import { DnsServer } from '../../src/dns/index.ts';
import { createDns, type StackDns } from '../../src/net/index.ts';
import { Switch } from '../../src/netif/index.ts';
import { SocketStack } from '../../src/socket/index.ts';
import { RealClock } from '../../src/time/index.ts';
import { RECORDS } from '../dns/lan.ts';

describe('dns on a direct stack', () => {
  const closings: (() => Promise<void>)[] = [];
  let dns: StackDns;
  let server: DnsServer;

  beforeEach(async () => {
    const lan = new Switch({ clock: new RealClock() });
    const there = new DirectStack({ netif: lan.port(), ipv4: '10.0.0.53/24' });
    const here = new DirectStack({ netif: lan.port(), ipv4: '10.0.0.1/24', dns: ['10.0.0.53'] });
    closings.push(
      () => there.close(),
      () => here.close(),
    );
    await Promise.all([there.ready(), here.ready()]);
    server = new DnsServer({ stack: there, zones: ['test', '10.in-addr.arpa'], records: RECORDS });
    await server.start();
    dns = createDns(here);
  });
  afterEach(async () => {
    for (const close of closings.splice(0).reverse()) await close();
  });

  it('resolves each type as Node does', async () => {
    const { promises } = dns;
    expect(await promises.resolve4('www.test')).toEqual(['10.0.0.80']);
    expect(await promises.resolve4('www.test', { ttl: true })).toEqual([{ address: '10.0.0.80', ttl: 30 }]);
    expect(await promises.resolve6('www.test')).toEqual(['2001:db8::80']);
    expect(await promises.resolveCname('alias.test')).toEqual(['www.test']);
    expect(await promises.resolvePtr('80.0.0.10.in-addr.arpa')).toEqual(['www.test']);
    expect(await promises.reverse('10.0.0.80')).toEqual(['www.test']);
    expect(await promises.resolveSrv('_http._tcp.test')).toEqual([
      { name: 'www.test', port: 80, priority: 1, weight: 2 },
    ]);
    expect(await promises.resolveTxt('text.test')).toEqual([['one', 'two']]);
    expect(await promises.resolve('www.test', 'AAAA')).toEqual(['2001:db8::80']);
    expect(await promises.lookup('www.test')).toEqual({ address: '10.0.0.80', family: 4 });
    expect(await promises.lookup('www.test', { all: true })).toEqual([{ address: '10.0.0.80', family: 4 }]);
  });

  it('tells no such name from no such record, and a server that cannot from one that is silent', async () => {
    const { promises } = dns;
    await expect(promises.resolve4('nobody.test')).rejects.toMatchObject({
      code: 'ENOTFOUND',
      message: 'queryA ENOTFOUND nobody.test',
      syscall: 'queryA',
      hostname: 'nobody.test',
    });
    await expect(promises.resolveTxt('www.test')).rejects.toMatchObject({ code: 'ENODATA' });
    await expect(promises.resolve4('www.elsewhere')).rejects.toMatchObject({ code: 'ESERVFAIL' });
    await expect(promises.resolve('www.test', 'MX')).rejects.toMatchObject({ code: 'ENOTIMP' });
    await expect(async () => promises.resolve('www.test', 'X')).rejects.toMatchObject({
      code: 'ERR_INVALID_ARG_VALUE',
    });
    await expect(promises.reverse('www.test')).rejects.toMatchObject({ code: 'EINVAL' });
  });

  it('calls back', async () => {
    const found = await new Promise((resolve, reject) => {
      dns.resolve4('www.test', (error, addresses) => (error ? reject(error) : resolve(addresses)));
    });
    expect(found).toEqual(['10.0.0.80']);
    const looked = await new Promise((resolve) => {
      dns.lookup('www.test', (_, address, family) => resolve([address, family]));
    });
    expect(looked).toEqual(['10.0.0.80', 4]);
  });
});

describe('dns on the host', () => {
  it("is the host's", async () => {
    const stack = new SocketStack();
    expect(await createDns(stack).promises.lookup('127.0.0.1')).toEqual({ address: '127.0.0.1', family: 4 });
    await stack.close();
  });
});
