/**
 * `npm run bench:loss`: goodput on bad paths.
 *
 *   bench/loss.ts [--quick] [--cells PATTERN,…] [--seeds N] [--json FILE]
 *   bench/loss.ts --linux [--cells PATTERN,…] [--runs N] [--seconds N] [--json FILE]
 *
 * Without `--linux`: each controller between two of our stacks, on virtual time,
 * the same figures for the same seeds. With it: the same impairments in real
 * time over TAP, kernel to kernel, ours to kernel and kernel to ours, by turns.
 * A pattern is `kind/loss/rtt`, such as `random/1%/20`; `*` stands for any.
 */
import { writeFile } from 'node:fs/promises';
import { availableParallelism } from 'node:os';
import { parseArgs } from 'node:util';
import { canTap } from '../test/tap/support/kernel-host.ts';
import {
  allCells,
  BURST_FRAMES,
  type Cell,
  cellName,
  durationMs,
  impairments,
  matches,
  QUEUE_FLOOR_FRAMES,
  responseShare,
} from './loss/cell.ts';
import { DUELS, type DuelResult, duelName, KERNEL_BUFFERS, runDuel } from './loss/linux.ts';
import { runPool } from './loss/pool.ts';
import { grids, mean, median, progress, spread } from './loss/report.ts';
import { BUFFER, CONTROLLERS, type Controller, type Transfer } from './loss/simulate.ts';
import type { Job } from './loss/worker.ts';

const QUICK = ['random/0%/20', 'random/1%/*', 'burst/1%/20', 'reorder/0%/20', 'reorder/0.1%/100'];
const MIB = 2 ** 20;

const { values } = parseArgs({
  options: {
    quick: { type: 'boolean', default: false },
    linux: { type: 'boolean', default: false },
    cells: { type: 'string' },
    seeds: { type: 'string' },
    runs: { type: 'string', default: '3' },
    seconds: { type: 'string' },
    json: { type: 'string' },
  },
});

const patterns = values.cells?.split(',') ?? (values.quick ? QUICK : ['*']);
const cells = allCells().filter((cell) => patterns.some((pattern) => matches(cell, pattern)));
if (cells.length === 0) throw new Error(`no cell is called ${patterns.join(' or ')}: try random/1%/20`);

const results = values.linux ? await againstLinux() : await virtual();
if (values.json !== undefined) await writeFile(values.json, `${JSON.stringify(results, null, 1)}\n`);

function describePath(): void {
  console.log(
    `Bottleneck 100 Mbit/s, its queue one bandwidth-delay product (at least ${QUEUE_FLOOR_FRAMES} frames); ` +
      `losses behind it, towards the receiver only; bursts of ${BURST_FRAMES} frames on average; ` +
      `"reorder" holds 1% of the frames back by half an RTT, besides random loss.\n`,
  );
}

interface VirtualResult {
  readonly cell: string;
  readonly controller: Controller;
  readonly seed: number;
  readonly response: number;
  readonly transfer: Transfer;
}

async function virtual(): Promise<VirtualResult[]> {
  const seeds = Number(values.seeds ?? (values.quick ? 2 : 5));
  const jobs: Job[] = [];
  for (const cell of cells) {
    for (const controller of CONTROLLERS) {
      for (let seed = 1; seed <= seeds; seed++) jobs.push({ cell, controller, seed });
    }
  }
  // The longest first, so that the workers end together.
  jobs.sort(
    (a, b) => durationMs(b.cell) / (1 + 100 * b.cell.loss) - durationMs(a.cell) / (1 + 100 * a.cell.loss),
  );
  const done: VirtualResult[] = [];
  await runPool<Job, Transfer>({
    jobs,
    onResult: ({ cell, controller, seed }, transfer, count) => {
      const response = responseShare(cell, controller);
      done.push({ cell: cellName(cell), controller, seed, response, transfer });
      progress(count, jobs.length, `${cellName(cell)} ${controller}`);
    },
  });
  console.log(
    `Goodput as a share of what the link allows after loss, mean of ${seeds} seeds; in brackets what the ` +
      `controller's response function gives. ${availableParallelism()} workers, Node ${process.version}.\n`,
  );
  describePath();
  for (const controller of CONTROLLERS) {
    const of = (cell: Cell): Transfer[] =>
      done
        .filter((result) => result.cell === cellName(cell) && result.controller === controller)
        .map(({ transfer }) => transfer);
    const share = (cell: Cell): string =>
      `${shown(mean(of(cell).map((transfer) => transfer.share)))} (${shown(responseShare(cell, controller))})`;
    console.log(`## ${controller}\n\n${grids(cells, share)}\n`);
    console.log(`### ${controller}: timeouts / needless retransmissions per 10,000 sent\n`);
    console.log(`${grids(cells, (cell) => trouble(of(cell)))}\n`);
  }
  return done.sort((a, b) => a.cell.localeCompare(b.cell) || a.seed - b.seed);
}

