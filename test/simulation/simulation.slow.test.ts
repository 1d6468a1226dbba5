import { execFile } from 'node:child_process';
import { availableParallelism } from 'node:os';
import { fileURLToPath } from 'node:url';
import { expect, it } from 'vitest';

const SEEDS = 6000;
const RUN = fileURLToPath(new URL('./run.ts', import.meta.url));

it(`finds nothing wrong in ${SEEDS} seeds`, async () => {
  const jobs = Math.min(8, availableParallelism());
  const { code, output } = await new Promise<{ code: unknown; output: string }>((resolve) => {
    execFile(
      process.execPath,
      ['--import', 'tsx', RUN, '--seeds', `0..${SEEDS - 1}`, '--jobs', `${jobs}`],
      { maxBuffer: 64 << 20 },
      (error, stdout, stderr) => resolve({ code: error === null ? 0 : error.code, output: stdout + stderr }),
    );
  });
  console.log(output);
  expect(code, output).toBe(0);
});
