import { execFileSync } from 'node:child_process';
import { chmodSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

/** Addresses of the first programs of a lab, at both ends. */
const ADDRESSES = Array.from({ length: 20 }, (_, n) => [`IP:10.78.${n + 1}.1`, `IP:10.78.${n + 1}.2`]).flat();

/**
 * A certification authority and what it signed, made by OpenSSL in `folder`:
 * `ca.pem`; `server.key` and `server.pem` for `server.test` and every address of
 * a lab; `client.key` and `client.pem`; `other-ca.pem`, which signed none of it.
 */
export function makeCertificates(folder: string): void {
  const openssl = (...args: string[]): void => {
    execFileSync('openssl', args, { cwd: folder, stdio: ['ignore', 'ignore', 'pipe'] });
  };
  const key = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes'];
  for (const name of ['ca', 'other-ca']) {
    openssl('req', '-x509', ...key, '-keyout', `${name}.key`, '-out', `${name}.pem`, '-subj', `/CN=${name}`);
  }
  const names = ['DNS:server.test', 'IP:127.0.0.1', ...ADDRESSES].join(',');
  writeFileSync(join(folder, 'server.ext'), `subjectAltName=${names}\n`);
  writeFileSync(join(folder, 'client.ext'), 'extendedKeyUsage=clientAuth\n');
  for (const name of ['server', 'client']) {
    openssl('req', ...key, '-keyout', `${name}.key`, '-out', `${name}.csr`, '-subj', `/CN=${name}.test`);
    const signer = ['-CA', 'ca.pem', '-CAkey', 'ca.key', '-CAcreateserial'];
    openssl(
      'x509',
      '-req',
      '-in',
      `${name}.csr`,
      ...signer,
      '-out',
      `${name}.pem`,
      '-extfile',
      `${name}.ext`,
    );
    // Servers that give up being root read it too; it is worth nothing outside this folder.
    chmodSync(join(folder, `${name}.key`), 0o644);
  }
}
