import { execFileSync } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { copyFileSync, existsSync, mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { makeCertificates } from './support/certificates.ts';
import { Lab, missing } from './support/lab.ts';

/*
 * Clients of packages on a stack, servers of Debian's on the kernel; and the
 * other way round for SSH, where the host has a client to try us with.
 */

const POSTGRES = '/usr/lib/postgresql';
const postgresVersion = existsSync(POSTGRES) ? readdirSync(POSTGRES).at(-1) : undefined;
const reason =
  missing('openssl', 'sshd', 'ssh', 'ssh-keygen', 'redis-server', 'mosquitto') ??
  (postgresVersion === undefined ? 'postgresql is not installed' : null);

let lab: Lab;

beforeAll(() => {
  if (reason !== null) return;
  lab = new Lab();
  makeCertificates(lab.folder);
});

afterAll(() => lab?.close());

/** Runs a client on a stack, to its own end; gives what it saw, and its address. */
async function use(
  file: string,
  args: (kernel: string) => (string | number)[],
): Promise<{ report: unknown; address: string }> {
  const client = lab.program('stack', file, ({ kernel }) => args(kernel));
  const report = await client.report();
  expect(client.stderr).toBe('');
  return { report, address: client.ends.address };
}

const MQTT = {
  qualities: [
    ['news/0', 'quality 0'],
    ['news/1', 'quality 1'],
    ['news/2', 'quality 2'],
  ],
  big: true,
  many: true,
  kept: 'still here',
  will: 'gone',
};

describe.skipIf(reason !== null)(
  `programs with the host's servers${reason === null ? '' : ` (${reason})`}`,
  () => {
    it('ssh2, with OpenSSH’s server', async () => {
      const file = (name: string): string => join(lab.folder, name);
      execFileSync('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-f', file('host-key')]);
      execFileSync('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-f', file('user-key')]);
      const configuration = `ListenAddress 0.0.0.0:22
      HostKey ${file('host-key')}
      AuthorizedKeysFile ${file('user-key.pub')}
      PermitRootLogin prohibit-password
      StrictModes no
      UsePAM no
      PidFile none
      Subsystem sftp internal-sftp`;
      writeFileSync(file('sshd.conf'), configuration.replaceAll(/^ +/gm, ''));
      mkdirSync('/run/sshd', { recursive: true });
      await lab.server(22, '/usr/sbin/sshd', ['-D', '-e', '-f', file('sshd.conf')]);
      const { report } = await use('ssh-client.mjs', (kernel) => [
        kernel,
        22,
        'root',
        file('user-key'),
        lab.folder,
      ]);
      const print = execFileSync('ssh-keygen', ['-l', '-f', file('host-key.pub')], { encoding: 'utf8' });
      expect(report).toEqual({
        hostKey: /SHA256:(\S+)/.exec(print)![1],
        exit: 3,
        output: ['hello\n', 'trouble\n'],
        input: true,
        onDisk: true,
        readBack: true,
        missing: 'No such file',
        forwarded: true,
        stranger: 'client-authentication',
      });
    });

    it('OpenSSH’s client, with ssh2 as the server', async () => {
      const file = (name: string): string => join(lab.folder, name);
      execFileSync('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-f', file('server-key')]);
      execFileSync('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-f', file('client-key')]);
      const server = lab.program('stack', 'ssh-server.mjs', () => [
        22,
        file('server-key'),
        file('client-key.pub'),
      ]);
      await server.next();
      const [type, key] = execFileSync('cat', [file('server-key.pub')], { encoding: 'utf8' }).split(' ');
      writeFileSync(file('known-hosts'), `${server.ends.address} ${type} ${key}\n`);
      const ssh = [
        ...['-i', file('client-key'), '-o', `UserKnownHostsFile=${file('known-hosts')}`],
        ...[
          '-o',
          'StrictHostKeyChecking=yes',
          '-o',
          'BatchMode=yes',
          '-F',
          'none',
          `user@${server.ends.address}`,
        ],
      ];
      const bytes = randomBytes(8 << 20);
      writeFileSync(file('input.bin'), bytes);
      const expected = execFileSync('sha256sum', [file('input.bin')], { encoding: 'utf8' }).slice(0, 64);
      expect(await lab.run('ssh', [...ssh, 'hash'], { input: bytes })).toBe(`${expected}\n`);
      await expect(lab.run('ssh', [...ssh, 'dance'])).rejects.toThrow(
        /exit code 127\nno such command: dance/,
      );
      await server.stop();
    });

    it('pg, with PostgreSQL', async () => {
      const bin = join(POSTGRES, postgresVersion!, 'bin');
      const data = join(lab.folder, 'postgres');
      // It refuses to run as root.
      const account = ['--reuid', 'postgres', '--regid', 'postgres', '--clear-groups'];
      mkdirSync(data);
      execFileSync('chown', ['postgres:', data]);
      await lab.run('setpriv', [
        ...account,
        `${bin}/initdb`,
        '-D',
        data,
        '-A',
        'trust',
        '--no-sync',
        '-E',
        'UTF8',
      ]);
      writeFileSync(join(data, 'pg_hba.conf'), 'host all all all trust\n');
      for (const name of ['server.key', 'server.pem']) copyFileSync(join(lab.folder, name), join(data, name));
      execFileSync('chown', ['-R', 'postgres:', data]);
      execFileSync('chmod', ['600', join(data, 'server.key')]);
      const settings = [
        ...['listen_addresses=0.0.0.0', 'unix_socket_directories=', 'fsync=off', 'ssl=on'],
        ...['ssl_cert_file=server.pem', 'ssl_key_file=server.key'],
      ].flatMap((setting) => ['-c', setting]);
      await lab.server(5432, 'setpriv', [...account, `${bin}/postgres`, '-D', data, ...settings]);
      const { report, address } = await use('pg-client.mjs', (kernel) => [kernel, 5432, lab.folder]);
      expect(report).toEqual({
        types: [42, 'grüß dich', '0001ff', address],
        afterRollback: 0,
        big: true,
        error: '23502',
        news: 'it rains',
        pooled: true,
        backends: 5,
        rows: [100_000, createHash('md5').update('100000').digest('hex')],
        tls: true,
        terminated: '57P01',
      });
    });

    it('ioredis, with Redis', async () => {
      const settings = ['--port', '6379', '--bind', '0.0.0.0', '--protected-mode', 'no', '--save', ''];
      await lab.server(6379, 'redis-server', [...settings, '--dir', lab.folder]);
      const { report, address } = await use('redis-client.mjs', (kernel) => [kernel, 6379]);
      expect(report).toEqual({
        greeting: 'grüß dich',
        counter: true,
        transaction: ['OK', 2, '2'],
        big: true,
        popped: ['list', 'pushed'],
        heard: true,
        reconnected: 'grüß dich',
        address,
      });
    });

    it('mqtt, with mosquitto: in the clear and over TLS', async () => {
      const file = join(lab.folder, 'mosquitto.conf');
      const tls = `cafile ${lab.folder}/ca.pem\ncertfile ${lab.folder}/server.pem\nkeyfile ${lab.folder}/server.key`;
      const listeners = ['listener 1883 0.0.0.0', `listener 8883 0.0.0.0\n${tls}`];
      // By default it holds back what is more than a thousand messages.
      writeFileSync(file, `allow_anonymous true\nmax_queued_messages 0\n${listeners.join('\n')}\n`);
      await lab.server(8883, 'mosquitto', ['-c', file]);
      const clear = await use('mqtt-client.mjs', (kernel) => [`mqtt://${kernel}:1883`]);
      const secure = await use('mqtt-client.mjs', (kernel) => [`mqtts://${kernel}:8883`, lab.folder]);
      expect([clear.report, secure.report]).toEqual([MQTT, MQTT]);
    });
  },
);