function trouble(transfers: readonly Transfer[]): string {
  const timeouts = mean(transfers.map((transfer) => transfer.timeouts));
  const needless = mean(
    transfers.map(({ needless: count, segments }) => (count / Math.max(segments, 1)) * 10_000),
  );
  return `${shown(timeouts)} / ${shown(needless)}`;
}

function shown(value: number): string {
  return value >= 0.1 || value === 0 ? String(Number(value.toFixed(2))) : value.toPrecision(2);
}

interface LinuxResult {
  readonly cell: string;
  readonly duel: string;
  readonly run: number;
  readonly result: DuelResult;
}

async function againstLinux(): Promise<LinuxResult[]> {
  const reason = canTap();
  if (reason !== null) throw new Error(`bench:loss --linux ${reason}`);
  const runs = Number(values.runs);
  const done: LinuxResult[] = [];
  const total = cells.length * runs * DUELS.length;
  for (const cell of cells) {
    const seconds = Number(values.seconds ?? (cell.rttMs >= 300 ? 25 : cell.rttMs >= 100 ? 15 : 10));
    for (let run = 1; run <= runs; run++) {
      // By turns, so that what else the machine does falls on all alike; the same luck for all three.
      for (const duel of DUELS) {
        const result = await runDuel(duel, { path: impairments(cell), seconds, seed: run });
        done.push({ cell: cellName(cell), duel: duelName(duel), run, result });
        const mbps = (result.goodputBps / 1e6).toFixed(2);
        progress(done.length, total, `${cellName(cell)} ${duelName(duel)}: ${mbps} Mbit/s`);
      }
    }
  }
  const buffers = `kernel ${KERNEL_BUFFERS.join('/')} bytes (tcp_rmem, tcp_wmem), ours ${BUFFER / MIB} MiB`;
  console.log(`CUBIC to CUBIC in real time, medians of ${runs} runs by turns. Buffers: ${buffers}.\n`);
  describePath();
  const goodputs = (cell: Cell, duel: string): number[] =>
    done
      .filter((result) => result.cell === cellName(cell) && result.duel === duel)
      .map(({ result }) => result.goodputBps);
  const [reference, ...ours] = DUELS.map(duelName) as [string, ...string[]];
  const absolute = (cell: Cell): string => {
    const values_ = goodputs(cell, reference);
    return `${(median(values_) / 1e6).toPrecision(3)} ± ${Math.round(spread(values_) * 100)}%`;
  };
  console.log(`## ${reference}: Mbit/s\n\n${grids(cells, absolute)}\n`);
  for (const duel of ours) {
    const ratio = (cell: Cell): string => {
      const value = median(goodputs(cell, duel)) / median(goodputs(cell, reference));
      return `${value.toFixed(2)} ± ${Math.round(spread(goodputs(cell, duel)) * 100)}%`;
    };
    console.log(`## ${duel}: × ${reference}\n\n${grids(cells, ratio)}\n`);
  }
  const refused = done.reduce((sum, { result }) => sum + result.refused, 0);
  if (refused > 0) console.log(`${refused} frames were refused by a device: noise of the set-up.\n`);
  return done;
}
