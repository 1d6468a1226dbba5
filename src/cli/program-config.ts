/** What a whole program's network is made of: by environment, or by a configuration file. */
import { access } from 'node:fs/promises';
import { resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import type { Stack } from '../stack.ts';
import { parseCommand, type StackOptions } from './arguments.ts';
import { UsageError } from './errors.ts';
import type { StackSettings } from './open-stack.ts';

/**
 * The default export of `mirage-net.config.js`: this, or a function that gives
 * it. The options of `mirage-net run` are there under the same names in camel
 * case: `--host-ip` is `hostIp`, `--offloads off` is `offloads: false`.
 */
export interface ProgramConfig extends StackSettings {
  /** `direct` (default): our own stack; `socket`: the host's sockets, nothing is replaced. */
  readonly net?: 'direct' | 'socket';
  /** `tap:mnd0`, `fd:3`, … */
  readonly netif?: string;
  /** The stack's address, as `10.0.0.2/24`, or `dhcp`. */
  readonly ip?: string;
  readonly ip6?: string;
  /** The address of the kernel's end of a TAP. */
  readonly hostIp?: string;
  readonly gateway?: string;
  /** `--offloads on`, `off` or `software`. */
  readonly offloads?: boolean | 'software';
  readonly pcap?: string;
  readonly snaplen?: number;
  readonly impair?: string;
  /** Who resolves names: the stack (default; by `hosts`, `dns` and what DHCP and routers tell), or the host. */
  readonly names?: 'stack' | 'host';
  /** See `NetOptions.borrowWrites`. */
  readonly borrowWrites?: boolean;
  /** A stack that is there already, in place of all that describes one. It is not closed. */
  readonly stack?: Stack;
}

/** Whom a configuration is asked for. */
export interface ProgramContext {
  /** False in a worker thread. */
  readonly isMainThread: boolean;
  /** A process that one with a stack has started. */
  readonly isChild: boolean;
}

/** Null leaves the process on the host's network. */
export type ProgramConfigExport =
  | ProgramConfig
  | ((context: ProgramContext) => ProgramConfig | null | Promise<ProgramConfig | null>);

/** What {@link ProgramConfig} says, checked. */
export interface Program {
  readonly options: StackOptions | null;
  readonly stack: Stack | null;
  readonly settings: StackSettings;
  readonly usesHostNames: boolean;
  readonly borrowWrites: boolean;
}

const CONFIG_FILES = ['mirage-net.config.js', 'mirage-net.config.mjs', 'mirage-net.config.cjs'];

/** Keys that are no options of the command. */
const SETTINGS = new Set(['names', 'dns', 'search', 'hosts', 'tcp', 'borrowWrites', 'stack']);

/** A process with a stack leaves this to those that it starts: what it was configured by. */
const OWNER = 'MIRAGE_NET_OWNER';

/**
 * The configuration of this process: `MIRAGE_NET`, else the file that
 * `MIRAGE_NET_CONFIG` names, else `mirage-net.config.js` in the working
 * directory. Null where the process is to stay on the host's network: a worker
 * or a child, unless a configuration is a function that says otherwise.
 */
export async function programOf(env: NodeJS.ProcessEnv, isMainThread: boolean): Promise<Program | null> {
  const words = (env.MIRAGE_NET ?? '').split(/\s+/).filter((word) => word !== '');
  const file = words.length > 0 ? null : await configFile(env);
  const source = file ?? words.join(' ');
  const context: ProgramContext = { isMainThread, isChild: isMainThread && env[OWNER] === source };
  env[OWNER] = source;
  const inherited = !context.isMainThread || context.isChild;
  if (file === null) {
    if (inherited) return leaveToHost(context);
    return { ...settingsOf(fromEnvironment(env)), options: optionsOf(words, 'MIRAGE_NET'), stack: null };
  }
  const { default: exported } = (await import(pathToFileURL(file).href)) as { default?: ProgramConfigExport };
  if (typeof exported !== 'function' && inherited) return leaveToHost(context);
  const config = typeof exported === 'function' ? await exported(context) : exported;
  if (config === null) return null;
  if (typeof config !== 'object') throw new UsageError(`${file} has no configuration as its default export.`);
  return checkProgram({ ...config, ...fromEnvironment(env) }, file);
}

/** @param where for error messages */
export function checkProgram(config: ProgramConfig, where: string): Program {
  const settings = settingsOf(config);
  const words = wordsOf(config);
  if (config.stack !== undefined) {
    if (words.length > 0) throw new UsageError(`${where}: with "stack", ${words[0]} has no meaning.`);
    return { ...settings, options: null, stack: config.stack };
  }
  return { ...settings, options: optionsOf(words, where), stack: null };
}

function settingsOf(config: ProgramConfig): Omit<Program, 'options' | 'stack'> {
  const { names = 'stack', dns, search, hosts, tcp, borrowWrites = false } = config;
  if (names !== 'stack' && names !== 'host') {
    throw new UsageError(`names "${String(names)}": it is "stack" or "host".`);
  }
  return {
    usesHostNames: names === 'host',
    borrowWrites,
    settings: {
      ...(dns && { dns }),
      ...(search && { search }),
      ...(hosts && { hosts }),
      ...(tcp && { tcp }),
    },
  };
}

/** The command's words for the options of `config`. */
function wordsOf(config: ProgramConfig): string[] {
  const words: string[] = [];
  for (const [key, value] of Object.entries(config)) {
    if (SETTINGS.has(key) || value === undefined) continue;
    const option = key.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
    if (key === 'offloads') {
      if (value !== true) words.push(`--offloads=${value === false ? 'off' : String(value)}`);
    } else if (typeof value === 'boolean') {
      if (value) words.push(`--${option}`);
    } else {
      words.push(`--${option}=${String(value)}`);
    }
  }
  return words;
}

function optionsOf(words: readonly string[], where: string): StackOptions {
  try {
    const command = parseCommand(['run', 'program', ...words]);
    if (command.kind === 'run') return command.options;
  } catch (error) {
    if (error instanceof UsageError) throw new UsageError(`${where}: ${error.message}`, { cause: error });
    throw error;
  }
  throw new UsageError(`${where} describes no stack.`);
}

/** `MIRAGE_NET_DNS`: `host`, `stack`, or servers; `MIRAGE_NET_HOSTS`: `name=address,…`. */
function fromEnvironment(env: NodeJS.ProcessEnv): ProgramConfig {
  const { MIRAGE_NET_DNS: dns, MIRAGE_NET_HOSTS: hosts } = env;
  return {
    ...(dns && (dns === 'host' || dns === 'stack' ? { names: dns } : { dns: listOf(dns) })),
    ...(hosts && { hosts: hostsOf(hosts) }),
  };
}

function listOf(text: string): string[] {
  return text.split(/[\s,]+/).filter((item) => item !== '');
}

function hostsOf(text: string): Record<string, string[]> {
  const hosts: Record<string, string[]> = {};
  for (const entry of listOf(text)) {
    const [name, address] = entry.split('=');
    if (!name || !address) throw new UsageError(`MIRAGE_NET_HOSTS: "${entry}" is not name=address.`);
    hosts[name] = [...(hosts[name] ?? []), address];
  }
  return hosts;
}

async function configFile(env: NodeJS.ProcessEnv): Promise<string> {
  const named = env.MIRAGE_NET_CONFIG;
  for (const file of named ? [named] : CONFIG_FILES) {
    const path = resolve(file);
    const exists = await access(path).then(
      () => true,
      () => false,
    );
    if (exists) return path;
  }
  throw new UsageError(
    named
      ? `MIRAGE_NET_CONFIG: there is no file ${named}.`
      : 'MIRAGE_NET is not set (it has the options of "mirage-net run", such as --netif tap:tap0), and there is no mirage-net.config.js.',
  );
}

/** One interface is for one thread of one process. */
function leaveToHost({ isMainThread }: ProgramContext): null {
  const who = isMainThread ? 'a child process' : 'a worker thread';
  process.emitWarning(
    `${who} uses the host's network: the stack is that of the process that started it. ` +
      'A mirage-net.config.js whose default export is a function can give it one of its own, or null without this warning.',
    { code: 'MIRAGE_NET_INHERITED' },
  );
  return null;
}
