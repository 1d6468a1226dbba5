import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { existsSync, readdirSync } from 'node:fs';
import { openTap, type TapNetif, type TapOptions } from '../../../src/netif/tap/index.ts';

/** Names of our namespaces: this, the process that made it, and a number. */
const PREFIX = 'mnd';

let reason: string | null | undefined;

/**
 * Why tests against the kernel cannot run here, for `describe.skipIf`; null if
 * they can. Answers from a real attempt, once per process.
 */
export function canTap(): string | null {
  if (reason === undefined) reason = findReason();
  return reason;
}

function findReason(): string | null {
  if (process.platform !== 'linux') return `needs Linux, this is ${process.platform}`;
  if (!existsSync('/dev/net/tun')) return 'there is no /dev/net/tun';
  const namespace = `${PREFIX}-${process.pid}-probe`;
  try {
    ip(['netns', 'add', namespace]);
    ip(['netns', 'del', namespace]);
  } catch (error) {
    return `cannot make a network namespace: ${(error as Error).message}`;
  }
  return null;
}

export interface KernelHostOptions {
  /** Of the kernel's end. Default 10.77.0.1/24. */
  readonly address?: string;
  /** Also gives the kernel's end this IPv6 address with prefix length; without it IPv6 is off in the namespace. */
  readonly ipv6?: string;
  /** Default 1500. */
  readonly mtu?: number;
  /** Of the TCP in the namespace. Default cubic, or reno where the kernel allows namespaces no cubic. */
  readonly congestionControl?: string;
  /** How often the device is opened, for a TAP with `multiQueue`. Default 1. */
  readonly queues?: number;
  /** For `openTap`, besides the name. */
  readonly tap?: Omit<TapOptions, 'name' | 'fd' | 'hostAddress' | 'mtu' | 'up'>;
}

export interface ExecOptions {
  /** Milliseconds until the command is killed and the promise rejects. Default 10,000. */
  readonly timeout?: number;
  readonly input?: string | Uint8Array;
  /** Whether an exit code other than 0 is an answer, not an error. */
  readonly allowFailure?: boolean;
}

export interface ExecResult {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

const alive = new Set<KernelHost>();
let count = 0;

/**
 * The other end of a cable, played by the kernel: a network namespace of its
 * own with one interface, whose TAP this process has open (`tap`). Commands run
 * inside with `exec` and `spawn`.
 *
 * `close()` removes all of it; so does the end of the process, and the next run
 * removes what a killed one left.
 */
export class KernelHost {
  readonly namespace: string;
  /** Name of the interface inside. */
  readonly device: string;
  /** Address of the kernel's end, without prefix length. */
  readonly address: string;
  readonly tap: TapNetif;
  /** `tap` and the device's further queues. */
  readonly queues: readonly TapNetif[];
  readonly #children = new Set<ChildProcess>();
  #closed = false;

  constructor(options: KernelHostOptions = {}) {
    const { address = '10.77.0.1/24', ipv6, mtu = 1500 } = options;
    sweep();
    count++;
    this.namespace = `${PREFIX}-${process.pid}-${count}`;
    this.device = `${PREFIX}${process.pid % 1_000_000}x${count}`;
    this.address = address.replace(/\/.*/, '');
    ip(['netns', 'add', this.namespace]);
    alive.add(this);
    try {
      const open = (): TapNetif => openTap({ ...options.tap, name: this.device, mtu });
      this.queues = Array.from({ length: options.queues ?? 1 }, open);
      this.tap = this.queues[0]!;
    } catch (error) {
      this.#remove();
      throw error;
    }
    try {
      this.#sysctl(ipv6 !== undefined, options.congestionControl ?? 'cubic');
      ip(['link', 'set', this.device, 'netns', this.namespace]);
      this.ip('link', 'set', 'lo', 'up');
      this.ip('address', 'add', address, 'dev', this.device);
      if (ipv6 !== undefined) this.ip('address', 'add', ipv6, 'dev', this.device, 'nodad');
      this.ip('link', 'set', this.device, 'up');
    } catch (error) {
      void this.close();
      throw error;
    }
  }

