import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { makeCertificate } from '../support/certificate.ts';
import { canTap } from './support/kernel-host.ts';
import { MAIN, ProgramHost } from './support/program.ts';

/** A program on the kernel's own network: says so when it is ready. */
const KERNEL_SERVER = `
const http = require('node:http');
http.createServer((request, response) => response.end('kernel, to ' + request.socket.remoteAddress))
  .listen(8080, '10.0.0.1', () => console.log('kernel listens'));
`;

const CLOSED = `
const net = require('node:net');
const socket = net.connect(7, '10.0.0.2', () => console.log('connected'));
socket.resume();
socket.on('end', () => console.log('ended'));
socket.on('error', (error) => console.log(error.code));
`;

describe.skipIf(canTap() !== null)('node --import mirage-net-direct/register', { timeout: 60_000 }, () => {
  let host: ProgramHost;
  beforeEach(() => {
    host = new ProgramHost();
  });
  afterEach(() => host.close());

  it('puts every network module of a process on the stack, for import and for require', async () => {
    const { key, cert } = makeCertificate('localhost');
    host.write('key.pem', key);
    host.write('cert.pem', cert);
    host.write('kernel.cjs', KERNEL_SERVER);
    host.write(
      'required.cjs',
      `const net = require('net');
       const { connect } = require('node:net');
       module.exports = { net, connect };`,
    );
    host.write(
      'app.mjs',
      `import { readFileSync } from 'node:fs';
       import { once } from 'node:events';
       import dgram from 'node:dgram';
       import dns from 'node:dns';
       import http from 'node:http';
       import http2 from 'node:http2';
       import https from 'node:https';
       import net, { connect, createServer } from 'node:net';
       import tls from 'node:tls';
       import { text } from 'node:stream/consumers';
       import required from './required.cjs';

       const say = (what, value) => console.log(what + ': ' + value);
       say('one net', required.net === net && required.connect === connect && connect === net.connect);
       const key = readFileSync('key.pem'), cert = readFileSync('cert.pem');
       const greet = (request, response) => response.end('hello ' + request.socket.remoteAddress);
       const servers = {
         http: http.createServer(greet).listen(80),
         https: https.createServer({ key, cert }, greet).listen(443),
         tls: tls.createServer({ key, cert }, (socket) => socket.end('tls ' + socket.remoteAddress)).listen(992),
         h2c: http2.createServer((request, response) => response.end('h2c')).listen(81),
         h2: http2.createSecureServer({ key, cert }, (request, response) => response.end('h2')).listen(444),
       };
       await Promise.all(Object.values(servers).map((server) => once(server, 'listening')));
       const udp = dgram.createSocket('udp4', (message, from) => udp.send(message, from.port, from.address));
       udp.bind(7);
       await once(udp, 'listening');
       console.log('ready');
       const stop = createServer((socket) => socket.once('data', async () => {
         const page = await fetch('http://10.0.0.1:8080/');
         say('fetch', await page.text());
         say('http', await text((await once(http.get('http://10.0.0.1:8080/'), 'response'))[0]));
         const own = await once(https.get('https://localhost/', { ca: cert }), 'response');
         say('https', await text(own[0]));
         const session = http2.connect('https://localhost:444', { ca: cert });
         say('http2', await text(session.request({ ':path': '/' })));
         session.close();
         const secure = tls.connect({ port: 992, host: 'localhost', ca: cert });
         say('tls', await text(secure));
         const plain = http2.connect('http://localhost:81');
         say('h2c', await text(plain.request()));
         plain.close();
         say('dns', (await dns.promises.lookup('db.test')).address);
         say('dns', (await dns.promises.resolve4('nowhere.test').catch((error) => error.code)));
         say('dns', await new Promise((resolve) => dns.lookup('localhost', 4, (error, address) => resolve(address))));
         const asked = dgram.createSocket('udp4');
         asked.send('ping', 7, 'localhost');
         const [, from] = await once(asked, 'message');
         say('dgram', from.address);
         process.exit();
       })).listen(9);`,
    );
    const program = host.register('app.mjs', { env: { MIRAGE_NET_HOSTS: 'db.test=10.0.0.5' } });
    await program.said('ready');
    const kernel = host.start(process.execPath, ['kernel.cjs']);
    await kernel.said('kernel listens');
    const curl = async (...args: string[]): Promise<string> => {
      const { stdout, stderr, code } = await host.start('curl', ['-sS', '--max-time', '10', ...args]).ended;
      return code === 0 ? stdout : `${code} ${stderr}`;
    };
    expect(await curl('http://10.0.0.2/')).toMatch(/^hello (::ffff:)?10\.0\.0\.1$/);
    const resolved = (port: number): string[] => [
      '--cacert',
      'cert.pem',
      '--resolve',
      `localhost:${port}:10.0.0.2`,
    ];
    expect(await curl(...resolved(443), 'https://localhost/')).toMatch(/^hello /);
    expect(await curl(...resolved(444), '--http2', 'https://localhost:444/')).toBe('h2');
    expect(await curl('--http2-prior-knowledge', 'http://10.0.0.2:81/')).toBe('h2c');
    // The kernel has none of these ports.
    expect(await curl('http://10.0.0.1/')).toMatch(/^7 /);
    await host.start('bash', ['-c', 'echo go > /dev/tcp/10.0.0.2/9']).ended;
    const { stdout, stderr, code } = await program.ended;
    expect(stderr).toBe('');
    expect(stdout.split('\n').filter((line) => line.includes(': '))).toEqual([
      'one net: true',
      'fetch: kernel, to 10.0.0.2',
      'http: kernel, to 10.0.0.2',
      expect.stringMatching(/^https: hello .*127\.0\.0\.1$/),
      'http2: h2',
      expect.stringMatching(/^tls: tls .*127\.0\.0\.1$/),
      'h2c: h2c',
      'dns: 10.0.0.5',
      // There is no server to ask, and the host's is not asked.
      expect.stringMatching(/^dns: E[A-Z]+$/),
      'dns: 127.0.0.1',
      'dgram: 127.0.0.1',
    ]);
    expect(code).toBe(0);
  });

  it("leaves local sockets, pipes, descriptors and the channel to a child the host's", async () => {
    host.write(
      'app.cjs',
      `const net = require('node:net');
       const { fork, execFileSync } = require('node:child_process');
       const { once } = require('node:events');
       const { Worker } = require('node:worker_threads');
       if (process.argv[2] === 'child') {
         process.once('message', (message) => process.send(message + ' and back', () => process.disconnect()));
         return;
       }
       (async () => {
         const server = net.createServer((socket) => socket.end('local ' + socket.remoteAddress)).listen('./local.sock');
         await once(server, 'listening');
         console.log(server.address());
         const client = net.connect('./local.sock');
         client.setEncoding('utf8');
         console.log((await once(client, 'data'))[0], client instanceof net.Socket);
         server.close();
         const missing = net.connect({ path: './missing.sock' });
         const [error] = await once(missing, 'error');
         console.log(error.message, error.address);
         const child = fork(__filename, ['child']);
         child.send('over');
         console.log((await once(child, 'message'))[0]);
         console.log(execFileSync('cat', { input: 'through a pipe' }).toString());
         const worker = new Worker('require("node:worker_threads").parentPort.postMessage("from a worker")', { eval: true });
         console.log((await once(worker, 'message'))[0]);
       })();`,
    );
    const { stdout, stderr, code } = await host.register('app.cjs').ended;
    expect(stdout.split('\n')).toEqual([
      './local.sock',
      'local undefined true',
      'connect ENOENT ./missing.sock ./missing.sock',
      'over and back',
      'through a pipe',
      'from a worker',
      '',
    ]);
    expect(code).toBe(0);
    // The child says that it is not on the stack; so does a worker, where Node preloads modules in workers.
    expect(stderr).toMatch(/MIRAGE_NET_INHERITED.*a child process uses the host's network/);
  });

  it('lets the process end when nothing is open, and not before what was written has arrived', async () => {
    host.write(
      'app.mjs',
      `import net from 'node:net';
       const server = net.createServer((socket) => {
         // Far more than any buffer; the peer is slow.
         socket.end(Buffer.alloc(8 << 20, 'x'));
         server.close();
       }).listen(7, () => console.log('listening'));`,
    );
    host.write(
      'slow.cjs',
      `const socket = require('node:net').connect(7, '10.0.0.2');
       let bytes = 0;
       socket.on('data', (chunk) => {
         bytes += chunk.length;
         socket.pause();
         setTimeout(() => socket.resume(), 15);
       });
       socket.on('end', () => console.log('got', bytes));
       socket.on('error', (error) => console.log(error.code, bytes));`,
    );
    const program = host.register('app.mjs');
    await program.said('listening');
    const slow = host.start(process.execPath, ['slow.cjs']);
    expect((await slow.ended).stdout).toBe(`got ${8 << 20}\n`);
    expect(await program.ended).toMatchObject({ code: 0, stderr: '' });

    host.write('nothing.mjs', `import 'node:net'; console.log('done');`);
    expect(await host.register('nothing.mjs').ended).toMatchObject({ code: 0, stdout: 'done\n', stderr: '' });
  });

  it.each(['process.exit(3)', 'process.kill(process.pid, "SIGTERM")', 'throw new Error("bug")'])(
    'tells the peers when the process ends by %s',
    async (end) => {
      host.write(
        'app.cjs',
        `require('node:net').createServer((socket) => setTimeout(() => { ${end}; }, 50))
           .listen(7, () => console.log('listening'));`,
      );
      host.write('peer.cjs', CLOSED);
      const program = host.register('app.cjs');
      await program.said('listening');
      const peer = host.start(process.execPath, ['peer.cjs']);
      const { code, signal } = await program.ended;
      const [first] = end;
      expect([code, signal]).toEqual(
        first === 't' ? [1, null] : end.includes('exit') ? [3, null] : [null, 'SIGTERM'],
      );
      expect((await peer.ended).stdout).toBe('connected\nended\n');
    },
  );

  it('is configured by a file, which may decide who gets what', async () => {
    host.write('package.json', '{ "type": "module" }');
    host.write(
      'mirage-net.config.js',
      `export default ({ isMainThread, isChild }) => isMainThread && !isChild
         ? { netif: 'tap:mnd0', hostIp: '10.0.0.1/24', ip: '10.0.0.2/24', offloads: false,
             hosts: { kernel: '10.0.0.1' }, tcp: { congestionControl: 'newreno' } }
         : null;`,
    );
    host.write('kernel.cjs', KERNEL_SERVER);
    host.write(
      'app.js',
      `import { spawnSync } from 'node:child_process';
       import http from 'node:http';
       const server = http.createServer(async (request, response) => {
         const page = await fetch('http://kernel:8080/');
         response.end(await page.text(), () => {
           const child = spawnSync(process.execPath, [...process.execArgv, '-e', '1'], { encoding: 'utf8' });
           console.log('child: ' + child.status + child.stderr);
           setTimeout(() => process.exit(), 100);
         });
       }).listen(80, () => console.log('ready'));`,
    );
    const program = host.register('app.js', { env: { MIRAGE_NET: '' } });
    await program.said('ready');
    const kernel = host.start(process.execPath, ['kernel.cjs']);
    await kernel.said('kernel listens');
    const curl = await host.start('curl', ['-sS', 'http://10.0.0.2/']).ended;
    expect(curl.stdout).toBe('kernel, to 10.0.0.2');
    const { stdout, code } = await program.ended;
    expect(stdout).toContain('child: 0\n');
    expect(code).toBe(0);
  });

  it('says what is missing or wrong', async () => {
    host.write('app.cjs', '');
    const start = (env: Record<string, string>) =>
      host.register('app.cjs', { env: { MIRAGE_NET: '', ...env } }).ended;
    expect((await start({})).stderr).toMatch(/MIRAGE_NET is not set.*mirage-net\.config\.js/);
    expect((await start({ MIRAGE_NET: '--netif tap:x' })).stderr).toMatch(/MIRAGE_NET: .*--ip/);
    host.write('bad.mjs', 'export default { netif: "tap:mnd0", ip: "10.0.0.2/24", gatway: "10.0.0.1" }');
    expect((await start({ MIRAGE_NET_CONFIG: 'bad.mjs' })).stderr).toMatch(/bad\.mjs: .*--gatway/);
  });

  it('is what mirage-net run --register does for a program', async () => {
    host.write(
      'app.cjs',
      `const net = require('node:net');
       console.log(require.main === module, process.argv.slice(2).join(' '));
       const server = net.createServer((socket) => {
         socket.end('from ' + socket.localAddress);
         server.close();
       }).listen(7, () => console.log('listening'));`,
    );
    const words = [
      'run',
      'app.cjs',
      '--register',
      ...ProgramHost.NETIF.split(' '),
      '--stats',
      '--',
      '--port',
      '7',
    ];
    const program = host.start(process.execPath, [MAIN, ...words]);
    await program.said('listening');
    const { stdout } = await host.start('bash', ['-c', 'cat < /dev/tcp/10.0.0.2/7']).ended;
    expect(stdout).toMatch(/^from (::ffff:)?10\.0\.0\.2$/);
    const ended = await program.ended;
    expect(ended.stdout).toBe('true --port 7\nlistening\n');
    expect(JSON.parse(ended.stderr)).toMatchObject({ tcp: { passiveOpens: 1 } });
    expect(ended.code).toBe(0);
  });
});
