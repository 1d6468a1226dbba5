/** One transfer between two of our stacks over a bad path, on virtual time. */
import { DirectStack } from '../../src/direct/index.ts';
import { createCable, type ImpairedNetif, impair } from '../../src/netif/index.ts';
import type { Flow, FlowStats, StackStatistics } from '../../src/stack.ts';
import type { TcpOptions } from '../../src/tcp/index.ts';
import { runVirtual, SeededRandom, VirtualClock } from '../../src/time/index.ts';
import { allowedBps, type Cell, durationMs, impairments, type PathImpairments } from './cell.ts';
import { Repeats } from './repeats.ts';

export const CONTROLLERS = ['newreno', 'cubic', 'bbr'] as const;
export type Controller = (typeof CONTROLLERS)[number];

/** Room for twice the product of 100 Mbit/s and 300 ms and as much queue, several times over. */
export const BUFFER = 16 << 20;

export interface Transfer {
  readonly goodputBps: number;
  /** Of what the link allows after loss. */
  readonly share: number;
  readonly seconds: number;
  /** Data frames lost on the way, and dropped at the full bottleneck queue. */
  readonly lost: number;
  readonly overflowed: number;
  /** Segments sent, retransmissions included. */
  readonly segments: number;
  readonly retransmits: number;
  /** Segments that came to the receiver more than once: sent again without need. */
  readonly needless: number;
  readonly timeouts: number;
  readonly recoveries: number;
  readonly undone: number;
  readonly probes: number;
}

export interface SimulateOptions {
  readonly seed: number;
  readonly durationMs: number;
  readonly tcp?: TcpOptions;
}

export function simulateCell(
  cell: Cell,
  controller: Controller,
  seed: number,
  forMs = durationMs(cell),
  tcp: TcpOptions = {},
): Promise<Transfer> {
  return simulate(impairments(cell), allowedBps(cell), {
    seed,
    durationMs: forMs,
    tcp: { ...tcp, congestionControl: controller },
  });
}

/** Two stacks on one path: `left` sends through the bottleneck to `right`. */
export interface Pair {
  readonly clock: VirtualClock;
  readonly left: DirectStack;
  readonly right: DirectStack;
  readonly bottleneck: ImpairedNetif;
  readonly way: ImpairedNetif;
  /** What `right` received. */
  readonly repeats: Repeats;
}

/** `senderTcp` is the sender's besides what both have in `tcp`. */
export async function pair(
  path: PathImpairments,
  seed: number,
  tcp: TcpOptions = {},
  senderTcp: TcpOptions = {},
): Promise<Pair> {
  const clock = new VirtualClock(1000);
  const random = new SeededRandom(seed);
  // The path's delay is the impaired netif's; the cable itself never stalls for long.
  const [near, far] = createCable({ clock, queueFrames: 4096 });
  const bottleneck = impair(near, { clock, random, transmit: path.bottleneck });
  const way = impair(far, { clock, random, receive: path.way, transmit: path.back });
  const both: TcpOptions = { sendBuffer: BUFFER, receiveBuffer: BUFFER, ...tcp };
  const left = new DirectStack({
    netif: bottleneck,
    ipv4: '10.0.0.1/24',
    clock,
    random,
    tcp: { ...both, ...senderTcp },
  });
  const repeats = new Repeats();
  const right = new DirectStack({
    netif: repeats.watchReceived(way),
    ipv4: '10.0.0.2/24',
    clock,
    random,
    tcp: both,
  });
  await runVirtual(clock, Promise.all([left.ready(), right.ready()]), 60_000);
  return { clock, left, right, bottleneck, way, repeats };
}

/** Opens a flow from `left` to `right` that sends without end. Resolves to both ends of it. */
export async function openFlow(
  { clock, left, right }: Pair,
  port: number,
): Promise<{ sender: Flow; receiver: Flow }> {
  let accepted: (flow: Flow) => void = () => {};
  const accepting = new Promise<Flow>((resolve) => {
    accepted = resolve;
  });
  const listener = await right.tcp.listen({ port }, (flow) => accepted(flow));
  const connecting = left.tcp.connect({ host: '10.0.0.2', port });
  // A handshake through 10% loss may take several timeouts.
  const sender = await runVirtual(clock, connecting, 120_000);
  void sendWithoutEnd(sender);
  const receiver = await runVirtual(clock, accepting, 120_000);
  await listener.close();
  return { sender, receiver };
}

const BLOCK = new Uint8Array(64 * 1024);

export async function sendWithoutEnd(flow: Flow): Promise<void> {
  try {
    for (;;) await flow.write(BLOCK);
  } catch {
    // The run is over and the flow was aborted.
  }
}

/** Counts what comes until the flow ends. */
export class Drain {
  bytes = 0;
  /** Resolves at the first byte, or at the end of the flow. */
  readonly first: Promise<void>;
  #begun: () => void = () => {};

  constructor(flow: Flow) {
    this.first = new Promise((resolve) => {
      this.#begun = resolve;
    });
    void this.#read(flow);
  }

  async #read(flow: Flow): Promise<void> {
    try {
      for await (const chunk of flow) {
        this.bytes += chunk.length;
        this.#begun();
      }
    } catch {
      // Aborted at the end of the run.
    }
    this.#begun();
  }
}

export async function simulate(
  path: PathImpairments,
  allowed: number,
  options: SimulateOptions,
): Promise<Transfer> {
  // Only the sender is traced: the receiver's samples would mix with its.
  const { onTrace = null, ...tcp } = options.tcp ?? {};
  const network = await pair(path, options.seed, tcp, { onTrace });
  const { clock, left, right, bottleneck, way, repeats } = network;
  const { sender, receiver } = await openFlow(network, 5001);
  const drain = new Drain(receiver);
  const begin = clock.now();
  await clock.runFor(options.durationMs);
  const seconds = (clock.now() - begin) / 1000;
  const stats: FlowStats = sender.stats;
  sender.abort();
  receiver.abort();
  await clock.runFor(1000);
  const tcpCounters = left.statistics().tcp as StackStatistics;
  const count = (name: string): number => Number(tcpCounters[name] ?? 0);
  const goodputBps = (drain.bytes * 8) / seconds;
  await runVirtual(clock, Promise.all([left.close(), right.close()]), 60_000);
  return {
    goodputBps,
    share: goodputBps / allowed,
    seconds,
    lost: way.impaired.receive.lost,
    overflowed: bottleneck.impaired.transmit.overflowed,
    segments: stats.segmentsSent,
    retransmits: stats.retransmits,
    needless: repeats.repeated,
    timeouts: count('timeouts'),
    recoveries: count('fastRecoveries'),
    undone: count('spuriousRecoveries'),
    probes: count('lossProbes'),
  };
}
