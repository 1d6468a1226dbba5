import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { networkInterfaces } from 'node:os';
import { afterEach, describe, expect, it } from 'vitest';
import { NetError } from '../../src/errors.ts';
import { endpoint, hostError, mapped } from '../../src/socket/host.ts';
import { SocketStack } from '../../src/socket/index.ts';
import type { Flow } from '../../src/stack.ts';

const hasIpv6 = Object.values(networkInterfaces()).some((addresses) =>
  addresses?.some(({ address }) => address === '::1'),
);

const stacks: SocketStack[] = [];
afterEach(async () => {
  await Promise.all(stacks.splice(0).map((stack) => stack.close()));
});

function newStack(closeTimeoutMs = 200): SocketStack {
  const stack = new SocketStack({ closeTimeoutMs });
  stacks.push(stack);
  return stack;
}

/** Both ends of a connection over `host`. */
async function pair(host: string, stack = newStack()): Promise<[client: Flow, server: Flow]> {
  let accept!: (flow: Flow) => void;
  const accepted = new Promise<Flow>((resolve) => {
    accept = resolve;
  });
  const listener = await stack.tcp.listen({ port: 0 }, accept);
  return [await stack.tcp.connect({ host, port: listener.local.port }), await accepted];
}

describe('addresses of a dual-stack host', () => {
  it('are said in their own family', () => {
    expect(endpoint('::ffff:10.1.2.3', 5)).toEqual({ address: '10.1.2.3', port: 5, family: 'IPv4' });
    expect(endpoint('::ffff:1', 5)).toEqual({ address: '::ffff:1', port: 5, family: 'IPv6' });
    expect(mapped('10.1.2.3')).toBe('::ffff:10.1.2.3');
    expect(mapped('fe80::1')).toBe('fe80::1');
  });

  it('of an IPv4 client of a listener on all addresses is IPv4', async () => {
    const [client, server] = await pair('127.0.0.1');
    expect(server.remote).toEqual(client.local);
    expect(server.remote).toMatchObject({ address: '127.0.0.1', family: 'IPv4' });
  });

  it.skipIf(!hasIpv6)('of an IPv6 client is IPv6, on the same listener', async () => {
    const [, server] = await pair('::1');
    expect(server.remote).toMatchObject({ address: '::1', family: 'IPv6' });
  });

  it.skipIf(!hasIpv6)('of both families are reached by one UDP socket', async () => {
    const stack = newStack();
    const client = await stack.udp.bind();
    for (const host of ['127.0.0.1', '::1']) {
      const server = await stack.udp.bind({ host });
      await client.send(Buffer.from(host), { host, port: server.local.port });
      const received = (await server.receive())!;
      expect(received.data.toString()).toBe(host);
      expect(received.remote).toMatchObject({ address: host, port: client.local.port });
      await server.send(Buffer.from('back'), { host, port: received.remote.port });
      expect((await client.receive())!.remote).toMatchObject({ address: host });
    }
  });

  it('of the other family than the socket’s are EINVAL', async () => {
    const socket = await newStack().udp.bind({ host: '127.0.0.1' });
    const send = socket.send(Buffer.from('x'), { host: '::1', port: 9 });
    await expect(send).rejects.toMatchObject({ code: 'EINVAL', syscall: 'send', address: '::1', port: 9 });
  });
});

describe('names', () => {
  it('are resolved by the host, for TCP and UDP alike', async () => {
    const stack = newStack();
    expect(await stack.resolve('localhost')).toContain('127.0.0.1');
    const [client] = await pair('localhost', stack);
    expect(client.remote.port).toBeGreaterThan(0);
    const server = await stack.udp.bind({ host: '127.0.0.1' });
    const socket = await stack.udp.bind({ host: '127.0.0.1' });
    await socket.send(Buffer.from('x'), { host: 'localhost', port: server.local.port });
    expect((await server.receive())!.remote.port).toBe(socket.local.port);
  });

  it('that do not exist are an error with a code and the name', async () => {
    const code = expect.stringMatching(/^(ENOTFOUND|EAI_AGAIN)$/);
    await expect(newStack().resolve('does-not-exist.invalid')).rejects.toMatchObject({
      code,
      syscall: 'getaddrinfo',
      address: 'does-not-exist.invalid',
    });
  });
});

describe('errors of the host', () => {
  const where = { syscall: 'connect', address: '10.0.0.1', port: 80 };

  it('are passed on where they say all', () => {
    const error = Object.assign(new Error('x'), { ...where, code: 'ECONNREFUSED' });
    expect(hostError(error, where)).toBe(error);
  });

  it('become the cause of one that says all', () => {
    const error = Object.assign(new Error('read ECONNRESET'), { code: 'ECONNRESET', syscall: 'read' });
    const told = hostError(error, { ...where, syscall: 'read' });
    expect(told).toBeInstanceOf(NetError);
    expect(told).toMatchObject({ code: 'ECONNRESET', ...where, syscall: 'read', cause: error });
  });

  it('of several attempts are the first one', () => {
    const first = Object.assign(new Error('x'), { ...where, code: 'ECONNREFUSED' });
    expect(hostError(new AggregateError([first, new Error('y')]), where)).toBe(first);
  });
});

