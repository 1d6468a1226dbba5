import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { connect, createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { DirectStack } from '../../src/direct/index.ts';
import type { NetifHandler } from '../../src/netif/index.ts';
import { openStream, type StreamNetif, type StreamOptions } from '../../src/netif/stream/index.ts';
import { until } from '../tap/support/frames.ts';

let folder: string;
let path: string;
const closings: (() => unknown)[] = [];

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'mirage-net-test-'));
  path = join(folder, 'net.sock');
});
afterEach(async () => {
  for (const close of closings.splice(0).reverse()) await close();
  await rm(folder, { recursive: true });
});

async function open(options: StreamOptions): Promise<StreamNetif> {
  const netif = await openStream(options);
  closings.push(() => netif.close());
  return netif;
}

/** Remembers what a netif tells. */
class Listener implements NetifHandler {
  readonly frames: Buffer[] = [];
  readonly closings: (Error | undefined)[] = [];
  flushes = 0;
  writables = 0;

  receive(frame: { bytes: Uint8Array; start: number; end: number }): void {
    this.frames.push(Buffer.from(frame.bytes.slice(frame.start, frame.end)));
  }
  flush(): void {
    this.flushes++;
  }
  writable(): void {
    this.writables++;
  }
  closed(error?: Error): void {
    this.closings.push(error);
  }
}

function send(netif: StreamNetif, bytes: Uint8Array): boolean {
  const frame = netif.reserve(bytes.length);
  if (frame === null) return false;
  frame.bytes.set(bytes, frame.start);
  netif.commit(frame);
  return true;
}

async function peer(): Promise<{ socket: Socket; got: () => Buffer }> {
  const socket = connect({ path });
  closings.push(() => socket.destroy());
  let got = Buffer.alloc(0);
  socket.on('data', (chunk) => {
    got = Buffer.concat([got, chunk]);
  });
  socket.on('error', () => {});
  await once(socket, 'connect');
  return { socket, got: () => got };
}

function framed(bytes: Uint8Array): Buffer {
  const length = Buffer.alloc(4);
  length.writeUInt32BE(bytes.length);
  return Buffer.concat([length, bytes]);
}

const FRAME = Buffer.from(Array.from({ length: 60 }, (_, i) => i));

