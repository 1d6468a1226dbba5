import { createServer as createTlsServer, TLSSocket } from 'node:tls';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type ApiSocket, createSockets, duplexOf, SocketError } from '../../src/net/index.ts';
import type { Flow } from '../../src/stack.ts';
import { type Certificate, makeCertificate } from '../support/certificate.ts';
import { connectedStacks, type Pair, THERE } from './stacks.ts';

const NAME = 'there.test';

describe('connect() of the Sockets API', () => {
  let pair: Pair;
  let certificate: Certificate;
  let connect: ReturnType<typeof createSockets>['connect'];
  let nextPort = 7000;

  beforeAll(async () => {
    pair = await connectedStacks({ sendBuffer: 1 << 17, receiveBuffer: 1 << 17 });
    certificate = makeCertificate(NAME);
    ({ connect } = createSockets(pair.here, { tls: { ca: certificate.cert } }));
  });
  afterAll(() => pair.close());

  async function listen(onFlow: (flow: Flow) => void): Promise<number> {
    const port = nextPort++;
    await pair.there.tcp.listen({ port }, onFlow);
    return port;
  }

  async function echo(flow: Flow): Promise<void> {
    for await (const chunk of flow) await flow.write(chunk);
    await flow.close();
  }

  async function listenTls(onSocket: (socket: TLSSocket) => void): Promise<number> {
    const { key, cert } = certificate;
    const server = createTlsServer({ key, cert, ALPNProtocols: ['echo/2', 'echo/1'] }, onSocket);
    server.on('tlsClientError', () => {});
    return listen((flow) => server.emit('connection', duplexOf(flow)));
  }

  async function write(socket: ApiSocket, text: string): Promise<void> {
    const writer = socket.writable.getWriter();
    await writer.write(new TextEncoder().encode(text));
    writer.releaseLock();
  }

  async function readText(socket: ApiSocket, bytes: number): Promise<string> {
    const reader = socket.readable.getReader();
    let text = '';
    while (text.length < bytes) {
      const { value, done } = await reader.read();
      if (done) break;
      text += Buffer.from(value).toString();
    }
    reader.releaseLock();
    return text;
  }

  it('opens, carries bytes, closes', async () => {
    const port = await listen(echo);
    const socket = connect(`${NAME}:${port}`);
    // The streams may be used before it is open.
    await write(socket, 'hello');
    expect(await readText(socket, 5)).toBe('hello');
    const info = await socket.opened;
    expect(info).toMatchObject({ remoteAddress: `${THERE}:${port}`, alpn: null });
    expect(info.localAddress).toMatch(/^10\.0\.0\.1:\d+$/);
    expect([socket.upgraded, socket.secureTransport]).toEqual([false, 'off']);
    await socket.close();
    await socket.closed;
  });

  it('sends what was written when it is closed', async () => {
    let received = '';
    const ended = new Promise<void>((resolve) => {
      void listen(async (flow) => {
        for await (const chunk of flow) received += Buffer.from(chunk).toString();
        resolve();
      }).then((port) => {
        const socket = connect({ hostname: THERE, port });
        void write(socket, 'the last words').then(() => socket.close());
      });
    });
    await ended;
    expect(received).toBe('the last words');
  });

  it('rejects opened and closed with a SocketError when nobody listens', async () => {
    const socket = connect({ hostname: THERE, port: 9 });
    await expect(socket.opened).rejects.toThrow(/^SocketError: cannot connect: .*ECONNREFUSED/);
    const error = await socket.closed.catch((reason: unknown) => reason);
    expect(error).toBeInstanceOf(SocketError);
    expect(error).toMatchObject({ code: 'ECONNREFUSED' });
    await expect(socket.readable.getReader().read()).resolves.toMatchObject({ done: true });
    await expect(write(socket, 'x')).rejects.toThrow(/ECONNREFUSED/);
  });

  it('rejects opened with the reason of a close that came first', async () => {
    const socket = connect({ hostname: '10.0.0.77', port: 80 });
    const reason = new Error('changed my mind');
    await socket.close(reason);
    await expect(socket.opened).rejects.toBe(reason);
  });

  it('closes itself when the peer has ended, unless half-open connections are allowed', async () => {
    const port = await listen((flow) => void flow.shutdown());
    const socket = connect({ hostname: THERE, port });
    expect(await readText(socket, 1)).toBe('');
    await socket.closed;

    let late = '';
    const half = await listen(async (flow) => {
      await flow.shutdown();
      for await (const chunk of flow) late += Buffer.from(chunk).toString();
    });
    const open = connect({ hostname: THERE, port: half }, { allowHalfOpen: true });
    expect(await readText(open, 1)).toBe('');
    await write(open, 'still here');
    await expect.poll(() => late).toBe('still here');
    await open.close();
  });

  it('fails closed and both streams when the peer resets', async () => {
    const port = await listen((flow) => flow.abort());
    const socket = connect({ hostname: THERE, port });
    await expect(socket.readable.getReader().read()).rejects.toMatchObject({ code: 'ECONNRESET' });
    await expect(socket.closed).rejects.toMatchObject({ code: 'ECONNRESET' });
  });

  it('secures the connection from the start, with a certificate that is checked', async () => {
    const port = await listenTls((socket) => socket.pipe(socket));
    const socket = connect(`${NAME}:${port}`, { secureTransport: 'on', alpn: ['echo/1'] });
    expect((await socket.opened).alpn).toBe('echo/1');
    await write(socket, 'secret');
    expect(await readText(socket, 6)).toBe('secret');
    await socket.close();

    // The certificate is for the name, not for the address.
    const wrong = connect(`${THERE}:${port}`, { secureTransport: 'on' });
    await expect(wrong.opened).rejects.toMatchObject({ code: 'ERR_TLS_CERT_ALTNAME_INVALID' });
    const right = connect(`${THERE}:${port}`, { secureTransport: 'on', sni: NAME });
    await right.opened;
    await right.close();
  });

  it('secures a connection that began in the clear', async () => {
    const port = await listen((flow) => {
      const plain = duplexOf(flow);
      plain.once('data', (command: Buffer) => {
        expect(command.toString()).toBe('STARTTLS\n');
        const { key, cert } = certificate;
        const secured = new TLSSocket(plain, { isServer: true, key, cert });
        secured.on('data', (chunk: Buffer) => secured.write(`${chunk} over TLS`));
        plain.write('go ahead\n');
      });
    });
    const socket = connect(`${NAME}:${port}`, { secureTransport: 'starttls' });
    await write(socket, 'STARTTLS\n');
    expect(await readText(socket, 9)).toBe('go ahead\n');
    const secured = socket.startTls();
    expect([socket.upgraded, secured.secureTransport, secured.upgraded]).toEqual([true, 'on', false]);
    await socket.closed;
    await secured.opened;
    await write(secured, 'hello');
    expect(await readText(secured, 14)).toBe('hello over TLS');
    await expect(write(socket, 'in the clear')).rejects.toThrow(/taken the connection over/);
    expect(() => secured.startTls()).toThrow(SocketError);
    await secured.close();
  });

  it('refuses what cannot be', async () => {
    expect(() => connect('no port')).toThrow(SocketError);
    expect(() => connect('host:99999')).toThrow(/65535/);
    expect(() => connect('host:80', { secureTransport: 'yes' as 'on' })).toThrow(/secureTransport/);
    expect(() => connect('host:80', { alpn: ['h2'] })).toThrow(/for TLS/);
    const port = await listen(echo);
    const socket = connect(`${THERE}:${port}`);
    expect(() => socket.startTls()).toThrow(/starttls/);
    await socket.close();
  });
});
