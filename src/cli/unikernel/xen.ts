import { closeSync, existsSync, openSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { loadModule, mount, powerOff } from '../../native/index.ts';
import type { Application } from '../../stack.ts';
import { readCommandLine } from '../build/domain.ts';
import { runApplication } from './words.ts';

const MODULES = '/lib/modules';

/**
 * The first and only process of a domain: makes the kernel usable, runs the
 * application on a stack over Xen's ring, and switches the machine off. The
 * kernel serves as a driver for memory, time and Xen; its own network is left
 * as it was born, without an interface that is up.
 */
export async function boot(application: Application, name: string): Promise<void> {
  const say = (text: string): void => {
    process.stderr.write(`${name}: ${text}\n`);
  };
  let code = 1;
  try {
    mount('proc', '/proc');
    mount('sysfs', '/sys');
    mount('devtmpfs', '/dev');
    mount('tmpfs', '/tmp');
    loadModules();
    const words = readCommandLine(readFileSync('/proc/cmdline', 'utf8')) ?? [];
    say(kernelNetwork());
    const { stdout, stderr } = process;
    code = await runApplication(application, name, words, { stdout, stderr, process });
    say(kernelNetwork());
  } catch (error) {
    say(error instanceof Error ? (error.stack ?? error.message) : String(error));
  }
  say(`ends with exit code ${code}`);
  // What was said has to reach the console first.
  process.stdout.write('', () => process.stderr.write('', () => setTimeout(powerOff, 100)));
}

function loadModules(): void {
  if (!existsSync(MODULES)) return;
  for (const file of readdirSync(MODULES).sort()) {
    const fd = openSync(join(MODULES, file), 'r');
    try {
      loadModule(fd, file);
    } finally {
      closeSync(fd);
    }
  }
}

/** What the kernel's own network amounts to, for people who doubt it. */
function kernelNetwork(): string {
  const interfaces = readdirSync('/sys/class/net').map((name) => {
    const flags = Number(readFileSync(`/sys/class/net/${name}/flags`, 'utf8'));
    return `${name} ${(flags & 1) === 0 ? 'down' : 'up'}`;
  });
  // Of each table, the first line is the heading.
  const sockets = ['tcp', 'tcp6', 'udp', 'udp6'].map((table) => {
    const path = `/proc/net/${table}`;
    const lines = existsSync(path) ? readFileSync(path, 'utf8').trimEnd().split('\n').length - 1 : 0;
    return `${table} ${lines}`;
  });
  return `the kernel's network: interfaces: ${interfaces.join(', ') || 'none'}; sockets: ${sockets.join(', ')}`;
}
