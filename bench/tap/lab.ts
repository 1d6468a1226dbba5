/**
 * Network namespaces for measurements: in each a server on a TAP of its own (or
 * on the kernel, behind a veth), and the load client beside it.
 */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { existsSync, readFileSync, statSync } from 'node:fs';
import { cpus, tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { attach } from '../../src/netif/tap/device.ts';

const SOURCE = fileURLToPath(new URL('./peer.c', import.meta.url));
const ROOT = fileURLToPath(new URL('../../', import.meta.url));
export const SERVER = '10.77.0.2';
const CLIENT = '10.77.0.1';
const CLOCK_TICKS = 100;

export type Mode = 'sink' | 'source' | 'ping' | 'connect' | 'connect32';

/** One measurement: bytes or times, in `seconds`. */
export interface Sample {
  readonly count: number;
  readonly seconds: number;
  readonly failures: number;
  /** CPU seconds of the server in the meantime. */
  readonly serverCpu: number;
  readonly p50?: number;
  readonly p99?: number;
}

export interface Contestant {
  readonly name: string;
  /** What it is compared with: others of the same `kind` are in the same race. */
  readonly kind: 'offloads' | 'plain';
  readonly role: 'floor' | 'ours' | 'kernel' | 'peer';
  /** The server; the TAP is its descriptor 3. Null for the kernel's own TCP. */
  readonly command: readonly string[] | null;
}

/** The load client, compiled where it is not yet. Throws if there is no C compiler. */
export function buildPeer(): string {
  const binary = join(tmpdir(), `mirage-net-bench-peer-${process.getuid?.() ?? 0}`);
  if (!existsSync(binary) || statSync(binary).mtimeMs < statSync(SOURCE).mtimeMs) {
    execFileSync('cc', ['-O2', '-pthread', '-o', binary, SOURCE], { stdio: ['ignore', 'ignore', 'pipe'] });
  }
  return binary;
}

function ip(...args: string[]): void {
  execFileSync('ip', args, { stdio: ['ignore', 'ignore', 'pipe'] });
}

/** The server on one processor and the client on another, where there are two. */
function pinned(cpu: 0 | 1): string[] {
  return cpus().length > 1 ? ['taskset', '-c', String(cpu)] : [];
}

let count = 0;

/** One contestant, set up and ready; idle until it is asked. */
export class Lane {
  readonly contestant: Contestant;
  readonly #peer: string;
  readonly #client: string;
  readonly #namespaces: string[] = [];
  #server: ChildProcess | null = null;
  #output = '';

  private constructor(contestant: Contestant, peer: string) {
    this.contestant = contestant;
    this.#peer = peer;
    this.#client = this.#namespace();
  }

  static async open(contestant: Contestant, peer: string): Promise<Lane> {
    const lane = new Lane(contestant, peer);
    try {
      if (contestant.command === null) lane.#startKernel();
      else lane.#startOnTap(contestant.command);
      await lane.#reachable();
    } catch (error) {
      lane.close();
      throw error;
    }
    return lane;
  }

  /** Rejects where the client fails. */
  async measure(mode: Mode, seconds: number): Promise<Sample> {
    const before = this.#cpuSeconds();
    const words =
      mode === 'connect32' ? ['connect', SERVER, `${seconds}`, '32'] : [mode, SERVER, `${seconds}`];
    const stdout = await this.#run(words, seconds * 1000 + 30_000);
    const { count, failures, ...rest } = JSON.parse(stdout) as Omit<Sample, 'serverCpu'>;
    return { ...rest, count, failures, serverCpu: this.#cpuSeconds() - before };
  }

  close(): void {
    this.#server?.kill('SIGKILL');
    for (const namespace of this.#namespaces) {
      try {
        ip('netns', 'del', namespace);
      } catch {
        // It never came to be.
      }
    }
  }

  #namespace(): string {
    const name = `mndbench-${process.pid}-${++count}`;
    this.#namespaces.push(name);
    ip('netns', 'add', name);
    ip('-n', name, 'link', 'set', 'lo', 'up');
    // Whoever has no timestamps cannot take a port from TIME-WAIT again: with the kernel's own limit, a few
    // seconds of connections use up all ports, and what is measured is the client's search for one.
    const settings =
      'net.ipv6.conf.all.disable_ipv6=1 net.ipv4.tcp_tw_reuse=1 net.ipv4.ip_local_port_range=1024\t65535 net.ipv4.tcp_max_tw_buckets=20000 net.ipv4.tcp_no_metrics_save=1';
    for (const setting of settings.split(' ')) {
      execFileSync('ip', ['netns', 'exec', name, 'sysctl', '-qw', setting]);
    }
    return name;
  }

  #startOnTap(command: readonly string[]): void {
    const device = `mndb${process.pid % 100_000}x${count}`;
    const tap = attach(device, { offloads: this.contestant.kind === 'offloads' });
    ip('link', 'set', device, 'netns', this.#client);
    ip('-n', this.#client, 'address', 'add', `${CLIENT}/24`, 'dev', device);
    ip('-n', this.#client, 'link', 'set', device, 'up', 'mtu', '1500', 'txqueuelen', '1000');
    const server = spawn('setpriv', ['--pdeathsig', 'KILL', '--', ...pinned(1), ...command], {
      cwd: ROOT,
      stdio: ['ignore', 'pipe', 'pipe', tap.descriptor.fd],
    });
    tap.descriptor.close();
    this.#watch(server);
  }

  #startKernel(): void {
    const far = this.#namespace();
    const [near, other] = [`mndb${process.pid % 100_000}a${count}`, `mndb${process.pid % 100_000}b${count}`];
    ip('link', 'add', near, 'netns', this.#client, 'type', 'veth', 'peer', 'name', other, 'netns', far);
    for (const [namespace, device, address] of [
      [this.#client, near, CLIENT],
      [far, other, SERVER],
    ] as const) {
      ip('-n', namespace, 'address', 'add', `${address}/24`, 'dev', device);
      ip('-n', namespace, 'link', 'set', device, 'up', 'mtu', '1500');
      if (this.contestant.kind === 'offloads') continue;
      const off = ['tso', 'off', 'gso', 'off', 'gro', 'off', 'tx', 'off'];
      execFileSync('ip', ['netns', 'exec', namespace, 'ethtool', '-K', device, ...off], { stdio: 'ignore' });
    }
    const inside = ['ip', 'netns', 'exec', far, this.#peer, 'serve'];
    this.#watch(spawn('setpriv', ['--pdeathsig', 'KILL', '--', ...pinned(1), ...inside]));
  }

  #watch(server: ChildProcess): void {
    this.#server = server;
    const collect = (text: Buffer): void => {
      this.#output = (this.#output + String(text)).slice(-4000);
    };
    server.stdout?.on('data', collect);
    server.stderr?.on('data', collect);
  }

  async #reachable(): Promise<void> {
    for (let attempt = 0; attempt < 60; attempt++) {
      try {
        const { failures, count } = JSON.parse(
          await this.#run(['connect', SERVER, '0.01'], 15_000),
        ) as Sample;
        if (failures === 0 && count > 0) return;
      } catch {
        // Not yet.
      }
      if (this.#server?.exitCode !== null) break;
      await sleep(200);
    }
    throw new Error(`${this.contestant.name} does not answer:\n${this.#output}`);
  }

  #run(words: readonly string[], timeoutMs: number): Promise<string> {
    const inside = ['netns', 'exec', this.#client, ...pinned(0), this.#peer, ...words];
    const child = spawn('ip', inside, {
      stdio: ['ignore', 'pipe', 'pipe'],
      timeout: timeoutMs,
      killSignal: 'SIGKILL',
    });
    let stdout = '';
    let stderr = '';
    child.stdout.on('data', (text) => (stdout += text));
    child.stderr.on('data', (text) => (stderr += text));
    return new Promise((resolve, reject) => {
      child.once('error', reject);
      child.once('close', (code) => {
        if (code === 0) resolve(stdout);
        else
          reject(
            new Error(
              `${this.contestant.name}, ${words.join(' ')}: ${stderr.trim() || `ended with ${code}`}`,
            ),
          );
      });
    });
  }

  /** Of the server; `ip netns exec` and `setpriv` become what they start, so its number is the child's. */
  #cpuSeconds(): number {
    const text = readFileSync(`/proc/${this.#server!.pid}/stat`, 'utf8');
    const fields = text.slice(text.lastIndexOf(')') + 2).split(' ');
    return (Number(fields[11]) + Number(fields[12])) / CLOCK_TICKS;
  }
}
