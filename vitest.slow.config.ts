import { defineConfig } from 'vitest/config';
import { aliases } from './vitest.aliases.ts';

/** Long runs: simulations over many seeds, fuzzing, transfers over a TAP device. One file at a time, so timings hold. */
export default defineConfig({
  resolve: { alias: aliases },
  test: {
    include: ['test/**/*.slow.test.ts'],
    fileParallelism: false,
    testTimeout: 600_000,
    hookTimeout: 60_000,
  },
});
