import { createHash } from 'node:crypto';
import { once } from 'node:events';
import hostNet, { type AddressInfo, type Server, type Socket } from 'node:net';
import { setTimeout as delay, setImmediate as turn } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { createNet, type NodeNet } from '../../src/net/index.ts';
import { SocketStack } from '../../src/socket/index.ts';
import { connectedStacks, THERE } from './stacks.ts';

interface Ends {
  readonly client: NodeNet;
  readonly server: NodeNet;
  readonly host: string;
  close(): Promise<void>;
}

const KINDS: readonly [string, () => Promise<Ends>][] = [
  [
    'node:net',
    async () => ({ client: hostNet, server: hostNet, host: '127.0.0.1', close: async () => {} }) as Ends,
  ],
  [
    'net on a direct stack',
    async () => {
      const pair = await connectedStacks();
      return { client: createNet(pair.here), server: createNet(pair.there), host: THERE, close: pair.close };
    },
  ],
  [
    'net on flows',
    async () => {
      const stack = new SocketStack();
      const net = createNet(stack);
      return { client: net, server: net, host: '127.0.0.1', close: () => stack.close() };
    },
  ],
];

type Callback = (this: Socket, size: number, bytes: Uint8Array) => boolean;

describe.each(KINDS)('onread: %s', (_name, open) => {
  let ends: Ends;
  let server: Server;
  let client: Socket;

  beforeEach(async () => {
    ends = await open();
  });
  afterEach(async () => {
    client.destroy();
    server.close();
    await ends.close();
  });

  async function connected(
    buffer: Uint8Array | (() => Uint8Array),
    callback: Callback,
  ): Promise<{ peer: Socket }> {
    server = ends.server.createServer().listen(0, ends.host);
    await once(server, 'listening');
    const { port } = server.address() as AddressInfo;
    client = ends.client.connect({ port, host: ends.host, onread: { buffer, callback } as never });
    client.on('error', () => {});
    const [[peer]] = (await Promise.all([once(server, 'connection'), once(client, 'connect')])) as [
      [Socket],
      unknown[],
    ];
    peer.on('error', () => {});
    return { peer };
  }

  it('fills the buffer of the user again and again, and emits no data', async () => {
    const buffer = Buffer.alloc(4);
    const parts: string[] = [];
    let isRight = true;
    let dataEvents = 0;
    const { peer } = await connected(buffer, function (size, bytes) {
      isRight &&= bytes === buffer && this === client;
      parts.push(Buffer.from(bytes.subarray(0, size)).toString());
      return true;
    });
    client.on('data', () => dataEvents++);
    peer.end('abcdefghij');
    await once(client, 'close');
    expect(parts).toEqual(['abcd', 'efgh', 'ij']);
    expect([isRight, dataEvents, client.bytesRead]).toEqual([true, 0, 10]);
  });

  it('stops at false, in the middle of what came, and goes on where it was', async () => {
    const parts: string[] = [];
    const { peer } = await connected(Buffer.alloc(4), (size, bytes) => {
      parts.push(Buffer.from(bytes.subarray(0, size)).toString());
      return parts.length % 2 === 0;
    });
    peer.end('abcdefghij');
    const ended = once(client, 'end');
    for (const count of [1, 3]) {
      await expect.poll(() => parts.length).toBe(count);
      await delay(20);
      expect(parts).toHaveLength(count);
      client.resume();
    }
    await ended;
    expect(parts).toEqual(['abcd', 'efgh', 'ij']);
  });

  it('closes the window while it is stopped, and then all comes in order', async () => {
    const hash = createHash('sha256');
    let received = 0;
    let stops = true;
    const { peer } = await connected(Buffer.alloc(50_000), (size, bytes) => {
      hash.update(bytes.subarray(0, size));
      received += size;
      return !stops;
    });
    const block = Buffer.alloc(16 << 20);
    for (let i = 0; i < block.length; i += 4) block.writeUInt32LE(i ^ (i >>> 7), i);
    let isWritten = false;
    peer.end(block, () => {
      isWritten = true;
    });
    await expect.poll(() => received).toBeGreaterThan(0);
    await delay(150);
    expect(isWritten).toBe(false);
    expect(received).toBeLessThanOrEqual(50_000);
    stops = false;
    const ended = once(client, 'end');
    client.resume();
    await ended;
    expect(received).toBe(block.length);
    expect(hash.digest('hex')).toBe(createHash('sha256').update(block).digest('hex'));
  });

  it('asks for the next buffer after each that was used', async () => {
    const sizes = [3, 5, 2, 100];
    let made = 0;
    const parts: string[] = [];
    const { peer } = await connected(
      () => Buffer.alloc(sizes[Math.min(made++, 3)]!),
      (size, bytes) => {
        parts.push(Buffer.from(bytes.subarray(0, size)).toString());
        return true;
      },
    );
    peer.end('abcdefghijklm');
    await once(client, 'close');
    expect(parts).toEqual(['abc', 'defgh', 'ij', 'klm']);
    expect(made).toBe(5);
  });

  it('stops with pause, and calls nobody after destroy', async () => {
    let calls = 0;
    const { peer } = await connected(Buffer.alloc(2), () => {
      if (++calls === 2) client.pause();
      if (calls === 3) client.destroy();
      return true;
    });
    peer.write('abcdefghij');
    await expect.poll(() => calls).toBe(2);
    await delay(20);
    expect(calls).toBe(2);
    const closed = once(client, 'close');
    client.resume();
    await closed;
    await turn();
    expect([calls, client.bytesRead]).toEqual([3, 6]);
  });

  it('throws what the callback throws to the process, and goes on', async () => {
    const { peer } = await connected(Buffer.alloc(100), (size, bytes) => {
      received += size;
      if (bytes[0] === 0x78) throw new Error('on purpose');
      return true;
    });
    let received = 0;
    const others = process.listeners('uncaughtException');
    process.removeAllListeners('uncaughtException');
    try {
      const thrown = once(process, 'uncaughtException');
      peer.write('x1');
      expect((await thrown)[0]).toMatchObject({ message: 'on purpose' });
      peer.end('abc');
      await once(client, 'close');
      expect(received).toBe(5);
    } finally {
      for (const listener of others) process.on('uncaughtException', listener);
    }
  });

  it('fails with ENOBUFS where the buffer holds nothing', async () => {
    const { peer } = await connected(Buffer.alloc(0), () => true);
    const failed = once(client, 'error');
    peer.write('x');
    expect((await failed)[0]).toMatchObject({ code: 'ENOBUFS', syscall: 'read' });
  });
});
