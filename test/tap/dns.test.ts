import { existsSync } from 'node:fs';
import { afterEach, describe, expect, it } from 'vitest';
import { IpAddress } from '../../src/address/index.ts';
import { DirectStack, type DirectStackOptions } from '../../src/direct/index.ts';
import { until } from './support/frames.ts';
import { canTap, KernelHost } from './support/kernel-host.ts';

const skip = canTap() ?? (existsSync('/usr/sbin/dnsmasq') ? null : 'dnsmasq is not installed');
const MANY = Array.from({ length: 120 }, (_, i) => `--host-record=big.test,10.1.0.${i + 1}`);

const closings: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const close of closings.splice(0).reverse()) await close();
});

async function kernel(): Promise<KernelHost> {
  const host = new KernelHost({ ipv6: '2001:db8:77::1/64' });
  closings.push(() => host.close());
  let log = '';
  const child = host.spawn('/usr/sbin/dnsmasq', [
    '--keep-in-foreground',
    '--log-facility=-',
    '--conf-file=/dev/null',
    '--no-resolv',
    '--no-hosts',
    '--user=root',
    '--pid-file=',
    '--local=/test/',
    '--auth-ttl=60',
    '--local-ttl=60',
    '--host-record=www.test,10.77.0.80,2001:db8:77::80',
    '--cname=alias.test,www.test',
    '--srv-host=_http._tcp.test,www.test,80,1,2',
    '--txt-record=text.test,one,two',
    ...MANY,
  ]);
  child.stderr?.on('data', (chunk: Buffer) => {
    log += chunk;
  });
  await until('dnsmasq', () => log.includes('started'));
  return host;
}

async function stackOn(host: KernelHost, options: Partial<DirectStackOptions> = {}): Promise<DirectStack> {
  const stack = new DirectStack({ netif: host.tap, ipv4: '10.77.0.2/24', dns: ['10.77.0.1'], ...options });
  closings.push(() => stack.close());
  await stack.ready();
  return stack;
}

describe.skipIf(skip !== null)(`DNS from dnsmasq${skip === null ? '' : ` (${skip})`}`, () => {
  it('answers for hosts, aliases, services, texts and addresses', async () => {
    const stack = await stackOn(await kernel(), { search: ['test'] });
    expect(await stack.resolve('www')).toEqual(['10.77.0.80']);
    expect(await stack.resolve('alias.test')).toEqual(['10.77.0.80']);
    expect(await stack.dns.query('_http._tcp.test', 'SRV')).toEqual([
      { target: 'www.test', port: 80, priority: 1, weight: 2 },
    ]);
    expect(await stack.dns.query('text.test', 'TXT')).toEqual([['one', 'two']]);
    expect(await stack.dns.reverse(IpAddress.parse('10.77.0.80'))).toEqual(['www.test']);
    await expect(stack.resolve('nobody.test')).rejects.toMatchObject({ code: 'ENOTFOUND' });
  });

  it('gives both families, over IPv6 too', async () => {
    const host = await kernel();
    const stack = await stackOn(host, { ipv6: '2001:db8:77::2/64', dns: ['2001:db8:77::1'] });
    expect((await stack.resolve('www.test')).sort()).toEqual(['10.77.0.80', '2001:db8:77::80']);
  });

  it('gives over TCP what does not fit a datagram', async () => {
    const stack = await stackOn(await kernel());
    expect(await stack.resolve('big.test')).toHaveLength(120);
    expect(stack.statistics().dns).toMatchObject({ truncated: 1, tcpQueries: 1 });
  });

  it('is asked when the first server is not there', async () => {
    const stack = await stackOn(await kernel(), { dns: ['10.77.0.1:54', '10.77.0.77', '10.77.0.1'] });
    expect(await stack.resolve('www.test')).toEqual(['10.77.0.80']);
  });
});
