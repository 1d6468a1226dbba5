// Sends mail with nodemailer: STARTTLS with a checked certificate, login, attachments, a pool, refusals.
import { createHash, randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import nodemailer from 'nodemailer';

const [host, port, folder] = process.argv.slice(2);
const seen = {};
const tls = { ca: readFileSync(`${folder}/ca.pem`), servername: 'server.test' };
const base = { host, port: Number(port), requireTLS: true, tls, auth: { user: 'user', pass: 'secret' } };

const transport = nodemailer.createTransport({ ...base, pool: true, maxConnections: 3 });
seen.verified = await transport.verify();

const raw = `From: a@here.test\r\nTo: b@there.test\r\nSubject: raw\r\n\r\n${randomBytes(1 << 20)
  .toString('base64')
  .replace(/(.{76})/g, '$1\r\n')}\r\n`;
const sent = await transport.sendMail({ envelope: { from: 'a@here.test', to: 'b@there.test' }, raw });
const [, security, address, , hex] = sent.response.match(/(secure|clear) (\S+) (\d+) ([0-9a-f]{64})/);
seen.raw = [security, address, hex === createHash('sha256').update(raw).digest('hex')];

const message = {
  from: 'a@here.test',
  to: ['b@there.test', 'c@nobody.test'],
  subject: 'Grüße',
  text: 'good morning',
  html: '<p>good morning</p>',
  attachments: [{ filename: 'data.bin', content: randomBytes(300_000) }],
};
const mixed = await transport.sendMail(message);
seen.accepted = [mixed.accepted, mixed.rejected];
const all = await Promise.all(
  Array.from({ length: 30 }, (_, i) => transport.sendMail({ ...message, to: `b${i}@there.test` })),
);
seen.pooled = all.every(({ accepted }) => accepted.length === 1);
transport.close();

const failure = async (options) =>
  nodemailer
    .createTransport({ ...base, ...options })
    .verify()
    .then(
      () => 'taken',
      (error) => error.code,
    );
seen.wrongPassword = await failure({ auth: { user: 'user', pass: 'guess' } });
seen.wrongCa = await failure({ tls: { ...tls, ca: readFileSync(`${folder}/other-ca.pem`) } });
seen.refused = await failure({ port: 9 });
console.log(JSON.stringify(seen));
