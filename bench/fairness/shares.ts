/** Two flows through one bottleneck of 100 Mbit/s: what each of them gets, on virtual and in real time. */
import { MacAddress } from '../../src/address/index.ts';
import { DirectStack } from '../../src/direct/index.ts';
import { Switch } from '../../src/netif/index.ts';
import type { Flow } from '../../src/stack.ts';
import { SeededRandom, VirtualClock } from '../../src/time/index.ts';
import { Bridge } from '../loss/bridge.ts';
import { bandwidthDelayBytes, impairments, type PathImpairments, queueBytes } from '../loss/cell.ts';
import {
  type KernelController,
  linuxStation,
  type Player,
  pause,
  type Received,
  receive,
  send,
  station,
} from '../loss/linux.ts';
import { PreciseClock } from '../loss/precise-clock.ts';
import { BUFFER, type Controller, Drain, sendWithoutEnd } from '../loss/simulate.ts';

/** A hub that joins stations to one side of a bridge: in no one's way. */
const HUB_FRAMES = 4096;

/** Mbit/s of each flow over the whole time. */
export type Shares = readonly [first: number, second: number];

export interface FairnessOptions {
  readonly controllers: readonly [Controller, Controller];
  readonly rttMs: number;
  /** Queue of the bottleneck, bandwidth-delay products. */
  readonly queueBdp: number;
  readonly seconds: number;
  readonly seed: number;
  /** By how much the second flow starts later. */
  readonly laterMs?: number;
  /** How long both have been there when counting begins. */
  readonly afterSeconds?: number;
}

function pathOf(rttMs: number, queueBdp: number): PathImpairments {
  const path = impairments({ kind: 'random', loss: 0, rttMs });
  const queue = Math.max(queueBdp * bandwidthDelayBytes(rttMs), queueBytes(0));
  return { ...path, bottleneck: { ...path.bottleneck, queueBytes: Math.ceil(queue) } };
}

/** Two flows of ours from two stacks through one bottleneck to a third, on virtual time. */
export async function simulateShares(options: FairnessOptions): Promise<Shares> {
  const { controllers, rttMs, queueBdp, seconds, seed, laterMs = 0, afterSeconds = 0 } = options;
  const clock = new VirtualClock(1000);
  const random = new SeededRandom(seed);
  const hub = new Switch({ clock, queueFrames: HUB_FRAMES });
  const farHub = new Switch({ clock, queueFrames: HUB_FRAMES });
  const path = pathOf(rttMs, queueBdp);
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

/** A sender in real time: our CUBIC, or one of the kernel's algorithms. */
export interface Contender {
  readonly player: Player;
  readonly controller: KernelController;
}

export interface MeasureOptions {
  readonly contenders: readonly [Contender, Contender];
  readonly rttMs: number;
  readonly queueBdp: number;
  readonly seconds: number;
  readonly seed: number;
  readonly laterMs: number;
}

/** Two flows, each ours or the kernel's, to two readers in another namespace, in real time. */
export async function measureShares(options: MeasureOptions): Promise<Shares> {
  const { contenders, rttMs, queueBdp, seconds, seed, laterMs } = options;
  // With frames that leave and arrive a millisecond's worth at a time, the flow that is in this process would
  // come first to every place that falls free in the queue, before what the device has for us to read.
  const clock = new PreciseClock();
  const hub = new Switch({ clock, queueFrames: HUB_FRAMES });
  const path = pathOf(rttMs, queueBdp);
  const senders = [
    await station(contenders[0].player, clock, FIRST_SENDER),
    await station(contenders[1].player, clock, SECOND_SENDER),
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
      sending.push(await send(sender, READER, port, seconds + ahead, contenders[i]!.controller));
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
