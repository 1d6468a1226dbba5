import { execFile } from 'node:child_process';
import { availableParallelism } from 'node:os';
import { fileURLToPath } from 'node:url';
import { expect, it } from 'vitest';

const FRAMES = 10_000_000;
const RUN = fileURLToPath(new URL('./run.ts', import.meta.url));

it(`a stack takes ${FRAMES} mutated frames, goes on serving and does not grow`, async () => {
  const jobs = Math.max(2, Math.min(8, availableParallelism()));
  const { code, output } = await new Promise<{ code: unknown; output: string }>((resolve) => {
    execFile(
      process.execPath,
      ['--expose-gc', '--import', 'tsx', RUN, '--frames', `${FRAMES}`, '--jobs', `${jobs}`],
      { maxBuffer: 64 << 20 },
      (error, stdout, stderr) => resolve({ code: error === null ? 0 : error.code, output: stdout + stderr }),
    );
  });
  console.log(output);
  expect(code, output).toBe(0);
});
