/**
 * How fast bytes go through the stack: one connection for a fixed time after a
 * warm-up, several times over. Both stacks of a cable share this one thread. The
 * sender repeats one block, which stays in the processor's cache: data that comes
 * from elsewhere is slower.
 *
 * What we receive is `lent` to a listener (`flow.onData`), and the same hot memory
 * is used again, or `kept`: read (`flow.read`), which takes new memory for every
 * frame. The cable with offloads and a reader that keeps is bound by memory alone
 * and differs severalfold from run to run; compare it within its range only.
 */
import { DirectStack } from '../src/direct/index.ts';
import { createCable, NO_OFFLOADS, type Offloads } from '../src/netif/index.ts';
import type { Flow } from '../src/stack.ts';
import { RealClock } from '../src/time/index.ts';
import { canTap, KernelHost } from '../test/tap/support/kernel-host.ts';

export interface Throughput {
  readonly name: string;
  readonly gigabitsPerSecond: number;
  /** Of the process, user and system. */
  readonly gigabitsPerCpuSecond: number;
  /** CPU time of this process over wall time; 1 is one busy thread. */
  readonly cpus: number;
}

/** Of several runs. */
export interface ThroughputRange {
  readonly name: string;
  readonly median: Throughput;
  readonly least: number;
  readonly most: number;
}

/** In software: ordinary frames on the wire, put together and cut apart by the netif. */
type How = boolean | 'software';

type Reader = 'lent' | 'kept';

type Path = (name: string, offloads: How, durationMs: number) => Promise<Throughput>;

/** Until all is compiled and the window is open. */
const WARM_UP_MS = 500;

const HOW = { false: 'one frame per packet', software: 'offloads in software', true: 'with offloads' };

const BLOCK = new Uint8Array(256 * 1024);
const WITH_OFFLOADS: Offloads = { checksum: 'partial', segmentation: 65_549 };
const OF_CABLE = { false: NO_OFFLOADS, software: 'software', true: WITH_OFFLOADS } as const;

/** Runs all that this machine allows, each path `rounds` times; `skipped` says what it does not allow, and why. */
export async function measureThroughput(
  durationMs: number,
  rounds: number,
): Promise<{ results: ThroughputRange[]; skipped: string | null }> {
  const noTap = canTap();
  const paths: [string, Path][] = [
    ['cable, lent', overCable('lent')],
    ['cable, kept', overCable('kept')],
  ];
  if (noTap === null) {
    paths.push(
      ['TAP, kernel to stack, lent', fromKernel('lent')],
      ['TAP, kernel to stack, kept', fromKernel('kept')],
      ['TAP, stack to kernel', toKernel],
    );
  }
  const results: ThroughputRange[] = [];
  const runs = new Map<string, Throughput[]>();
  // All take turns in every round, so what else the machine does falls on all of them.
  for (let round = 0; round < rounds; round++) {
    for (const offloads of [false, 'software', true] as const) {
      for (const [path, measurePath] of paths) {
        const name = `${path}, ${HOW[`${offloads}`]}`;
        const run = await measurePath(name, offloads, durationMs);
        runs.set(name, [...(runs.get(name) ?? []), run]);
      }
    }
  }
  for (const [name, ofPath] of runs) {
    ofPath.sort((a, b) => a.gigabitsPerSecond - b.gigabitsPerSecond);
    results.push({
      name,
      median: ofPath[rounds >> 1]!,
      least: ofPath[0]!.gigabitsPerSecond,
      most: ofPath[rounds - 1]!.gigabitsPerSecond,
    });
  }
  return { results, skipped: noTap === null ? null : `TAP: ${noTap}` };
}

