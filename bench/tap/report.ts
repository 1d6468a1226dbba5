import * as echarts from 'echarts';
import type { RaceResult } from './race.ts';

const TITLES = {
  sink: 'kernel to server, Gbit/s',
  source: 'server to kernel, Gbit/s',
  ping: 'one byte and back, times/s',
  connect: 'connect and close, times/s',
  connect32: 'the same, 32 at once, times/s',
} as const;

export function printTables(
  results: readonly RaceResult[],
  print: (table: object[], title: string) => void,
): void {
  for (const kind of ['offloads', 'plain'] as const) {
    const some = results.filter(({ contestant }) => contestant.kind === kind);
    for (const mode of new Set(some.map((result) => result.mode))) {
      const title = `TAP ${kind === 'offloads' ? 'with offloads' : 'one frame a call'}: ${TITLES[mode]}`;
      const bulk = mode === 'sink' || mode === 'source';
      print(
        some
          .filter((result) => result.mode === mode)
          .map(({ contestant, rate, least, most, toFloor, cost, p50, p99 }) => ({
            who: contestant.name,
            median: text(rate),
            range: `${text(least)}–${text(most)}`,
            'to floor': toFloor === null ? '' : toFloor.toFixed(2),
            [bulk ? 'server CPU s/GB' : 'server CPU µs']: cost.toFixed(bulk ? 3 : 1),
            ...(p50 !== null && { 'p50 µs': p50.toFixed(1), 'p99 µs': p99!.toFixed(1) }),
          })),
        title,
      );
    }
  }
}

function text(rate: number): string {
  return rate < 1000 ? rate.toPrecision(3) : Math.round(rate).toLocaleString('en');
}

/** Bars of every race, the floor as 1. */
export function chart(results: readonly RaceResult[]): string {
  const compared = results.filter(({ toFloor }) => toFloor !== null);
  const races = [...new Set(compared.map(label))];
  const names = [...new Set(compared.map(({ contestant }) => contestant.name))];
  const rateOf = (name: string, race: string): string => {
    const result = compared.find((each) => each.contestant.name === name && label(each) === race)!;
    return `${text(result.rate)}${result.mode === 'sink' || result.mode === 'source' ? ' Gbit/s' : '/s'}`;
  };
  const instance = echarts.init(null, null, {
    renderer: 'svg',
    ssr: true,
    width: 960,
    height: 90 + 60 * races.length,
  });
  instance.setOption({
    animation: false,
    title: { text: 'TCP over TAP, the floor of Node as 1', left: 'center' },
    legend: { bottom: 0, itemGap: 40 },
    grid: { left: 240, right: 140, top: 40, bottom: 50 },
    xAxis: { type: 'value', min: 0 },
    yAxis: { type: 'category', data: races, inverse: true },
    series: names.map((name) => ({
      type: 'bar',
      name,
      label: {
        show: true,
        position: 'right',
        formatter: ({ name: race, value }: { name: string; value: number }) =>
          `${value} (${rateOf(name, race)})`,
      },
      data: races.map((race) => {
        const result = compared.find((each) => each.contestant.name === name && label(each) === race);
        return result === undefined ? null : Number(result.toFloor!.toFixed(2));
      }),
    })),
  });
  const svg = instance.renderToSVGString();
  instance.dispose();
  return svg;
}

function label({ contestant, mode }: RaceResult): string {
  return `${contestant.kind === 'offloads' ? 'offloads' : 'one frame a call'}: ${mode}`;
}
