// A client with undici: pools, pipelining, streams both ways, its own fetch, aborts.
import { createHash, randomBytes } from 'node:crypto';
import { Readable } from 'node:stream';
import { Agent, Client, fetch, Pool, setGlobalDispatcher } from 'undici';

const [url] = process.argv.slice(2);
const seen = {};
const json = { 'content-type': 'application/json' };

const pool = new Pool(url, { connections: 4 });
const sums = await Promise.all(
  Array.from({ length: 200 }, async (_, i) => {
    const { body } = await pool.request({
      path: '/sum',
      method: 'POST',
      headers: json,
      body: JSON.stringify({ a: i, b: 1 }),
    });
    return (await body.json()).sum;
  }),
);
seen.sums = sums.every((sum, i) => sum === i + 1);
const wrong = await pool.request({ path: '/sum', method: 'POST', headers: json, body: '{"a":"x"}' });
seen.wrong = [wrong.statusCode, (await wrong.body.json()).code];
seen.peer = wrong.headers['x-peer'];

const parts = Array.from({ length: 64 }, () => randomBytes(131_072));
const hash = createHash('sha256');
for (const part of parts) hash.update(part);
const put = await pool.request({
  path: '/hash',
  method: 'PUT',
  headers: { 'content-type': 'application/octet-stream' },
  body: Readable.from(parts),
});
seen.upload = (await put.body.text()) === hash.digest('hex');
await pool.close();

// Ten requests on their way before the first is answered.
const client = new Client(url, { pipelining: 10 });
const answers = await Promise.all(
  Array.from({ length: 10 }, async (_, i) => {
    const { body } = await client.request({ path: `/numbers/${i}`, method: 'GET' });
    return (await body.text()).split('\n').length - 1;
  }),
);
seen.pipelined = answers;
await client.close();

const agent = new Agent();
setGlobalDispatcher(agent);
const lines = await (await fetch(`${url}/numbers/100000`)).text();
seen.lines = lines.split('\n').length - 1;
try {
  await fetch(`${url}/never`, { signal: AbortSignal.timeout(200) });
} catch (error) {
  seen.aborted = error.name;
}
try {
  await fetch(url.replace(/:\d+$/, ':2999'));
} catch (error) {
  seen.refused = error.cause.code;
}
await agent.close();
console.log(JSON.stringify(seen));
