/**
 * `npm run bench [-- FILTER]`: every `*.bench.ts` of this folder, then throughput.
 *
 * A bench file exports `suite`: an async function that adds its tasks to the
 * tinybench `Bench` it is given, and may return lines to print below the table.
 */
import { readdir } from 'node:fs/promises';
import { cpus } from 'node:os';
import { Bench } from 'tinybench';
import { measureThroughput } from './throughput.ts';

interface BenchModule {
  // biome-ignore lint/suspicious/noConfusingVoidType: a suite without notes returns nothing.
  suite(bench: Bench): Promise<string[] | void>;
}

const filter = process.argv[2] ?? '';
const folder = new URL('./', import.meta.url);

console.log(
  `Node ${process.version}, ${process.platform} ${process.arch}, ${cpus().length} × ${cpus()[0]?.model ?? 'CPU'}\n`,
);

const files = (await readdir(folder))
  .filter((name) => name.endsWith('.bench.ts') && name.includes(filter))
  .sort();
for (const name of files) {
  const { suite } = (await import(new URL(name, folder).href)) as BenchModule;
  const bench = new Bench({ time: 300, warmupTime: 100 });
  const notes = (await suite(bench)) ?? [];
  await bench.run();
  console.log(name.replace('.bench.ts', ''));
  console.table(
    bench.tasks.map(({ name: task, result }) => ({
      task,
      'ns/op': result.state === 'completed' ? nanoseconds(result.latency.mean) : result.state,
      '± %': result.state === 'completed' ? result.latency.rme.toFixed(1) : '',
      'ops/s': result.state === 'completed' ? Math.round(result.throughput.mean).toLocaleString('en') : '',
    })),
  );
  for (const note of notes) console.log(note);
  console.log();
}

if ('throughput'.includes(filter)) {
  console.log('throughput (one connection)');
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

/** Of a time in milliseconds. */
function nanoseconds(ms: number): string {
  const value = ms * 1e6;
  return value < 100 ? value.toFixed(1) : Math.round(value).toLocaleString('en');
}
