/*
 * Internet checksums by length and way: `npx tsx bench/checksum.bench.ts`.
 * The thresholds in src/checksum/summer.ts come from this table.
 */
import { Bench } from 'tinybench';
import { allocate } from '../src/bytes/index.ts';
import { sumShort, sumWords } from '../src/checksum/portable.ts';
import { loadSimd } from '../src/checksum/simd.ts';
import { portableSummer, simdSummer } from '../src/checksum/summer.ts';

const LENGTHS = [20, 40, 64, 96, 128, 256, 1460, 65_520];
/** Behind Ethernet and IPv4 headers. */
const START = 34;

const simd = loadSimd();
const source = allocate(START + 65_520).map((_, i) => i * 7);
const target = allocate(source.length);
/** What the sums give goes here, so that none is optimised away. */
let sink = 0;

for (const length of LENGTHS) {
  const end = START + length;
  // Many calls a sample: one is shorter than the clock's grain.
  const calls = Math.max(10, Math.floor(20_000 / length));
  const bench = new Bench({ time: 150, warmupTime: 50 });
  const add = (name: string, call: () => number): void => {
    bench.add(name, () => {
      for (let i = 0; i < calls; i++) sink ^= call();
    });
  };
  const portable = portableSummer();
  add('16 bits at a time', () => sumShort(source, START, end, 0));
  add('32 bits at a time', () => sumWords(source, START, end, 0));
  add('portable copyAndSum', () => portable.copyAndSum(target, START, source, START, end));
  if (simd !== null) {
    const summer = simdSummer(simd);
    const area = summer.allocateSummable(source.length);
    area.set(source);
    add('sum', () => summer.sum(source, START, end));
    add('sum in place', () => summer.sum(area, START, end));
    add('copyAndSum', () => summer.copyAndSum(target, START, source, START, end));
    add('copyAndSum into summable memory', () => summer.copyAndSum(area, START, source, START, end));
  }
  await bench.run();
  console.log(`${length} bytes`);
  console.table(
    bench.tasks.map(({ name, result }) => {
      const ns = result.state === 'completed' ? (result.latency.p50 * 1e6) / calls : Number.NaN;
      return { name, ns: ns.toFixed(1), 'Gbit/s': ((length * 8) / ns).toFixed(1) };
    }),
  );
}

if (sink === 1) console.log(sink);
