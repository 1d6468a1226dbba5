// What one does over SSH: commands with input and exit code, files over SFTP, a forwarded connection.
import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { text } from 'node:stream/consumers';
import { promisify } from 'node:util';
import ssh2 from 'ssh2';

const [host, port, username, keyFile, folder] = process.argv.slice(2);
const seen = {};
let hostKey;
const client = new ssh2.Client();
client.connect({
  host,
  port: Number(port),
  username,
  privateKey: readFileSync(keyFile),
  hostVerifier: (key) => {
    hostKey = createHash('sha256').update(key).digest('base64').replace(/=+$/, '');
    return true;
  },
});
await once(client, 'ready');
seen.hostKey = hostKey;

const exec = promisify(client.exec.bind(client));
const hello = await exec('echo hello; echo trouble >&2; exit 3');
const output = text(hello);
const errors = text(hello.stderr);
seen.exit = (await once(hello, 'exit'))[0];
seen.output = [await output, await errors];

const bytes = randomBytes(4 << 20);
const hex = createHash('sha256').update(bytes).digest('hex');
const sum = await exec('sha256sum');
sum.end(bytes);
seen.input = (await text(sum)).startsWith(hex);

const sftp = await promisify(client.sftp.bind(client))();
await promisify(sftp.writeFile.bind(sftp))(`${folder}/sftp.bin`, bytes);
seen.onDisk = (await text(await exec(`sha256sum ${folder}/sftp.bin`))).startsWith(hex);
const back = await promisify(sftp.readFile.bind(sftp))(`${folder}/sftp.bin`);
seen.readBack = back.equals(bytes);
const missing = await promisify(sftp.stat.bind(sftp))(`${folder}/nothing`).catch((error) => error.message);
seen.missing = missing;
await promisify(sftp.unlink.bind(sftp))(`${folder}/sftp.bin`);

// The SSH server itself is what is there to be forwarded to.
const forwarded = await promisify(client.forwardOut.bind(client))('127.0.0.1', 0, '127.0.0.1', Number(port));
const [banner] = await once(forwarded, 'data');
seen.forwarded = String(banner).startsWith('SSH-2.0-OpenSSH');
forwarded.destroy();

client.end();
await once(client, 'close');

const stranger = new ssh2.Client();
stranger.connect({
  host,
  port: Number(port),
  username,
  privateKey: ssh2.utils.generateKeyPairSync('ed25519').private,
});
seen.stranger = (await once(stranger, 'error'))[0].level;
console.log(JSON.stringify(seen));
