import { existsSync } from 'node:fs';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { IpAddress } from '../../src/address/index.ts';
import type { DhcpLease } from '../../src/dhcp/index.ts';
import { type DhcpOptions, DirectStack } from '../../src/direct/index.ts';
import { type Clock, RealClock } from '../../src/time/index.ts';
import { until } from './support/frames.ts';
import { canTap, KernelHost } from './support/kernel-host.ts';

const skip = canTap() ?? (existsSync('/usr/sbin/dnsmasq') ? null : 'dnsmasq is not installed');

const closings: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const close of closings.splice(0).reverse()) await close();
});

function kernel(): KernelHost {
  const host = new KernelHost();
  closings.push(() => host.close());
  return host;
}

/** dnsmasq in the namespace, and what it logs. */
async function dnsmasq(
  host: KernelHost,
  ...args: string[]
): Promise<{ log: () => string; stop: () => Promise<unknown> }> {
  let log = '';
  const child = host.spawn('/usr/sbin/dnsmasq', [
    '--keep-in-foreground',
    '--log-facility=-',
    '--log-dhcp',
    '--conf-file=/dev/null',
    '--no-resolv',
    '--no-hosts',
    '--no-ping',
    '--user=root',
    '--port=0',
    '--pid-file=',
    '--leasefile-ro',
    '--dhcp-authoritative',
    `--interface=${host.device}`,
    ...args,
  ]);
  child.stderr?.on('data', (chunk: Buffer) => {
    log += chunk;
  });
  const stop = (): Promise<unknown> => {
    const ended = new Promise((resolve) => child.once('close', resolve));
    child.kill('SIGKILL');
    return ended;
  };
  await until('dnsmasq', () => log.includes('started'));
  return { log: () => log, stop };
}

/** A clock on which time passes `factor` times as fast. */
function hasty(factor: number): Clock {
  const clock = new RealClock();
  return {
    now: () => clock.now() * factor,
    defer: (task) => clock.defer(task),
    alarm: (task) => {
      const alarm = clock.alarm(task);
      return { set: (atMs) => alarm.set(atMs / factor), clear: () => alarm.clear() };
    },
  };
}

function stackOn(host: KernelHost, dhcp: DhcpOptions = {}, clock: Clock = new RealClock()): DirectStack {
  const stack = new DirectStack({ netif: host.tap, ipv4: 'dhcp', dhcp, probeAddress: false, clock });
  closings.push(() => stack.close());
  return stack;
}

const dhcpOf = (stack: DirectStack) => stack.statistics().dhcp as Record<string, number | string>;

describe.skipIf(skip !== null)(`DHCP from dnsmasq${skip === null ? '' : ` (${skip})`}`, () => {
  it('takes a lease with everything in it, is reached, and gives it back', async () => {
    const host = kernel();
    const { log } = await dnsmasq(
      host,
      '--dhcp-range=10.77.0.50,10.77.0.60,255.255.255.0,10m',
      '--dhcp-option=option:router,10.77.0.1',
      '--dhcp-option=option:dns-server,10.77.0.1,10.77.0.9',
      '--domain=lan.test',
      '--dhcp-option=option:domain-search,a.test,b.test',
      '--dhcp-option=option:classless-static-route,192.168.9.0/24,10.77.0.1,0.0.0.0/0,10.77.0.1',
      '--dhcp-option=option:mtu,1400',
    );
    const leases: (DhcpLease | null)[] = [];
    const stack = stackOn(host, { hostname: 'mirage', onLease: (lease) => leases.push(lease) });
    await stack.ready();
    expect(leases[0]).toMatchObject({
      prefixLength: 24,
      server: '10.77.0.1',
      routes: [
        { prefix: '192.168.9.0/24', gateway: '10.77.0.1' },
        { prefix: '0.0.0.0/0', gateway: '10.77.0.1' },
      ],
      dns: ['10.77.0.1', '10.77.0.9'],
      domain: 'lan.test',
      search: ['a.test', 'b.test'],
      mtu: 1400,
      leaseSeconds: 600,
    });
    const address = leases[0]!.address;
    expect(address).toMatch(/^10\.77\.0\.(5\d|60)$/);
    await host.exec('ping', ['-c', '1', '-W', '2', address]);
    const path = stack.network.path(IpAddress.parse('192.168.9.1'));
    expect([path.mtu, path.interfaceMtu]).toEqual([1400, 1400]);
    // The interface stays while dnsmasq reads what came by it.
    const close = vi.spyOn(host.tap, 'close').mockResolvedValue();
    await stack.close();
    await until('the release', () => log().includes(`DHCPRELEASE(${host.device}) ${address}`));
    close.mockRestore();
    expect(log()).toContain('client provides name: mirage');
  });

  it('prolongs a lease by unicast at T1, and starts over after a NAK', async () => {
    const host = kernel();
    const first = await dnsmasq(host, '--dhcp-range=10.77.0.50,10.77.0.60,255.255.255.0,2m');
    // dnsmasq gives two minutes at least; for us they pass in four seconds.
    const stack = stackOn(host, {}, hasty(30));
    await stack.ready();
    const { address } = dhcpOf(stack);
    await until('a renewal', () => Number(dhcpOf(stack).acks) >= 2);
    expect(dhcpOf(stack)).toMatchObject({ address, state: 'BOUND', discovers: 1 });
    await first.stop();
    const second = await dnsmasq(host, '--dhcp-range=10.77.0.70,10.77.0.80,255.255.255.0,2m');
    await until(
      'another lease',
      () => Number(dhcpOf(stack).discovers) === 2 && dhcpOf(stack).state === 'BOUND',
      15_000,
    );
    expect(dhcpOf(stack)).toMatchObject({
      naks: 1,
      address: expect.stringMatching(/^10\.77\.0\.(7\d|80)\/24$/),
    });
    expect(second.log()).toContain('DHCPNAK');
  });

  it('asks for the address that it had (INIT-REBOOT), and is refused one of another network', async () => {
    const host = kernel();
    const { log } = await dnsmasq(host, '--dhcp-range=10.77.0.50,10.77.0.60,255.255.255.0,10m');
    const stack = stackOn(host, { previousAddress: '192.168.1.7' });
    await stack.ready();
    expect(dhcpOf(stack)).toMatchObject({ naks: 1, discovers: 1, state: 'BOUND' });
    expect(log()).toContain('DHCPNAK');
  });
});
