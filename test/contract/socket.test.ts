import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { afterAll, beforeAll } from 'vitest';
import { SocketStack } from '../../src/socket/index.ts';
import { stackContract } from './contract.ts';

/**
 * A process that listens and then stands still: once its backlog is full, the
 * host drops what else comes, as a black hole does.
 */
let stopped: ChildProcess;
let port = 0;
const fillers: Socket[] = [];

beforeAll(async () => {
  const program = `require('net').createServer().listen({ port: 0, host: '127.0.0.1', backlog: 1 }, function () {
    process.stdout.write(String(this.address().port));
  });`;
  stopped = spawn(process.execPath, ['-e', program], { stdio: ['ignore', 'pipe', 'inherit'] });
  const [text] = (await once(stopped.stdout!, 'data')) as [Buffer];
  port = Number(text.toString());
  stopped.kill('SIGSTOP');
  for (let i = 0; i < 4; i++) {
    const filler = connect({ port, host: '127.0.0.1' });
    filler.on('error', () => {});
    fillers.push(filler);
  }
  await once(fillers[0]!, 'connect');
});

afterAll(() => {
  for (const filler of fillers) filler.destroy();
  stopped.kill('SIGKILL');
});

stackContract(
  'the host’s sockets on 127.0.0.1',
  async () => {
    const client = new SocketStack({ closeTimeoutMs: 500 });
    const server = new SocketStack({ closeTimeoutMs: 500 });
    return {
      client,
      server,
      serverAddress: '127.0.0.1',
      clientAddress: '127.0.0.1',
      blackHole: { host: '127.0.0.1', port },
      broadcastAddress: '127.255.255.255',
      async close() {
        await Promise.all([client.close(), server.close()]);
      },
    };
  },
  { blackHole: true, broadcast: true },
);
