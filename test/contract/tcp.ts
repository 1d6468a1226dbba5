import { createHash } from 'node:crypto';
import { expect } from 'vitest';
import type { Flow } from '../../src/stack.ts';
import { connected, eventually, familyOf, readAll, readBytes, type Suite } from './contract.ts';

const MiB = 1 << 20;

/** Bytes without a period that a segment or a buffer could hide behind. */
function noise(size: number, seed: number): Buffer {
  const words = new Int32Array(Math.ceil(size / 4));
  let state = seed | 1;
  for (let i = 0; i < words.length; i++) {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    words[i] = state;
  }
  return Buffer.from(words.buffer, 0, size);
}

function digest(data: Uint8Array): string {
  return createHash('sha256').update(data).digest('hex');
}

/** Sends `data` in pieces of many sizes, and FIN. */
async function sendPieces(flow: Flow, data: Buffer): Promise<void> {
  for (let at = 0, i = 0; at < data.length; i++) {
    const size = 1 + ((i * 7919) % 100_000);
    await flow.write(data.subarray(at, at + size));
    at += size;
  }
  await flow.shutdown();
}

async function echo(flow: Flow): Promise<void> {
  for await (const chunk of flow) await flow.write(chunk);
  await flow.close();
}

/** Data: what is written at one end is read at the other, and how much at a time. */
export function tcpContract({ scenario, traits }: Suite): void {
  scenario('echoes', async (network) => {
    const listener = await network.server.tcp.listen({ port: 0 }, (flow) => void echo(flow));
    const { port } = listener.local;
    const flow = await network.client.tcp.connect({ host: network.serverAddress, port });
    await flow.write(Buffer.from('hello'));
    const answer = await readBytes(flow, 5);
    expect(answer.toString()).toBe('hello');
    await flow.shutdown();
    expect(await flow.read()).toBe(null);
    await flow.close();
  });

  scenario('hands up Buffers', async (network) => {
    const { client, server } = await connected(network);
    await client.write(new Uint8Array([1, 2, 3]));
    expect(Buffer.isBuffer(await server.read())).toBe(true);
  });

  scenario('lends bytes to a listener, in order, to the end', async (network) => {
    const { client, server } = await connected(network);
    const data = noise(3 * MiB, 7);
    const hash = createHash('sha256');
    let pauses = 0;
    const listening = server.onData((view) => {
      hash.update(view);
      if (pauses >= 20) return true;
      pauses++;
      void network.sleep(1).then(() => server.resume());
      return false;
    });
    await sendPieces(client, data);
    await listening;
    expect(hash.digest('hex')).toBe(digest(data));
    expect(pauses).toBe(20);
    await server.close();
    await client.close();
  });

  scenario('echoes by a listener that answers with the promise of its write', async (network) => {
    const { client, server } = await connected(network);
    const data = noise(2 * MiB, 8);
    const echoing = server.onData((view) => server.write(Buffer.from(view))).then(() => server.close());
    const sending = sendPieces(client, data);
    expect(digest(await readAll(client))).toBe(digest(data));
    await Promise.all([sending, echoing]);
    await client.close();
  });

  scenario('refuses a second reader while a listener has the flow', async (network) => {
    const { client, server } = await connected(network);
    const listening = server.onData(() => {});
    await expect(server.read()).rejects.toMatchObject({ code: 'EINVAL', syscall: 'read' });
    await expect(server.onData(() => {})).rejects.toMatchObject({ code: 'EINVAL' });
    await client.shutdown();
    await listening;
    expect(await server.read()).toBe(null);
    const waiting = client.read();
    await expect(client.onData(() => {})).rejects.toMatchObject({ code: 'EINVAL' });
    await server.close();
    expect(await waiting).toBe(null);
    await client.close();
  });

  scenario('ends a listener that throws, and goes on with reads', async (network) => {
    const { client, server } = await connected(network);
    const failure = new Error('of the listener');
    const listening = server.onData(() => {
      throw failure;
    });
    await client.write(Buffer.from('first'));
    await expect(listening).rejects.toBe(failure);
    await client.write(Buffer.from('second'));
    expect((await readBytes(server, 6)).toString()).toBe('second');
    await client.close();
    await server.close();
  });

  scenario('tells a listener how the flow ended', async (network) => {
    const { client, server } = await connected(network);
    const listening = server.onData(() => {});
    client.abort();
    await expect(listening).rejects.toMatchObject({ code: 'ECONNRESET' });
    const second = await connected(network);
    const closing = second.server.onData(() => {});
    await second.client.write(Buffer.from('x'));
    await second.server.close();
    await closing;
    await second.client.close();
  });

  scenario('carries a lot both ways at once', async (network) => {
    const size = traits.bulkBytes ?? 8 * MiB;
    const { client, server } = await connected(network);
    const [up, down] = [noise(size, 1), noise(size, 2)];
    const [atServer, atClient] = await Promise.all([
      readAll(server),
      readAll(client),
      sendPieces(client, up),
      sendPieces(server, down),
    ]);
    expect([atServer.length, atClient.length]).toEqual([size, size]);
    expect([digest(atServer), digest(atClient)]).toEqual([digest(up), digest(down)]);
  });

  scenario('carries a hundred connections at once', async (network) => {
    const listener = await network.server.tcp.listen({ port: 0 }, (flow) => void echo(flow));
    const { port } = listener.local;
    const answers = await Promise.all(
      Array.from({ length: 100 }, async (_, i) => {
        const flow = await network.client.tcp.connect({ host: network.serverAddress, port });
        const message = noise(1 + i * 97, i);
        await flow.write(message);
        await flow.shutdown();
        const answer = await readAll(flow);
        await flow.close();
        return answer.equals(message);
      }),
    );
    expect(answers).toEqual(new Array(100).fill(true));
  });

  scenario('keeps many small writes in order', async (network) => {
    const { client, server } = await connected(network);
    const pieces = Array.from({ length: 5000 }, (_, i) => Buffer.from(`${i},`));
    const received = readAll(server);
    for (const piece of pieces) await client.write(piece);
    await client.shutdown();
    expect((await received).equals(Buffer.concat(pieces))).toBe(true);
  });

  scenario('takes writes that nobody waits for', async (network) => {
    const { client, server } = await connected(network);
    const pieces = Array.from({ length: 500 }, (_, i) => noise(1000, i));
    const writes = pieces.map((piece) => client.write(piece));
    const received = readAll(server);
    await Promise.all(writes);
    await client.shutdown();
    expect((await received).equals(Buffer.concat(pieces))).toBe(true);
  });

  scenario('takes 16 MiB in one write', async (network) => {
    const { client, server } = await connected(network);
    const data = noise(16 * MiB, 3);
    const received = readAll(server);
    await client.write(data);
    await client.shutdown();
    expect(digest(await received)).toBe(digest(data));
  });

  scenario('writev sends its parts in order, the empty ones as nothing', async (network) => {
    const { client, server } = await connected(network);
    const parts = ['one', '', 'two', '', 'three'].map((text) => Buffer.from(text));
    await client.writev(parts);
    await client.writev([]);
    await client.writev([noise(200_000, 4), noise(300_000, 5)]);
    const [received] = await Promise.all([readAll(server), client.shutdown()]);
    expect(received.length).toBe(11 + 500_000);
    expect(received.toString('latin1', 0, 11)).toBe('onetwothree');
    expect(digest(received.subarray(11))).toBe(digest(Buffer.concat([noise(200_000, 4), noise(300_000, 5)])));
  });

  scenario('an empty write is nothing', async (network) => {
    const { client, server } = await connected(network);
    await client.write(new Uint8Array(0));
    await client.write(Buffer.from('x'));
    await client.write(new Uint8Array(0));
    await client.shutdown();
    expect((await readAll(server)).toString()).toBe('x');
  });

  scenario('serves several readers in the order in which they came', async (network) => {
    const { client, server } = await connected(network);
    const readers = [server.read(), server.read()];
    await client.write(Buffer.from('a'));
    expect((await readers[0])!.toString()).toBe('a');
    await client.write(Buffer.from('b'));
    expect((await readers[1])!.toString()).toBe('b');
  });

  scenario('keeps what came before the application reads', async (network) => {
    const { client, server } = await connected(network);
    await client.write(noise(50_000, 6));
    await client.close();
    await network.sleep(200);
    expect(digest(await readAll(server))).toBe(digest(noise(50_000, 6)));
  });

  scenario('a reader that does not read makes writes wait, and nothing is lost', async (network) => {
    const { client, server } = await connected(network);
    const piece = noise(64 * 1024, 7);
    let written = 0;
    let stop = false;
    const writer = (async () => {
      while (!stop && written < 64 * MiB) {
        await client.write(piece);
        written += piece.length;
      }
      await client.shutdown();
    })();
    let before = -1;
    while (before !== written) {
      before = written;
      await network.sleep(1000);
    }
    expect(written).toBeGreaterThan(0);
    expect(written).toBeLessThan(32 * MiB);
    stop = true;
    const received = await readAll(server);
    await writer;
    expect(received.length).toBe(written);
    for (let at = 0; at < received.length; at += piece.length) {
      if (!received.subarray(at, at + piece.length).equals(piece)) expect.fail(`damage at ${at}`);
    }
  });

  scenario('knows its endpoints', async (network) => {
    const { client, server, listener } = await connected(network);
    const { serverAddress, clientAddress } = network;
    expect(client.remote).toEqual({
      address: serverAddress,
      port: listener.local.port,
      family: familyOf(serverAddress),
    });
    expect(server.local).toEqual(client.remote);
    expect(server.remote).toEqual(client.local);
    expect(client.local.port).toBeGreaterThan(0);
    if (clientAddress !== undefined) expect(client.local.address).toBe(clientAddress);
  });

  scenario('connects from the port that it is told', async (network) => {
    const held = await network.client.tcp.listen({ port: 0 }, () => {});
    await held.close();
    const localPort = held.local.port;
    const listener = await network.server.tcp.listen({ port: 0 }, () => {});
    const { port } = listener.local;
    const flow = await network.client.tcp.connect({ host: network.serverAddress, port, localPort });
    expect(flow.local.port).toBe(localPort);
  });

  scenario('counts bytes, and never backwards', async (network) => {
    const { client, server } = await connected(network);
    expect(client.stats).toMatchObject({ state: 'ESTABLISHED', bytesReceived: 0 });
    const seen: number[] = [];
    const reading = (async () => {
      for await (const _ of server) seen.push(server.stats.bytesReceived);
    })();
    for (let i = 0; i < 50; i++) await client.write(noise(10_000, i));
    await client.shutdown();
    await reading;
    expect(seen).toEqual([...seen].sort((a, b) => a - b));
    expect(server.stats.bytesReceived).toBe(500_000);
    expect(client.stats.bytesSent).toBeGreaterThanOrEqual(500_000);
    await eventually(network, () => client.stats.sendQueue === 0);
  });

  scenario('can be told about delay and keep-alive', async (network) => {
    const { client, server } = await connected(network);
    client.setNoDelay(true);
    client.setKeepAlive(true, 5000);
    await client.write(Buffer.from('x'));
    expect((await server.read())!.toString()).toBe('x');
    client.setKeepAlive(false);
  });
}
