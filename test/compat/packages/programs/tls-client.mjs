// Checks a server's certificate: the right one is taken, wrong ones are refused. Sessions are resumed.
import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import tls from 'node:tls';

const [host, port, folder] = process.argv.slice(2);
const ca = readFileSync(`${folder}/ca.pem`);
const base = { host, port: Number(port), ca, servername: 'server.test', ALPNProtocols: ['echo'] };
const seen = {};

async function welcome(socket) {
  let text = '';
  while (!text.includes('\n')) {
    const [chunk] = await once(socket, 'data');
    text += chunk;
  }
  return JSON.parse(text);
}

const socket = tls.connect(base);
let session;
socket.on('session', (ticket) => {
  session = ticket;
});
await once(socket, 'secureConnect');
seen.authorized = [socket.authorized, socket.getProtocol(), socket.getPeerCertificate().subject.CN];
seen.welcome = await welcome(socket);
const bytes = randomBytes(4 << 20);
const hash = createHash('sha256');
let length = 0;
socket.on('data', (chunk) => {
  hash.update(chunk);
  length += chunk.length;
  if (length === bytes.length) socket.end();
});
socket.write(bytes);
const [hadError] = await once(socket, 'close');
seen.echoed = hash.digest('hex') === createHash('sha256').update(bytes).digest('hex');
seen.hadError = hadError;

const again = tls.connect({ ...base, session });
seen.resumed = (await welcome(again)).reused && again.isSessionReused();
again.end();

const known = tls.connect({
  ...base,
  key: readFileSync(`${folder}/client.key`),
  cert: readFileSync(`${folder}/client.pem`),
});
seen.client = (await welcome(known)).who;
known.end();

async function refusal(options) {
  const refused = tls.connect({ ...base, ...options });
  const outcome = await Promise.race([
    once(refused, 'secureConnect').then(() => 'taken'),
    once(refused, 'error').then(([error]) => error.code),
  ]).catch((error) => error.code);
  refused.destroy();
  return outcome;
}
seen.unknownCa = await refusal({ ca: readFileSync(`${folder}/other-ca.pem`) });
seen.wrongName = await refusal({ servername: 'elsewhere.test' });
seen.tooOld = await refusal({ maxVersion: 'TLSv1.1', minVersion: 'TLSv1.1' });
console.log(JSON.stringify(seen));
