/** Tables in Markdown, and the numbers they are made of. */
import { type Cell, cellName, KINDS, percent } from './cell.ts';

export function markdownTable(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]): string => `| ${cells.join(' | ')} |`;
  return [line(head), line(head.map((_, i) => (i === 0 ? '---' : '---:'))), ...rows.map(line)].join('\n');
}

export function mean(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0) / values.length;
}

export function geometricMean(values: readonly number[]): number {
  return Math.exp(mean(values.map(Math.log)));
}

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
}

/** Of the mean of `values`; 0 for a single one. */
export function standardError(values: readonly number[]): number {
  const { length } = values;
  if (length < 2) return 0;
  const centre = mean(values);
  const squares = values.reduce((total, value) => total + (value - centre) ** 2, 0);
  return Math.sqrt(squares / (length - 1) / length);
}

export interface Ratio {
  readonly ratio: number;
  /** Standard error of its logarithm: 0.05 is about 5%. */
  readonly error: number;
}

/**
 * The ratio of two means, with its jackknife error over pairs: `mine[i]` and
 * `theirs[i]` had the same luck, so what both owe to it is not noise. Means rather
 * than single ratios, because a run that stood still would have no ratio.
 */
export function ratioOfMeans(mine: readonly number[], theirs: readonly number[]): Ratio {
  const sum = (values: readonly number[]): number => values.reduce((total, value) => total + value, 0);
  const [a, b] = [sum(mine), sum(theirs)];
  const ratio = a / b;
  const { length } = mine;
  if (length < 2) return { ratio, error: 0 };
  const without = mine.map((value, i) => Math.log((a - value) / (b - theirs[i]!)));
  return { ratio, error: (length - 1) * standardError(without) };
}

/** One table per kind of impairment: a row per loss, a column per RTT. */
export function grids(cells: readonly Cell[], show: (cell: Cell) => string): string {
  const parts: string[] = [];
  for (const kind of KINDS) {
    const ofKind = cells.filter((cell) => cell.kind === kind);
    if (ofKind.length === 0) continue;
    const losses = [...new Set(ofKind.map((cell) => cell.loss))].sort((a, b) => a - b);
    const rtts = [...new Set(ofKind.map((cell) => cell.rttMs))].sort((a, b) => a - b);
    const rows = losses.map((loss) => [
      percent(loss),
      ...rtts.map((rttMs) => {
        const cell = ofKind.find((other) => other.loss === loss && other.rttMs === rttMs);
        return cell === undefined ? '' : show(cell);
      }),
    ]);
    parts.push(`**${kind}**\n\n${markdownTable(['loss', ...rtts.map((rtt) => `${rtt} ms`)], rows)}`);
  }
  return parts.join('\n\n');
}

export function progress(done: number, total: number, what: Cell | string): void {
  const text = typeof what === 'string' ? what : cellName(what);
  if (process.stderr.isTTY) process.stderr.write(`\r\x1b[K${done}/${total} ${text}`);
  else process.stderr.write(`${done}/${total} ${text}\n`);
  if (done === total && process.stderr.isTTY) process.stderr.write('\n');
}
