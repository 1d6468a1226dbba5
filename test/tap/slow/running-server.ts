import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { createCipheriv, createHash } from 'node:crypto';
import { once } from 'node:events';
import { createWriteStream, readFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { finished } from 'node:stream/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import type { StackStatistics } from '../../../src/stack.ts';

const ROOT = fileURLToPath(new URL('../../../', import.meta.url));

export const SERVER = '10.0.0.2';
export const SERVER6 = 'fd00:7::2';

export interface ServerOptions {
  /** Of `mirage-net run`, besides the addresses. */
  readonly flags?: readonly string[];
  /** Application and its arguments. */
  readonly app: string;
  readonly args?: readonly string[];
  /** IPv6 too: the server is {@link SERVER6}, the kernel `fd00:7::1`. */
  readonly ipv6?: boolean;
  /** Options of Node. */
  readonly node?: readonly string[];
}

let count = 0;

/**
 * `mirage-net run` as a user starts it, in a network namespace of its own whose
 * kernel is the peer. `stop()` ends it in order, `remove()` takes everything away.
 */
export class RunningServer {
  readonly namespace: string;
  readonly device = 'mnd0';
  readonly child: ChildProcess;
  #stderr = '';
  #removed = false;
  readonly #statistics: ((statistics: StackStatistics) => void)[] = [];

  private constructor(options: ServerOptions) {
    count++;
    // Named as KernelHost names its namespaces, which clears away what a killed run left.
    this.namespace = `mnd-${process.pid}-server${count}`;
    execFileSync('ip', ['netns', 'add', this.namespace]);
    const setUp = `ip link set lo up
      echo cubic > /proc/sys/net/ipv4/tcp_congestion_control || true`;
    execFileSync('ip', ['netns', 'exec', this.namespace, 'sh', '-c', setUp], { stdio: 'ignore' });
    const addresses = ['--netif', `tap:${this.device}`, '--host-ip', '10.0.0.1/24', '--ip', `${SERVER}/24`];
    this.child = spawn(
      'ip',
      [
        ...['netns', 'exec', this.namespace, process.execPath, ...(options.node ?? [])],
        `${ROOT}dist/cli/main.js`,
        ...['run', `${ROOT}${options.app}`, ...addresses, ...(options.flags ?? [])],
        ...(options.ipv6 ? ['--ip6', `${SERVER6}/64`] : []),
        ...['--', ...(options.args ?? [])],
      ],
      { stdio: ['ignore', 'pipe', 'pipe'] },
    );
    createInterface({ input: this.child.stderr! }).on('line', (line) => {
      if (line.startsWith('{')) this.#statistics.shift()?.(JSON.parse(line));
      else this.#stderr += `${line}\n`;
    });
  }

  /** Resolves when the application has said that it is ready: its first line. */
  static async start(options: ServerOptions): Promise<RunningServer> {
    const server = new RunningServer(options);
    const ready = once(createInterface({ input: server.child.stdout! }), 'line').then(() => true);
    const ended = once(server.child, 'close').then(() => false);
    if (await Promise.race([ready, ended])) {
      const address = ['address', 'add', 'fd00:7::1/64', 'dev', server.device, 'nodad'];
      if (options.ipv6) execFileSync('ip', ['-n', server.namespace, ...address]);
      return server;
    }
    server.remove();
    throw new Error(`mirage-net did not start:\n${server.stderr}`);
  }

  get stderr(): string {
    return this.#stderr;
  }

  /** Runs a shell command in the namespace; rejects if it fails. */
  async shell(script: string, timeoutMs = 60_000): Promise<string> {
    const child = spawn('ip', ['netns', 'exec', this.namespace, 'bash', '-c', `set -o pipefail\n${script}`], {
      stdio: ['ignore', 'pipe', 'pipe'],
      timeout: timeoutMs,
      killSignal: 'SIGKILL',
    });
    let stdout = '';
    let stderr = '';
    child.stdout.setEncoding('utf8').on('data', (text) => (stdout += text));
    child.stderr.setEncoding('utf8').on('data', (text) => (stderr += text));
    const [code, signal] = (await once(child, 'close')) as [number | null, string | null];
    if (code === 0) return stdout;
    throw new Error(`${script}: ended with ${signal ?? code}\n${stdout}${stderr}\n${this.stderr}`);
  }

  /** The stack's counters, asked for with SIGUSR2. */
  async statistics(): Promise<StackStatistics> {
    const answer = new Promise<StackStatistics>((resolve) => this.#statistics.push(resolve));
    this.child.kill('SIGUSR2');
    return answer;
  }

  /** Connections that are neither closed nor in TIME-WAIT. */
  async flows(): Promise<number> {
    const { tcp } = await this.statistics();
    return (tcp as { flows: number }).flows;
  }

  /** Waits until there is no connection left; gives how many are, if it takes too long. */
  async flowsAfter(timeoutMs: number): Promise<number> {
    const deadline = performance.now() + timeoutMs;
    let flows = await this.flows();
    while (flows > 0 && performance.now() < deadline) {
      await sleep(200);
      flows = await this.flows();
    }
    return flows;
  }

  rssBytes(): number {
    const status = readFileSync(`/proc/${this.child.pid}/status`, 'utf8');
    return Number(/VmRSS:\s+(\d+)/.exec(status)![1]) * 1024;
  }

  /** SIGINT; gives the exit code. */
  async stop(): Promise<number | null> {
    const exited = once(this.child, 'exit');
    this.child.kill('SIGINT');
    return (await exited)[0] as number | null;
  }

  /** Whether the namespace still has the device. */
  hasDevice(): boolean {
    return execFileSync('ip', ['-n', this.namespace, '-o', 'link'], { encoding: 'utf8' }).includes(
      this.device,
    );
  }

  /** Idempotent. */
  remove(): void {
    if (this.#removed) return;
    this.#removed = true;
    this.child.kill('SIGKILL');
    execFileSync('ip', ['netns', 'del', this.namespace]);
  }
}

/** Writes `bytes` that do not repeat to `path`; gives their SHA-256 in hex. */
export async function writeRandomFile(path: string, bytes: number): Promise<string> {
  const stream = createCipheriv('aes-128-ctr', Buffer.alloc(16), Buffer.alloc(16));
  const hash = createHash('sha256');
  const file = createWriteStream(path);
  const zeros = Buffer.alloc(1 << 20);
  for (let left = bytes; left > 0; left -= zeros.length) {
    const block = stream.update(left < zeros.length ? zeros.subarray(0, left) : zeros);
    hash.update(block);
    if (!file.write(block)) await once(file, 'drain');
  }
  file.end();
  await finished(file);
  return hash.digest('hex');
}

/** A size in MiB from the environment, where a run may ask for more than the usual one. */
export function sizeFromEnvironment(name: string, defaultMiB: number): number {
  return Number(process.env[name] ?? defaultMiB) * 2 ** 20;
}
