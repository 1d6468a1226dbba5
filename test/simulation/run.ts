/**
 * Runs seeds: `npx tsx test/simulation/run.ts [--seeds FIRST..LAST] [--jobs N] [--verbose] [--pcap FILE] [SEED …]`.
 * A seed that fails is printed with the command that replays it, and its frames
 * are written, one file per host, to `simulation-SEED-hostN.pcap`.
 */
import { type ChildProcess, fork } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import type { CaptureSink } from '../../src/netif/index.ts';
import { type SimulationResult, simulate } from './simulate.ts';

const HELP = `Usage: npx tsx test/simulation/run.ts [options] [SEED ...]
  --seeds FIRST..LAST  run these seeds
  --jobs N             in N processes (default 1)
  --verbose            print every event
  --pcap FILE          write what each host sends and receives to FILE-host1.pcap, …
  --failures DIR       where captures of failing seeds go (default: the working directory)
  --most N             stop after N failing seeds (default 10)`;

/** Seeds that a worker is given at a time. */
const SHARE = 20;
const THIS_FILE = fileURLToPath(import.meta.url);

interface Summary {
  seeds: number;
  failed: number;
  frames: number;
  bytes: number;
  virtualMs: number;
  conversations: number;
}

type FromWorker = { readonly kind: 'result'; readonly result: SimulationResult } | { readonly kind: 'idle' };

function collectingSink(): CaptureSink & { readonly chunks: Uint8Array[] } {
  const chunks: Uint8Array[] = [];
  return {
    chunks,
    write: (chunk) => {
      chunks.push(chunk);
    },
    end: () => Promise.resolve(),
  };
}

/** Runs a seed with captures; `base` is what the files' names begin with. */
async function capture(
  seed: number,
  base: string,
  onEvent?: (line: string) => void,
): Promise<SimulationResult> {
  const sinks: ReturnType<typeof collectingSink>[] = [];
  const handOvers: (() => void)[] = [];
  const result = await simulate(seed, {
    ...(onEvent === undefined ? {} : { onEvent }),
    sinkFor: (host) => {
      sinks[host] = { ...collectingSink(), attach: (handOver: () => void) => handOvers.push(handOver) };
      return sinks[host];
    },
  });
  for (const handOver of handOvers) handOver();
  mkdirSync(dirname(base), { recursive: true });
  for (const [i, { chunks }] of sinks.entries())
    writeFileSync(`${base}-host${i + 1}.pcap`, Buffer.concat(chunks));
  return result;
}

async function reportFailure(result: SimulationResult, directory: string): Promise<void> {
  const { seed, violations } = result;
  console.log(`seed ${seed} FAILED`);
  for (const violation of violations.slice(0, 5)) console.log(`  ${violation.slice(0, 2000)}`);
  if (violations.length > 5) console.log(`  … and ${violations.length - 5} more`);
  const base = join(directory, `simulation-${seed}`);
  await capture(seed, base);
  console.log(`  captured in ${base}-host*.pcap`);
  console.log(`  replay: npx tsx test/simulation/run.ts --verbose ${seed}`);
}

async function runHere(
  seeds: Iterable<number>,
  done: (result: SimulationResult) => Promise<boolean>,
): Promise<void> {
  for (const seed of seeds) if (!(await done(await simulate(seed)))) return;
}

/** Gives shares of the seeds to processes of their own. */
async function runInProcesses(
  seeds: readonly number[],
  jobs: number,
  done: (result: SimulationResult) => Promise<boolean>,
): Promise<void> {
  let next = 0;
  let stopped = false;
  const pending: Promise<void>[] = [];
  const work = (): Promise<void> =>
    new Promise((resolve, reject) => {
      const worker: ChildProcess = fork(THIS_FILE, ['--worker'], { execArgv: process.execArgv });
      const feed = (): void => {
        if (next >= seeds.length || stopped) {
          worker.disconnect();
          return;
        }
        worker.send(seeds.slice(next, next + SHARE));
        next += SHARE;
      };
      worker.on('message', (message: FromWorker) => {
        if (message.kind === 'idle') feed();
        else {
          pending.push(
            done(message.result).then((goOn) => {
              if (!goOn) stopped = true;
            }),
          );
        }
      });
      worker.on('error', reject);
      worker.on('exit', (code, signal) => {
        if (code === 0) resolve();
        else reject(new Error(`a worker ended with ${signal ?? `code ${code}`}`));
      });
    });
  await Promise.all(Array.from({ length: jobs }, work));
  await Promise.all(pending);
}

/** The other end of `runInProcesses`. */
function serve(): void {
  const tell = (message: FromWorker): void => {
    process.send!(message);
  };
  process.on('message', (seeds: number[]) => {
    void (async () => {
      for (const seed of seeds) tell({ kind: 'result', result: await simulate(seed) });
      tell({ kind: 'idle' });
    })();
  });
  tell({ kind: 'idle' });
}

function range(text: string): number[] {
  const match = /^(\d+)\.\.(\d+)$/.exec(text);
  if (match === null) throw new Error(`--seeds takes FIRST..LAST, not ${text}`);
  const [first, last] = [Number(match[1]), Number(match[2])];
  return Array.from({ length: Math.max(0, last - first + 1) }, (_, i) => first + i);
}

function seedOf(text: string): number {
  if (!/^\d+$/.test(text)) throw new Error(`a seed is a number, not ${text}`);
  return Number(text);
}

async function main(): Promise<number> {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      seeds: { type: 'string' },
      jobs: { type: 'string', default: '1' },
      verbose: { type: 'boolean', default: false },
      pcap: { type: 'string' },
      failures: { type: 'string', default: '.' },
      most: { type: 'string', default: '10' },
      worker: { type: 'boolean', default: false },
      help: { type: 'boolean', default: false },
    },
  });
  if (values.worker) {
    serve();
    return 0;
  }
  const seeds = [...positionals.map(seedOf), ...(values.seeds === undefined ? [] : range(values.seeds))];
  if (values.help || seeds.length === 0) {
    console.log(HELP);
    return values.help ? 0 : 2;
  }
  const started = performance.now();
  const total: Summary = { seeds: 0, failed: 0, frames: 0, bytes: 0, virtualMs: 0, conversations: 0 };
  const most = Number(values.most);
  const done = async (result: SimulationResult): Promise<boolean> => {
    total.seeds++;
    total.frames += result.frames;
    total.bytes += result.bytes;
    total.virtualMs += result.virtualMs;
    total.conversations += result.conversations;
    if (result.violations.length > 0 && ++total.failed <= most) await reportFailure(result, values.failures);
    return total.failed < most;
  };
  if (values.verbose || values.pcap !== undefined) {
    const onEvent = values.verbose ? (line: string) => console.log(line) : undefined;
    for (const seed of seeds) {
      const base = values.pcap?.replace(/\.pcap$/, '');
      const result =
        base === undefined
          ? await simulate(seed, onEvent && { onEvent })
          : await capture(seed, base, onEvent);
      if (!(await done(result))) break;
    }
  } else if (Number(values.jobs) > 1) {
    await runInProcesses(seeds, Number(values.jobs), done);
  } else {
    await runHere(seeds, done);
  }
  const seconds = (performance.now() - started) / 1000;
  console.log(
    `${total.seeds} seeds, ${total.failed} failed: ${total.conversations} connections, ${total.frames} frames, ` +
      `${(total.bytes / 1e6).toFixed(0)} MB, ${(total.virtualMs / 3.6e6).toFixed(0)} h of network time in ${seconds.toFixed(1)} s`,
  );
  return total.failed > 0 ? 1 : 0;
}

process.exitCode = await main();