function overCable(reader: Reader): Path {
  return async (name, offloads, durationMs) => {
    const clock = new RealClock();
    const [near, far] = createCable({ clock, offloads: OF_CABLE[`${offloads}`] });
    const sender = new DirectStack({ netif: near, ipv4: '10.0.0.1/24', clock });
    const receiver = new DirectStack({ netif: far, ipv4: '10.0.0.2/24', clock });
    await Promise.all([sender.ready(), receiver.ready()]);
    const { promise: accepted, resolve } = withResolvers<Flow>();
    await receiver.tcp.listen({ port: 5001 }, resolve);
    const flow = await sender.tcp.connect({ host: '10.0.0.2', port: 5001 });
    const sending = writeOn(flow);
    const result = await measure(name, durationMs, receive(await accepted, reader));
    flow.abort();
    await sending;
    await sender.close();
    await receiver.close();
    return result;
  };
}

function fromKernel(reader: Reader): Path {
  const peer = `const net = require('node:net');
    const block = Buffer.alloc(262144);
    const socket = net.connect(5001, '10.77.0.2', () => { const send = () => { while (socket.write(block)); }; socket.on('drain', send); send(); });
    socket.on('error', () => {});`;
  return (name, offloads, durationMs) =>
    withKernel(offloads, peer, (flow) => measure(name, durationMs, receive(flow, reader)));
}

async function toKernel(name: string, offloads: How, durationMs: number): Promise<Throughput> {
  const peer = `const net = require('node:net');
    const buffer = Buffer.alloc(262144);
    net.connect({ port: 5001, host: '10.77.0.2', onread: { buffer, callback: () => true } }).on('error', () => {});`;
  return withKernel(offloads, peer, async (flow) => {
    const sending = writeOn(flow);
    const result = await measure(name, durationMs, () => flow.stats.bytesAcked);
    flow.abort();
    await sending;
    return result;
  });
}

/** A kernel on the other end of a TAP, where Node runs `peer` and connects to us. */
async function withKernel<T>(offloads: How, peer: string, use: (flow: Flow) => Promise<T>): Promise<T> {
  const host = new KernelHost({ tap: { offloads } });
  const stack = new DirectStack({ netif: host.tap, ipv4: '10.77.0.2/24' });
  try {
    await stack.ready();
    const { promise: accepted, resolve } = withResolvers<Flow>();
    await stack.tcp.listen({ port: 5001 }, resolve);
    host.spawn(process.execPath, ['-e', peer]);
    const flow = await accepted;
    const result = await use(flow);
    flow.abort();
    return result;
  } finally {
    await stack.close();
    await host.close();
  }
}

/** Takes all that comes on `flow`, and says how much that is so far. */
function receive(flow: Flow, reader: Reader): () => number {
  let received = 0;
  const untilItEnds = async (): Promise<void> => {
    if (reader === 'lent') {
      await flow.onData((view) => {
        received += view.length;
      });
    } else {
      for await (const chunk of flow) received += chunk.length;
    }
  };
  // The measurement ends with a reset.
  untilItEnds().catch(() => {});
  return () => received;
}

/** What `bytes` grows by in `durationMs`, after a warm-up. */
async function measure(name: string, durationMs: number, bytes: () => number): Promise<Throughput> {
  await pause(WARM_UP_MS);
  const cpu = process.cpuUsage();
  const begin = performance.now();
  const before = bytes();
  await pause(durationMs);
  const bits = (bytes() - before) * 8;
  const elapsedMs = performance.now() - begin;
  const { user, system } = process.cpuUsage(cpu);
  if (bits === 0) throw new Error(`${name}: nothing came in ${elapsedMs} ms`);
  return {
    name,
    gigabitsPerSecond: bits / (elapsedMs * 1e6),
    gigabitsPerCpuSecond: bits / ((user + system) * 1000),
    cpus: (user + system) / (elapsedMs * 1000),
  };
}

/** Writes until the flow is aborted. */
async function writeOn(flow: Flow): Promise<void> {
  try {
    for (;;) await flow.write(BLOCK);
  } catch {
    // That is how it ends.
  }
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

function withResolvers<T>(): { promise: Promise<T>; resolve: (value: T) => void } {
  let resolve: (value: T) => void = () => {};
  const promise = new Promise<T>((onResolve) => {
    resolve = onResolve;
  });
  return { promise, resolve };
}
