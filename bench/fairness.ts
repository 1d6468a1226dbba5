/**
 * `npm run bench:fairness`: how flows share one bottleneck of 100 Mbit/s.
 *
 *   bench/fairness.ts [--seconds N] [--seeds N] [--rtt MS,…] [--queue BDP,…] [--after N] [--pairs PAIR,…] [--json FILE]
 *   bench/fairness.ts --linux [--pairs PAIR,…] [--seconds N] [--seeds N] [--rtt MS,…] [--queue BDP,…]
 *
 * Without `--linux`: each two of our controllers side by side, in either order, on
 * virtual time. `--after` lets the flows run for a while before they are counted:
 * how they share once they have met. With `--linux`, in real time: two flows of
 * the kernel's, and one of ours beside one of the kernel's, to the kernel.
 *
 * A pair is `first+second`, such as `cubic+bbr`; in real time `our-cubic+cubic`,
 * where only what is called ours is. A seed decides by how much the second starts
 * later: nothing else is left to chance on a clean path.
 */
import { writeFile } from 'node:fs/promises';
import { parseArgs } from 'node:util';
import { canTap } from '../test/tap/support/kernel-host.ts';
import {
  type Contender,
  type FairnessOptions,
  type MeasureOptions,
  measureShares,
  type Shares,
} from './fairness/shares.ts';
import { KERNEL_CONTROLLERS, type KernelController } from './loss/linux.ts';
import { runPool } from './loss/pool.ts';
import { markdownTable, mean, progress } from './loss/report.ts';
import { CONTROLLERS, type Controller } from './loss/simulate.ts';

const OURS = 'our-cubic';
const DUOS = ['cubic+cubic', `${OURS}+cubic`, `cubic+${OURS}`];

/** The fourth of the seeds starts the second flow three seconds later. */
function laterBy(seed: number): number {
  return (seed - 1) * 1000 + seed * 7;
}

/** Runs of one row of the table: the same pair on the same path. */
interface Row {
  readonly pair: string;
  readonly rttMs: number;
  readonly queueBdp: number;
  readonly runs: Shares[];
}

/** Percent of the first flow, in each run. */
function firstShares(runs: readonly Shares[]): number[] {
  return runs.map(([a, b]) => (100 * a) / (a + b));
}

function cellsOf({ pair, rttMs, queueBdp, runs }: Row): string[] {
  const first = firstShares(runs);
  const ratio = (share: number): string => `${share.toFixed(0)} : ${(100 - share).toFixed(0)}`;
  const total = mean(runs.map(([a, b]) => a + b));
  const within = first.filter((share) => share >= 40 && share <= 60).length;
  return [
    pair.replace('+', ', then '),
    `${rttMs} ms`,
    `${queueBdp} BDP`,
    ratio(mean(first)),
    first.length > 1 ? `${ratio(Math.min(...first))} to ${ratio(Math.max(...first))}` : '',
    `${within} of ${first.length}`,
    total.toFixed(1),
  ];
}

const { values } = parseArgs({
  options: {
    seconds: { type: 'string', default: '60' },
    seeds: { type: 'string', default: '3' },
    rtt: { type: 'string', default: '20,100' },
    queue: { type: 'string', default: '1' },
    after: { type: 'string', default: '0' },
    pairs: { type: 'string' },
    json: { type: 'string' },
    linux: { type: 'boolean', default: false },
  },
});
const seconds = Number(values.seconds);
const seeds = Array.from({ length: Number(values.seeds) }, (_, i) => i + 1);
const everyPair = CONTROLLERS.flatMap((first) => CONTROLLERS.map((second) => `${first}+${second}`));
const pairs = values.pairs?.split(',') ?? (values.linux ? DUOS : everyPair);
const rows: Row[] = [];
for (const rttMs of values.rtt.split(',').map(Number)) {
  for (const queueBdp of values.queue.split(',').map(Number)) {
    for (const pair of pairs) rows.push({ pair, rttMs, queueBdp, runs: [] });
  }
}

/** The two names of `pair`, each of which must be one of `known`. */
function namesOf<Name extends string>(pair: string, known: readonly Name[]): [Name, Name] {
  const names = pair.split('+').map((name) => known.find((other) => other === name));
  if (names.length !== 2 || names.includes(undefined)) {
    throw new Error(`${pair} is no pair of ${known.join(', ')}`);
  }
  return names as [Name, Name];
}

async function simulateRows(): Promise<void> {
  const jobs: { readonly row: number; readonly shares: FairnessOptions }[] = [];
  for (const [row, { pair, rttMs, queueBdp }] of rows.entries()) {
    const controllers = namesOf<Controller>(pair, CONTROLLERS);
    for (const seed of seeds) {
      const afterSeconds = Number(values.after);
      const shares = { controllers, rttMs, queueBdp, seconds, seed, laterMs: laterBy(seed), afterSeconds };
      jobs.push({ row, shares });
    }
  }
  await runPool<(typeof jobs)[number], Shares>({
    jobs,
    onResult: ({ row, shares }, result, done) => {
      rows[row]!.runs.push(result);
      const rates = result.map((rate) => rate.toFixed(1)).join(' and ');
      const what = `${rows[row]!.pair} ${shares.rttMs} ms, ${shares.queueBdp} BDP: ${rates} Mbit/s`;
      progress(done, jobs.length, what);
    },
  });
}

function contender(name: KernelController | typeof OURS): Contender {
  return name === OURS ? { player: 'ours', controller: 'cubic' } : { player: 'linux', controller: name };
}

async function measureRows(): Promise<void> {
  const reason = canTap();
  if (reason !== null) throw new Error(`bench:fairness --linux ${reason}`);
  for (const row of rows) {
    const [first, second] = namesOf(row.pair, [...KERNEL_CONTROLLERS, OURS] as const);
    const options: Omit<MeasureOptions, 'seed' | 'laterMs'> = {
      contenders: [contender(first), contender(second)],
      rttMs: row.rttMs,
      queueBdp: row.queueBdp,
      seconds,
    };
    // They wait most of the time: all runs at once.
    const runs = seeds.map((seed) => measureShares({ ...options, seed, laterMs: laterBy(seed) }));
    row.runs.push(...(await Promise.all(runs)));
    process.stderr.write(`${cellsOf(row).join('  ')}\n`);
  }
}

await (values.linux ? measureRows() : simulateRows());
if (values.json !== undefined) await writeFile(values.json, `${JSON.stringify(rows, null, 1)}\n`);
const after = Number(values.after) > 0 ? ` after ${values.after} s` : '';
console.log(
  `Two flows, one bottleneck of 100 Mbit/s, ${seconds} s${after}, ${seeds.length} starts of the second.\n`,
);
console.log(
  markdownTable(
    ['flows', 'RTT', 'queue', 'mean', 'from – to', 'within 40 : 60', 'Mbit/s together'],
    rows.map(cellsOf),
  ),
);
