/*
 * What an ACK costs with more and more in flight: `npx tsx bench/in-flight.ts [--json]`.
 *
 * A connection has 100 to 100,000 segments in flight, and its peer acknowledges
 * them: in order, or with every hundredth lost and sent again. What an ACK costs
 * must not depend on what is in flight.
 */
import { allocate } from '../src/bytes/index.ts';
import * as wire from '../src/tcp/wire.ts';
import { loneConnection } from './support.ts';

export const SIZES = [100, 1000, 10_000, 100_000] as const;
const SEGMENT = 1448;
const DATA = allocate(SEGMENT * 100);
/** Every so manyth segment is lost. */
const LOSS_EVERY = 100;
/** ACKs that are timed at each size, at least: one for two segments. */
const LEAST_ACKS = 20_000;

export interface InFlightCost {
  readonly name: string;
  /** Nanoseconds for each ACK, by number of segments in flight. */
  readonly ns: readonly number[];
}

type Lone = ReturnType<typeof loneConnection>;

/** Puts `segments` full segments in flight. */
function fill({ connection, inject, flush }: Lone, segments: number): void {
  const { sender } = connection;
  // An old ACK opens the window again, as wide as the peer's scale allows.
  inject(wire.ACK, 0, sender.next, 0);
  for (let left = segments; left > 0; left -= 100) {
    connection.send(left >= 100 ? DATA : DATA.subarray(0, left * SEGMENT));
  }
  // Whatever the losses of the round before left of the windows.
  sender.congestion.window = 2 * segments * SEGMENT;
  sender.congestion.threshold = sender.congestion.window;
  flush();
}

/** Acknowledges all that is in flight, one ACK for two segments. Answers how many ACKs that took. */
function acknowledgeInOrder({ connection, inject, flush }: Lone): number {
  const { sender } = connection;
  const end = sender.next;
  let acks = 0;
  while (sender.una !== end) {
    const left = (end - sender.una) | 0;
    inject(wire.ACK, 0, (sender.una + Math.min(2 * SEGMENT, left)) | 0, 0);
    if (++acks % 32 === 0) flush();
  }
  flush();
  return acks;
}

/** SACKs all but the lost segments, then acknowledges what was sent again. */
function acknowledgeWithHoles(lone: Lone): number {
  const { connection, injectSack, flush } = lone;
  const { sender } = connection;
  const from = sender.una;
  const end = sender.next;
  let acks = 0;
  const most = Math.trunc(((end - from) | 0) / SEGMENT);
  let runStart = 0;
  for (let i = 0; i < most; i++) {
    if (i % LOSS_EVERY === 0) {
      runStart = i + 1;
      continue;
    }
    if (i % 2 === 0) continue;
    injectSack(from, (from + runStart * SEGMENT) | 0, (from + (i + 1) * SEGMENT) | 0);
    if (++acks % 32 === 0) flush();
  }
  flush();
  for (let i = 0; i < most; i += LOSS_EVERY) {
    const to = Math.min(i + LOSS_EVERY, most);
    lone.inject(wire.ACK, 0, (from + to * SEGMENT) | 0, 0);
    if (++acks % 32 === 0) flush();
  }
  flush();
  return acks;
}

const PATTERNS: readonly [name: string, acknowledge: (lone: Lone) => number][] = [
  ['in order', acknowledgeInOrder],
  ['one in a hundred lost', acknowledgeWithHoles],
];

/** Of this process, so that what else runs on the machine is not in it. */
function cpuMs(): number {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1000;
}

/** The best of some rounds at each size: what the code takes, without what else the machine does. */
export function measureInFlight(sizes: readonly number[] = SIZES, leastAcks = LEAST_ACKS): InFlightCost[] {
  return PATTERNS.map(([name, acknowledge]) => {
    const ns = sizes.map((segments) => {
      const lone = loneConnection({ pacing: false, slowStartAfterIdle: false });
      const rounds = Math.max(5, Math.ceil((2 * leastAcks) / segments));
      let best = Number.POSITIVE_INFINITY;
      for (let round = 0, spent = 0, acks = 0; round < rounds; round++) {
        fill(lone, segments);
        const begin = cpuMs();
        acks += acknowledge(lone);
        spent += cpuMs() - begin;
        if (lone.connection.sender.outstanding > 0) throw new Error('not all was acknowledged');
        // A sample is of a thousand ACKs at least, or it would be the timer's.
        if (acks < 1000) continue;
        best = Math.min(best, (spent * 1e6) / acks);
        spent = 0;
        acks = 0;
      }
      return best;
    });
    return { name, ns };
  });
}

if (import.meta.filename === process.argv[1]) {
  const costs = measureInFlight();
  if (process.argv.includes('--json')) console.log(JSON.stringify(costs, null, 1));
  else
    console.table(
      costs.map(({ name, ns }) => ({
        'ns per ACK': name,
        ...Object.fromEntries(ns.map((value, i) => [`${SIZES[i]} in flight`, value.toFixed(0)])),
      })),
    );
}
