import { type ChildProcess, execFileSync, type SpawnOptions, spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';

const ROOT = fileURLToPath(new URL('../../../../', import.meta.url));
const PROGRAMS = fileURLToPath(new URL('../programs/', import.meta.url));

/**
 * Where a program runs: on a stack of its own with a TAP, or with one end of a
 * cable between two processes, whose other end the next program on a cable gets;
 * or on the kernel's stack.
 */
export type Place = 'stack' | 'cable' | 'kernel';

export interface Ends {
  readonly address: string;
  /** Where it finds servers of the kernel. */
  readonly kernel: string;
}

/** Why the tests of this folder cannot run here, for `describe.skipIf`; null if they can. */
export function missing(...commands: string[]): string | null {
  if (process.platform !== 'linux') return `needs Linux, this is ${process.platform}`;
  if (!existsSync('/dev/net/tun')) return 'there is no /dev/net/tun';
  if (process.getuid?.() !== 0) return 'needs root';
  if (!existsSync(`${PROGRAMS}../node_modules/express`)) {
    return 'the packages are not installed: npm ci in test/compat/packages';
  }
  const folders = [...(process.env.PATH ?? '').split(':'), '/usr/sbin', '/sbin'];
  const absent = commands.find((command) => !folders.some((folder) => existsSync(join(folder, command))));
  return absent === undefined ? null : `${absent} is not installed`;
}

let count = 0;

/**
 * A network namespace of its own. Every program on a stack has a TAP to it: for
 * the N-th, the kernel's end is 10.78.N.1 and the stack's 10.78.N.2. The kernel
 * forwards between them, so it is a peer and a router.
 *
 * `close()` ends what was started, by process id, and removes the namespace and
 * the folder.
 */
export class Lab {
  readonly namespace: string;
  /** For data and sockets of servers; everybody may enter. */
  readonly folder: string;
  readonly #children: Child[] = [];
  #stacks = 0;
  #cableEnds = 0;

  constructor() {
    count++;
    // Named as KernelHost names its namespaces, which clears away what a killed run left.
    this.namespace = `mnd-${process.pid}-lab${count}`;
    this.folder = mkdtempSync(join(tmpdir(), 'mirage-net-packages-'));
    chmodSync(this.folder, 0o755);
    execFileSync('ip', ['netns', 'add', this.namespace]);
    const setUp = `ip link set lo up
      echo 1 > /proc/sys/net/ipv4/ip_forward
      echo cubic > /proc/sys/net/ipv4/tcp_congestion_control || true`;
    execFileSync('ip', ['netns', 'exec', this.namespace, 'sh', '-c', setUp], { stdio: 'ignore' });
  }

  /**
   * Starts `programs/FILE` with Node, as anybody would: on a stack with
   * `--import mirage-net-direct/register`, on the kernel without.
   *
   * @param args what stands on its command line, which may depend on its ends
   */
  program(
    place: Place,
    file: string,
    args: (ends: Ends) => readonly (string | number)[],
    environment: Record<string, string> = {},
  ): Program {
    const { settings, ends } = this.#settle(place);
    const words = [`${PROGRAMS}${file}`, ...args(ends).map(String)];
    const env = { ...process.env, ...environment };
    const child =
      settings === null
        ? this.#inside(process.execPath, words, { env })
        : this.#inside(process.execPath, ['--import', 'mirage-net-direct/register', ...words], {
            env: { ...env, MIRAGE_NET: settings.join(' ') },
          });
    return this.#add(new Program(child, ends));
  }

  /** Starts `programs/FILE`, an application of `mirage-net run`, on a stack. */
  application(file: string, args: readonly (string | number)[]): Program {
    const { settings, ends } = this.#nextStack();
    const words = ['run', `${PROGRAMS}${file}`, ...settings, '--', ...args.map(String)];
    return this.#add(
      new Program(this.#inside(process.execPath, [`${ROOT}dist/cli/main.js`, ...words]), ends),
    );
  }

  #settle(place: Place): { settings: string[] | null; ends: Ends } {
    if (place === 'stack') return this.#nextStack();
    if (place === 'kernel') return { settings: null, ends: { address: '10.78.1.1', kernel: '10.78.1.1' } };
    const isSecond = this.#cableEnds % 2 === 1;
    const path = join(this.folder, `cable${this.#cableEnds++ >> 1}`);
    const address = isSecond ? '10.79.0.1' : '10.79.0.2';
    const settings = ['--netif', `stream:${isSecond ? '' : 'listen:'}${path}`, '--ip', `${address}/24`];
    return { settings, ends: { address, kernel: '' } };
  }

  #nextStack(): { settings: string[]; ends: Ends } {
    const n = ++this.#stacks;
    const ends = { address: `10.78.${n}.2`, kernel: `10.78.${n}.1` };
    const addresses = [
      '--host-ip',
      `${ends.kernel}/24`,
      '--ip',
      `${ends.address}/24`,
      '--gateway',
      ends.kernel,
    ];
    return { settings: ['--netif', `tap:mnd${n}`, ...addresses], ends };
  }

  /** Starts a command on the kernel's end. */
  start(command: string, args: readonly string[]): Child {
    return this.#add(new Child(this.#inside(command, args)));
  }

  /** Starts a server on the kernel's end; ready when something listens on TCP `port`. */
  async server(port: number, command: string, args: readonly string[]): Promise<Child> {
    const server = this.#add(new Child(this.#inside(command, args)));
    for (let waited = 0; !this.#isListening(port); waited += 20) {
      if (server.ended) throw new Error(`${command} did not start:\n${server.printed}`);
      if (waited > 30_000) throw new Error(`${command} does not listen on ${port}:\n${server.printed}`);
      await sleep(20);
    }
    return server;
  }

  #isListening(port: number): boolean {
    const hex = port.toString(16).toUpperCase().padStart(4, '0');
    const table = execFileSync(
      'ip',
      ['netns', 'exec', this.namespace, 'sh', '-c', 'cat /proc/net/tcp /proc/net/tcp6'],
      { encoding: 'utf8' },
    );
    return table.split('\n').some((line) => new RegExp(`^ *\\d+: [0-9A-F]+:${hex} \\S+ 0A `).test(line));
  }

  /** Runs a command in the namespace; rejects with all it printed if it fails or takes too long. */
  async run(command: string, args: readonly string[], options: RunOptions = {}): Promise<string> {
    const { timeoutMs = 60_000, input, allowFailure = false } = options;
    const child = this.#add(new Child(this.#inside(command, args)));
    child.process.stdin!.on('error', () => {});
    child.process.stdin!.end(input);
    const code = await child.exit(timeoutMs);
    if (code === 0 || allowFailure) return child.stdout;
    throw new Error(`${command} ${args.join(' ')}: exit code ${code}\n${child.printed}`);
  }

  #inside(command: string, args: readonly string[], options: SpawnOptions = {}): ChildProcess {
    const words = ['--pdeathsig', 'KILL', '--', 'ip', 'netns', 'exec', this.namespace, command, ...args];
    // `ip netns exec` becomes the command, so the process id is the command's.
    return spawn('setpriv', words, { stdio: 'pipe', ...options, cwd: ROOT });
  }

  #add<T extends Child>(child: T): T {
    this.#children.push(child);
    return child;
  }

  async close(): Promise<void> {
    for (const child of this.#children.reverse()) await child.stop();
    execFileSync('ip', ['netns', 'del', this.namespace]);
    rmSync(this.folder, { recursive: true, force: true });
  }
}

