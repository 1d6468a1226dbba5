// A web application with Express: JSON, files with ranges, streams, errors.
import { createHash } from 'node:crypto';
import { pipeline } from 'node:stream/promises';
import express from 'express';

const [port, folder] = process.argv.slice(2);
const app = express();

app.use(express.static(folder));
app.get('/', (_request, response) => response.send('<p>hello</p>'));
app.get('/who', (request, response) => response.json({ address: request.ip, host: request.hostname }));
app.post('/json', express.json(), (request, response) =>
  response.json({ sum: request.body.a + request.body.b }),
);
app.put('/hash', async (request, response) => {
  const hash = createHash('sha256');
  await pipeline(request, hash);
  response.send(hash.digest('hex'));
});
app.get('/count/:n', async (request, response) => {
  for (let i = 0; i < Number(request.params.n); i++) {
    response.write(`${i}\n`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  response.end();
});
app.get('/throw', () => {
  throw Object.assign(new Error('this is no teapot'), { status: 418, expose: true });
});

const server = app.listen(Number(port), () => console.log(JSON.stringify(server.address())));
process.once('SIGTERM', () => server.close());
