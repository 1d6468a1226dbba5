/**
 * `npm run bench [-- FILTER]`: every `*.bench.ts` of this folder, each of which
 * prints its tables when it is imported, then throughput.
 */
import { readdir } from 'node:fs/promises';
import { cpus } from 'node:os';
import { measureThroughput } from './throughput.ts';

const filter = process.argv[2] ?? '';
const folder = new URL('./', import.meta.url);

console.log(
  `Node ${process.version}, ${process.platform} ${process.arch}, ${cpus().length} × ${cpus()[0]?.model ?? 'CPU'}\n`,
);

const files = (await readdir(folder))
  .filter((name) => name.endsWith('.bench.ts') && name.includes(filter))
  .sort();
for (const name of files) {
  console.log(`== ${name.replace('.bench.ts', '')}\n`);
  await import(new URL(name, folder).href);
}

if ('throughput'.includes(filter)) {
  console.log('== throughput (one connection)\n');
  const { results, skipped } = await measureThroughput(1500);
  console.table(
    results.map(({ name, gigabitsPerSecond, cpus: busy }) => ({
      path: name,
      'Gbit/s': gigabitsPerSecond.toFixed(2),
      'CPUs busy': busy.toFixed(2),
    })),
  );
  if (skipped !== null) console.log(`Left out: ${skipped}`);
}
