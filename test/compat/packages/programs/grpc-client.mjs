// Uses a gRPC service in the clear and over TLS.
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import grpc from '@grpc/grpc-js';
import loader from '@grpc/proto-loader';

const [clear, secure, folder] = process.argv.slice(2);
const definition = loader.loadSync(fileURLToPath(new URL('greeter.proto', import.meta.url)));
const { greeter } = grpc.loadPackageDefinition(definition);

async function use(address, credentials, options = {}) {
  const seen = {};
  const client = new greeter.Greeter(address, credentials, options);
  const call = (method, request, metadata = new grpc.Metadata(), more = {}) =>
    new Promise((resolve) => {
      const pending = client[method](request, metadata, more, (error, value) => {
        if (error) resolve({ code: error.code, details: error.details });
        else pending.on('status', (status) => resolve({ value, trailers: status.metadata.getMap() }));
      });
    });

  const metadata = new grpc.Metadata();
  metadata.set('said', 'good morning');
  const { value, trailers } = await call('greet', { name: 'you' }, metadata);
  seen.greeting = value.text;
  seen.peer = value.peer.replace(/:\d+$/, '');
  seen.heard = trailers.heard;
  seen.invalid = await call('greet', { name: '' });
  seen.late = (
    await call('never', { name: 'you' }, new grpc.Metadata(), { deadline: Date.now() + 300 })
  ).code;

  const numbers = [];
  for await (const number of client.count({ limit: 10_000 })) numbers.push(number.value);
  seen.counted = numbers.length === 10_000 && numbers.every((number, i) => number === i);

  seen.sum = await new Promise((resolve, reject) => {
    const sum = client.sum((error, number) => (error ? reject(error) : resolve(number.value)));
    for (let i = 1; i <= 1000; i++) sum.write({ value: i });
    sum.end();
  });

  const blobs = Array.from({ length: 20 }, () => randomBytes(100_000));
  const echo = client.echo();
  const back = [];
  echo.on('data', ({ data }) => back.push(data));
  for (const data of blobs) echo.write({ data });
  echo.end();
  await once(echo, 'end');
  seen.echoed = Buffer.concat(back).equals(Buffer.concat(blobs));

  const cancelled = client.never({ name: 'you' }, () => {});
  setImmediate(() => cancelled.cancel());
  seen.cancelled = (await once(cancelled, 'status'))[0].code;
  client.close();
  return seen;
}

const ca = readFileSync(`${folder}/ca.pem`);
const name = { 'grpc.ssl_target_name_override': 'server.test', 'grpc.default_authority': 'server.test' };
const report = {
  clear: await use(clear, grpc.credentials.createInsecure()),
  secure: await use(secure, grpc.credentials.createSsl(ca), name),
};
console.log(JSON.stringify(report));
