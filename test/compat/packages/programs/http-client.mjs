// What clients of HTTP there are ask an Express application: fetch, node:http with an agent, axios.
import { createHash, randomBytes } from 'node:crypto';
import http from 'node:http';
import { text } from 'node:stream/consumers';
import axios from 'axios';

const [url] = process.argv.slice(2);
const seen = {};

const page = await fetch(url);
seen.page = [page.status, page.headers.get('content-type'), await page.text()];
seen.who = await (await fetch(`${url}/who`)).json();

const post = await fetch(`${url}/json`, {
  method: 'POST',
  headers: { 'content-type': 'application/json' },
  body: JSON.stringify({ a: 1, b: 41 }),
});
seen.json = await post.json();
seen.badJson = (
  await axios.post(`${url}/json`, '{', {
    headers: { 'content-type': 'application/json' },
    validateStatus: null,
  })
).status;

const bytes = randomBytes(8 << 20);
const put = await fetch(`${url}/hash`, { method: 'PUT', body: bytes });
seen.upload = (await put.text()) === createHash('sha256').update(bytes).digest('hex');

const file = await axios.get(`${url}/big.bin`, { responseType: 'arraybuffer' });
seen.download = createHash('sha256').update(file.data).digest('hex');
const part = await axios.get(`${url}/big.bin`, {
  responseType: 'arraybuffer',
  headers: { range: 'bytes=1000-1999' },
});
seen.range = [part.status, part.data.length, part.headers['content-range']];
const same = await axios.get(`${url}/big.bin`, {
  headers: { 'if-none-match': file.headers.etag },
  validateStatus: null,
});
seen.notModified = same.status;

const thrown = await fetch(`${url}/throw`);
seen.thrown = [thrown.status, (await thrown.text()).includes('this is no teapot')];

// One connection that is kept, and a stream that comes slowly.
const agent = new http.Agent({ keepAlive: true, maxSockets: 1 });
const ports = new Set();
for (let i = 0; i < 20; i++) {
  const response = await new Promise((resolve, reject) => {
    http.get(`${url}/count/3`, { agent }, resolve).on('error', reject);
  });
  ports.add(response.socket.localPort);
  seen.count = await text(response);
}
seen.connections = ports.size;
agent.destroy();

console.log(JSON.stringify(seen));
