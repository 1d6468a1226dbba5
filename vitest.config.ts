import { configDefaults, defineConfig } from 'vitest/config';
import { aliases } from './vitest.aliases.ts';

export default defineConfig({
  resolve: { alias: aliases },
  test: {
    include: ['test/**/*.test.ts'],
    exclude: [...configDefaults.exclude, '**/*.slow.test.ts'],
    testTimeout: 20_000,
  },
});
