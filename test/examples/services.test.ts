import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import benchServer from '../../examples/bench-server.ts';
import chat from '../../examples/chat.ts';
import echo from '../../examples/echo.ts';
import type { Flow } from '../../src/stack.ts';
import { type Pair, pair } from './stacks.ts';

let stacks: Pair;

beforeAll(async () => {
  vi.spyOn(console, 'log').mockReturnValue();
  stacks = await pair('direct');
  const { server } = stacks;
  // They end when the stack is closed.
  for (const application of [
    () => echo(server, ['--port', '1007']),
    () => benchServer(server),
    () => chat(server, []),
  ]) {
    application().catch(() => {});
  }
  await sleep(50);
});

afterAll(async () => {
  await stacks.client.close();
  await stacks.server.close();
});

function connect(port: number): Promise<Flow> {
  return stacks.client.tcp.connect({ host: stacks.host, port });
}

async function readAll(flow: Flow): Promise<Buffer> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of flow) chunks.push(Buffer.from(chunk));
  return Buffer.concat(chunks);
}

/** Text until `end` has come. */
async function readUntil(flow: Flow, end: string): Promise<string> {
  let text = '';
  while (!text.includes(end)) {
    const chunk = await flow.read();
    if (chunk === null) break;
    text += Buffer.from(chunk).toString();
  }
  return text;
}

describe.each([
  ['echo', 1007],
  ['bench-server', 5003],
])('%s', (_name, port) => {
  it('sends back what it gets, and ends when the peer does', async () => {
    const data = Buffer.alloc(500_000, 'echo me ');
    const flow = await connect(port);
    const back = readAll(flow);
    await flow.write(data);
    await flow.shutdown();
    expect((await back).equals(data)).toBe(true);
    await flow.close();
  });
});

it.each([1007, 7])('echoes datagrams on UDP port %i', async (port) => {
  const socket = await stacks.client.udp.bind();
  await socket.send(Buffer.from('datagram'), { host: stacks.host, port });
  const answer = await socket.receive();
  expect(String(answer?.data)).toBe('datagram');
  expect(answer?.remote.port).toBe(port);
  await socket.close();
});

describe('bench-server', () => {
  it('discards on 5001', async () => {
    const flow = await connect(5001);
    await flow.write(Buffer.alloc(1_000_000));
    await flow.shutdown();
    expect((await readAll(flow)).length).toBe(0);
    await flow.close();
  });

  it('sends without end on 5002, until the peer has enough', async () => {
    const flow = await connect(5002);
    let received = 0;
    while (received < 10_000_000) received += (await flow.read())!.length;
    flow.abort();
  });
});

describe('chat', () => {
  it('tells every line to all others', async () => {
    const alice = await connect(6667);
    const name = /You are (\S+);/.exec(await readUntil(alice, '\n'))![1]!;
    const bob = await connect(6667);
    expect(await readUntil(bob, '\n')).toContain('1 others');
    await readUntil(alice, 'came\n');
    await alice.write(Buffer.from('hello\r\nagain\n'));
    expect(await readUntil(bob, 'again\n')).toBe(`${name}: hello\n${name}: again\n`);
    await alice.close();
    expect(await readUntil(bob, 'left\n')).toBe(`* ${name} left\n`);
    await bob.close();
  });
});
