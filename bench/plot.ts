/**
 * Draws what TCP did, as SVG: a time–sequence plot and one of the congestion
 * window, from the samples that `TcpOptions.onTrace` gives.
 *
 *   bench/plot.ts TRACE.jsonl [OUT]        draws OUT-sequence.svg and OUT-window.svg
 *   bench/plot.ts --cell random/1%/20 [--controller cubic] [--seed 1] [--seconds 20] [OUT]
 *
 * A trace is one JSON sample per line. With `--cell` the transfer of that cell of
 * the loss table is simulated and drawn.
 */
import { readFile, writeFile } from 'node:fs/promises';
import { parseArgs } from 'node:util';
import * as echarts from 'echarts';
import type { TraceSample } from '../src/tcp/config.ts';
import { allCells, matches } from './loss/cell.ts';
import { CONTROLLERS, simulateCell } from './loss/simulate.ts';

/** A sample of `TcpOptions.onTrace`, or what JSON makes of it: an infinite `ssthresh` becomes null. */
export type TracePoint = Pick<
  TraceSample,
  'timeMs' | 'una' | 'nxt' | 'sequence' | 'cwnd' | 'rttMs' | 'event'
> & {
  readonly ssthresh: number | null;
};

export interface PlotOptions {
  readonly title?: string;
  /** Pixels. */
  readonly width?: number;
  readonly height?: number;
}

type Point = [seconds: number, value: number | null];

/** Events that a mark is drawn for; what merely moves the lines needs none. */
const MARKED: ReadonlySet<TraceSample['event']> = new Set(['retransmit', 'timeout', 'probe']);
/** More points than a plot can show are thinned to those that differ. */
const MOST_POINTS = 20_000;

/** SND.UNA and SND.NXT over time, from the first sample on, with marks where something happened. */
export function plotSequence(samples: readonly TracePoint[], options: PlotOptions = {}): string {
  const una = unwrapped(samples.map((sample) => sample.una));
  const nxt = unwrapped(samples.map((sample) => sample.nxt));
  const gap = samples.length === 0 ? 0 : (samples[0]!.nxt - samples[0]!.una) | 0;
  // At the sequence number that was sent again, not at the edge of the window.
  const marks = markSeries(samples, (i) => (una[i]! + ((samples[i]!.sequence - samples[i]!.una) | 0)) / 1e6);
  return render(
    { title: 'Time–sequence', yName: 'MB', ...options },
    [
      line(
        'SND.NXT',
        timed(samples, (i) => (nxt[i]! + gap) / 1e6),
      ),
      line(
        'SND.UNA',
        timed(samples, (i) => una[i]! / 1e6),
      ),
      ...marks,
    ],
    [],
  );
}

/** Congestion window and slow-start threshold in kB, and the smoothed RTT on an axis of its own. */
export function plotWindow(samples: readonly TracePoint[], options: PlotOptions = {}): string {
  const kilobytes = (bytes: number | null): number | null =>
    bytes === null || !Number.isFinite(bytes) ? null : bytes / 1000;
  return render(
    { title: 'Congestion window', yName: 'kB', ...options },
    [
      line(
        'cwnd',
        timed(samples, (i) => kilobytes(samples[i]!.cwnd)),
      ),
      line(
        'ssthresh',
        timed(samples, (i) => kilobytes(samples[i]!.ssthresh)),
      ),
      ...markSeries(samples, (i) => samples[i]!.cwnd / 1000),
    ],
    [
      line(
        'RTT',
        timed(samples, (i) => samples[i]!.rttMs),
      ),
    ],
  );
}

/** Distances from the first number, across the wrap of int32. */
function unwrapped(numbers: readonly number[]): number[] {
  let total = 0;
  return numbers.map((number, i) => {
    if (i > 0) total += (number - numbers[i - 1]!) | 0;
    return total;
  });
}

function timed(samples: readonly TracePoint[], value: (i: number) => number | null): Point[] {
  const start = samples[0]?.timeMs ?? 0;
  return thinned(samples.map((sample, i) => [(sample.timeMs - start) / 1000, value(i)]));
}

/** At most `MOST_POINTS`: of each stretch its lowest and highest point, so no peak is lost. */
function thinned(points: Point[]): Point[] {
  if (points.length <= MOST_POINTS) return points;
  const stretch = Math.ceil((2 * points.length) / MOST_POINTS);
  const kept: Point[] = [];
  for (let from = 0; from < points.length; from += stretch) {
    let low = from;
    let high = from;
    for (let i = from; i < Math.min(from + stretch, points.length); i++) {
      if ((points[i]![1] ?? 0) < (points[low]![1] ?? 0)) low = i;
      if ((points[i]![1] ?? 0) > (points[high]![1] ?? 0)) high = i;
    }
    kept.push(points[Math.min(low, high)]!);
    if (low !== high) kept.push(points[Math.max(low, high)]!);
  }
  return kept;
}

