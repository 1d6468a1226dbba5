import { once } from 'node:events';
import type { AddressInfo, Socket } from 'node:net';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { createNet, type NodeNet } from '../../src/net/index.ts';
import { SocketStack } from '../../src/socket/index.ts';

describe('net on any stack, by its flows', () => {
  let stack: SocketStack;
  let net: NodeNet;

  beforeEach(() => {
    stack = new SocketStack();
    net = createNet(stack);
  });
  afterEach(() => stack.close());

  it('carries bytes both ways and ends in order', async () => {
    const server = net.createServer((socket) => socket.pipe(socket)).listen(0, '127.0.0.1');
    await once(server, 'listening');
    const { port } = server.address() as AddressInfo;
    const client = net.connect(port, '127.0.0.1');
    const block = Buffer.alloc(300_000, 'flow');
    client.end(block);
    const parts: Buffer[] = [];
    client.on('data', (chunk: Buffer) => parts.push(chunk));
    const [hadError] = await once(client, 'close');
    expect(hadError).toBe(false);
    expect(Buffer.concat(parts).equals(block)).toBe(true);
    expect([client.bytesRead, client.bytesWritten]).toEqual([block.length, block.length]);
    server.close();
    await once(server, 'close');
  });

  it('fails as Node does', async () => {
    const client = net.connect(1, '127.0.0.1');
    const [error] = (await once(client, 'error')) as [Error];
    expect(error).toMatchObject({ message: 'connect ECONNREFUSED 127.0.0.1:1', errno: -111 });
  });

  it('resets, and the peer hears of it', async () => {
    const server = net.createServer().listen(0, '127.0.0.1');
    await once(server, 'listening');
    const client = net.connect((server.address() as AddressInfo).port, '127.0.0.1');
    const [[peer]] = (await Promise.all([once(server, 'connection'), once(client, 'connect')])) as [
      [Socket],
      [],
    ];
    peer.resume();
    const failed = once(peer, 'error');
    client.resetAndDestroy();
    const [error] = (await failed) as [NodeJS.ErrnoException];
    expect(error.code).toBe('ECONNRESET');
    server.close();
  });
});
