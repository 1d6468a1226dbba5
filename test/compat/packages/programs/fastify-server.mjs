// A service with Fastify: schemas, streams, hooks, errors.
import { createHash } from 'node:crypto';
import { Readable } from 'node:stream';
import fastify from 'fastify';

const [port] = process.argv.slice(2);
const app = fastify({ bodyLimit: 32 << 20, forceCloseConnections: true });

app.addContentTypeParser('application/octet-stream', (_request, payload, done) => done(null, payload));
app.addHook('onRequest', async (request, reply) => {
  reply.header('x-peer', request.ip);
});

app.route({
  method: 'POST',
  url: '/sum',
  schema: {
    body: {
      type: 'object',
      required: ['a', 'b'],
      properties: { a: { type: 'integer' }, b: { type: 'integer' } },
    },
    response: { 200: { type: 'object', properties: { sum: { type: 'integer' } } } },
  },
  handler: async ({ body }) => ({ sum: body.a + body.b, notInSchema: true }),
});
app.put('/hash', async ({ body }) => {
  const hash = createHash('sha256');
  for await (const chunk of body) hash.update(chunk);
  return hash.digest('hex');
});
app.get('/numbers/:count', async (request, reply) => {
  const lines = function* () {
    for (let i = 0; i < Number(request.params.count); i++) yield `${i}\n`;
  };
  reply.type('text/plain');
  return Readable.from(lines());
});
app.get('/never', () => new Promise(() => {}));

await app.listen({ port: Number(port), host: '0.0.0.0' });
console.log(JSON.stringify(app.server.address()));
process.once('SIGTERM', () => app.close());
