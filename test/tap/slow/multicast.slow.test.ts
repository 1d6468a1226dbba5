import { once } from 'node:events';
import { afterEach, describe, expect, it } from 'vitest';
import { DirectStack } from '../../../src/direct/index.ts';
import { createDgram } from '../../../src/net/index.ts';
import { until } from '../support/frames.ts';
import { canTap, KernelHost } from '../support/kernel-host.ts';

const skip = canTap();
const V4 = '239.1.2.3';
const V6 = 'ff05::1:3';

const closings: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const close of closings.splice(0).reverse()) await close();
});

/** A kernel whose bridge asks who is in which group, in the given versions. */
async function bridge(igmp: 2 | 3, mld: 1 | 2): Promise<{ host: KernelHost; stack: DirectStack }> {
  const host = new KernelHost({ ipv6: '2001:db8:77::1/64' });
  closings.push(() => host.close());
  host.ip('address', 'flush', 'dev', host.device);
  host.ip(
    ...['link', 'add', 'br0', 'type', 'bridge', 'forward_delay', '0'],
    ...['mcast_snooping', '1', 'mcast_querier', '1'],
    ...['mcast_igmp_version', `${igmp}`, 'mcast_mld_version', `${mld}`, 'mcast_startup_query_interval', '50'],
    ...['mcast_query_interval', '200', 'mcast_query_response_interval', '20'],
  );
  host.ip('link', 'set', host.device, 'master', 'br0');
  host.ip('address', 'add', '10.77.0.1/24', 'dev', 'br0');
  host.ip('address', 'add', '2001:db8:77::1/64', 'dev', 'br0', 'nodad');
  host.ip('link', 'set', 'br0', 'up');
  const stack = new DirectStack({
    netif: host.tap,
    ipv4: '10.77.0.2/24',
    ipv6: '2001:db8:77::2/64',
    probeAddress: false,
  });
  closings.push(() => stack.close());
  await stack.ready();
  const heard4 = () => (stack.statistics().igmp as Record<string, number>).igmpInQueries!;
  const heard6 = () => (stack.statistics().ndp as Record<string, number>).mldInQueries!;
  await until('the queriers', () => heard4() > 0 && heard6() > 0, 10_000);
  return { host, stack };
}

/** What the bridge has learnt. */
async function members(host: KernelHost): Promise<string> {
  return (await host.exec('bridge', ['-d', 'mdb', 'show', 'dev', 'br0'])).stdout;
}

async function untilMembers(host: KernelHost, what: RegExp, present = true): Promise<void> {
  const deadline = performance.now() + 10_000;
  for (;;) {
    const table = await members(host);
    if (what.test(table) === present) return;
    if (performance.now() > deadline)
      throw new Error(`the bridge ${present ? 'lacks' : 'has'} ${what}:\n${table}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

describe.skipIf(skip !== null)('multicast with the kernel as querier', () => {
  it('is known by its reports of IGMPv3 and MLDv2, with sources, and when it leaves', async () => {
    const { host, stack } = await bridge(3, 2);
    const socket = await stack.udp.bind({ port: 4242 });
    socket.addMembership(V4);
    socket.addMembership(V6, { source: '2001:db8:77::1' });
    await untilMembers(host, new RegExp(`grp ${V4.replaceAll('.', '\\.')} .*filter_mode exclude`));
    await untilMembers(host, /grp ff05::1:3 .*filter_mode include source_list 2001:db8:77::1/);
    socket.dropMembership(V4);
    socket.dropMembership(V6);
    await untilMembers(host, new RegExp(`grp (${V4}|${V6}) `), false);
  });

  it('is known by its reports of IGMPv2 and MLDv1', async () => {
    const { host, stack } = await bridge(2, 1);
    const socket = await stack.udp.bind({ port: 4242 });
    socket.addMembership(V4);
    socket.addMembership(V6);
    await untilMembers(host, /grp 239\.1\.2\.3 /);
    await untilMembers(host, /grp ff05::1:3 /);
    expect(stack.network.ipv4.links[0]!.igmp.groups.version).toBe(1);
    socket.dropMembership(V4);
    socket.dropMembership(V6);
    await untilMembers(host, new RegExp(`grp (${V4}|${V6}) `), false);
  });

  it('hears what the kernel sends to a group, and the kernel hears it, by the face of node:dgram', async () => {
    const { host, stack } = await bridge(3, 2);
    const socket = createDgram(stack).createSocket({ type: 'udp4', reuseAddr: true });
    socket.bind(4242);
    await once(socket, 'listening');
    socket.addMembership(V4, '10.77.0.2');
    await untilMembers(host, /grp 239\.1\.2\.3 /);
    const came = once(socket, 'message');
    await host.exec('socat', ['-u', 'STDIN', `UDP4-DATAGRAM:${V4}:4242,ip-multicast-if=10.77.0.1`], {
      input: 'from the kernel',
    });
    expect(String((await came)[0])).toBe('from the kernel');
    const listener = host.spawn('socat', [
      '-u',
      `UDP4-RECV:4243,ip-add-membership=${V4}:10.77.0.1`,
      'STDOUT',
    ]);
    let heard = '';
    listener.stdout!.on('data', (chunk) => {
      heard += chunk;
    });
    socket.setMulticastTTL(3);
    socket.setMulticastLoopback(false);
    const again = setInterval(() => socket.send('from us', 4243, V4), 50);
    await until('the kernel to hear us', () => heard.includes('from us'));
    clearInterval(again);
    socket.close();
  });
});
