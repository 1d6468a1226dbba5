import { readFileSync } from 'node:fs';
import { argv, env, execPath, stderr, stdout } from 'node:process';
import { fileURLToPath } from 'node:url';
import { become, dropPrivileges, keepOnExec } from '../../native/index.ts';
import { openTapDescriptor } from '../../netif/tap/index.ts';
import type { Application } from '../../stack.ts';
import { CommandError, failure, UsageError } from '../errors.ts';
import { mergeWords, readWords, runApplication } from './words.ts';

/** What `mirage-net build` put beside the bundle. */
interface BuiltConfiguration {
  readonly name: string;
  readonly words: readonly string[];
  /** Who it runs as: a name or a number. */
  readonly user: string;
}

/** Says that this process has been through {@link launch}. */
const LAUNCHED = 'MIRAGE_NET_LAUNCHED';

/**
 * The privileged half opens the TAP and becomes the unprivileged one, which is
 * the same program started anew: a process that has the descriptor, and
 * nothing else that an ordinary one has not.
 */
export async function boot(application: Application, name: string): Promise<void> {
  let code: number;
  try {
    if (env[LAUNCHED] === undefined) launch(name);
    delete env[LAUNCHED];
    code = await runApplication(application, name, argv.slice(2), { stdout, stderr, process });
  } catch (error) {
    stderr.write(`${name}: ${failure(error)}\n`);
    code = error instanceof UsageError ? 2 : 1;
  }
  stdout.write('', () => process.exit(code));
}

/** Ends in the unprivileged half. */
function launch(name: string): void {
  const file = new URL('unikernel.json', import.meta.url);
  const built = JSON.parse(readFileSync(file, 'utf8')) as BuiltConfiguration;
  const words = mergeWords(built.words, argv.slice(2));
  const options = readWords(name, words);
  if (options.net !== 'direct' || options.netif.kind !== 'tap' || options.others !== undefined) {
    throw new UsageError('This unikernel is started with one TAP, as in --netif tap:mnd0.');
  }
  // Who is not root has the device from root, and stays who he is.
  const isRoot = process.geteuid!() === 0;
  const { user, group } = isRoot
    ? findUser(built.user)
    : { user: process.geteuid!(), group: process.getegid!() };
  const { fd } = openTapDescriptor({
    name: options.netif.name,
    offloads: options.offloads,
    ...(options.hostIp !== undefined && { hostAddress: options.hostIp }),
  });
  keepOnExec(fd);
  dropPrivileges(user, group);
  const main = fileURLToPath(import.meta.url);
  become(execPath, [execPath, main, ...withDescriptor(words, fd)], { ...env, [LAUNCHED]: '1' });
}

/** The same words, with the open device in place of its name and of what was done to it. */
function withDescriptor(words: readonly string[], fd: number): string[] {
  const dashes = words.indexOf('--');
  const options = words
    .slice(0, dashes)
    .map((word) => word.replace(/^(--netif=)?tap:[^,]*(.*)$/, `$1fd:${fd}$2`).replace(/,host-ip=[^,]*/, ''));
  const hostIp = options.findIndex((word) => /^--host-ip(=|$)/.test(word));
  if (hostIp >= 0) options.splice(hostIp, options[hostIp] === '--host-ip' ? 2 : 1);
  return [...options, ...words.slice(dashes)];
}

/** Numbers from /etc/passwd; a number that is not there is its own group too. */
function findUser(wanted: string): { user: number; group: number } {
  for (const line of readFileSync('/etc/passwd', 'utf8').split('\n')) {
    const [name, , user, group] = line.split(':');
    if (name === wanted || user === wanted) return { user: Number(user), group: Number(group) };
  }
  if (/^\d+$/.test(wanted)) return { user: Number(wanted), group: Number(wanted) };
  throw new CommandError(`There is no user ${wanted} on this machine.`);
}
