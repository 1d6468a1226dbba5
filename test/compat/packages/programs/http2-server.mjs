// HTTP/2, in the clear and over TLS (with HTTP/1.1 for those who ask): streams, trailers, errors.
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import http2 from 'node:http2';

const [clearPort, securePort, folder] = process.argv.slice(2);
const block = Buffer.alloc(65_536, 'abcdefgh');

function answer(request, response) {
  const url = new URL(request.url, 'http://host');
  if (url.pathname === '/hash') {
    const hash = createHash('sha256');
    request.on('data', (chunk) => hash.update(chunk));
    request.on('end', () => response.end(hash.digest('hex')));
  } else if (url.pathname === '/bytes') {
    let left = Number(url.searchParams.get('n'));
    const more = () => {
      while (left > 0) {
        const part = block.subarray(0, Math.min(left, block.length));
        left -= part.length;
        if (!response.write(part)) return void response.once('drain', more);
      }
      response.end();
    };
    more();
  } else if (url.pathname === '/trailers') {
    response.setHeader('trailer', 'x-end');
    response.write('body');
    response.addTrailers({ 'x-end': 'reached' });
    response.end();
  } else if (url.pathname === '/reset') {
    response.stream.close(http2.constants.NGHTTP2_REFUSED_STREAM);
  } else if (url.pathname === '/goaway') {
    response.end('last');
    response.stream.session.close();
  } else {
    response.end(`HTTP/${request.httpVersion} ${request.socket.remoteAddress}`);
  }
}

const clear = http2.createServer(answer);
const secure = http2.createSecureServer(
  { key: readFileSync(`${folder}/server.key`), cert: readFileSync(`${folder}/server.pem`), allowHTTP1: true },
  answer,
);
await new Promise((resolve) => clear.listen(Number(clearPort), resolve));
await new Promise((resolve) => secure.listen(Number(securePort), resolve));
console.log(JSON.stringify([clear.address(), secure.address()]));
process.once('SIGTERM', () => process.exit());
