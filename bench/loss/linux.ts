/** Transfers in real time through one impairing bridge, each end played by our stack or by the kernel's. */
import type { ChildProcess } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { MacAddress } from '../../src/address/index.ts';
import { DirectStack } from '../../src/direct/index.ts';
import { createCable, type Netif } from '../../src/netif/index.ts';
import type { Flow } from '../../src/stack.ts';
import { type Clock, RealClock, SeededRandom } from '../../src/time/index.ts';
import { KernelHost } from '../../test/tap/support/kernel-host.ts';
import { Bridge } from './bridge.ts';
import type { PathImpairments } from './cell.ts';
import { PreciseClock } from './precise-clock.ts';
import { Repeats } from './repeats.ts';
import { BUFFER, Drain, sendWithoutEnd } from './simulate.ts';

const PEER = fileURLToPath(new URL('./linux_peer.py', import.meta.url));
const PORT = 5001;
/** Bytes: least, initial, largest, of both namespaces' `tcp_rmem` and `tcp_wmem`. */
export const KERNEL_BUFFERS = [4096, 131_072, 64 << 20] as const;

/** Algorithms of the kernel's. */
export const KERNEL_CONTROLLERS = ['reno', 'cubic', 'bbr'] as const;
export type KernelController = (typeof KERNEL_CONTROLLERS)[number];

/** Who plays an end. */
export type Player = 'ours' | 'linux';

export interface Duel {
  readonly sender: Player;
  readonly receiver: Player;
}

export const DUELS: readonly Duel[] = [
  { sender: 'linux', receiver: 'linux' },
  { sender: 'ours', receiver: 'linux' },
  { sender: 'linux', receiver: 'ours' },
];

export function duelName({ sender, receiver }: Duel): string {
  return `${sender} → ${receiver}`;
}

export interface DuelResult {
  readonly goodputBps: number;
  readonly retransmits: number;
  /** Segments that came to the receiver's end of the bridge more than once. */
  readonly needless: number;
  readonly lost: number;
  readonly overflowed: number;
  /** Frames that a TAP device or a full cable did not take: noise of the set-up. */
  readonly refused: number;
}

/** An end of the bridge: a stack of ours on a cable, or a namespace of the kernel's on a TAP. */
export interface Station {
  readonly netif: Netif;
  readonly stack: DirectStack | null;
  readonly host: KernelHost | null;
  close(): Promise<void>;
}

export async function ourStation(clock: Clock, address: string): Promise<Station & { stack: DirectStack }> {
  const last = Number(address.split('.')[3]);
  const [mine, theirs] = createCable({
    clock,
    queueFrames: 4096,
    macs: [macOf(last), macOf(last + 100)],
  });
  const stack = new DirectStack({
    netif: mine,
    ipv4: `${address}/24`,
    clock,
    tcp: { sendBuffer: BUFFER, receiveBuffer: BUFFER, congestionControl: 'cubic' },
  });
  await stack.ready();
  return { netif: theirs, stack, host: null, close: () => stack.close() };
}

function macOf(last: number): MacAddress {
  return new MacAddress(0x0242, 0x20000 + last);
}

/** Without offloads every frame is a packet, and the kernel cuts no segments behind the bridge's back. */
export async function linuxStation(address: string): Promise<Station & { host: KernelHost }> {
  const host = new KernelHost({ address: `${address}/24`, tap: { offloads: false } });
  const buffers = KERNEL_BUFFERS.join(' ');
  const script = [
    'cd /proc/sys/net/ipv4',
    `echo ${buffers} > tcp_rmem`,
    `echo ${buffers} > tcp_wmem`,
    // No window or threshold is carried over from an earlier run.
    'echo 1 > tcp_no_metrics_save',
  ].join(' && ');
  await host.exec('sh', ['-c', script]);
  return { netif: host.tap, stack: null, host, close: () => host.close() };
}

export function station(player: Player, clock: Clock, address: string): Promise<Station> {
  return player === 'ours' ? ourStation(clock, address) : linuxStation(address);
}

/** From this RTT on, the millisecond that a timer may be late does not matter, and the processor may rest. */
const COARSE_RTT_MS = 20;

/** The time of a transfer that has paths with round trips of `rttMs` to itself. */
function clockFor(rttMs: number): Clock {
  return rttMs >= COARSE_RTT_MS ? new RealClock() : new PreciseClock();
}

export interface DuelOptions {
  readonly path: PathImpairments;
  readonly rttMs: number;
  readonly seconds: number;
  readonly seed: number;
}