describe('a netif over a socket', () => {
  it.each(['UNIX', 'TCP'])('joins two stacks over %s, with many megabytes both ways', async (kind) => {
    const listens = await open(
      kind === 'UNIX' ? { path, listen: true } : { host: '127.0.0.1', port: 0, listen: true },
    );
    const port = listens.port;
    const connects = await open(kind === 'UNIX' ? { path } : { host: '127.0.0.1', port: port! });
    const [here, there] = [listens, connects].map(
      (netif, i) => new DirectStack({ netif, ipv4: `10.0.0.${i + 1}/24` }),
    );
    closings.push(
      () => here!.close(),
      () => there!.close(),
    );
    await Promise.all([here!.ready(), there!.ready()]);
    await here!.tcp.listen({ port: 7 }, async (flow) => {
      for await (const chunk of flow) await flow.write(chunk);
      await flow.close();
    });
    const flow = await there!.tcp.connect({ host: '10.0.0.1', port: 7 });
    const size = 8 << 20;
    const data = Buffer.alloc(size, 'abcdefghijklmnopqrstuvwxyz');
    const writing = flow.write(data).then(() => flow.shutdown());
    let at = 0;
    for await (const chunk of flow) {
      if (!data.subarray(at, at + chunk.length).equals(chunk)) throw new Error(`other bytes at ${at}`);
      at += chunk.length;
    }
    await writing;
    expect(at).toBe(size);
    await flow.close();
  });

  it('carries frames behind big-endian lengths, those of a turn in one piece', async () => {
    const netif = await open({ path, listen: true });
    const handler = new Listener();
    netif.start(handler);
    const { socket, got } = await peer();
    await until('the peer', () => netif.isUp);
    send(netif, FRAME);
    send(netif, FRAME.subarray(0, 20));
    netif.flush();
    const sent = Buffer.concat([framed(FRAME), framed(FRAME.subarray(0, 20))]);
    await until('the frames', () => got().length === sent.length);
    expect(got()).toEqual(sent);
    socket.write(Buffer.concat([framed(FRAME), framed(FRAME.subarray(1))]));
    await until('frames', () => handler.frames.length === 2);
    expect(handler.frames).toEqual([FRAME, FRAME.subarray(1)]);
    expect(handler.flushes).toBeGreaterThan(0);
    expect(netif.counters).toMatchObject({ rxFrames: 2, rxBytes: 119, txFrames: 2, txBytes: 80 });
  });

  it('has one peer at a time, and waits for the next', async () => {
    const link: boolean[] = [];
    const netif = await open({ path, listen: true, onLink: (up) => link.push(up) });
    // A peer may come before the stack is there.
    const first = await peer();
    first.socket.write(framed(FRAME));
    const handler = new Listener();
    netif.start(handler);
    await until('the first', () => handler.frames.length === 1);
    const second = await peer();
    await until('the second to be turned away', () => netif.refused === 1);
    await until('its end', () => second.socket.destroyed);
    // Half a frame, then nobody: the next stream begins with a length.
    first.socket.end(framed(FRAME).subarray(0, 30));
    await until('the link to go down', () => !netif.isUp);
    expect(send(netif, FRAME)).toBe(true);
    expect(netif.counters.txDropped).toBe(1);
    const third = await peer();
    third.socket.write(framed(FRAME));
    await until('the third', () => handler.frames.length === 2);
    expect(netif.peers).toBe(2);
    expect(link).toEqual([true, false, true]);
    expect(handler.closings).toEqual([]);
  });

  it('connects when somebody listens at last, and again when that one is gone', async () => {
    const netif = await open({ path, reconnect: { firstMs: 5, longestMs: 20 } });
    const handler = new Listener();
    netif.start(handler);
    await new Promise((resolve) => setTimeout(resolve, 50));
    for (let peers = 1; peers <= 2; peers++) {
      const sockets: Socket[] = [];
      const server = createServer((socket) => sockets.push(socket.on('error', () => {})));
      server.listen(path);
      await until('a connection', () => netif.isUp && netif.peers === peers);
      for (const socket of sockets) socket.destroy();
      await new Promise((resolve) => server.close(resolve));
      await until('the link to go down', () => !netif.isUp);
    }
    expect(handler.closings).toEqual([]);
  });

  it('ends with its first peer if told not to connect again', async () => {
    const netif = await open({ path, reconnect: false });
    const handler = new Listener();
    netif.start(handler);
    await until('the end', () => handler.closings.length === 1);
    expect(handler.closings[0]).toMatchObject({ code: 'ENOENT', syscall: 'connect', address: path });
    expect(netif.reserve(60)).toBeNull();
  });

  it('stalls while the peer does not read, and says when there is room', async () => {
    const netif = await open({ path, listen: true });
    const handler = new Listener();
    netif.start(handler);
    const { socket } = await peer();
    socket.pause();
    await until('the peer', () => netif.isUp);
    const frame = Buffer.alloc(1514);
    let sent = 0;
    await until('the device to be full', () => {
      for (let i = 0; i < 500 && send(netif, frame); i++) sent++;
      netif.flush();
      return netif.counters.txStalls > 0;
    });
    expect(handler.writables).toBe(0);
    let got = 0;
    socket.on('data', (chunk) => {
      got += chunk.length;
    });
    socket.resume();
    await until('room', () => handler.writables === 1);
    await until('all that was taken', () => got === sent * 1518);
    expect(netif.counters.txDropped).toBe(0);
  });

  it.each([
    ['no length', Buffer.alloc(64, 0xff)],
    ['an empty frame', Buffer.alloc(4)],
  ])('leaves a peer that is out of step: %s', async (_, bytes) => {
    const netif = await open({ path, listen: true });
    netif.start(new Listener());
    const { socket } = await peer();
    socket.write(bytes);
    await until('the end', () => socket.destroyed);
    expect(netif.counters.rxErrors).toBe(1);
    const next = await peer();
    await until('another', () => netif.peers === 2);
    next.socket.write(framed(FRAME.subarray(0, 13)));
    await until('a runt', () => netif.counters.rxErrors === 2);
    next.socket.write(framed(Buffer.alloc(9000)));
    await until('a frame beyond the MTU', () => netif.counters.rxDropped === 1);
    next.socket.write(framed(FRAME));
    await until('a frame', () => netif.counters.rxFrames === 1);
  });

  it('takes over the path that a killed process has left, but not a living one', async () => {
    const first = await open({ path, listen: true });
    await expect(openStream({ path, listen: true })).rejects.toMatchObject({
      code: 'EADDRINUSE',
      address: path,
    });
    await first.close();
    // What a killed process leaves is a socket that nobody listens at.
    const child = (await import('node:child_process')).spawnSync(process.execPath, [
      '-e',
      `require('net').createServer().listen(${JSON.stringify(path)}, () => process.kill(process.pid, 'SIGKILL'))`,
    ]);
    expect(child.signal).toBe('SIGKILL');
    await open({ path, listen: true });
    const file = join(folder, 'file');
    await writeFile(file, 'precious');
    await expect(openStream({ path: file, listen: true })).rejects.toMatchObject({ code: 'EADDRINUSE' });
  });

  it('closes though the peer does not read, and says so once', async () => {
    const netif = await open({ path, listen: true });
    const handler = new Listener();
    netif.start(handler);
    const { socket } = await peer();
    socket.pause();
    await until('the peer', () => netif.isUp);
    while (send(netif, Buffer.alloc(1514))) netif.flush();
    await netif.close();
    await netif.close();
    expect(handler.closings).toEqual([undefined]);
  });

  it.each<[StreamOptions, RegExp]>([
    [{}, /path, or host and port/],
    [{ path: 'x', host: 'y', port: 1 }, /path, or host and port/],
    [{ host: 'y', port: 70_000 }, /70000/],
    [{ path: 'x', mtu: 20 }, /mtu 20/],
    [{ path: 'x', mac: '01:00:00:00:00:01' }, /group/],
    [{ path: 'x', listen: true, reconnect: false }, /reconnect/],
  ])('refuses %j', async (options, reason) => {
    await expect(openStream(options)).rejects.toSatisfy((error: Error) => reason.test(error.message));
  });
});
