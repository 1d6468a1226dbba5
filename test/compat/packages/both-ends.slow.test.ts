import { createHash, randomBytes } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { makeCertificates } from './support/certificates.ts';
import { Lab, missing, type Place } from './support/lab.ts';

/*
 * Programs of packages, written as for any Node, that run unchanged on a stack
 * and on the kernel's sockets: as server, as client, and both, over TAP (the
 * kernel forwards between the two) and over a cable between the processes.
 */

const reason = missing('openssl');
const PLACES: { server: Place; client: Place }[] = [
  { server: 'cable', client: 'cable' },
  { server: 'stack', client: 'stack' },
  { server: 'stack', client: 'kernel' },
  { server: 'kernel', client: 'stack' },
];

let lab: Lab;
let big: string;

beforeAll(() => {
  if (reason !== null) return;
  lab = new Lab();
  makeCertificates(lab.folder);
  const bytes = randomBytes(8 << 20);
  big = createHash('sha256').update(bytes).digest('hex');
  writeFileSync(join(lab.folder, 'big.bin'), bytes);
});

afterAll(() => lab?.close());

type Words = readonly (string | number)[];

interface Seen {
  /** What the client printed. */
  readonly report: unknown;
  /** Whom the server saw. */
  readonly from: string;
  readonly to: string;
}

/** Runs both ends; the client ends by itself, the server when it is told to. */
async function run(
  places: { server: Place; client: Place },
  serverFile: string,
  serverWords: Words,
  clientFile: string,
  clientWords: (host: string) => Words,
): Promise<Seen> {
  const server = lab.program(places.server, serverFile, () => serverWords);
  await server.next();
  let to = '';
  const client = lab.program(places.client, clientFile, ({ kernel }) => {
    to = places.server === 'kernel' ? kernel : server.ends.address;
    return clientWords(to);
  });
  const report = await client.report();
  expect(client.stderr).toBe('');
  await server.stop();
  expect(server.process.exitCode).toBe(0);
  const from = places.client === 'kernel' ? server.ends.kernel : client.ends.address;
  return { report, from, to };
}

