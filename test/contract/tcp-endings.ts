import { expect } from 'vitest';
import type { Flow } from '../../src/stack.ts';
import { closedPort, connected, eventually, familyOf, howItEnds, readAll, type Suite } from './contract.ts';

const MiB = 1 << 20;

/** How connections begin and end, in order and otherwise. */
export function tcpEndingsContract({ scenario, traits }: Suite): void {
  const lossless = traits.lossy !== true;

  for (const first of ['client', 'server'] as const) {
    scenario(`half-close: the ${first} has said all and still listens`, async (network) => {
      const ends = await connected(network);
      const [early, late] = first === 'client' ? [ends.client, ends.server] : [ends.server, ends.client];
      await early.write(Buffer.from('question'));
      await early.shutdown();
      expect((await readAll(late)).toString()).toBe('question');
      const answer = Buffer.alloc(MiB, 5);
      const [received] = await Promise.all([readAll(early), late.write(answer).then(() => late.shutdown())]);
      expect(received.equals(answer)).toBe(true);
    });
  }

  scenario('the end of the stream is null, again and again', async (network) => {
    const { client, server } = await connected(network);
    const waiting = server.read();
    await client.shutdown();
    expect(await waiting).toBe(null);
    expect(await server.read()).toBe(null);
    expect(await server.read()).toBe(null);
  });

  scenario('writing after shutdown is EPIPE', async (network) => {
    const { client } = await connected(network);
    await client.shutdown();
    await expect(client.write(Buffer.from('x'))).rejects.toMatchObject({ code: 'EPIPE' });
    await expect(client.writev([Buffer.from('x')])).rejects.toMatchObject({ code: 'EPIPE' });
    await client.shutdown();
  });

  scenario('close after all is read is an end in order for the peer', async (network) => {
    const { client, server } = await connected(network);
    await client.write(Buffer.from('bye'));
    await client.close();
    expect((await readAll(server)).toString()).toBe('bye');
    await server.close();
    await client.close();
    await eventually(network, () => ['CLOSED', 'TIME-WAIT'].includes(client.stats.state));
  });

  scenario('close ends a read that waits', async (network) => {
    const { client, server } = await connected(network);
    const waiting = client.read();
    await client.close();
    expect(await waiting).toBe(null);
    expect(await server.read()).toBe(null);
  });

  scenario(
    'close with data unread resets the peer',
    async (network) => {
      const { client, server } = await connected(network);
      await server.write(Buffer.from('nobody reads this'));
      await eventually(network, () => client.stats.receiveQueue > 0);
      await client.close();
      expect(await howItEnds(server)).toBe('ECONNRESET');
    },
    lossless,
  );

  scenario(
    'abort resets the peer, and ends what waits on this side',
    async (network) => {
      const { client, server } = await connected(network);
      const ends = [howItEnds(server), howItEnds(client)];
      client.abort();
      const [atPeer, here] = await Promise.all(ends);
      expect(atPeer).toBe('ECONNRESET');
      expect(here).not.toBe(null);
      await expect(client.write(Buffer.from('x'))).rejects.toHaveProperty('code');
      await expect(server.write(Buffer.from('x'))).rejects.toHaveProperty(
        'code',
        expect.stringMatching(/^(ECONNRESET|EPIPE)$/),
      );
      client.abort();
      await server.close();
    },
    lossless,
  );

  scenario(
    'abort does not wait for a peer that does not read',
    async (network) => {
      const { client, server } = await connected(network);
      const write = client.write(Buffer.alloc(32 * MiB)).then(
        () => null,
        (error: { code: string }) => error.code,
      );
      await eventually(network, () => server.stats.receiveQueue > 0);
      client.abort();
      client.abort();
      expect(await write).not.toBe(undefined);
      await client.close();
      expect(client.stats.state).toBe('CLOSED');
    },
    lossless,
  );

  scenario(
    'abort right after shutdown is an end too',
    async (network) => {
      const { client, server } = await connected(network);
      const shutdown = client.shutdown().catch(() => {});
      client.abort();
      await shutdown;
      await howItEnds(server);
      await server.close();
      await eventually(network, () => client.stats.state === 'CLOSED');
    },
    lossless,
  );

  scenario('connecting to a port that nothing listens on is ECONNREFUSED', async (network) => {
    const port = await closedPort(network);
    const host = network.serverAddress;
    await expect(network.client.tcp.connect({ host, port })).rejects.toMatchObject({
      code: 'ECONNREFUSED',
      syscall: 'connect',
      address: host,
      port,
    });
  });

  scenario(
    'connecting to a black hole is ETIMEDOUT when the time is over',
    async (network) => {
      const attempt = network.client.tcp.connect({ ...network.blackHole!, timeoutMs: 300 });
      await expect(attempt).rejects.toMatchObject({
        code: 'ETIMEDOUT',
        syscall: 'connect',
        address: network.blackHole!.host,
        port: network.blackHole!.port,
      });
    },
    traits.blackHole === true,
  );

  scenario(
    'an attempt that hangs can be given up by a signal',
    async (network) => {
      const controller = new AbortController();
      const attempt = network.client.tcp.connect({ ...network.blackHole!, signal: controller.signal });
      const outcome = attempt.catch((error: unknown) => error);
      await network.sleep(50);
      const reason = new Error('changed my mind');
      controller.abort(reason);
      expect(await outcome).toBe(reason);
    },
    traits.blackHole === true,
  );

  scenario('a signal stops an attempt, before it begins and after', async (network) => {
    const listener = await network.server.tcp.listen({ port: 0 }, () => {});
    const target = { host: network.serverAddress, port: listener.local.port };
    const reason = new Error('changed my mind');
    const before = network.client.tcp.connect({ ...target, signal: AbortSignal.abort(reason) });
    expect(await before.catch((error: unknown) => error)).toBe(reason);
    const controller = new AbortController();
    const during = network.client.tcp.connect({ ...target, signal: controller.signal });
    controller.abort(reason);
    expect(await during.catch((error: unknown) => error)).toBe(reason);
    const after = new AbortController();
    const flow = await network.client.tcp.connect({ ...target, signal: after.signal });
    after.abort(reason);
    await flow.write(Buffer.from('lives on'));
  });

  scenario('ports out of range are EINVAL', async (network) => {
    for (const port of [-1, 65_536, 1.5]) {
      const einval = { code: 'EINVAL' };
      await expect(network.client.tcp.connect({ host: network.serverAddress, port })).rejects.toMatchObject(
        einval,
      );
      await expect(network.server.tcp.listen({ port }, () => {})).rejects.toMatchObject(einval);
    }
  });

  scenario('listens on a port of its choice, and on one that is taken not', async (network) => {
    const { tcp } = network.server;
    const listener = await tcp.listen({ port: 0 }, () => {});
    const { port } = listener.local;
    expect(port).toBeGreaterThan(0);
    await expect(tcp.listen({ port }, () => {})).rejects.toMatchObject({
      code: 'EADDRINUSE',
      syscall: 'listen',
      port,
    });
    await listener.close();
    const again = await tcp.listen({ port, host: network.serverAddress }, () => {});
    expect(again.local).toEqual({
      address: network.serverAddress,
      port,
      family: familyOf(network.serverAddress),
    });
  });

  scenario('a listener that is closed refuses, while its flows live on', async (network) => {
    const { client, server, listener } = await connected(network);
    await listener.close();
    await listener.close();
    const target = { host: network.serverAddress, port: listener.local.port };
    await expect(network.client.tcp.connect(target)).rejects.toMatchObject({ code: 'ECONNREFUSED' });
    await client.write(Buffer.from('still here'));
    await client.shutdown();
    expect((await readAll(server)).toString()).toBe('still here');
    const flows: Flow[] = [];
    await network.server.tcp.listen({ port: target.port }, (flow) => flows.push(flow));
    await network.client.tcp.connect(target);
    await eventually(network, () => flows.length === 1);
  });

  scenario('a stack that closes ends its flows, listeners and sockets', async (network) => {
    const { client, server, listener } = await connected(network);
    const socket = await network.server.udp.bind();
    const [reader, receiver] = [howItEnds(client), socket.receive()];
    const follows = reader.then(() => client.close());
    await network.server.close();
    await follows;
    expect(await reader).toBe(null);
    expect(await receiver).toBe(null);
    await expect(server.write(Buffer.from('x'))).rejects.toHaveProperty('code');
    await expect(network.server.tcp.listen({ port: 0 }, () => {})).rejects.toHaveProperty('code');
    await expect(network.server.udp.bind()).rejects.toHaveProperty('code');
    const target = { host: network.serverAddress, port: listener.local.port, timeoutMs: 1000 };
    await expect(network.client.tcp.connect(target)).rejects.toHaveProperty('code');
    await network.server.close();
  });

  scenario('resolves a literal address to itself', async (network) => {
    expect(await network.client.resolve('192.0.2.7')).toEqual(['192.0.2.7']);
    expect(await network.client.resolve('2001:db8::7')).toEqual(['2001:db8::7']);
  });

  scenario('statistics are nested plain numbers', async (network) => {
    await connected(network);
    const check = (value: unknown): void => {
      if (typeof value === 'object' && value !== null) Object.values(value).forEach(check);
      else expect(['number', 'string']).toContain(typeof value);
    };
    const statistics = network.client.statistics();
    check(statistics);
    expect(Object.keys(statistics)).toEqual(expect.arrayContaining(['tcp', 'udp']));
  });
}