/** One transfer from left to right. */
export async function runDuel(duel: Duel, options: DuelOptions): Promise<DuelResult> {
  const { path, rttMs, seconds, seed } = options;
  const clock = clockFor(rttMs);
  const left = await station(duel.sender, clock, LEFT);
  const right = await station(duel.receiver, clock, RIGHT);
  const repeats = new Repeats();
  const bridge = new Bridge(left.netif, right.netif, {
    clock,
    path,
    random: new SeededRandom(seed),
    arrivals: repeats,
  });
  try {
    const receiving = await receive(right, PORT, seconds);
    const sending = await send(left, RIGHT, PORT, seconds);
    const { bytes, seconds: took } = await receiving.result;
    const retransmits = await sending.stop();
    return {
      goodputBps: (bytes * 8) / took,
      retransmits,
      needless: repeats.repeated,
      lost: bridge.way.impaired.transmit.lost,
      overflowed: bridge.bottleneck.impaired.transmit.overflowed,
      refused: bridge.refused,
    };
  } finally {
    await Promise.all([left.close(), right.close()]);
    await bridge.close();
  }
}

export const LEFT = '10.79.0.1';
export const RIGHT = '10.79.0.2';

export interface Received {
  readonly bytes: number;
  readonly seconds: number;
}

/** Resolves when the station listens; `result` is what will come in `seconds`, counted from `aheadSeconds` after the first byte. */
export async function receive(
  { stack, host }: { readonly stack: DirectStack | null; readonly host: KernelHost | null },
  port: number,
  seconds: number,
  aheadSeconds = 0,
): Promise<{ readonly result: Promise<Received> }> {
  if (stack !== null) {
    let accept: (flow: Flow) => void = () => {};
    const accepted = new Promise<Flow>((resolve) => {
      accept = resolve;
    });
    await stack.tcp.listen({ port }, (flow) => accept(flow));
    const result = accepted.then(async (flow) => {
      const drain = new Drain(flow);
      await drain.first;
      await pause(aheadSeconds * 1000);
      const begin = performance.now();
      const before = drain.bytes;
      await pause(seconds * 1000);
      const took = (performance.now() - begin) / 1000;
      const bytes = drain.bytes - before;
      flow.abort();
      return { bytes, seconds: took };
    });
    return { result };
  }
  const lines = jsonLines(
    host!.spawn('python3', [PEER, 'recv', String(port), String(seconds), String(aheadSeconds)]),
  );
  await lines.next();
  return { result: lines.next().then((line) => line as unknown as Received) };
}

/** Starts to send without end; `stop` ends it after at least `seconds` and tells how many segments were sent again. */
export async function send(
  { stack, host }: { readonly stack: DirectStack | null; readonly host: KernelHost | null },
  to: string,
  port: number,
  seconds: number,
  kernelController: KernelController = 'cubic',
): Promise<{ stop(): Promise<number> }> {
  if (stack !== null) {
    const flow = await stack.tcp.connect({ host: to, port });
    void sendWithoutEnd(flow);
    return {
      stop: async () => {
        const { retransmits } = flow.stats;
        flow.abort();
        return retransmits;
      },
    };
  }
  // Longer than the receiver counts; it ends earlier, by a reset.
  const child = host!.spawn('python3', [
    PEER,
    'send',
    to,
    String(port),
    String(seconds + 2),
    kernelController,
  ]);
  const last = jsonLines(child).next();
  return {
    stop: async () => {
      const { controller, retransmits } = (await last) as { controller?: string; retransmits?: number };
      if (controller !== kernelController) {
        throw new Error(`the kernel used ${controller}, not ${kernelController}`);
      }
      return retransmits ?? 0;
    },
  };
}

/** The JSON lines that a child prints, one per `next`; rejects with what it said when it ends before. */
function jsonLines(child: ChildProcess): { next(): Promise<Record<string, unknown>> } {
  let text = '';
  let errors = '';
  let ended = false;
  let wake: () => void = () => {};
  child.stdout?.on('data', (chunk: Buffer) => {
    text += chunk.toString();
    wake();
  });
  child.stderr?.on('data', (chunk: Buffer) => {
    errors += chunk.toString();
  });
  child.once('close', () => {
    ended = true;
    wake();
  });
  return {
    next: async () => {
      while (!text.includes('\n')) {
        if (ended) throw new Error(`the kernel's end ended early: ${errors}`);
        await new Promise<void>((resolve) => {
          wake = resolve;
        });
      }
      const at = text.indexOf('\n');
      const line = text.slice(0, at);
      text = text.slice(at + 1);
      return JSON.parse(line) as Record<string, unknown>;
    },
  };
}

export function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