interface LineSeries {
  type: 'line';
  name: string;
  showSymbol: false;
  lineStyle: { width: number };
  data: Point[];
  yAxisIndex?: number;
}

interface MarkSeries {
  type: 'scatter';
  name: string;
  symbolSize: number;
  data: Point[];
}

function line(name: string, data: Point[]): LineSeries {
  return { type: 'line', name, showSymbol: false, lineStyle: { width: 1 }, data };
}

/** One series per kind of event, so that each has its colour and its place in the legend. */
function markSeries(samples: readonly TracePoint[], at: (i: number) => number): MarkSeries[] {
  const start = samples[0]?.timeMs ?? 0;
  const byEvent = new Map<string, Point[]>();
  for (const [i, { event, timeMs }] of samples.entries()) {
    if (!MARKED.has(event)) continue;
    const points = byEvent.get(event) ?? [];
    points.push([(timeMs - start) / 1000, at(i)]);
    byEvent.set(event, points);
  }
  return [...byEvent].map(([name, data]) => ({ type: 'scatter', name, symbolSize: 4, data }));
}

function render(
  { title, yName, width = 1200, height = 600 }: PlotOptions & { yName: string },
  left: readonly (LineSeries | MarkSeries)[],
  right: readonly LineSeries[],
): string {
  const chart = echarts.init(null, null, { renderer: 'svg', ssr: true, width, height });
  chart.setOption({
    animation: false,
    backgroundColor: '#fff',
    ...(title === undefined ? {} : { title: { text: title, left: 'center' } }),
    legend: { top: 28 },
    grid: { top: 70, left: 70, right: 70, bottom: 50 },
    xAxis: { type: 'value', name: 's', min: 0 },
    yAxis: [
      { type: 'value', name: yName },
      ...(right.length === 0 ? [] : [{ type: 'value' as const, name: 'ms', splitLine: { show: false } }]),
    ],
    series: [...left, ...right.map((series) => ({ ...series, yAxisIndex: 1 }))],
  });
  const svg = chart.renderToSVGString();
  chart.dispose();
  return svg;
}

/** One sample per line, as `JSON.stringify` writes it. Throws `SyntaxError` that names the line. */
export function parseTrace(text: string): TracePoint[] {
  return text
    .split('\n')
    .map((content, i) => ({ content, number: i + 1 }))
    .filter(({ content }) => content.trim() !== '')
    .map(({ content, number }) => {
      try {
        return JSON.parse(content) as TracePoint;
      } catch (error) {
        throw new SyntaxError(`line ${number} of the trace is not JSON: ${(error as Error).message}`);
      }
    });
}

async function main(): Promise<void> {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      cell: { type: 'string' },
      controller: { type: 'string', default: 'cubic' },
      seed: { type: 'string', default: '1' },
      seconds: { type: 'string', default: '20' },
    },
  });
  let samples: TracePoint[] = [];
  let out: string;
  let title: string;
  if (values.cell !== undefined) {
    const pattern = values.cell;
    const cell = allCells().find((each) => matches(each, pattern));
    const controller = CONTROLLERS.find((name) => name === values.controller);
    if (cell === undefined) throw new Error(`no cell is called ${pattern}: try random/1%/20`);
    if (controller === undefined) throw new Error(`--controller is one of ${CONTROLLERS.join(', ')}`);
    const tcp = { onTrace: (sample: TraceSample) => void samples.push({ ...sample }) };
    await simulateCell(cell, controller, Number(values.seed), Number(values.seconds) * 1000, tcp);
    if (samples.length === 0) throw new Error('the stack gave no samples');
    out = positionals[0] ?? `${controller}-${pattern.replaceAll(/[^\w.]+/g, '-')}`;
    title = `${controller}, ${pattern}, seed ${values.seed}`;
  } else {
    const [file] = positionals;
    if (file === undefined) throw new Error('say which trace to draw, or --cell');
    samples = parseTrace(await readFile(file, 'utf8'));
    out = positionals[1] ?? file.replace(/\.jsonl?$/, '');
    title = file;
  }
  const plots = [
    [`${out}-sequence.svg`, plotSequence(samples, { title })],
    [`${out}-window.svg`, plotWindow(samples, { title })],
  ] as const;
  for (const [name, svg] of plots) {
    await writeFile(name, svg);
    console.log(name);
  }
}

if (import.meta.filename === process.argv[1]) await main();
