import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { text } from 'node:stream/consumers';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';

// There is no way back, so each in a process of its own, with the code as it is installed (`npm run build`).
const DIST = new URL('../../dist/', import.meta.url);

/** Runs a module in whose process `node:net` is that of a stack; gives what it prints. */
async function runInstalled(body: string): Promise<{ code: number; stdout: string; stderr: string }> {
  const module = (path: string): string => JSON.stringify(fileURLToPath(new URL(path, DIST)));
  const script = `
    import { once } from 'node:events';
    import http2 from 'node:http2';
    import { DirectStack } from ${module('index.js')};
    import { createCable } from ${module('netif/link.js')};
    import { BackgroundClock, createNet } from ${module('net/index.js')};
    import { installNet } from ${module('net/install.js')};
    const clock = new BackgroundClock();
    const [netif] = createCable({ clock });
    const stack = new DirectStack({ netif, clock, ipv4: '10.0.0.1/24' });
    const opening = setInterval(() => {}, 1000);
    await stack.ready();
    clearInterval(opening);
    installNet(createNet(stack));
    ${body}`;
  const child = spawn(process.execPath, ['--input-type=module', '-e', script]);
  const ended = once(child, 'close');
  const [stdout, stderr] = await Promise.all([text(child.stdout), text(child.stderr)]);
  return { code: (await ended)[0] as number, stdout, stderr };
}

describe('node:http2 on a stack', () => {
  // A turn or two after the write began, it is still on its way.
  it.each([1, 2, 3])('can end a session in the middle of a write, %s turns after', async (turns) => {
    const { code, stdout, stderr } = await runInstalled(`
      const server = http2.createServer((_request, response) => response.end('hello'));
      server.listen(80);
      await once(server, 'listening');
      const session = http2.connect('http://127.0.0.1:80');
      await once(session, 'connect');
      await once(session.request().resume(), 'end');
      for (let i = 0; i < 10; i++) await new Promise(setImmediate);
      const stream = session.request({ ':method': 'POST' });
      stream.on('error', () => {});
      stream.write(Buffer.alloc(60_000));
      let turns = 0;
      setImmediate(function next() {
        if (++turns === ${turns}) session.destroy();
        else setImmediate(next);
      });
      await once(session, 'close');
      server.close();
      console.log('closed');`);
    expect({ code, stdout, stderr }).toEqual({ code: 0, stdout: 'closed\n', stderr: '' });
  });

  it('knows who is there', async () => {
    const { stdout } = await runInstalled(`
      const server = http2.createServer((request, response) => response.end(request.socket.remoteAddress));
      server.listen(80);
      await once(server, 'listening');
      const session = http2.connect('http://10.0.0.1:80');
      const stream = session.request();
      for await (const chunk of stream) console.log(String(chunk), session.socket.remoteAddress);
      session.close();
      server.close();`);
    expect(stdout).toBe('10.0.0.1 10.0.0.1\n');
  });
});
