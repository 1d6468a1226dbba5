/**
 * A web application as one writes it for any Node: pages with Express, a
 * WebSocket with ws. In a folder with `npm install express ws`, on a stack:
 *
 *   MIRAGE_NET="--netif tap:tap0 --host-ip 10.0.0.1/24 --ip 10.0.0.2/24" \
 *     node --import mirage-net-direct/register express.mjs 80
 *
 * and on the kernel's sockets without `--import`. With `KEY` and `CERTIFICATE`
 * (files) it speaks TLS.
 */
import { readFileSync } from 'node:fs';
import http from 'node:http';
import https from 'node:https';
import { deflateSync } from 'node:zlib';
import express from 'express';
import { WebSocketServer } from 'ws';

const port = Number(process.argv[2] ?? 3000);
const { KEY, CERTIFICATE } = process.env;

const PAGE = `<!doctype html>
<title>On a stack of its own</title>
<h1>Hello</h1>
<p id="time"></p>
${Array.from({ length: 16 }, (_, i) => `<img src="/images/${i}.png" alt="${i}">`).join('\n')}
<script type="module">
  const { time } = await (await fetch('/time')).json();
  document.querySelector('#time').textContent = time;
  await new Promise((resolve) => (document.readyState === 'complete' ? resolve() : addEventListener('load', resolve)));
  const images = [...document.images].filter((image) => image.naturalWidth === 64).length;
  const socket = new WebSocket(location.href.replace('http', 'ws'));
  let ticks = 0;
  socket.onmessage = () => {
    socket.send(JSON.stringify({ time, images, ticks: ++ticks }));
  };
</script>
`;

const app = express();
app.get('/', (_request, response) => response.send(PAGE));
app.get('/time', (_request, response) => response.json({ time: new Date().toISOString() }));
app.get('/hello', (_request, response) => response.send('hello\n'));
app.get('/images/:n.png', (request, response) => response.type('png').send(image(Number(request.params.n))));
app.get('/bytes/:n', (request, response) => response.send(Buffer.alloc(Number(request.params.n), 'x')));
app.post('/length', express.raw({ type: () => true, limit: '64mb' }), (request, response) => {
  response.send(`${request.body.length}\n`);
});

const server =
  KEY && CERTIFICATE
    ? https.createServer({ key: readFileSync(KEY), cert: readFileSync(CERTIFICATE) }, app)
    : http.createServer(app);

// A tick every 100 ms; what the page answers is printed, and so is that it is gone.
const sockets = new WebSocketServer({ server });
sockets.on('connection', (socket) => {
  const timer = setInterval(() => socket.send('tick'), 100);
  socket.on('message', (data) => console.log(String(data)));
  socket.on('close', (code) => {
    clearInterval(timer);
    console.log(JSON.stringify({ closed: code }));
  });
});

server.listen(port, () => console.log(JSON.stringify(server.address())));
process.once('SIGTERM', () => {
  server.close();
  server.closeAllConnections();
});

/** A square of 64 by 64 pixels in a shade of its own. */
function image(n) {
  const row = [0, ...Array(64).fill(n * 16)];
  const pixels = deflateSync(Buffer.from(Array(64).fill(row).flat()));
  const header = Buffer.from([0, 0, 0, 64, 0, 0, 0, 64, 8, 0, 0, 0, 0]);
  const signature = Buffer.from([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a]);
  return Buffer.concat([
    signature,
    chunk('IHDR', header),
    chunk('IDAT', pixels),
    chunk('IEND', Buffer.alloc(0)),
  ]);
}

function chunk(type, data) {
  const body = Buffer.concat([Buffer.from(type, 'latin1'), data]);
  const ends = Buffer.alloc(8);
  ends.writeUInt32BE(data.length, 0);
  ends.writeUInt32BE(crc32(body), 4);
  return Buffer.concat([ends.subarray(0, 4), body, ends.subarray(4)]);
}

/** As PNG has it (ISO 3309); Node 20 has none to call. */
function crc32(bytes) {
  let crc = ~0;
  for (const byte of bytes) {
    crc ^= byte;
    for (let bit = 0; bit < 8; bit++) crc = (crc >>> 1) ^ (crc & 1 ? 0xedb88320 : 0);
  }
  return ~crc >>> 0;
}
