// HTTP/2 with one session and many streams; says what it saw in the clear and over TLS.
import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import http2 from 'node:http2';

const [clearUrl, secureUrl, folder] = process.argv.slice(2);

async function get(session, path) {
  const stream = session.request({ ':path': path });
  let body = 0;
  let text = '';
  let trailers = null;
  stream.on('trailers', (headers) => {
    trailers = headers;
  });
  stream.on('data', (chunk) => {
    body += chunk.length;
    if (text.length < 1000) text += chunk;
  });
  await once(stream, 'end');
  return { body, text, trailers };
}

async function use(url, options) {
  const seen = {};
  const session = http2.connect(url, options);
  await once(session, 'connect');
  seen.protocol = session.alpnProtocol;
  seen.hello = (await get(session, '/')).text;
  const many = await Promise.all(
    Array.from({ length: 50 }, (_, i) => get(session, `/bytes?n=${i * 10_000}`)),
  );
  seen.many = many.every(({ body }, i) => body === i * 10_000);
  seen.large = (await get(session, '/bytes?n=16000000')).body;
  seen.trailers = (await get(session, '/trailers')).trailers['x-end'];

  const bytes = randomBytes(4 << 20);
  const upload = session.request({ ':path': '/hash', ':method': 'POST' });
  upload.end(bytes);
  let hex = '';
  for await (const chunk of upload) hex += chunk;
  seen.upload = hex === createHash('sha256').update(bytes).digest('hex');

  const reset = session.request({ ':path': '/reset' });
  const [error] = await once(reset, 'error');
  seen.reset = error.message;
  const payload = randomBytes(8);
  seen.ping = await new Promise((resolve) =>
    session.ping(payload, (_error, _ms, same) => resolve(same.equals(payload))),
  );
  const gone = once(session, 'close');
  seen.last = (await get(session, '/goaway')).text;
  await gone;
  return seen;
}

const clear = await use(clearUrl, {});
const secure = await use(secureUrl, { ca: readFileSync(`${folder}/ca.pem`), servername: 'server.test' });
console.log(JSON.stringify({ clear, secure }));
