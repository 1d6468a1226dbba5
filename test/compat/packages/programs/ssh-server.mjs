// An SSH server for one user: "hash" answers the SHA-256 of the input, anything else is echoed as an error.
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import ssh2 from 'ssh2';

const [port, hostKeyFile, publicKeyFile] = process.argv.slice(2);
const allowed = ssh2.utils.parseKey(readFileSync(publicKeyFile));
const server = new ssh2.Server({ hostKeys: [readFileSync(hostKeyFile)] }, (client) => {
  client.on('error', () => {});
  client.on('authentication', (context) => {
    const { method, key, signature, blob, hashAlgo } = context;
    const isKnown = method === 'publickey' && key.data.equals(allowed.getPublicSSH());
    if (!isKnown) context.reject(['publickey']);
    else if (!signature || allowed.verify(blob, signature, hashAlgo) === true) context.accept();
    else context.reject();
  });
  client.on('session', (accept) => {
    accept().on('exec', (acceptExec, _reject, { command }) => {
      const stream = acceptExec();
      const finish = (code) => {
        stream.exit(code);
        stream.end();
      };
      if (command !== 'hash') {
        stream.stderr.write(`no such command: ${command}\n`);
        finish(127);
        return;
      }
      const hash = createHash('sha256');
      stream.on('data', (chunk) => hash.update(chunk));
      stream.on('end', () => {
        stream.write(`${hash.digest('hex')}\n`);
        finish(0);
      });
    });
  });
});
server.listen(Number(port), '0.0.0.0', () => console.log(JSON.stringify(server.address())));
process.once('SIGTERM', () => process.exit());
