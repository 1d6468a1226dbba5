/** Jobs spread over worker processes, one job at a time in each. */
import { fork } from 'node:child_process';
import { availableParallelism } from 'node:os';
import { fileURLToPath } from 'node:url';

const WORKER = fileURLToPath(new URL('./worker.ts', import.meta.url));

export interface PoolOptions<Job, Result> {
  readonly jobs: readonly Job[];
  readonly workers?: number;
  /** After each job, in the order in which they end. */
  readonly onResult: (job: Job, result: Result, done: number) => void;
}

/**
 * Sends every job to `worker.ts`, which answers each with one message. Rejects,
 * and ends the workers, when one dies or answers with an error.
 */
export async function runPool<Job, Result>(options: PoolOptions<Job, Result>): Promise<void> {
  const { jobs, onResult, workers = availableParallelism() } = options;
  let next = 0;
  let done = 0;
  const children = new Set<ReturnType<typeof fork>>();
  const work = (): Promise<void> =>
    new Promise((resolve, reject) => {
      const child = fork(WORKER);
      children.add(child);
      let job: Job;
      const give = (): void => {
        if (next >= jobs.length) {
          child.disconnect();
          resolve();
          return;
        }
        job = jobs[next++]!;
        child.send({ job });
      };
      child.on('message', (answer: { result: Result } | { error: string }) => {
        if ('error' in answer) {
          reject(new Error(answer.error));
          return;
        }
        onResult(job, answer.result, ++done);
        give();
      });
      child.once('error', reject);
      child.once('exit', (code) => {
        if (code !== 0) reject(new Error(`a worker ended with ${code}`));
      });
      give();
    });
  try {
    await Promise.all(Array.from({ length: Math.min(workers, jobs.length) }, work));
  } finally {
    for (const child of children) if (child.connected) child.kill();
  }
}