describe.skipIf(reason !== null).each(PLACES)(
  `server on the $server, client on the $client${reason === null ? '' : ` (${reason})`}`,
  (places) => {
    it('Express, with fetch, node:http and axios', async () => {
      const { report, from, to } = await run(
        places,
        'express-server.mjs',
        [3000, lab.folder],
        'http-client.mjs',
        (host) => [`http://${host}:3000`],
      );
      expect(report).toEqual({
        page: [200, 'text/html; charset=utf-8', '<p>hello</p>'],
        who: { address: places.server === 'kernel' ? `::ffff:${from}` : from, host: to },
        json: { sum: 42 },
        badJson: 400,
        upload: true,
        download: big,
        range: [206, 1000, `bytes 1000-1999/${8 << 20}`],
        notModified: 304,
        thrown: [418, true],
        count: '0\n1\n2\n',
        connections: 1,
      });
    });

    it('Fastify, with undici', async () => {
      const { report, from } = await run(
        places,
        'fastify-server.mjs',
        [3000],
        'undici-client.mjs',
        (host) => [`http://${host}:3000`],
      );
      expect(report).toEqual({
        sums: true,
        wrong: [400, 'FST_ERR_VALIDATION'],
        peer: from,
        upload: true,
        pipelined: [0, 1, 2, 3, 4, 5, 6, 7, 8, 9],
        lines: 100_000,
        aborted: 'TimeoutError',
        refused: 'ECONNREFUSED',
      });
    });

    it('ws', async () => {
      const { report, from } = await run(places, 'ws-server.mjs', [3000], 'ws-client.mjs', (host) => [
        `ws://${host}:3000`,
      ]);
      expect(report).toEqual({
        welcome: { address: places.server === 'kernel' ? `::ffff:${from}` : from, protocol: 'first' },
        texts: true,
        binary: true,
        pong: 'are you there',
        closed: [4001, 'as you wish'],
        terminated: 1006,
        refused: 'Unexpected server response: 400',
      });
    });

    it('Socket.IO', async () => {
      const { report } = await run(places, 'socketio-server.mjs', [3000], 'socketio-client.mjs', (host) => [
        `http://${host}:3000`,
      ]);
      expect(report).toEqual({
        transports: ['polling', 'websocket'],
        members: 2,
        heard: ['good morning', 'good morning'],
        length: 1 << 20,
      });
    });

    it('node:http2', async () => {
      const { report, from } = await run(
        places,
        'http2-server.mjs',
        [3000, 3443, lab.folder],
        'http2-client.mjs',
        (host) => [`http://${host}:3000`, `https://${host}:3443`, lab.folder],
      );
      const seen = {
        hello: `HTTP/2.0 ${places.server === 'kernel' ? '::ffff:' : ''}${from}`,
        many: true,
        large: 16_000_000,
        trailers: 'reached',
        upload: true,
        reset: 'Stream closed with error code NGHTTP2_REFUSED_STREAM',
        ping: true,
        last: 'last',
      };
      expect(report).toEqual({
        clear: { protocol: 'h2c', ...seen },
        secure: { protocol: 'h2', ...seen },
      });
    });

    it('node:tls, certificates checked', async () => {
      const { report, from } = await run(
        places,
        'tls-server.mjs',
        [3443, lab.folder],
        'tls-client.mjs',
        (host) => [host, 3443, lab.folder],
      );
      expect(report).toEqual({
        authorized: [true, 'TLSv1.3', 'server.test'],
        welcome: {
          who: null,
          servername: 'server.test',
          alpnProtocol: 'echo',
          remoteAddress: places.server === 'kernel' ? `::ffff:${from}` : from,
          reused: false,
        },
        echoed: true,
        hadError: false,
        resumed: true,
        client: 'client.test',
        unknownCa: 'SELF_SIGNED_CERT_IN_CHAIN',
        wrongName: 'ERR_TLS_CERT_ALTNAME_INVALID',
        tooOld: 'ERR_SSL_TLSV1_ALERT_PROTOCOL_VERSION',
      });
    });

    it('gRPC', async () => {
      const { report, from } = await run(
        places,
        'grpc-server.mjs',
        [3000, 3443, lab.folder],
        'grpc-client.mjs',
        (host) => [`${host}:3000`, `${host}:3443`, lab.folder],
      );
      const seen = {
        greeting: 'hello you',
        peer: from,
        heard: 'good morning',
        invalid: { code: 3, details: 'who?' },
        late: 4,
        counted: true,
        sum: 500_500,
        echoed: true,
        cancelled: 1,
      };
      expect(report).toEqual({ clear: seen, secure: seen });
    });

    it('MQTT, with aedes as the broker', async () => {
      const { report } = await run(places, 'mqtt-server.mjs', [1883], 'mqtt-client.mjs', (host) => [
        `mqtt://${host}:1883`,
      ]);
      expect(report).toEqual(MQTT);
    });

    it('mail, with smtp-server and nodemailer', async () => {
      const { report, from } = await run(
        places,
        'mail-server.mjs',
        [2525, lab.folder],
        'mail-client.mjs',
        (host) => [host, 2525, lab.folder],
      );
      expect(report).toEqual({
        verified: true,
        raw: ['secure', from, true],
        accepted: [['b@there.test'], ['c@nobody.test']],
        pooled: true,
        wrongPassword: 'EAUTH',
        wrongCa: 'ESOCKET',
        refused: 'ESOCKET',
      });
    });
  },
);

const MQTT = {
  qualities: [
    ['news/0', 'quality 0'],
    ['news/1', 'quality 1'],
    ['news/2', 'quality 2'],
  ],
  big: true,
  many: true,
  kept: 'still here',
  will: 'gone',
};
