/**
 * Our TCP over a TAP beside the floor (Node with no protocol), the kernel's TCP
 * over veth, and any other stack that is named. All are set up at once and
 * measured in turn, so what the machine does meanwhile hits all alike; what is
 * compared is the ratio within a round.
 */
import { buildPeer, type Contestant, Lane, type Mode, type Sample } from './lab.ts';

export const MODES: readonly Mode[] = ['sink', 'source', 'ping', 'connect', 'connect32'];

export interface RaceOptions {
  readonly rounds: number;
  readonly seconds: number;
  readonly modes: readonly Mode[];
  readonly contestants: readonly Contestant[];
  /** Told before each measurement. */
  onProgress(done: number, total: number, what: string): void;
}

export interface RaceResult {
  readonly contestant: Contestant;
  readonly mode: Mode;
  readonly samples: readonly Sample[];
  /** Median of the samples' rate: Gbit/s, or times per second. */
  readonly rate: number;
  readonly least: number;
  readonly most: number;
  /** Median over the rounds of our rate to the floor's; null where the floor was not in the race. */
  readonly toFloor: number | null;
  /** Seconds of the server's processor per GB, or microseconds per time. */
  readonly cost: number;
  readonly p50: number | null;
  readonly p99: number | null;
}

const BENCH_SERVER = ['run', 'examples/bench-server.ts', '--netif', 'fd:3', '--ip', '10.77.0.2/24'];

export function usualContestants(
  peers: readonly { name: string; command: readonly string[] }[],
): Contestant[] {
  const kinds = ['offloads', 'plain'] as const;
  return kinds.flatMap((kind) => [
    {
      name: 'floor',
      kind,
      role: 'floor',
      command: [process.execPath, '--import', 'tsx', 'bench/tap/floor.ts', kind],
    },
    {
      name: 'mirage-net-direct',
      kind,
      role: 'ours',
      command: [process.execPath, 'dist/cli/main.js', ...BENCH_SERVER],
    },
    { name: 'kernel, over veth', kind, role: 'kernel', command: null },
    ...peers.map(({ name, command }) => ({ name, kind, role: 'peer' as const, command })),
  ]);
}

export async function race(options: RaceOptions): Promise<RaceResult[]> {
  const { rounds, seconds, modes, onProgress } = options;
  const peer = buildPeer();
  const lanes: Lane[] = [];
  const samples = new Map<string, Sample[]>();
  const at = (mode: Mode, lane: Lane): Sample[] => {
    const key = `${mode} ${lane.contestant.kind} ${lane.contestant.name}`;
    const some = samples.get(key) ?? [];
    samples.set(key, some);
    return some;
  };
  const close = (): void => {
    for (const lane of lanes) lane.close();
  };
  // Namespaces outlive a process that is interrupted.
  process.once('exit', close);
  try {
    for (const contestant of options.contestants) {
      onProgress(0, 1, `${contestant.name} (${contestant.kind}) is set up`);
      lanes.push(await Lane.open(contestant, peer));
    }
    const total = rounds * modes.length * lanes.length;
    let done = 0;
    for (const mode of modes) {
      for (let round = 0; round < rounds; round++) {
        // Not always the same one first.
        for (let i = 0; i < lanes.length; i++) {
          const lane = lanes[(i + round) % lanes.length]!;
          onProgress(done++, total, `${mode}: ${lane.contestant.name} (${lane.contestant.kind})`);
          at(mode, lane).push(await lane.measure(mode, seconds));
        }
      }
    }
    onProgress(total, total, 'done');
    return modes.flatMap((mode) =>
      lanes.map((lane) => {
        const floor = lanes.find(
          ({ contestant }) => contestant.role === 'floor' && contestant.kind === lane.contestant.kind,
        );
        return summarize(lane.contestant, mode, at(mode, lane), floor === undefined ? null : at(mode, floor));
      }),
    );
  } finally {
    close();
    process.off('exit', close);
  }
}

function summarize(
  contestant: Contestant,
  mode: Mode,
  samples: readonly Sample[],
  floor: readonly Sample[] | null,
): RaceResult {
  const rates = samples.map((sample) => rate(mode, sample));
  const bulk = mode === 'sink' || mode === 'source';
  return {
    contestant,
    mode,
    samples,
    rate: median(rates),
    least: Math.min(...rates),
    most: Math.max(...rates),
    toFloor: floor === null ? null : median(rates.map((each, round) => each / rate(mode, floor[round]!))),
    cost: median(samples.map(({ serverCpu, count }) => (serverCpu / count) * (bulk ? 1e9 : 1e6))),
    p50: mode === 'ping' ? median(samples.map(({ p50 }) => p50 ?? Number.NaN)) : null,
    p99: mode === 'ping' ? median(samples.map(({ p99 }) => p99 ?? Number.NaN)) : null,
  };
}

function rate(mode: Mode, { count, seconds }: Sample): number {
  return mode === 'sink' || mode === 'source' ? (count * 8) / seconds / 1e9 : count / seconds;
}

function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >>> 1;
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
}
