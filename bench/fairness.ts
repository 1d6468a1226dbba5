/**
 * `npm run bench:fairness`: how flows share one bottleneck of 100 Mbit/s for 60 s.
 *
 *   bench/fairness.ts [--seconds N] [--seeds N] [--rtt MS,…] [--after N] [--pairs PAIR,…] [--linux]
 *
 * Each two of our controllers side by side, on virtual time; with `--linux` also,
 * in real time, two CUBIC flows of the kernel's, and one of ours beside one of
 * the kernel's, to the kernel. `--after` lets the simulated flows run for a while
 * before they are counted: how they share once they have met. `--pairs cubic+cubic,…` picks some of the former.
 */
import { parseArgs } from 'node:util';
import { MacAddress } from '../src/address/index.ts';
import { DirectStack } from '../src/direct/index.ts';
import { Switch } from '../src/netif/index.ts';
import type { Flow } from '../src/stack.ts';
import { SeededRandom, VirtualClock } from '../src/time/index.ts';
import { canTap } from '../test/tap/support/kernel-host.ts';
import { Bridge } from './loss/bridge.ts';
import { impairments } from './loss/cell.ts';
import {
  clockFor,
  linuxStation,
  type Player,
  pause,
  type Received,
  receive,
  send,
  station,
} from './loss/linux.ts';
import { markdownTable, mean } from './loss/report.ts';
import { BUFFER, CONTROLLERS, type Controller, Drain, sendWithoutEnd } from './loss/simulate.ts';

/** A hub that joins stations to one side of a bridge: in no one's way. */
const HUB_FRAMES = 4096;

/** Mbit/s of each flow over the whole time. */
export type Shares = readonly [first: number, second: number];

export interface FairnessOptions {
  readonly controllers: readonly [Controller, Controller];
  readonly rttMs: number;
  readonly seconds: number;
  readonly seed: number;
  /** By how much the second flow starts later. */
  readonly laterMs?: number;
  /** How long both have been there when counting begins. */
  readonly afterSeconds?: number;
}

/** Two flows of ours from two stacks through one bottleneck to a third, on virtual time. */
export async function simulateShares(options: FairnessOptions): Promise<Shares> {
  const { controllers, rttMs, seconds, seed, laterMs = 0, afterSeconds = 0 } = options;
  const clock = new VirtualClock(1000);
  const random = new SeededRandom(seed);
  const hub = new Switch({ clock, queueFrames: HUB_FRAMES });
  const farHub = new Switch({ clock, queueFrames: HUB_FRAMES });
  const path = impairments({ kind: 'random', loss: 0, rttMs });
  const bridge = new Bridge(hub.port(), farHub.port(), { clock, path, random });
  const stack = (port: Switch, last: number, controller: Controller): DirectStack =>
    new DirectStack({
      netif: port.port({ mac: new MacAddress(0x0242, 0x30000 + last) }),
      ipv4: `10.0.0.${last}/24`,
      clock,
      random,
      tcp: { sendBuffer: BUFFER, receiveBuffer: BUFFER, congestionControl: controller },
    });
  const senders = controllers.map((controller, i) => stack(hub, i + 1, controller));
  const receiver = stack(farHub, 9, 'cubic');
  const ready = Promise.all([...senders, receiver].map((each) => each.ready()));
  await clock.runFor(100);
  await ready;
  const drains: Drain[] = [];
  const flows: Flow[] = [];
  for (const [i, sender] of senders.entries()) {
    if (i > 0) await clock.runFor(laterMs);
    await receiver.tcp.listen({ port: 5001 + i }, (flow) => {
      flows.push(flow);
      drains[i] = new Drain(flow);
    });
    void sender.tcp.connect({ host: '10.0.0.9', port: 5001 + i }).then((flow) => {
      flows.push(flow);
      void sendWithoutEnd(flow);
    });
  }
  await clock.runFor(10 * rttMs + 100 + afterSeconds * 1000);
  const before = drains.map((drain) => drain.bytes);
  await clock.runFor(seconds * 1000);
  const rates = drains.map((drain, i) => ((drain.bytes - before[i]!) * 8) / seconds / 1e6);
  for (const flow of flows) flow.abort();
  const closing = Promise.all([...senders, receiver].map((each) => each.close()));
  await clock.runFor(10_000);
  await closing;
  await bridge.close();
  return [rates[0]!, rates[1]!];
}

