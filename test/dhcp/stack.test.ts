import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { IpAddress } from '../../src/address/index.ts';
import type { DhcpLease } from '../../src/dhcp/index.ts';
import { impair } from '../../src/netif/index.ts';
import { SeededRandom } from '../../src/time/index.ts';
import { dhcpOf, Lan, SERVER } from './lan.ts';

let lan: Lan;
beforeEach(() => {
  lan = new Lan();
});
afterEach(() => lan.close());

describe('a stack with ipv4: dhcp', () => {
  it('takes an address, routes and names from a server, having asked whether it is free', async () => {
    await lan.server({
      router: '10.0.0.254',
      dns: ['10.0.0.53'],
      domain: 'test',
      search: ['a.test', 'b.test'],
      mtu: 1400,
      leaseSeconds: 1000,
    });
    const leases: (DhcpLease | null)[] = [];
    const client = lan.client({ hostname: 'client', onLease: (lease) => leases.push(lease) });
    await lan.run(client.ready());
    expect(leases).toEqual([
      {
        address: '10.0.0.100',
        prefixLength: 24,
        server: SERVER,
        routes: [{ prefix: '0.0.0.0/0', gateway: '10.0.0.254' }],
        dns: ['10.0.0.53'],
        domain: 'test',
        search: ['a.test', 'b.test'],
        mtu: 1400,
        leaseSeconds: 1000,
        renewSeconds: 500,
        rebindSeconds: 875,
      },
    ]);
    expect(dhcpOf(client)).toMatchObject({
      state: 'BOUND',
      address: '10.0.0.100/24',
      server: SERVER,
      leaseSeconds: 1000,
      discovers: 1,
      requests: 1,
    });
    // RFC 5227: three probes and a wait.
    expect(lan.clock.now()).toBeGreaterThan(4000);
    expect(`${client.network.ipv4.routes.lookup(client.network.ipv4.address!.address)?.gateway}`).toBe(
      'null',
    );
    expect(client.network.ipv4.address?.toString()).toBe('10.0.0.100/24');
  });

  it('is as quick as the network where it does not probe', async () => {
    await lan.server();
    const client = lan.client({}, { probeAddress: false });
    const begun = lan.clock.now();
    await lan.run(client.ready());
    expect(lan.clock.now() - begun).toBeLessThan(10);
  });

  it('carries connections, and gives each host an address of its own', async () => {
    await lan.server();
    const [a, b] = [lan.client(), lan.client()];
    await lan.run(Promise.all([a.ready(), b.ready()]));
    const host = b.network.ipv4.address!.address.toString();
    expect(host).not.toBe(a.network.ipv4.address!.address.toString());
    await b.tcp.listen({ port: 7 }, async (flow) => {
      for await (const chunk of flow) await flow.write(chunk);
      await flow.close();
    });
    const flow = await lan.run(a.tcp.connect({ host, port: 7 }));
    await flow.write(Buffer.from('hello'));
    expect(String(await lan.run(flow.read()))).toBe('hello');
    await lan.run(flow.close());
  });

  it('uses classless routes in place of the router (RFC 3442)', async () => {
    await lan.server({
      router: '10.0.0.254',
      routes: [
        { prefix: '192.168.4.0/22', gateway: '10.0.0.7' },
        { prefix: '172.16.0.0/12', gateway: null },
      ],
    });
    const client = lan.client();
    await lan.run(client.ready());
    const { routes } = client.network.ipv4;
    const via = (text: string) => routes.lookup(IpAddress.parse(text))?.gateway?.toString() ?? null;
    expect(via('192.168.7.1')).toBe('10.0.0.7');
    expect(routes.lookup(IpAddress.parse('172.20.0.1'))).toMatchObject({ gateway: null });
    expect(routes.lookup(IpAddress.parse('8.8.8.8'))).toBeNull();
  });

  it('prolongs its lease at T1, from the server, without losing a connection', async () => {
    const server = await lan.server({ leaseSeconds: 600 });
    const client = lan.client();
    await lan.run(client.ready());
    await lan.clock.runFor(3_600_000);
    expect(dhcpOf(client)).toMatchObject({ state: 'BOUND', address: '10.0.0.100/24', discovers: 1 });
    expect(server.counters).toMatchObject({ discovers: 1, naks: 0 });
    expect(server.counters.acks).toBe(1 + 12);
  });

  it('asks everybody at T2, gives the address up at the end, and finds another server', async () => {
    const first = await lan.server({ leaseSeconds: 1000 });
    const leases: (string | null)[] = [];
    const client = lan.client({ onLease: (lease) => leases.push(lease?.address ?? null) });
    await lan.run(client.ready());
    first.answering = false;
    await lan.clock.runFor(520_000);
    expect(dhcpOf(client).state).toBe('RENEWING');
    await lan.clock.runFor(365_000);
    expect(dhcpOf(client).state).toBe('REBINDING');
    await lan.clock.runFor(130_000);
    expect(dhcpOf(client)).toMatchObject({ state: 'SELECTING', expirations: 1 });
    expect(client.network.ipv4.address).toBeNull();
    await lan.server({ range: ['10.0.0.200', '10.0.0.210'] }, '10.0.0.2/24');
    await lan.clock.runFor(90_000);
    expect(dhcpOf(client)).toMatchObject({ state: 'BOUND', server: '10.0.0.2' });
    expect(leases).toEqual(['10.0.0.100', null, '10.0.0.200']);
  });

  it('goes on with another server in REBINDING', async () => {
    const first = await lan.server({ leaseSeconds: 1000 });
    const client = lan.client();
    await lan.run(client.ready());
    first.answering = false;
    await lan.server({ range: ['10.0.0.100', '10.0.0.210'] }, '10.0.0.2/24');
    await lan.clock.runFor(900_000);
    expect(dhcpOf(client)).toMatchObject({
      state: 'BOUND',
      server: '10.0.0.2',
      address: '10.0.0.100/24',
      discovers: 1,
    });
  });

  it('asks for the address it had before, and starts over when that is refused', async () => {
    const server = await lan.server();
    const again = lan.client({ previousAddress: '10.0.0.150' });
    await lan.run(again.ready());
    expect(dhcpOf(again)).toMatchObject({ discovers: 0, requests: 1, address: '10.0.0.150/24' });
    const refused = lan.client({ previousAddress: '192.168.1.5' });
    await lan.run(refused.ready());
    expect(dhcpOf(refused)).toMatchObject({ discovers: 1, naks: 1, address: '10.0.0.100/24' });
    expect(server.counters.naks).toBe(1);
  });

  it('gives up on the address it had when nobody knows it', async () => {
    const server = await lan.server();
    server.answering = false;
    const client = lan.client({ previousAddress: '10.0.0.150' });
    void client.ready().catch(() => {});
    await lan.clock.runFor(20_000);
    server.answering = true;
    await lan.clock.runFor(60_000);
    expect(dhcpOf(client)).toMatchObject({ state: 'BOUND' });
    expect(dhcpOf(client).discovers).toBeGreaterThan(0);
  });

  it('loses its address to a NAK on renewal', async () => {
    const server = await lan.server({ leaseSeconds: 600 });
    const client = lan.client();
    await lan.run(client.ready());
    server.pool.grant('02:00:00:00:00:77', '10.0.0.100', Infinity);
    await lan.clock.runFor(320_000);
    expect(dhcpOf(client)).toMatchObject({ state: 'BOUND', naks: 1, address: '10.0.0.101/24' });
  });

  it('declines an address that somebody has, waits ten seconds, and takes another', async () => {
    const server = await lan.server();
    await lan.host('10.0.0.100/24');
    const client = lan.client();
    const begun = lan.clock.now();
    await lan.run(client.ready());
    expect(dhcpOf(client)).toMatchObject({ declines: 1, discovers: 2, address: '10.0.0.101/24' });
    expect(server.counters.declines).toBe(1);
    expect(lan.clock.now() - begun).toBeGreaterThan(10_000);
  });

  it('declines an address that another station insists on', async () => {
    await lan.server();
    const client = lan.client();
    await lan.run(client.ready());
    const rogue = await lan.host('10.0.0.100/24');
    await lan.clock.runFor(60_000);
    expect(dhcpOf(client)).toMatchObject({ state: 'BOUND', declines: 1, address: '10.0.0.101/24' });
    expect(rogue.network.ipv4.address?.toString()).toBe('10.0.0.100/24');
  });

  it('gives the address back when it closes', async () => {
    const server = await lan.server();
    const client = lan.client();
    await lan.run(client.ready());
    expect(server.pool.size).toBe(1);
    await lan.run(client.close());
    await lan.clock.runFor(1000);
    expect(server.counters.releases).toBe(1);
    expect(server.pool.size).toBe(0);
  });

  it('says ETIMEDOUT when nobody answers, asking ever more rarely', async () => {
    const client = lan.client({ timeoutMs: 300_000 });
    await expect(lan.run(client.ready())).rejects.toMatchObject({ code: 'ETIMEDOUT' });
    // 4 + 8 + 16 + 32 + 64 + 64 + 64 seconds and more.
    expect(dhcpOf(client).discovers).toBe(8);
    expect(dhcpOf(client).state).toBe('SELECTING');
  });

  it('takes a link-local address while nobody answers, and a lease when one comes', async () => {
    const client = lan.client({ linkLocal: true });
    const other = lan.client({ linkLocal: true });
    await lan.run(Promise.all([client.ready(), other.ready()]));
    const address = client.network.ipv4.address!;
    expect(address.toString()).toMatch(/^169\.254\.\d+\.\d+\/16$/);
    expect(dhcpOf(client).linkLocal).toBe(address.address.toString());
    await other.tcp.listen({ port: 7 }, (flow) => void flow.close());
    const host = other.network.ipv4.address!.address.toString();
    const flow = await lan.run(client.tcp.connect({ host, port: 7 }));
    await lan.run(flow.close());
    await lan.server();
    await lan.clock.runFor(100_000);
    expect(dhcpOf(client)).toMatchObject({ state: 'BOUND' });
    expect(dhcpOf(client).linkLocal).toBeUndefined();
    expect(client.network.ipv4.address?.toString()).toMatch(/^10\.0\.0\.10[01]\/24$/);
  });

  it('gets through a line that loses a fifth of all frames', async () => {
    await lan.server({ leaseSeconds: 600 });
    for (let seed = 0; seed < 10; seed++) {
      const netif = impair(lan.switch.port(), {
        clock: lan.clock,
        random: new SeededRandom(seed),
        transmit: { loss: 0.2, delayMs: 5, jitterMs: 20, duplicate: 0.1 },
        receive: { loss: 0.2, delayMs: 5, jitterMs: 20, duplicate: 0.1 },
      });
      const client = lan.stack({ dhcp: { timeoutMs: 500_000 } }, netif);
      await lan.run(client.ready());
      expect(dhcpOf(client).state).toBe('BOUND');
    }
  });

  it('two hundred hosts come up together', async () => {
    await lan.server({ range: ['10.0.0.2', '10.0.0.250'] });
    const clients = Array.from({ length: 200 }, () => lan.client());
    await lan.run(Promise.all(clients.map((client) => client.ready())));
    const addresses = new Set(clients.map((client) => `${client.network.ipv4.address}`));
    expect(addresses.size).toBe(200);
  });
});
