import { createHash } from 'node:crypto';
import { mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { type IncomingHttpHeaders, request } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import { pipeline } from 'node:stream/promises';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import webServer from '../../examples/web-server.ts';
import { duplexOf } from '../../src/net/index.ts';
import { type Pair, pair } from './stacks.ts';

const BIG = Buffer.alloc(3_000_000, 'abcdefghij');
let folder: string;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'mirage-net-test-'));
  const root = join(folder, 'root');
  await mkdir(join(root, 'site'), { recursive: true });
  await writeFile(join(folder, 'secret.txt'), 'secret');
  await writeFile(join(root, 'ten.txt'), '0123456789');
  await writeFile(join(root, 'big.bin'), BIG);
  await writeFile(join(root, 'empty.txt'), '');
  await writeFile(join(root, 'a<b.txt'), '');
  await writeFile(join(root, 'site/index.html'), '<p>index</p>');
  await symlink(join(folder, 'secret.txt'), join(root, 'way-out.txt'));
});

afterAll(async () => {
  await rm(folder, { recursive: true });
});

describe.each(['socket', 'direct'] as const)('the web server on the %s stack', (kind) => {
  let stacks: Pair;
  let port: number;

  beforeAll(async () => {
    stacks = await pair(kind);
    const listen = vi.spyOn(stacks.server.tcp, 'listen');
    vi.spyOn(console, 'log').mockReturnValue();
    await webServer(stacks.server, ['--port', '0', join(folder, 'root')]);
    port = (await listen.mock.results[0]!.value).local.port;
  });

  afterAll(async () => {
    await stacks.client.close();
    await stacks.server.close();
  });

  interface Answer {
    readonly status: number;
    readonly headers: IncomingHttpHeaders;
    readonly body: Buffer;
  }

  async function ask(
    path: string,
    options: { method?: string; range?: string; body?: Buffer } = {},
  ): Promise<Answer> {
    const flow = await stacks.client.tcp.connect({ host: stacks.host, port });
    return new Promise((resolve, reject) => {
      const outgoing = request(
        {
          path,
          method: options.method ?? 'GET',
          headers: { Connection: 'close', ...(options.range !== undefined && { Range: options.range }) },
          createConnection: () => duplexOf(flow),
        },
        (response) => {
          const { statusCode = 0, headers } = response;
          buffer(response).then((body) => resolve({ status: statusCode, headers, body }), reject);
        },
      );
      outgoing.on('error', reject);
      pipeline(Readable.from(options.body === undefined ? [] : [options.body]), outgoing).catch(reject);
    });
  }

  it('sends a file', async () => {
    const { status, headers, body } = await ask('/ten.txt');
    expect(status).toBe(200);
    expect(headers).toMatchObject({ 'content-length': '10', 'content-type': 'text/plain; charset=utf-8' });
    expect(String(body)).toBe('0123456789');
  });

  it('sends a large file unharmed', async () => {
    expect((await ask('/big.bin')).body.equals(BIG)).toBe(true);
  });

  it('sends an empty file', async () => {
    const { status, body } = await ask('/empty.txt');
    expect(status).toBe(200);
    expect(body.length).toBe(0);
  });

  it('answers HEAD without a body', async () => {
    const { status, headers, body } = await ask('/ten.txt', { method: 'HEAD' });
    expect(status).toBe(200);
    expect(headers['content-length']).toBe('10');
    expect(body.length).toBe(0);
  });

  it.each([
    ['bytes=2-4', 206, 'bytes 2-4/10', '234'],
    ['bytes=7-', 206, 'bytes 7-9/10', '789'],
    ['bytes=7-100', 206, 'bytes 7-9/10', '789'],
    ['bytes=-3', 206, 'bytes 7-9/10', '789'],
    ['bytes=-30', 206, 'bytes 0-9/10', '0123456789'],
    ['bytes=10-', 416, 'bytes */10', 'Range not satisfiable\n'],
    ['bytes=-0', 416, 'bytes */10', 'Range not satisfiable\n'],
    ['bytes=4-2', 200, undefined, '0123456789'],
    ['lines=1-2', 200, undefined, '0123456789'],
  ])('understands the range %s', async (range, status, contentRange, body) => {
    const answer = await ask('/ten.txt', { range });
    expect(answer.status).toBe(status);
    expect(answer.headers['content-range']).toBe(contentRange);
    expect(String(answer.body)).toBe(body);
  });

  it('answers PUT with the SHA-256 of the body', async () => {
    const { body } = await ask('/anything', { method: 'PUT', body: BIG });
    expect(String(body)).toBe(`${createHash('sha256').update(BIG).digest('hex')}\n`);
  });

  it('shows the index of a folder, or a list of it', async () => {
    expect(String((await ask('/site/')).body)).toBe('<p>index</p>');
    const list = String((await ask('/')).body);
    expect(list).toContain('<a href="./site/">site/</a>');
    expect(list).toContain('<a href="./a%3Cb.txt">a&#60;b.txt</a>');
  });

  it('leads from a folder to its slash', async () => {
    const { status, headers } = await ask('/site');
    expect(status).toBe(301);
    expect(headers.location).toBe('/site/');
  });

  it.each([
    ['/missing.txt', 404],
    ['/ten.txt/below', 404],
    ['/../secret.txt', 404],
    ['/%2e%2e/secret.txt', 404],
    ['/..%2fsecret.txt', 404],
    ['/way-out.txt', 404],
    ['/%00', 400],
    ['/%zz', 400],
    [`/${'x'.repeat(1000)}`, 400],
  ])('refuses %s', async (path, status) => {
    const answer = await ask(path);
    expect(answer.status).toBe(status);
    expect(String(answer.body)).not.toContain('secret');
  });

  it('refuses other methods', async () => {
    const { status, headers } = await ask('/ten.txt', { method: 'DELETE' });
    expect(status).toBe(405);
    expect(headers.allow).toBe('GET, HEAD, PUT, POST');
  });

  it('answers nonsense with 400 and closes', async () => {
    const flow = await stacks.client.tcp.connect({ host: stacks.host, port });
    await flow.write(Buffer.from('this is not HTTP\r\n\r\n'));
    expect(String(await buffer(duplexOf(flow)))).toMatch(/^HTTP\/1\.1 400 Bad Request/);
  });

  it('serves many at once', async () => {
    const answers = await Promise.all(Array.from({ length: 50 }, () => ask('/ten.txt')));
    expect(answers.every(({ body }) => String(body) === '0123456789')).toBe(true);
  });
});
