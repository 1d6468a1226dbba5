import { randomBytes } from 'node:crypto';
import { copyFileSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { stripVTControlCharacters } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { makeCertificates } from './support/certificates.ts';
import { Lab, missing, type Program } from './support/lab.ts';

/*
 * The tools that people try web servers with, on the kernel, against
 * applications on a stack: examples/express.mjs, and HTTP/2 with node:http2.
 */

const reason = missing('openssl', 'curl', 'ab', 'wrk', 'h2load', 'slowhttptest', 'chromium');

/** A copy of the example where it finds the packages. */
const EXAMPLE = '../node_modules/.cache/express.mjs';

let lab: Lab;
let site: Program;
let secureSite: Program;
let http2: Program;

beforeAll(async () => {
  if (reason !== null) return;
  const path = (relative: string): string => fileURLToPath(new URL(relative, import.meta.url));
  mkdirSync(path('node_modules/.cache'), { recursive: true });
  copyFileSync(path('../../../examples/express.mjs'), path('node_modules/.cache/express.mjs'));
  lab = new Lab();
  makeCertificates(lab.folder);
  const tls = { KEY: join(lab.folder, 'server.key'), CERTIFICATE: join(lab.folder, 'server.pem') };
  site = lab.program('stack', EXAMPLE, () => [80]);
  secureSite = lab.program('stack', EXAMPLE, () => [443], tls);
  http2 = lab.program('stack', 'http2-server.mjs', () => [80, 443, lab.folder]);
  await Promise.all([site.next(), secureSite.next(), http2.next()]);
});

afterAll(() => lab?.close());

const curl = (...args: string[]): Promise<string> => lab.run('curl', ['-sS', '--max-time', '20', ...args]);
const ca = (): string[] => ['--cacert', join(lab.folder, 'ca.pem')];

describe.skipIf(reason !== null)(`Express on a stack${reason === null ? '' : ` (${reason})`}`, () => {
  it('answers curl over HTTP/1.1, on one connection that is kept', async () => {
    const url = `http://${site.ends.address}`;
    const format = [
      '-w',
      '%{http_version} %{http_code} %{size_download} %{num_connects}\n',
      '-o',
      '/dev/null',
    ];
    const answers = await curl('--http1.1', ...format, `${url}/bytes/10000000`, ...format, `${url}/hello`);
    expect(answers).toBe('1.1 200 10000000 1\n1.1 200 6 0\n');
    expect(await curl('-I', `${url}/hello`)).toMatch(/^HTTP\/1\.1 200 OK\r\nX-Powered-By: Express\r\n/);
    const file = join(lab.folder, 'upload.bin');
    writeFileSync(file, randomBytes(16 << 20));
    expect(await curl('--data-binary', `@${file}`, `${url}/length`)).toBe(`${16 << 20}\n`);
  });

  it('answers curl over TLS, with the certificate checked', async () => {
    const url = `https://${secureSite.ends.address}`;
    expect(await curl(...ca(), `${url}/hello`)).toBe('hello\n');
    await expect(curl(`${url}/hello`)).rejects.toThrow(/exit code 60\n/);
  });

  it('shakes hands with openssl s_client', async () => {
    const connect = ['s_client', '-connect', `${secureSite.ends.address}:443`, '-verify_return_error'];
    const request = 'GET /hello HTTP/1.0\r\n\r\n';
    const good = await lab.run('openssl', [...connect, '-CAfile', join(lab.folder, 'ca.pem'), '-ign_eof'], {
      input: request,
    });
    expect(good).toContain('Verify return code: 0 (ok)');
    expect(good).toContain('\r\n\r\nhello\n');
    const other = join(lab.folder, 'other-ca.pem');
    await expect(lab.run('openssl', [...connect, '-CAfile', other], { input: request })).rejects.toThrow(
      /exit code 1\n/,
    );
  });

  it('serves ab, with and without connections that are kept', async () => {
    for (const keep of [[], ['-k']]) {
      const report = await lab.run('ab', [
        '-q',
        ...keep,
        '-n',
        '2000',
        '-c',
        '50',
        `http://${site.ends.address}/hello`,
      ]);
      expect(report).toMatch(/Complete requests:\s+2000\n/);
      expect(report).toMatch(/Failed requests:\s+0\n/);
      expect(report).not.toContain('Non-2xx responses');
    }
  });

  it('serves wrk', async () => {
    const report = await lab.run('wrk', [
      '-t',
      '1',
      '-c',
      '100',
      '-d',
      '2s',
      `http://${site.ends.address}/hello`,
    ]);
    expect(report).toMatch(/[1-9]\d* requests in/);
    expect(report).not.toMatch(/Socket errors|Non-2xx/);
  });

  // Header by header, body byte by body byte, and answers that are read as slowly.
  it.each([
    ['slow headers', ['-H', '-i', '1']],
    ['slow bodies', ['-B', '-i', '1', '-s', '8192']],
    ['slow readers', ['-X', '-w', '512', '-y', '1024', '-z', '32', '-n', '1']],
  ])('serves others while slowhttptest attacks with %s', async (_name, flags) => {
    const url = `http://${site.ends.address}/bytes/100000`;
    const attack = lab.run('slowhttptest', [
      ...flags,
      '-c',
      '400',
      '-r',
      '200',
      '-l',
      '6',
      '-p',
      '5',
      '-u',
      url,
    ]);
    let attacking = true;
    const ended = attack.finally(() => {
      attacking = false;
    });
    const seconds: number[] = [];
    while (attacking) {
      const format = ['-w', '%{http_code} %{time_total}', '-o', '/dev/null'];
      const [code, time] = (await curl(...format, `http://${site.ends.address}/hello`)).split(' ');
      expect(code).toBe('200');
      seconds.push(Number(time));
    }
    const report = stripVTControlCharacters(await ended);
    expect(report).toMatch(/connected: +400\n/);
    expect(report).toMatch(/service available: +YES/);
    expect(report).not.toMatch(/service available: +NO/);
    expect(seconds.length).toBeGreaterThan(5);
    expect(Math.max(...seconds)).toBeLessThan(5);
  });

  it('shows Chromium a page with images, fetch and a WebSocket that stays open', async () => {
    const browser = lab.start('chromium', [
      ...['--headless', '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run'],
      ...['--disable-background-networking', '--disable-component-update', '--disable-sync'],
      ...['--disable-dev-shm-usage', `--user-data-dir=${join(lab.folder, 'chromium')}`],
      ...['--remote-debugging-port=9222', `http://${site.ends.address}/`],
    ]);
    let seen = { time: '', images: 0, ticks: 0 };
    const started = performance.now();
    while (seen.ticks < 50) {
      seen = (await site.next()) as typeof seen;
      if (performance.now() - started > 60_000)
        throw new Error(`only ${JSON.stringify(seen)}\n${browser.printed}`);
    }
    expect(seen.images).toBe(16);
    expect(Date.parse(seen.time)).toBeGreaterThan(0);
    await browser.stop();
    let last: unknown;
    do last = await site.next();
    while (!Object.hasOwn(last as object, 'closed'));
    expect(last).toEqual({ closed: expect.any(Number) });
  });

  it('serves still, and ends when it is told to', async () => {
    expect(await curl(`http://${site.ends.address}/hello`)).toBe('hello\n');
    for (const program of [site, secureSite]) {
      await program.stop();
      expect([program.process.exitCode, program.stderr]).toEqual([0, '']);
    }
  });
});

describe.skipIf(reason !== null)(`node:http2 on a stack${reason === null ? '' : ` (${reason})`}`, () => {
  const version = ['-o', '/dev/null', '-w', '%{http_version} %{size_download}\n'];

  it('answers curl over TLS and with prior knowledge, many streams at a time', async () => {
    const { address } = http2.ends;
    expect(await curl('--http2', ...ca(), ...version, `https://${address}/bytes?n=10000000`)).toBe(
      '2 10000000\n',
    );
    expect(await curl('--http2-prior-knowledge', ...version, `http://${address}/bytes?n=10000000`)).toBe(
      '2 10000000\n',
    );
    const many = Array.from({ length: 30 }, () => [...version, `https://${address}/bytes?n=100000`]).flat();
    expect(await curl('--http2', '--parallel', ...ca(), ...many)).toBe('2 100000\n'.repeat(30));
    // HTTP/1.1 from the same port, for those who ask.
    expect(await curl('--http1.1', ...ca(), `https://${address}/`)).toBe(`HTTP/1.1 ${http2.ends.kernel}`);
  });

  it('agrees on h2 with openssl s_client', async () => {
    const report = await lab.run('openssl', [
      ...['s_client', '-connect', `${http2.ends.address}:443`, '-alpn', 'h2,http/1.1'],
      ...['-CAfile', join(lab.folder, 'ca.pem'), '-verify_return_error'],
    ]);
    expect(report).toContain('ALPN protocol: h2');
  });

  it.each(['http', 'https'])('serves h2load over %s', async (scheme) => {
    const report = await lab.run('h2load', [
      '-n',
      '3000',
      '-c',
      '20',
      '-m',
      '10',
      `${scheme}://${http2.ends.address}/`,
    ]);
    expect(report).toMatch(
      /3000 total, 3000 started, 3000 done, 3000 succeeded, 0 failed, 0 errored, 0 timeout/,
    );
    expect(report).toMatch(/status codes: 3000 2xx/);
  });
});
