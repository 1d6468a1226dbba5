import { expect } from 'vitest';
import type { UdpBindOptions, UdpSocket } from '../../src/stack.ts';
import { eventually, familyOf, type Network, type Suite } from './contract.ts';

/** One socket on each side, and where the server's is. */
async function sockets(network: Network, options: UdpBindOptions = {}) {
  const [client, server] = await Promise.all([network.client.udp.bind(), network.server.udp.bind(options)]);
  return { client, server, remote: { host: network.serverAddress, port: server.local.port } };
}

/**
 * As {@link sockets}, once a datagram has come through: while a neighbour is
 * being looked for, few datagrams wait for it (RFC 1122 §2.3.2.2).
 */
async function acquainted(network: Network, options: UdpBindOptions = {}) {
  const made = await sockets(network, options);
  await made.client.send(Buffer.from('hello'), made.remote);
  expect(await text(made.server)).toBe('hello');
  return made;
}

async function freePort(network: Network): Promise<number> {
  const socket = await network.server.udp.bind();
  await socket.close();
  return socket.local.port;
}

async function text(socket: UdpSocket): Promise<string> {
  return Buffer.from((await socket.receive())!.data).toString();
}

export function udpContract({ scenario, traits }: Suite): void {
  const lossless = traits.lossy !== true;

  scenario(
    'udp: a question and its answer',
    async (network) => {
      const { client, server, remote } = await sockets(network);
      await client.send(Buffer.from('question'), remote);
      const question = (await server.receive())!;
      expect(Buffer.isBuffer(question.data)).toBe(true);
      expect(question.data.toString()).toBe('question');
      expect(question.remote).toMatchObject({
        port: client.local.port,
        family: familyOf(network.serverAddress),
      });
      if (network.clientAddress !== undefined) {
        expect(question.remote.address).toBe(network.clientAddress);
      }
      const { address: host, port } = question.remote;
      await server.send(Buffer.from('answer'), { host, port });
      const answer = (await client.receive())!;
      expect(answer.data.toString()).toBe('answer');
      expect(answer.remote).toEqual({
        address: remote.host,
        port: remote.port,
        family: familyOf(remote.host),
      });
    },
    lossless,
  );

  scenario(
    'udp: datagrams keep their bounds, the empty ones too',
    async (network) => {
      const { client, server, remote } = await acquainted(network);
      const sizes = [0, 1, 511, 512, 1472, 1473, 9000, 60_000, 0];
      for (const size of sizes) await client.send(Buffer.alloc(size, size), remote);
      for (const size of sizes) {
        expect(Buffer.compare((await server.receive())!.data, Buffer.alloc(size, size))).toBe(0);
      }
    },
    lossless,
  );

  scenario(
    'udp: readers are served in turn, and iteration ends at close',
    async (network) => {
      const { client, server, remote } = await acquainted(network);
      const readers = [text(server), text(server), text(server)];
      for (const word of ['a', 'b', 'c']) await client.send(Buffer.from(word), remote);
      expect(await Promise.all(readers)).toEqual(['a', 'b', 'c']);
      const seen: string[] = [];
      await client.send(Buffer.from('d'), remote);
      for await (const { data } of server) {
        seen.push(Buffer.from(data).toString());
        await server.close();
      }
      expect(seen).toEqual(['d']);
    },
    lossless,
  );

  scenario('udp: receive is null after close, also where it waits', async (network) => {
    const { server, client, remote } = await sockets(network);
    const waiting = server.receive();
    await server.close();
    expect(await waiting).toBe(null);
    expect(await server.receive()).toBe(null);
    await server.close();
    await client.close();
    await expect(client.send(Buffer.from('x'), remote)).rejects.toMatchObject({ code: 'EPIPE' });
  });

  scenario('udp: more than 65,507 bytes (65,527 over IPv6) are EMSGSIZE', async (network) => {
    const { client, remote } = await sockets(network);
    // IPv4's total length counts its header, IPv6's payload length does not (RFC 8200 §3).
    const most = familyOf(network.serverAddress) === 'IPv4' ? 65_507 : 65_527;
    await expect(client.send(Buffer.alloc(most + 1), remote)).rejects.toMatchObject({
      code: 'EMSGSIZE',
      syscall: 'send',
      address: remote.host,
      port: remote.port,
    });
    await client.send(Buffer.alloc(most), remote);
  });

  scenario(
    'udp: a connected socket hears its peer only',
    async (network) => {
      const { client, server, remote } = await sockets(network);
      const stranger = await network.server.udp.bind();
      await client.connect(remote);
      if (network.clientAddress !== undefined) expect(client.local.address).toBe(network.clientAddress);
      await client.send(Buffer.from('hello'));
      const { address: host, port } = (await server.receive())!.remote;
      await stranger.send(Buffer.from('from a stranger'), { host, port });
      await network.sleep(50);
      await server.send(Buffer.from('from the peer'), { host, port });
      expect(await text(client)).toBe('from the peer');
      await expect(client.send(Buffer.from('x'), remote)).rejects.toMatchObject({ code: 'EISCONN' });
      await expect(client.connect(remote)).rejects.toMatchObject({ code: 'EISCONN' });
      client.disconnect();
      client.disconnect();
      await stranger.send(Buffer.from('hello again'), { host, port: client.local.port });
      expect(await text(client)).toBe('hello again');
    },
    lossless,
  );

  scenario(
    'udp: a connected socket is told that nobody is there',
    async (network) => {
      const { client } = await sockets(network);
      const remote = { host: network.serverAddress, port: await freePort(network) };
      await client.connect(remote);
      const waiting = client.receive();
      waiting.catch(() => {});
      await client.send(Buffer.from('anyone?'));
      await expect(waiting).rejects.toMatchObject({
        code: 'ECONNREFUSED',
        address: remote.host,
        port: remote.port,
      });
      // Told once: the socket goes on.
      const later = client.receive();
      await client.close();
      expect(await later).toBe(null);
    },
    lossless,
  );

  scenario('udp: calls that cannot be are refused', async (network) => {
    const { client, remote } = await sockets(network);
    const data = Buffer.from('x');
    await expect(client.send(data)).rejects.toMatchObject({ code: 'ENOTCONN' });
    for (const port of [0, -1, 65_536]) {
      await expect(client.send(data, { ...remote, port })).rejects.toMatchObject({ code: 'EINVAL' });
      await expect(client.connect({ ...remote, port })).rejects.toMatchObject({ code: 'EINVAL' });
    }
    await expect(network.client.udp.bind({ port: 65_536 })).rejects.toMatchObject({ code: 'EINVAL' });
    await expect(network.client.udp.bind({ host: '192.0.2.123' })).rejects.toMatchObject({
      code: 'EADDRNOTAVAIL',
    });
  });

  scenario('udp: a port has one socket', async (network) => {
    const socket = await network.server.udp.bind();
    const { port } = socket.local;
    expect(port).toBeGreaterThan(0);
    await expect(network.server.udp.bind({ port })).rejects.toMatchObject({ code: 'EADDRINUSE', port });
    await expect(network.server.udp.bind({ port, host: network.serverAddress })).rejects.toMatchObject({
      code: 'EADDRINUSE',
      port,
    });
    await socket.close();
    const again = await network.server.udp.bind({ port, host: network.serverAddress });
    expect(again.local).toEqual({
      address: network.serverAddress,
      port,
      family: familyOf(network.serverAddress),
    });
  });

  scenario(
    'udp: a queue that nobody reads is bounded, and counts what it drops',
    async (network) => {
      const { client, server, remote } = await acquainted(network, { receiveBuffer: 20_000 });
      for (let i = 0; i < 100; i++) await client.send(Buffer.alloc(500, i), remote);
      await eventually(network, () => server.dropped > 0);
      await network.sleep(100);
      const kept = 100 - server.dropped;
      expect(kept).toBeGreaterThan(0);
      expect(kept * 500).toBeLessThanOrEqual(20_000);
      for (let i = 0; i < kept; i++) expect((await server.receive())!.data[0]).toBe(i);
    },
    lossless,
  );

  scenario(
    'udp: broadcasting takes permission',
    async (network) => {
      const remote = { host: network.broadcastAddress!, port: 9 };
      const socket = await network.client.udp.bind();
      await expect(socket.send(Buffer.from('x'), remote)).rejects.toMatchObject({
        code: 'EACCES',
        syscall: 'send',
        address: remote.host,
      });
      const allowed = await network.client.udp.bind({ broadcast: true });
      await allowed.send(Buffer.from('x'), remote);
    },
    traits.broadcast === true,
  );
}
