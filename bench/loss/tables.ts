/** What the runs of `bench:loss` found, as Markdown. */
import { BURST_FRAMES, type Cell, cellName, QUEUE_FLOOR_FRAMES, responseShare } from './cell.ts';
import { DUELS, type DuelResult, duelName, KERNEL_BUFFERS } from './linux.ts';
import { geometricMean, grids, mean, median, type Ratio, ratioOfMeans, standardError } from './report.ts';
import { BUFFER, CONTROLLERS, type Controller, type Transfer } from './simulate.ts';

const MIB = 2 ** 20;

/** One transfer of a controller on virtual time. */
export interface VirtualResult {
  readonly cell: string;
  readonly controller: Controller;
  readonly seed: number;
  readonly transfer: Transfer;
}

/** One transfer in real time. */
export interface LinuxResult {
  readonly cell: string;
  readonly duel: string;
  readonly run: number;
  readonly result: DuelResult;
}

export const PATH_NOTE =
  `Bottleneck 100 Mbit/s, its queue one bandwidth-delay product (at least ${QUEUE_FLOOR_FRAMES} frames); ` +
  `losses behind it, towards the receiver only; bursts of ${BURST_FRAMES} frames on average; ` +
  `"reorder" holds 1% of the frames back by half an RTT, besides random loss.`;

export function virtualTables(cells: readonly Cell[], results: readonly VirtualResult[]): string {
  const seeds = new Set(results.map(({ seed }) => seed)).size;
  const parts = [
    `Goodput as a share of what the link allows after loss, ${seeds === 1 ? 'one seed' : `mean of ${seeds} seeds`}; in brackets what the ` +
      `controller's response function gives.`,
  ];
  for (const controller of CONTROLLERS) {
    const of = (cell: Cell): Transfer[] =>
      results
        .filter((result) => result.cell === cellName(cell) && result.controller === controller)
        .map(({ transfer }) => transfer);
    const share = (cell: Cell): string =>
      `${shown(mean(of(cell).map((transfer) => transfer.share)))} (${shown(responseShare(cell, controller))})`;
    parts.push(
      `### ${controller}`,
      grids(cells, share),
      `#### ${controller}: timeouts / needless retransmissions per 10,000 sent`,
      grids(cells, (cell) => trouble(of(cell))),
    );
  }
  return parts.join('\n\n');
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

/** Bits per second of the runs of `duel` in `cell`, by run. */
function goodputs(results: readonly LinuxResult[], cell: Cell, duel: string): Map<number, number> {
  const found = results.filter((result) => result.cell === cellName(cell) && result.duel === duel);
  return new Map(found.map(({ run, result }) => [run, result.goodputBps]));
}

/** What `duel` carries in `cell` for what `reference` carries, in the runs that both have: the same luck for both. */
export function duelRatio(
  results: readonly LinuxResult[],
  cell: Cell,
  duel: string,
  reference: string,
): Ratio {
  const mine = goodputs(results, cell, duel);
  const theirs = goodputs(results, cell, reference);
  const runs = [...mine.keys()].filter((run) => theirs.has(run));
  return ratioOfMeans(
    runs.map((run) => mine.get(run)!),
    runs.map((run) => theirs.get(run)!),
  );
}

/** Two standard errors above `ratio`, to the two digits that the table has. */
function atMost({ ratio, error }: Ratio): number {
  return Number((ratio * Math.exp(2 * error)).toFixed(2));
}

function shownRatio({ ratio, error }: Ratio): string {
  return `${ratio.toFixed(2)} ± ${Math.round(error * 100)}%`;
}

/** How many cells reach 1 within the noise, and which do not. */
function verdict(ratios: readonly { readonly cell: Cell; readonly ratio: Ratio }[]): string {
  const of = (least: number): string[] =>
    ratios
      .filter(({ ratio }) => atMost(ratio) < least)
      .map(({ cell, ratio }) => `${cellName(cell)} (${shownRatio(ratio)})`);
  const list = (cells: readonly string[]): string => (cells.length === 0 ? 'none' : cells.join(', '));
  const short = of(1);
  const lossy = ratios.filter(({ cell }) => cell.loss > 0).map(({ ratio }) => ratio.ratio);
  return (
    `${ratios.length - short.length} of ${ratios.length} cells reach 1.0 within two standard errors; below that: ${list(short)}. ` +
    `Below 0.9 by more than two standard errors: ${list(of(0.9))}. Of the ${lossy.length} cells with loss: ` +
    `geometric mean ${geometricMean(lossy).toFixed(2)}, median ${median(lossy).toFixed(2)}.`
  );
}

export function linuxTables(cells: readonly Cell[], results: readonly LinuxResult[]): string {
  const buffers = `kernel ${KERNEL_BUFFERS.join('/')} bytes (tcp_rmem, tcp_wmem), ours ${BUFFER / MIB} MiB`;
  const [reference, ...ours] = DUELS.map(duelName) as [string, ...string[]];
  const counts = cells.map((cell) => goodputs(results, cell, reference).size);
  const parts = [
    `CUBIC to CUBIC in real time, ${Math.min(...counts)} to ${Math.max(...counts)} runs of a cell, which took turns. ` +
      `Means; ± is one standard error. A ratio is of the means, and its error the jackknife's over runs that lost ` +
      `by the same dice. Buffers: ${buffers}.`,
  ];
  const absolute = (cell: Cell): string => {
    const values = [...goodputs(results, cell, reference).values()].map((bps) => bps / 1e6);
    const share = standardError(values) / mean(values);
    return `${mean(values).toPrecision(3)} ± ${Math.round(share * 100)}%`;
  };
  parts.push(`### ${reference}: Mbit/s`, grids(cells, absolute));
  for (const duel of ours) {
    const ratios = cells.map((cell) => ({ cell, ratio: duelRatio(results, cell, duel, reference) }));
    parts.push(
      `### ${duel}: × ${reference}`,
      verdict(ratios),
      grids(cells, (cell) => shownRatio(ratios.find((one) => one.cell === cell)!.ratio)),
    );
  }
  const refused = results.reduce((sum, { result }) => sum + result.refused, 0);
  parts.push(
    `${results.length} transfers; ${refused} frames were refused by a device, which is noise of the set-up.`,
  );
  return parts.join('\n\n');
}
