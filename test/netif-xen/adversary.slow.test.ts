import { execFile } from 'node:child_process';
import { availableParallelism } from 'node:os';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { describe, expect, it } from 'vitest';

const run = promisify(execFile);
const JOB = fileURLToPath(new URL('job.ts', import.meta.url));

/** XEN_SEED=N for other runs than those of every day. */
const SEED = Number(process.env.XEN_SEED ?? 1);

type Result = Record<string, number> & { reasons?: Record<string, number> };

/** As many at once as there are processors, in the order in which they are asked for. */
class Pool {
  #running = 0;
  readonly #queue: (() => void)[] = [];

  async job(kind: string, seed: number, count: number): Promise<Result> {
    if (this.#running >= availableParallelism()) await new Promise<void>((go) => this.#queue.push(go));
    this.#running++;
    try {
      const { stdout } = await run(process.execPath, ['--import', 'tsx', JOB, kind, `${seed}`, `${count}`]);
      return JSON.parse(stdout) as Result;
    } finally {
      this.#running--;
      this.#queue.shift()?.();
    }
  }

  /** `count` in all, in `parts` processes with a seed each. */
  split(kind: string, count: number, parts: number): Promise<Result[]> {
    return Promise.all(Array.from({ length: parts }, (_, i) => this.job(kind, SEED + i, count / parts)));
  }
}

const pool = new Pool();

/** How many ways to be cut off the fuzzer has to find. */
const REASONS = 14;

describe('the Xen ring against adversaries', { timeout: 1_200_000 }, () => {
  it.concurrent('1,000,000 mutated ring states: no throw, nothing outside of what is granted', async () => {
    const results = await pool.split('fuzz', 1_000_000, 4);
    const reasons = new Set(results.flatMap((result) => Object.keys(result.reasons!)));
    expect(results.reduce((sum, { states }) => sum + states!, 0)).toBe(1_000_000);
    expect(reasons.size).toBeGreaterThanOrEqual(REASONS);
  });

  it.concurrent('100,000 random schedules of whole netifs that interrupt each other', async () => {
    const results = await pool.split('schedules', 100_000, 2);
    expect(results.reduce((sum, { schedules }) => sum + schedules!, 0)).toBe(100_000);
    for (const { interrupts } of results) expect(interrupts).toBeGreaterThan(50_000);
  });

  it.concurrent('100,000 random schedules of the ring, access by access', async () => {
    const results = await pool.split('models', 100_000, 2);
    expect(results.reduce((sum, { schedules }) => sum + schedules!, 0)).toBe(100_000);
  });
});
