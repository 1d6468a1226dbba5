import { availableParallelism } from 'node:os';
import { Worker } from 'node:worker_threads';
import { describe, expect, it } from 'vitest';
import { allocateNative } from '../../../src/native/index.ts';

const ROUNDS = 100_000;
const MOST_ATTEMPTS = 20;

/** How often, in so many rounds, both threads missed what the other had written. */
async function bothMissed(atomic: boolean): Promise<number> {
  const memory = allocateNative(4096);
  memory.bytes.fill(0);
  const shared = new SharedArrayBuffer(64 + 2 * ROUNDS);
  const workers = [0, 1].map(
    (self) =>
      new Worker(new URL('boot.mjs', import.meta.url), {
        workerData: {
          script: new URL('litmus.ts', import.meta.url).href,
          address: memory.address,
          bytes: 4096,
          rounds: ROUNDS,
          self,
          atomic,
          shared,
        },
      }),
  );
  try {
    await Promise.all(
      workers.map(
        (worker) =>
          new Promise((resolve, reject) => {
            worker.once('message', resolve);
            worker.once('error', reject);
          }),
      ),
    );
  } finally {
    await Promise.all(workers.map((worker) => worker.terminate()));
  }
  const seen = new Int8Array(shared, 64);
  let missed = 0;
  for (let round = 0; round < ROUNDS; round++) {
    if (seen[round] === 0 && seen[ROUNDS + round] === 0) missed++;
  }
  return missed;
}

const isPossible = process.platform === 'linux' && availableParallelism() > 1;

describe.skipIf(!isPossible)(
  'memory that V8 does not know to be shared (Linux, two processors)',
  { timeout: 300_000 },
  () => {
    it('keeps no order between plain stores and loads, and keeps it between atomic ones', async () => {
      let plain = 0;
      // Both threads have to run at the same time for it to show.
      for (let attempt = 0; attempt < MOST_ATTEMPTS && plain === 0; attempt++)
        plain = await bothMissed(false);
      expect(plain).toBeGreaterThan(0);
      expect(await bothMissed(true)).toBe(0);
      expect(await bothMissed(true)).toBe(0);
    });
  },
);
