/** What the runs of `bench:loss` found, as Markdown. */
import { BURST_FRAMES, type Cell, cellName, QUEUE_FLOOR_FRAMES, responseShare } from './cell.ts';
import { DUELS, type DuelResult, duelName, KERNEL_BUFFERS } from './linux.ts';
import { geometricMean, grids, mean, median, spread } from './report.ts';
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

/** Of each cell's and duel's runs the median goodput, bits per second; NaN where there were none. */
export function medianGoodput(results: readonly LinuxResult[], cell: Cell, duel: string): number {
  return median(goodputs(results, cell, duel));
}

function goodputs(results: readonly LinuxResult[], cell: Cell, duel: string): number[] {
  return results
    .filter((result) => result.cell === cellName(cell) && result.duel === duel)
    .map(({ result }) => result.goodputBps);
}

export function linuxTables(cells: readonly Cell[], results: readonly LinuxResult[]): string {
  const buffers = `kernel ${KERNEL_BUFFERS.join('/')} bytes (tcp_rmem, tcp_wmem), ours ${BUFFER / MIB} MiB`;
  const parts = [
    `CUBIC to CUBIC in real time, medians of the runs, which took turns; ± is the largest distance of one ` +
      `from it. Buffers: ${buffers}.`,
  ];
  const [reference, ...ours] = DUELS.map(duelName) as [string, ...string[]];
  const absolute = (cell: Cell): string => {
    const values = goodputs(results, cell, reference);
    return `${(median(values) / 1e6).toPrecision(3)} ± ${Math.round(spread(values) * 100)}%`;
  };
  parts.push(`### ${reference}: Mbit/s`, grids(cells, absolute));
  for (const duel of ours) {
    const ratio = (cell: Cell): string => {
      return `${ratioOf(cell).toFixed(2)} ± ${Math.round(spread(goodputs(results, cell, duel)) * 100)}%`;
    };
    const ratioOf = (cell: Cell): number =>
      medianGoodput(results, cell, duel) / medianGoodput(results, cell, reference);
    const lossy = cells.filter(({ loss }) => loss > 0).map(ratioOf);
    parts.push(
      `### ${duel}: × ${reference}`,
      `Of the ${lossy.length} cells with loss: geometric mean ${geometricMean(lossy).toFixed(2)}, median ${median(lossy).toFixed(2)}.`,
      grids(cells, ratio),
    );
  }
  const refused = results.reduce((sum, { result }) => sum + result.refused, 0);
  parts.push(
    `${results.length} transfers; ${refused} frames were refused by a device, which is noise of the set-up.`,
  );
  return parts.join('\n\n');
}
