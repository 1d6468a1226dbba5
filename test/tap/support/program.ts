import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const DIST = fileURLToPath(new URL('../../../dist/', import.meta.url));

/** The built module that puts a program on the stack. */
export const REGISTER = join(DIST, 'net/register.js');
export const MAIN = join(DIST, 'cli/main.js');

export interface Ended {
  readonly code: number | null;
  readonly signal: string | null;
  readonly stdout: string;
  readonly stderr: string;
}

export interface StartOptions {
  readonly args?: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
}

let count = 0;

/**
 * A network namespace in which programs run, and a folder for their files. The
 * kernel has 10.0.0.1 there as soon as a program with {@link NETIF} runs, which
 * has 10.0.0.2.
 */
export class ProgramHost {
  static readonly NETIF = '--netif tap:mnd0 --host-ip 10.0.0.1/24 --ip 10.0.0.2/24';
  readonly namespace: string;
  readonly folder = mkdtempSync(join(tmpdir(), 'mirage-net-program-'));
  readonly #children = new Set<ChildProcess>();

  constructor() {
    count++;
    // Named as KernelHost names its namespaces, which clears away what a killed run left.
    this.namespace = `mnd-${process.pid}-program${count}`;
    execFileSync('ip', ['netns', 'add', this.namespace]);
    execFileSync('ip', ['-n', this.namespace, 'link', 'set', 'lo', 'up']);
  }

  write(name: string, text: string): string {
    const path = join(this.folder, name);
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(path, text);
    return path;
  }

  /** Runs a command in the namespace, in the folder. */
  start(command: string, args: readonly string[], env: Readonly<Record<string, string>> = {}): Running {
    const inside = ['netns', 'exec', this.namespace, command, ...args];
    const child = spawn('setpriv', ['--pdeathsig', 'KILL', '--', 'ip', ...inside], {
      cwd: this.folder,
      env: { ...process.env, ...env },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    this.#children.add(child);
    child.once('close', () => this.#children.delete(child));
    return new Running(child);
  }

  /** A program on the stack: `node --import register NAME`. */
  register(name: string, { args = [], env = {} }: StartOptions = {}): Running {
    const given = { MIRAGE_NET: ProgramHost.NETIF, ...env };
    return this.start(process.execPath, ['--import', REGISTER, name, ...args], given);
  }

  async close(): Promise<void> {
    const ended = [...this.#children].map((child) => new Promise((resolve) => child.once('close', resolve)));
    for (const child of this.#children) child.kill('SIGKILL');
    await Promise.all(ended);
    execFileSync('ip', ['netns', 'del', this.namespace]);
    rmSync(this.folder, { recursive: true });
  }
}

export class Running {
  readonly child: ChildProcess;
  readonly ended: Promise<Ended>;
  stdout = '';
  stderr = '';

  constructor(child: ChildProcess) {
    this.child = child;
    child.stdout!.setEncoding('utf8').on('data', (text: string) => {
      this.stdout += text;
    });
    child.stderr!.setEncoding('utf8').on('data', (text: string) => {
      this.stderr += text;
    });
    this.ended = new Promise((resolve) => {
      child.once('close', (code, signal) =>
        resolve({ code, signal, stdout: this.stdout, stderr: this.stderr }),
      );
    });
  }

  /** Resolves when it has printed `text`; rejects, with all it said, if it ends before or is late. */
  async said(text: string, timeoutMs = 15_000): Promise<void> {
    const deadline = performance.now() + timeoutMs;
    while (!this.stdout.includes(text)) {
      const isOver = this.child.exitCode !== null || this.child.signalCode !== null;
      if (isOver || performance.now() > deadline) {
        throw new Error(`waited for "${text}":\n${this.stdout}${this.stderr}`);
      }
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
  }
}