  /** Runs `ip` on the namespace and returns what it prints. */
  ip(...args: string[]): string {
    return ip(['-n', this.namespace, ...args]);
  }

  /** Starts a command in the namespace; it is killed when the host is closed, or this process is gone. */
  spawn(command: string, args: readonly string[] = []): ChildProcess {
    const inside = ['ip', 'netns', 'exec', this.namespace, command, ...args];
    const child = spawn('setpriv', ['--pdeathsig', 'KILL', '--', ...inside]);
    this.#children.add(child);
    child.once('close', () => this.#children.delete(child));
    return child;
  }

  /**
   * Runs a command in the namespace to its end.
   *
   * Rejects, with all that it printed, if it fails or takes longer than `timeout`.
   */
  exec(command: string, args: readonly string[] = [], options: ExecOptions = {}): Promise<ExecResult> {
    const { timeout = 10_000, input, allowFailure = false } = options;
    const child = this.spawn(command, args);
    const line = [command, ...args].join(' ');
    return new Promise((resolve, reject) => {
      const stdout: Buffer[] = [];
      const stderr: Buffer[] = [];
      child.stdout?.on('data', (chunk: Buffer) => stdout.push(chunk));
      child.stderr?.on('data', (chunk: Buffer) => stderr.push(chunk));
      let late = false;
      const timer = setTimeout(() => {
        late = true;
        child.kill('SIGKILL');
      }, timeout);
      child.once('error', (error) => {
        clearTimeout(timer);
        reject(error);
      });
      child.once('close', (code) => {
        clearTimeout(timer);
        const result = { code, stdout: text(stdout), stderr: text(stderr) };
        const printed = `\n${result.stdout}${result.stderr}`;
        if (late) reject(new Error(`${line}: not done after ${timeout} ms${printed}`));
        else if (code !== 0 && !allowFailure) reject(new Error(`${line}: exit code ${code}${printed}`));
        else resolve(result);
      });
      // A command that ends before it has read its input closes the pipe; its exit code tells the story.
      child.stdin?.on('error', () => {});
      child.stdin?.end(input);
    });
  }

  /** Removes the namespace and the device, and kills what still runs inside. Idempotent. */
  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    const children = [...this.#children];
    const ended = children.map((child) => new Promise((resolve) => child.once('close', resolve)));
    for (const child of children) child.kill('SIGKILL');
    await Promise.all(ended);
    for (const queue of this.queues) await queue.close();
    this.#remove();
  }

  /** For the end of the process, when nothing can be waited for. */
  removeNow(): void {
    for (const child of this.#children) child.kill('SIGKILL');
    this.#remove();
  }

  #remove(): void {
    if (!alive.delete(this)) return;
    ip(['netns', 'del', this.namespace]);
  }

  #sysctl(ipv6: boolean, congestionControl: string): void {
    const off = ipv6 ? 0 : 1;
    const script = [
      `echo ${off} > /proc/sys/net/ipv6/conf/all/disable_ipv6`,
      `echo ${off} > /proc/sys/net/ipv6/conf/default/disable_ipv6`,
      `cd /proc/sys/net/ipv4`,
      `echo ${congestionControl} > tcp_congestion_control || echo reno > tcp_congestion_control`,
    ].join('\n');
    execFileSync('ip', ['netns', 'exec', this.namespace, 'sh', '-c', `(${script}) 2>/dev/null || true`]);
  }
}

function ip(args: readonly string[]): string {
  return execFileSync('ip', args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] });
}

function text(chunks: Buffer[]): string {
  return Buffer.concat(chunks).toString('utf8');
}

process.once('exit', () => {
  for (const host of alive) host.removeNow();
});

let swept = false;

/** Removes namespaces that earlier runs left whose process was killed. */
function sweep(): void {
  if (swept) return;
  swept = true;
  if (!existsSync('/run/netns')) return;
  for (const name of readdirSync('/run/netns')) {
    const pid = /^mnd-(\d+)-/.exec(name)?.[1];
    if (pid === undefined || existsSync(`/proc/${pid}`)) continue;
    // One that is in use is somebody's, whoever made it.
    if (ip(['netns', 'pids', name]).trim() === '') ip(['netns', 'del', name]);
  }
}
