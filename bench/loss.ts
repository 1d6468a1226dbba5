/**
 * `npm run bench:loss`: goodput on bad paths.
 *
 *   bench/loss.ts [--quick] [--cells PATTERN,…] [--controllers NAME,…] [--seeds N] [--json FILE] [--page FILE]
 *   bench/loss.ts --linux [--cells PATTERN,…] [--runs N] [--seconds N] [--json FILE] [--page FILE]
 *
 * Without `--linux`: each controller between two of our stacks, on virtual time,
 * the same figures for the same seeds. With it: the same impairments in real
 * time over TAP, kernel to kernel, ours to kernel and kernel to ours, by turns.
 * A pattern is `kind/loss/rtt`, such as `random/1%/20`; `*` stands for any.
 *
 * `--json` keeps results: what is there already and not run again stays, and is
 * in the tables too; `--runs 0` or `--seeds 0` runs nothing. `--page docs/loss.md`
 * writes the tables to their place on that page. `--workers` is how many
 * transfers go on at once in real time, where they wait most of the time.
 */
import { writeFile } from 'node:fs/promises';
import { availableParallelism } from 'node:os';
import { parseArgs } from 'node:util';
import { canTap } from '../test/tap/support/kernel-host.ts';
import { allCells, type Cell, cellName, durationMs, matches } from './loss/cell.ts';
import { DUELS, type DuelResult, duelName } from './loss/linux.ts';
import { runPool } from './loss/pool.ts';
import { progress } from './loss/report.ts';
import { CONTROLLERS, type Transfer } from './loss/simulate.ts';
import { merge, readResults, writeSection } from './loss/store.ts';
import {
  type LinuxResult,
  linuxTables,
  PATH_NOTE,
  type VirtualResult,
  virtualTables,
} from './loss/tables.ts';
import type { DuelJob, VirtualJob } from './loss/worker.ts';

const QUICK = ['random/0%/20', 'random/1%/*', 'burst/1%/20', 'reorder/0%/20', 'reorder/0.1%/100'];

const { values } = parseArgs({
  options: {
    quick: { type: 'boolean', default: false },
    linux: { type: 'boolean', default: false },
    cells: { type: 'string' },
    controllers: { type: 'string' },
    seeds: { type: 'string' },
    runs: { type: 'string', default: '2' },
    seconds: { type: 'string' },
    json: { type: 'string' },
    page: { type: 'string' },
    workers: { type: 'string', default: '6' },
  },
});

const patterns = values.cells?.split(',') ?? (values.quick ? QUICK : ['*']);
const cells = allCells().filter((cell) => patterns.some((pattern) => matches(cell, pattern)));
if (cells.length === 0) throw new Error(`no cell is called ${patterns.join(' or ')}: try random/1%/20`);

const wanted = values.controllers?.split(',');
const controllers = CONTROLLERS.filter((name) => wanted === undefined || wanted.includes(name));
if (controllers.length === 0) throw new Error(`no controller is called ${values.controllers}`);

const report = values.linux
  ? await reportOn(
      await againstLinux(),
      (result) => `${result.cell} ${result.duel} ${result.run}`,
      linuxTables,
    )
  : await reportOn(
      await virtual(),
      (result) => `${result.cell} ${result.controller} ${result.seed}`,
      virtualTables,
    );
console.log(`${PATH_NOTE}\n\n${report}`);
if (values.page !== undefined) await writeSection(values.page, values.linux ? 'linux' : 'virtual', report);

/** Keeps what was found with what is known already, and shows all of it. */
async function reportOn<Result extends { readonly cell: string }>(
  fresh: Result[],
  keyOf: (result: Result) => string,
  tables: (cells: readonly Cell[], results: readonly Result[]) => string,
): Promise<string> {
  let results = fresh;
  if (values.json !== undefined) {
    results = merge(await readResults<Result>(values.json), fresh, keyOf);
    await writeFile(values.json, `${JSON.stringify(results, null, 1)}\n`);
  }
  const known = new Set(results.map(({ cell }) => cell));
  return tables(
    allCells().filter((cell) => known.has(cellName(cell))),
    results,
  );
}

async function virtual(): Promise<VirtualResult[]> {
  const seeds = Number(values.seeds ?? (values.quick ? 2 : 5));
  const jobs: VirtualJob[] = [];
  for (const cell of cells) {
    for (const controller of controllers) {
      for (let seed = 1; seed <= seeds; seed++) jobs.push({ cell, controller, seed });
    }
  }
  // The longest first, so that the workers end together.
  jobs.sort(
    (a, b) => durationMs(b.cell) / (1 + 100 * b.cell.loss) - durationMs(a.cell) / (1 + 100 * a.cell.loss),
  );
  const done: VirtualResult[] = [];
  await runPool<VirtualJob, Transfer>({
    jobs,
    workers: availableParallelism(),
    onResult: ({ cell, controller, seed }, transfer, count) => {
      done.push({ cell: cellName(cell), controller, seed, transfer });
      progress(count, jobs.length, `${cellName(cell)} ${controller}`);
    },
  });
  return done;
}

/** Seconds of a transfer: slow start and some dozens of losses. */
function secondsOf({ rttMs }: Cell): number {
  return Number(values.seconds ?? (rttMs >= 300 ? 20 : rttMs >= 100 ? 15 : rttMs >= 20 ? 10 : 5));
}

async function againstLinux(): Promise<LinuxResult[]> {
  const reason = canTap();
  if (reason !== null) throw new Error(`bench:loss --linux ${reason}`);
  const jobs: DuelJob[] = [];
  for (const cell of cells) {
    for (let run = 1; run <= Number(values.runs); run++) {
      // By turns, so that what else the machine does falls on all alike; the same luck for all three.
      for (const duel of DUELS) jobs.push({ cell, duel, seconds: secondsOf(cell), seed: run });
    }
  }
  const done: LinuxResult[] = [];
  const run = (some: DuelJob[], workers: number): Promise<void> =>
    runPool<DuelJob, DuelResult>({
      jobs: some,
      workers,
      onResult: ({ cell, duel, seed }, result) => {
        done.push({ cell: cellName(cell), duel: duelName(duel), run: seed, result });
        const mbps = (result.goodputBps / 1e6).toFixed(2);
        progress(done.length, jobs.length, `${cellName(cell)} ${duelName(duel)}: ${mbps} Mbit/s`);
      },
    });
  // Where the round trip is a millisecond, one that waits for a processor would be measured with it.
  await run(
    jobs.filter(({ cell }) => cell.rttMs < 20),
    1,
  );
  await run(
    jobs.filter(({ cell }) => cell.rttMs >= 20),
    Number(values.workers),
  );
  return done;
}
