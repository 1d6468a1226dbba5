// A gRPC service: single calls, streams either way and both ways; in the clear and over TLS.
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import grpc from '@grpc/grpc-js';
import loader from '@grpc/proto-loader';

const [clearPort, securePort, folder] = process.argv.slice(2);
const definition = loader.loadSync(fileURLToPath(new URL('greeter.proto', import.meta.url)));
const { greeter } = grpc.loadPackageDefinition(definition);

const server = new grpc.Server();
server.addService(greeter.Greeter.service, {
  greet(call, answer) {
    if (call.request.name === '') {
      answer({ code: grpc.status.INVALID_ARGUMENT, details: 'who?' });
      return;
    }
    const trailers = new grpc.Metadata();
    trailers.set('heard', call.metadata.get('said')[0] ?? 'nothing');
    answer(null, { text: `hello ${call.request.name}`, peer: call.getPeer() }, trailers);
  },
  count(call) {
    for (let value = 0; value < call.request.limit; value++) call.write({ value });
    call.end();
  },
  sum(call, answer) {
    let value = 0;
    call.on('data', (number) => {
      value += number.value;
    });
    call.on('end', () => answer(null, { value }));
  },
  echo(call) {
    call.on('data', (blob) => call.write(blob));
    call.on('end', () => call.end());
  },
  never() {},
});

const key = {
  private_key: readFileSync(`${folder}/server.key`),
  cert_chain: readFileSync(`${folder}/server.pem`),
};
const bind = (port, credentials) =>
  new Promise((resolve, reject) => {
    server.bindAsync(`0.0.0.0:${port}`, credentials, (error, bound) =>
      error ? reject(error) : resolve(bound),
    );
  });
const ports = [
  await bind(clearPort, grpc.ServerCredentials.createInsecure()),
  await bind(securePort, grpc.ServerCredentials.createSsl(null, [key])),
];
console.log(JSON.stringify(ports));
process.once('SIGTERM', () => server.forceShutdown());
