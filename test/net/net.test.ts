import { once } from 'node:events';
import type { AddressInfo, LookupFunction, Server, Socket } from 'node:net';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { setTimeout as delay } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { createNet, type NodeNet } from '../../src/net/index.ts';
import { connectedStacks, HERE, type Pair, THERE } from './stacks.ts';

describe('net on a direct stack', () => {
  let pair: Pair;
  let here: NodeNet;
  let there: NodeNet;

  beforeEach(async () => {
    pair = await connectedStacks({ sendBuffer: 1 << 18, receiveBuffer: 1 << 18 });
    here = createNet(pair.here);
    there = createNet(pair.there);
  });
  afterEach(() => pair.close());

  async function listen(server: Server): Promise<number> {
    // What a test leaves open is reset when its stacks close.
    server.on('connection', (socket) => socket.on('error', () => {}));
    server.listen(0);
    await once(server, 'listening');
    return (server.address() as AddressInfo).port;
  }

  /** A connected pair of sockets: ours, and the server's. */
  async function connected(
    serverOptions: Parameters<NodeNet['createServer']>[0] = {},
    clientOptions: object = {},
  ): Promise<{ client: Socket; peer: Socket; server: Server }> {
    const server = there.createServer(serverOptions as object);
    const port = await listen(server);
    const client = here.connect({ ...clientOptions, port, host: THERE });
    client.on('error', () => {});
    const [[peer]] = (await Promise.all([once(server, 'connection'), once(client, 'connect')])) as [
      [Socket],
      [],
    ];
    return { client, peer, server };
  }

  it('carries bytes both ways and ends in order', async () => {
    const server = there.createServer((socket) => socket.pipe(socket));
    const port = await listen(server);
    const client = here.connect(port, THERE);
    const events: string[] = [];
    for (const name of ['connectionAttempt', 'connect', 'ready', 'end', 'finish', 'close']) {
      client.on(name, () => events.push(name));
    }
    client.setEncoding('utf8').end('over and back');
    let text = '';
    client.on('data', (chunk) => {
      text += chunk;
    });
    await once(client, 'close');
    expect(text).toBe('over and back');
    expect(events).toEqual(['connectionAttempt', 'connect', 'ready', 'finish', 'end', 'close']);
    expect([client.bytesRead, client.bytesWritten]).toEqual([13, 13]);
    server.close();
    await once(server, 'close');
  });

  it('says who is at both ends', async () => {
    const { client, peer, server } = await connected();
    const { port } = server.address() as AddressInfo;
    expect(client.address()).toEqual({ address: HERE, family: 'IPv4', port: peer.remotePort });
    expect([client.remoteAddress, client.remoteFamily, client.remotePort]).toEqual([THERE, 'IPv4', port]);
    expect([peer.remoteAddress, peer.localAddress, peer.localPort]).toEqual([HERE, THERE, port]);
    client.destroy();
    await once(client, 'close');
    expect(client.address()).toEqual({});
    expect(client.remoteAddress).toBe(THERE);
  });

  it('refuses as Node does', async () => {
    const client = here.connect(9, THERE);
    const [error] = (await once(client, 'error')) as [NodeJS.ErrnoException];
    expect(error).toMatchObject({
      message: `connect ECONNREFUSED ${THERE}:9`,
      code: 'ECONNREFUSED',
      errno: -111,
      syscall: 'connect',
      address: THERE,
      port: 9,
    });
  });

  it('reports a taken port as Node does', async () => {
    const port = await listen(there.createServer());
    const second = there.createServer();
    second.listen(port, THERE);
    const [error] = (await once(second, 'error')) as [Error];
    expect(error.message).toBe(`listen EADDRINUSE: address already in use ${THERE}:${port}`);
  });

  it('fails for a name that nobody knows', async () => {
    const client = here.connect(80, 'nowhere.test');
    const [error] = (await once(client, 'error')) as [Error];
    expect(error).toMatchObject({
      message: 'getaddrinfo ENOTFOUND nowhere.test',
      code: 'ENOTFOUND',
      errno: -3008,
      hostname: 'nowhere.test',
    });
  });

  it('tries the next address when the first cannot be reached', async () => {
    const server = there.createServer((socket) => socket.end('hello'));
    const port = await listen(server);
    const client = here.connect({
      port,
      host: 'there.test',
      lookup: (_host, _options, callback) =>
        process.nextTick(callback, null, [
          { address: 'fd00::2', family: 6 },
          { address: THERE, family: 4 },
        ]),
    });
    const failed: string[] = [];
    client.on('error', () => {});
    client.on('connectionAttemptFailed', (address: string) => failed.push(address));
    await once(client, 'connect');
    expect(failed).toEqual(['fd00::2']);
    expect(client.autoSelectFamilyAttemptedAddresses).toEqual([`fd00::2:${port}`, `${THERE}:${port}`]);
  });

  it('goes on writing after the peer has ended, if half-open connections are allowed', async () => {
    const { client, peer } = await connected({}, { allowHalfOpen: true });
    peer.end('first');
    client.resume();
    await once(client, 'end');
    expect([client.readyState, client.writable]).toEqual(['writeOnly', true]);
    client.destroy();
  });

  it('closes the window of a writer that nobody reads, and opens it again', async () => {
    const { client, peer } = await connected({ pauseOnConnect: true });
    const block = Buffer.alloc(1 << 16, 7);
    const total = 64 * block.length;
    let offered = 0;
    const source = new Readable({
      read() {
        offered += block.length;
        this.push(offered <= total ? block : null);
      },
    });
    const sent = pipeline(source, client);
    await delay(50);
    // Two buffers of 256 KiB, and what the streams hold.
    expect(offered).toBeLessThan(2 ** 20);
    let received = 0;
    peer.on('data', (chunk) => {
      received += chunk.length;
    });
    peer.resume();
    await sent;
    await once(peer, 'end');
    expect(received).toBe(total);
  });

  it('has taken the bytes when it calls back, whatever becomes of the buffer', async () => {
    const { client, peer } = await connected();
    const buffer = Buffer.from('before');
    client.write(buffer, () => buffer.fill('x'));
    const [chunk] = (await once(peer, 'data')) as [Buffer];
    expect(chunk.toString()).toBe('before');
  });

  it('resets, and the peer hears of it', async () => {
    const { client, peer } = await connected();
    peer.resume();
    const failed = once(peer, 'error');
    client.resetAndDestroy();
    const [error] = (await failed) as [Error];
    expect(error).toMatchObject({ message: 'read ECONNRESET', code: 'ECONNRESET', syscall: 'read' });
    const [hadError] = await once(peer, 'close');
    expect(hadError).toBe(true);
  });

  it('tells of idleness, and not while bytes come', async () => {
    const { client, peer } = await connected();
    client.resume();
    client.setTimeout(400);
    const ticking = setInterval(() => peer.write('.'), 20);
    let timeouts = 0;
    client.on('timeout', () => timeouts++);
    await delay(600);
    expect(timeouts).toBe(0);
    clearInterval(ticking);
    await once(client, 'timeout');
  });

  it('drops what is more than maxConnections', async () => {
    const server = there.createServer();
    server.maxConnections = 1;
    const port = await listen(server);
    const first = here.connect(port, THERE).on('error', () => {});
    await once(first, 'connect');
    const second = here.connect(port, THERE);
    const [dropped] = await once(server, 'drop');
    expect(dropped).toMatchObject({ localPort: port, remoteAddress: HERE, remotePort: second.localPort });
    second.resume();
    await once(second, 'close');
  });

  it('neither connects to what a block list has, nor takes connections from it', async () => {
    const blockList = new here.BlockList();
    blockList.addSubnet('10.0.0.0', 24);
    const options = { port: 80, blockList };
    const [error] = (await once(here.connect({ ...options, host: THERE }), 'error')) as [Error];
    expect(error).toMatchObject({
      code: 'ERR_IP_BLOCKED',
      message: `IP(${THERE}) is blocked by net.BlockList`,
    });
    const server = there.createServer({ blockList } as object, () => expect.unreachable());
    const port = await listen(server);
    const client = here.connect(port, THERE).on('error', () => {});
    client.resume();
    await once(client, 'close');
    const lookup = ((_host, _options, callback) =>
      process.nextTick(callback, null, [
        { address: THERE, family: 4 },
        { address: 'fd00::9', family: 6 },
      ])) as LookupFunction;
    const attempts = here.connect({ ...options, host: 'there.test', lookup });
    const [all] = (await once(attempts, 'error')) as [AggregateError];
    expect(all.errors.map(({ code }: NodeJS.ErrnoException) => code)).toEqual([
      'ERR_IP_BLOCKED',
      'ENETUNREACH',
    ]);
    expect(() => here.connect({ port: 1, blockList: 'all' } as never)).toThrow(/options\.blockList/);
  });

  it('reads into the buffer of the user', async () => {
    const buffer = Buffer.alloc(4);
    const parts: string[] = [];
    const callback = (size: number, bytes: Uint8Array): boolean => {
      parts.push(Buffer.from(bytes.subarray(0, size)).toString());
      return true;
    };
    const { client, peer } = await connected({}, { onread: { buffer, callback } });
    peer.end('abcdefghij');
    await once(client, 'end');
    expect(parts.join('')).toBe('abcdefghij');
    expect(Math.max(...parts.map((part) => part.length))).toBe(4);
  });

  it('can be told to stop by a signal', async () => {
    const controller = new AbortController();
    const server = there.createServer().listen({ port: 0, signal: controller.signal });
    await once(server, 'listening');
    const client = here.connect({ port: 1, host: '10.0.0.77', signal: controller.signal });
    controller.abort();
    const [[error]] = (await Promise.all([once(client, 'error'), once(server, 'close')])) as [[Error], []];
    expect(error.name).toBe('AbortError');
    expect(server.listening).toBe(false);
  });

  it('is callable without new, can be inherited from, and shows no handle', () => {
    const Plain = here.Socket as unknown as (options?: object) => Socket;
    const socket = Plain();
    expect(socket).toBeInstanceOf(here.Socket);
    expect((socket as unknown as { _handle: unknown })._handle).toBeNull();
    function Old(this: object): void {
      (here.Server as unknown as { call(self: object): void }).call(this);
    }
    Object.setPrototypeOf(Old.prototype, here.Server.prototype);
    const server = new (Old as unknown as new () => Server)();
    expect(server.listening).toBe(false);
    class Modern extends here.Socket {
      readonly mark = 1;
    }
    expect(new Modern()).toBeInstanceOf(here.Socket);
  });

  it('refuses wrong arguments with the errors of Node', () => {
    expect(() => here.connect({} as never)).toThrow(
      expect.objectContaining({
        code: 'ERR_MISSING_ARGS',
        message: 'The "options" or "port" or "path" argument must be specified',
      }),
    );
    expect(() => here.connect(70_000)).toThrow(
      expect.objectContaining({
        code: 'ERR_SOCKET_BAD_PORT',
        message: 'Port should be >= 0 and < 65536. Received type number (70000).',
      }),
    );
    expect(() => here.createServer().listen({} as never)).toThrow(
      expect.objectContaining({ code: 'ERR_INVALID_ARG_VALUE' }),
    );
    const error = (() => {
      try {
        return new here.Socket().setTimeout('soon' as never);
      } catch (thrown) {
        return thrown as Error;
      }
    })();
    expect(String(error)).toBe(
      `TypeError [ERR_INVALID_ARG_TYPE]: The "msecs" argument must be of type number. Received type string ('soon')`,
    );
  });
});