describe('a flow', () => {
  it('reads ahead a bounded amount only', async () => {
    const [client, server] = await pair('127.0.0.1');
    void client.write(Buffer.alloc(32 << 20)).catch(() => {});
    await new Promise((resolve) => setTimeout(resolve, 300));
    expect(server.stats.receiveQueue).toBeGreaterThanOrEqual(256 * 1024);
    expect(server.stats.receiveQueue).toBeLessThan(1 << 20);
    expect(server.stats.bytesReceived).toBeLessThan(1 << 20);
    client.abort();
  });

  it('says the state that it is in', async () => {
    const [client, server] = await pair('127.0.0.1');
    expect([client.stats.state, server.stats.state]).toEqual(['ESTABLISHED', 'ESTABLISHED']);
    await client.shutdown();
    expect(await server.read()).toBe(null);
    expect([client.stats.state, server.stats.state]).toEqual(['FIN-WAIT-2', 'CLOSE-WAIT']);
    await server.close();
    expect(await client.read()).toBe(null);
    expect([client.stats.state, server.stats.state]).toEqual(['CLOSED', 'CLOSED']);
  });

  it('says who reset it', async () => {
    const [client, server] = await pair('127.0.0.1');
    const read = server.read();
    client.abort();
    await expect(read).rejects.toMatchObject({
      code: 'ECONNRESET',
      syscall: 'read',
      address: '127.0.0.1',
      port: client.local.port,
    });
  });
});

describe('close of the stack', () => {
  it('resets flows that do not follow within its bound', async () => {
    const stack = newStack(100);
    const [client, server] = await pair('127.0.0.1', stack);
    void client.write(Buffer.alloc(32 << 20)).catch(() => {});
    await new Promise((resolve) => setTimeout(resolve, 50));
    const before = performance.now();
    await stack.close();
    expect(performance.now() - before).toBeLessThan(2000);
    expect([client.stats.state, server.stats.state]).toEqual(['CLOSED', 'CLOSED']);
    expect(stack.statistics()).toMatchObject({ tcp: { flows: 0, listeners: 0 }, udp: { sockets: 0 } });
  });

  it('gives up attempts that hang', async () => {
    const stack = newStack();
    const listener = await stack.tcp.listen({ port: 0 }, () => {});
    const attempt = stack.tcp.connect({ host: '127.0.0.1', port: listener.local.port });
    const [outcome] = await Promise.allSettled([attempt, stack.close()]);
    expect(outcome).toMatchObject({ status: 'rejected', reason: { code: 'ECONNABORTED' } });
  });

  it('leaves nothing that keeps the process alive', async () => {
    const program = `
      import { SocketStack } from './src/socket/index.ts';
      const stack = new SocketStack();
      const echo = async (flow) => { for await (const chunk of flow) await flow.write(chunk); };
      const listener = await stack.tcp.listen({ port: 0 }, echo);
      const flow = await stack.tcp.connect({ host: '127.0.0.1', port: listener.local.port, timeoutMs: 60_000 });
      await flow.write(Buffer.from('x'));
      await flow.read();
      const idle = await stack.tcp.connect({ host: '127.0.0.1', port: listener.local.port });
      void idle.read();
      const socket = await stack.udp.bind();
      void socket.receive();
      await stack.close();
      process.stdout.write('closed');
    `;
    const child = spawn(process.execPath, ['--import', 'tsx', '--input-type=module', '-e', program], {
      stdio: ['ignore', 'pipe', 'inherit'],
      timeout: 15_000,
    });
    let output = '';
    child.stdout.on('data', (text: Buffer) => {
      output += text;
    });
    const [code] = await once(child, 'exit');
    expect([code, output]).toEqual([0, 'closed']);
  });
});

describe('statistics', () => {
  it('count openings, failures and bytes, those of flows that are gone too', async () => {
    const stack = newStack();
    const [client, server] = await pair('127.0.0.1', stack);
    await client.write(Buffer.alloc(1000));
    await client.close();
    for await (const _ of server);
    await server.close();
    await expect(stack.tcp.connect({ host: '127.0.0.1', port: 1 })).rejects.toThrow();
    expect(stack.statistics()).toMatchObject({
      tcp: {
        tcpActiveOpens: 2,
        tcpPassiveOpens: 1,
        tcpAttemptFails: 1,
        flows: 0,
        bytesSent: 1000,
        bytesReceived: 1000,
      },
    });
  });
});

describe('multicast', () => {
  it('is heard by members, on a port that is shared, and by them only', async () => {
    const stack = newStack();
    const bind = () => stack.udp.bind({ host: '0.0.0.0', reuseAddress: true, port });
    const first = await stack.udp.bind({ host: '0.0.0.0', reuseAddress: true });
    const { port } = first.local;
    const second = await bind();
    const group = '239.66.1.2';
    for (const socket of [first, second]) socket.addMembership(group, { interface: '127.0.0.1' });
    expect(() => first.addMembership(group, { interface: '127.0.0.1' })).toThrow(
      expect.objectContaining({ code: 'EADDRINUSE', syscall: 'addMembership' }),
    );
    const sender = await stack.udp.bind({ host: '127.0.0.1' });
    sender.setMulticastInterface('127.0.0.1');
    sender.setMulticastTtl(1);
    sender.setMulticastLoopback(true);
    const got = Promise.all([first.receive(), second.receive()]);
    await sender.send(Buffer.from('to the group'), { host: group, port });
    for (const datagram of await got) expect(`${Buffer.from(datagram!.data)}`).toBe('to the group');
    first.dropMembership(group, { interface: '127.0.0.1' });
    expect(() => sender.setMulticastTtl(256)).toThrow(expect.objectContaining({ code: 'EINVAL' }));
  });
});
