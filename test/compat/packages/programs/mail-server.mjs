// A mail server with smtp-server: STARTTLS, a login, and the SHA-256 of each message as the answer.
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { SMTPServer } from 'smtp-server';

const [port, folder] = process.argv.slice(2);
const server = new SMTPServer({
  key: readFileSync(`${folder}/server.key`),
  cert: readFileSync(`${folder}/server.pem`),
  authMethods: ['PLAIN', 'LOGIN'],
  disableReverseLookup: true,
  onAuth: ({ username, password }, _session, done) => {
    if (username === 'user' && password === 'secret') done(null, { user: username });
    else done(new Error('wrong password'));
  },
  onRcptTo: ({ address }, _session, done) => {
    done(
      address.endsWith('@nobody.test')
        ? Object.assign(new Error('no such user'), { responseCode: 550 })
        : null,
    );
  },
  onData: (stream, session, done) => {
    const hash = createHash('sha256');
    let bytes = 0;
    stream.on('data', (chunk) => {
      hash.update(chunk);
      bytes += chunk.length;
    });
    stream.on('end', () =>
      done(
        null,
        `${session.secure ? 'secure' : 'clear'} ${session.remoteAddress} ${bytes} ${hash.digest('hex')}`,
      ),
    );
  },
});
server.on('error', () => {});
server.listen(Number(port), '0.0.0.0', () => console.log(JSON.stringify(server.server.address())));
process.once('SIGTERM', () => process.exit());