export interface RunOptions {
  readonly timeoutMs?: number;
  readonly input?: string | Uint8Array;
  readonly allowFailure?: boolean;
}

/** A process of the lab. */
export class Child {
  readonly process: ChildProcess;
  stdout = '';
  stderr = '';
  ended = false;
  readonly #closed: Promise<unknown>;

  constructor(child: ChildProcess) {
    this.process = child;
    this.#closed = once(child, 'close').then(() => {
      this.ended = true;
    });
    for (const name of ['stdout', 'stderr'] as const) {
      child[name]!.setEncoding('utf8').on('data', (text: string) => {
        this[name] += text;
      });
    }
  }

  get printed(): string {
    return this.stdout + this.stderr;
  }

  /** Waits for its end; kills it and rejects if it takes longer. */
  async exit(timeoutMs: number): Promise<number | null> {
    const late = new AbortController();
    const timer = sleep(timeoutMs, 'late', { signal: late.signal }).catch(() => 'done');
    const first = await Promise.race([timer, this.#closed]);
    late.abort();
    if (first !== 'late') return this.process.exitCode;
    await this.stop();
    throw new Error(`not done after ${timeoutMs} ms: ${this.process.spawnargs.join(' ')}\n${this.printed}`);
  }

  /** In order if it ends on SIGTERM within ten seconds. */
  async stop(): Promise<void> {
    if (this.ended) return;
    this.process.kill('SIGTERM');
    const timer = setTimeout(() => this.process.kill('SIGKILL'), 10_000);
    await this.#closed;
    clearTimeout(timer);
  }
}

/**
 * A program of `programs/`: it prints lines of JSON. A server prints one when it
 * listens; a client prints what it saw and ends by itself.
 */
export class Program extends Child {
  readonly ends: Ends;
  readonly #lines: unknown[] = [];
  readonly #waiting: (() => void)[] = [];

  constructor(child: ChildProcess, ends: Ends) {
    super(child);
    this.ends = ends;
    createInterface({ input: child.stdout! }).on('line', (line) => {
      this.#lines.push(JSON.parse(line));
      this.#waiting.shift()?.();
    });
    child.once('close', () => {
      for (const wake of this.#waiting.splice(0)) wake();
    });
  }

  /** The next line it prints. */
  async next(): Promise<unknown> {
    while (this.#lines.length === 0) {
      if (this.ended) throw new Error(`it ended with ${this.process.exitCode}:\n${this.printed}`);
      await new Promise<void>((resolve) => this.#waiting.push(resolve));
    }
    return this.#lines.shift();
  }

  /** Its one line, when it has ended by itself, with nothing left that kept it. */
  async report(timeoutMs = 60_000): Promise<unknown> {
    const code = await this.exit(timeoutMs);
    if (code !== 0) throw new Error(`it ended with ${code}:\n${this.printed}`);
    return this.next();
  }
}