/** Two CUBIC flows, each ours or the kernel's, to two readers in another namespace, in real time. */
export async function measureShares(
  players: readonly [Player, Player],
  rttMs: number,
  seconds: number,
  seed: number,
  laterMs: number,
): Promise<Shares> {
  const clock = clockFor(rttMs);
  const hub = new Switch({ clock, queueFrames: HUB_FRAMES });
  const path = impairments({ kind: 'random', loss: 0, rttMs });
  const senders = [
    await station(players[0], clock, FIRST_SENDER),
    await station(players[1], clock, SECOND_SENDER),
  ];
  const reader = await linuxStation(READER);
  const free = { bottleneck: {}, way: {}, back: {} };
  const bridges = [
    ...senders.map(({ netif }) => new Bridge(netif, hub.port(), { clock, path: free })),
    new Bridge(hub.port(), reader.netif, { clock, path, random: new SeededRandom(seed) }),
  ];
  try {
    const results: Promise<Received>[] = [];
    const sending: { stop(): Promise<number> }[] = [];
    for (const [i, sender] of senders.entries()) {
      if (i > 0) await pause(laterMs);
      const port = 5001 + i;
      // The first counts from when the second is there too.
      const ahead = i === 0 ? laterMs / 1000 : 0;
      results.push((await receive(reader, port, seconds, ahead)).result);
      sending.push(await send(sender, READER, port, seconds + ahead));
    }
    const rates = (await Promise.all(results)).map(({ bytes, seconds: took }) => (bytes * 8) / took / 1e6);
    for (const each of sending) await each.stop();
    return [rates[0]!, rates[1]!];
  } finally {
    await Promise.all([...senders, reader].map((each) => each.close()));
    await Promise.all(bridges.map((bridge) => bridge.close()));
  }
}

const FIRST_SENDER = '10.79.0.1';
const SECOND_SENDER = '10.79.0.3';
const READER = '10.79.0.9';

const DUOS: readonly (readonly [Player, Player])[] = [
  ['linux', 'linux'],
  ['ours', 'linux'],
  ['linux', 'ours'],
];

/** Nothing is left to chance on a clean path: when the second starts is what a seed changes. */
function laterBy(seed: number): number {
  return (seed - 1) * 1000 + seed * 7;
}

function row(name: string, rttMs: number, runs: readonly Shares[]): string[] {
  const first = runs.map(([a, b]) => (100 * a) / (a + b));
  const total = mean(runs.map(([a, b]) => a + b));
  const worst = Math.max(...first.map((share) => Math.max(share, 100 - share)));
  return [
    name,
    `${rttMs} ms`,
    `${mean(first).toFixed(0)} : ${(100 - mean(first)).toFixed(0)}`,
    `${(100 - worst).toFixed(0)} : ${worst.toFixed(0)}`,
    total.toFixed(1),
  ];
}

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      seconds: { type: 'string', default: '60' },
      seeds: { type: 'string', default: '3' },
      rtt: { type: 'string', default: '20,100' },
      after: { type: 'string', default: '0' },
      pairs: { type: 'string' },
      linux: { type: 'boolean', default: false },
    },
  });
  const seconds = Number(values.seconds);
  const pairs = values.pairs?.split(',');
  const seeds = Array.from({ length: Number(values.seeds) }, (_, i) => i + 1);
  const rows: string[][] = [];
  for (const rttMs of values.rtt.split(',').map(Number)) {
    for (const [i, first] of CONTROLLERS.entries()) {
      for (const second of CONTROLLERS.slice(i)) {
        if (pairs !== undefined && !pairs.includes(`${first}+${second}`)) continue;
        const runs: Shares[] = [];
        for (const seed of seeds) {
          const laterMs = laterBy(seed);
          const afterSeconds = Number(values.after);
          const controllers = [first, second] as const;
          runs.push(await simulateShares({ controllers, rttMs, seconds, seed, laterMs, afterSeconds }));
        }
        rows.push(row(`${first}, then ${second}`, rttMs, runs));
        process.stderr.write(`${rows.at(-1)!.join('  ')}\n`);
      }
    }
    if (!values.linux) continue;
    const reason = canTap();
    if (reason !== null) throw new Error(`bench:fairness --linux ${reason}`);
    for (const players of DUOS) {
      // They wait most of the time: all runs at once.
      const runs = await Promise.all(
        seeds.map((seed) => measureShares(players, rttMs, seconds, seed, laterBy(seed))),
      );
      const name = players
        .map((player) => `${player === 'ours' ? 'our' : "the kernel's"} cubic`)
        .join(', then ');
      rows.push(row(`${name} (real time)`, rttMs, runs));
      process.stderr.write(`${rows.at(-1)!.join('  ')}\n`);
    }
  }
  console.log(`Two flows, one bottleneck of 100 Mbit/s with a queue of one BDP, ${seconds} s.\n`);
  console.log(markdownTable(['flows', 'RTT', 'shares', 'most unequal run', 'Mbit/s together'], rows));
}

if (import.meta.filename === process.argv[1]) await main();
