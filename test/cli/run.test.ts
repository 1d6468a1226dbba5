import { EventEmitter, once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { connect, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type CommandIo, runCommand } from '../../src/cli/index.ts';

let folder: string;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'mirage-net-test-'));
});

afterEach(async () => {
  await rm(folder, { recursive: true });
});

class FakeProcess extends EventEmitter {
  exitCode: number | undefined;
  exit(code: number): void {
    this.exitCode = code;
  }
}

function command(...argv: string[]) {
  let stdout = '';
  let stderr = '';
  const host = new FakeProcess();
  const io: CommandIo = {
    stdout: { write: (text) => (stdout += text) },
    stderr: { write: (text) => (stderr += text) },
    process: host,
  };
  return {
    host,
    code: runCommand(argv, io),
    stdout: () => stdout,
    stderr: () => stderr,
  };
}

async function application(source: string): Promise<string> {
  const path = join(folder, 'app.mjs');
  await writeFile(path, source);
  return path;
}

/** An echo server that leaves the port it listens on in `globalThis.echoPort`. */
const ECHO = `export default async (stack) => {
  const listener = await stack.tcp.listen({ port: 0, host: '127.0.0.1' }, async (flow) => {
    for await (const chunk of flow) await flow.write(chunk);
    await flow.close();
  });
  globalThis.onEchoPort(listener.local.port);
};`;

async function startEcho() {
  const port = new Promise<number>((resolve) => {
    (globalThis as { onEchoPort?: (port: number) => void }).onEchoPort = resolve;
  });
  const running = command('run', await application(ECHO), '--net', 'socket');
  return { ...running, port: await port };
}

async function connected(port: number): Promise<Socket> {
  const socket = connect(port, '127.0.0.1');
  await once(socket, 'connect');
  return socket;
}

describe('what the command says', () => {
  it('helps on stdout', async () => {
    const { code, stdout, stderr } = command('help', 'run');
    expect(await code).toBe(0);
    expect(stdout()).toMatch(/--netif tap:NAME/);
    expect(stderr()).toBe('');
  });

  it('knows its version', async () => {
    const { code, stdout } = command('--version');
    expect(await code).toBe(0);
    expect(stdout()).toMatch(/^\d+\.\d+\.\d+\S*\n$/);
  });

  it('explains wrong usage in one sentence on stderr and exits with 2', async () => {
    const { code, stdout, stderr } = command('run', 'app.js', '--net', 'socket', '--pcap', 'x');
    expect(await code).toBe(2);
    expect(stderr()).toMatch(/^mirage-net: --pcap does not apply to --net socket.*\nTry: mirage-net help\n$/);
    expect(stdout()).toBe('');
  });

  it('says that there is no such application', async () => {
    const { code, stderr } = command('run', 'missing.ts', '--net', 'socket');
    expect(await code).toBe(1);
    expect(stderr()).toBe('mirage-net: There is no application at missing.ts.\n');
  });

  it('says that a module is not an application', async () => {
    const path = await application('export const value = 1;');
    const { code, stderr } = command('run', path, '--net', 'socket');
    expect(await code).toBe(1);
    expect(stderr()).toMatch(/default export has to be a function/);
  });
});

describe('the life of an application', () => {
  it('is given the stack and its arguments, and the command ends with it', async () => {
    const path = await application(
      `export default (stack, args) => { globalThis.seen = [stack.kind, ...args]; };`,
    );
    const { code, stderr } = command('run', path, '--net', 'socket', '--', '--flag', 'word');
    expect(await code).toBe(0);
    expect((globalThis as { seen?: string[] }).seen).toEqual(['socket', '--flag', 'word']);
    expect(stderr()).toMatch(/runs on the host's own sockets/);
  });

  it.each([
    ['at once', `export default () => { throw new Error('broken'); };`],
    ['later', `export default async () => { await null; throw new Error('broken'); };`],
  ])('that throws %s makes the command fail', async (_when, source) => {
    const { code, stderr } = command('run', await application(source), '--net', 'socket');
    expect(await code).toBe(1);
    expect(stderr()).toMatch(/mirage-net: Error: broken\n/);
  });

  it('that fails outside of its promise is closed too', async () => {
    const { code, host, port, stderr } = await startEcho();
    const socket = await connected(port);
    host.emit('uncaughtException', new Error('from a callback'));
    socket.end();
    expect(await code).toBe(1);
    expect(stderr()).toMatch(/Error: from a callback/);
    socket.destroy();
  });

  it('goes on while something listens; SIGTERM closes connections in order', async () => {
    const { code, host, port, stderr } = await startEcho();
    const socket = await connected(port);
    socket.write('hello');
    expect(String((await once(socket, 'data'))[0])).toBe('hello');
    host.emit('SIGTERM');
    expect(await text(socket)).toBe('');
    expect(await code).toBe(0);
    expect(stderr()).toMatch(/SIGTERM: closing connections/);
    expect(host.eventNames(), 'no listener stays').toEqual([]);
  });

  it('ends at once at the second signal', async () => {
    const { host, port, code } = await startEcho();
    const socket = await connected(port);
    host.emit('SIGINT');
    host.emit('SIGINT');
    expect(host.exitCode).toBe(130);
    socket.destroy();
    await code;
  });

  it('prints the counters at SIGUSR2', async () => {
    const { host, port, code, stderr } = await startEcho();
    const socket = await connected(port);
    host.emit('SIGUSR2');
    const json = stderr()
      .split('\n')
      .find((line) => line.startsWith('{'));
    expect(JSON.parse(json!)).toMatchObject({ tcp: { listeners: 1 } });
    socket.destroy();
    host.emit('SIGINT');
    await code;
  });
});
