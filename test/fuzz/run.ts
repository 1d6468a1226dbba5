/**
 * Throws mutated frames at stacks: `node --expose-gc --import tsx test/fuzz/run.ts [--frames N] [--seed N] [--jobs N]`.
 * With several jobs, each million of frames has a process, a stack and a seed of its own (`--seed` and up).
 */
import { fork } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { type FuzzResult, fuzz } from './fuzz.ts';

const HELP = `Usage: node --expose-gc --import tsx test/fuzz/run.ts [options]
  --frames N  frames in all (default 1,000,000)
  --seed N    of the first job (default 1)
  --jobs N    processes at a time (default 1)`;

/** What one process is given, where there are several. */
const SHARE = 1_000_000;

function report(seed: number, result: FuzzResult): void {
  const { frames, echoed, answered, sacrificed, heapBefore, heapAfter, problems } = result;
  const megabytes = (bytes: number): string => (bytes / 1e6).toFixed(1);
  console.log(
    `seed ${seed}: ${frames} frames, ${answered} sent in return, ${sacrificed} connections sacrificed, ` +
      `${megabytes(echoed)} MB echoed meanwhile, heap ${megabytes(heapBefore)} -> ${megabytes(heapAfter)} MB`,
  );
  for (const problem of problems) console.log(`  PROBLEM ${problem}`);
  if (problems.length > 0) {
    console.log(`  replay: node --expose-gc --import tsx test/fuzz/run.ts --seed ${seed} --frames ${frames}`);
  }
}

function inProcess(seed: number, frames: number): Promise<boolean> {
  return new Promise((resolve, reject) => {
    const job = fork(fileURLToPath(import.meta.url), ['--seed', `${seed}`, '--frames', `${frames}`], {
      execArgv: process.execArgv,
    });
    job.on('error', reject);
    job.on('exit', (code) => resolve(code === 0));
  });
}

async function main(): Promise<number> {
  const { values } = parseArgs({
    options: {
      frames: { type: 'string', default: '1000000' },
      seed: { type: 'string', default: '1' },
      jobs: { type: 'string', default: '1' },
      help: { type: 'boolean', default: false },
    },
  });
  const [frames, seed, jobs] = [values.frames, values.seed, values.jobs].map(Number) as [
    number,
    number,
    number,
  ];
  if (values.help || !(frames > 0 && Number.isInteger(seed) && jobs > 0)) {
    console.log(HELP);
    return values.help ? 0 : 2;
  }
  if (jobs === 1) {
    const result = await fuzz({ seed, frames });
    report(seed, result);
    return result.problems.length > 0 ? 1 : 0;
  }
  const started = performance.now();
  let given = 0;
  let failed = 0;
  const work = async (): Promise<void> => {
    while (given < frames) {
      const share = Math.min(SHARE, frames - given);
      const mine = seed + Math.floor(given / SHARE);
      given += share;
      if (!(await inProcess(mine, share))) failed++;
    }
  };
  await Promise.all(Array.from({ length: jobs }, work));
  console.log(`${given} frames in ${((performance.now() - started) / 1000).toFixed(1)} s`);
  return failed > 0 ? 1 : 0;
}

process.exitCode = await main();
