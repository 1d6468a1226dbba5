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
  const rounds = 3;
  const { results, skipped } = await measureThroughput(500, rounds);
  console.table(
    results.map(({ name, median, least, most }) => ({
      path: name,
      'Gbit/s': median.gigabitsPerSecond.toFixed(2),
      [`range of ${rounds}`]: `${least.toFixed(2)}–${most.toFixed(2)}`,
      'Gbit/CPU s': median.gigabitsPerCpuSecond.toFixed(2),
      'CPUs busy': median.cpus.toFixed(2),
    })),
  );
  if (skipped !== null) console.log(`Left out: ${skipped}`);
}
