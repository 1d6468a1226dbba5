/**
 * Frontend and backend, both ours, on a machine simulated in this process: one
 * connection through two stacks, beside the same over a cable, and bare frames
 * from netif to netif. All paths take turns in every round, so what else the
 * machine does falls on all of them; the ratios are of the same round.
 *
 * `lent`: the receiver has a listener that is lent its data (`flow.onData`);
 * `read`: it reads, and so keeps the memory until it is collected.
 */
import { MacAddress } from '../src/address/index.ts';
import { DirectStack } from '../src/direct/index.ts';
import { type Frame, type Netif, NO_OFFLOADS } from '../src/netif/index.ts';
import { createCable } from '../src/netif/link.ts';
import { attachVif, openNetback, openNetfront, SimulatedMachine } from '../src/netif/xen/index.ts';
import type { Flow } from '../src/stack.ts';
import { RealClock } from '../src/time/index.ts';

const SECONDS = Number(process.env.SECS ?? 0.4);
const ROUNDS = Number(process.env.ROUNDS ?? 5);
const BLOCK = new Uint8Array(256 * 1024);

/** Gbit/s by the clock, and per second of the process's time: less at the mercy of what else runs. */
interface Rates {
  readonly perSecond: number;
  readonly perCpuSecond: number;
}

interface Line {
  readonly near: Netif;
  readonly far: Netif;
  close(): Promise<void>;
}

type Offloads = 'none' | 'software' | 'segments';

async function ring(offloads: Offloads, fromGuest: boolean): Promise<Line> {
  const machine = new SimulatedMachine();
  const dom0 = machine.domain(0);
  const guest = machine.domain(1);
  const mac = MacAddress.parse('00:16:3e:00:00:02');
  await attachVif(dom0.store, { frontend: 1, backend: 0, index: 0, mac });
  const common = { offloads: offloads === 'software' ? offloads : offloads === 'segments' } as const;
  const [front, back] = await Promise.all([
    openNetfront({ hypervisor: guest, ...common }),
    openNetback({ hypervisor: dom0, frontend: 1, ...common }),
  ]);
  return {
    near: fromGuest ? front : back,
    far: fromGuest ? back : front,
    async close() {
      await Promise.all([front.close(), back.close()]);
      await Promise.all([dom0.close(), guest.close()]);
    },
  };
}

async function cable(segments: boolean): Promise<Line> {
  const offloads = segments ? ({ checksum: 'partial', segmentation: 65_535 } as const) : NO_OFFLOADS;
  const [near, far] = createCable({ clock: new RealClock(), offloads });
  return { near, far, close: async () => void (await Promise.all([near.close(), far.close()])) };
}

/** What `count` says of bytes at the end less what it said at the beginning. */
async function measure(count: () => number, run: () => Promise<void>): Promise<Rates> {
  const [begin, cpu, before] = [performance.now(), process.cpuUsage(), count()];
  await run();
  const { user, system } = process.cpuUsage(cpu);
  const bits = (count() - before) * 8;
  return {
    perSecond: bits / ((performance.now() - begin) * 1e6),
    perCpuSecond: bits / ((user + system) * 1e3),
  };
}

const pause = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, SECONDS * 1000));

/** One TCP connection for a while. */
async function overTcp(open: () => Promise<Line>, lent: boolean): Promise<Rates> {
  const { near, far, close } = await open();
  const sender = new DirectStack({ netif: near, ipv4: '10.0.0.1/24' });
  const receiver = new DirectStack({ netif: far, ipv4: '10.0.0.2/24' });
  await Promise.all([sender.ready(), receiver.ready()]);
  const accepted = new Promise<Flow>((resolve) => {
    void receiver.tcp.listen({ port: 5001 }, resolve);
  });
  const flow = await sender.tcp.connect({ host: '10.0.0.2', port: 5001 });
  const sending = (async () => {
    try {
      for (;;) await flow.write(BLOCK);
    } catch {
      // That is how it ends.
    }
  })();
  const end = await accepted;
  let received = 0;
  const take = (chunk: Uint8Array): void => {
    received += chunk.length;
  };
  if (lent) void end.onData(take).catch(() => {});
  const rates = await measure(
    () => received,
    async () => {
      if (lent) return pause();
      const until = performance.now() + SECONDS * 1000;
      while (performance.now() < until) take((await end.read())!);
    },
  );
  flow.abort();
  await sending;
  await Promise.all([sender.close(), receiver.close()]);
  await close();
  return rates;
}

/** Frames from one netif to the other, without a stack; a copy into each, as a stack makes it. */
async function bare(size: number, fromGuest: boolean): Promise<Rates> {
  const { near, far, close } = await ring(size > 1514 ? 'segments' : 'none', fromGuest);
  let received = 0;
  const idle = { receive() {}, flush() {}, writable() {}, closed() {} };
  far.start({
    ...idle,
    receive: (frame: Frame) => {
      received += frame.end - frame.start;
    },
  });
  const payload = BLOCK.subarray(0, size);
  const fill = (): void => {
    for (;;) {
      const frame = near.reserve(size);
      if (frame === null) break;
      frame.bytes.set(payload, frame.start);
      near.commit(frame);
    }
    near.flush();
  };
  near.start({ ...idle, writable: fill });
  fill();
  const rates = await measure(() => received, pause);
  await close();
  return rates;
}

interface Path {
  readonly name: string;
  /** The cable that carries the same. */
  readonly beside?: string;
  readonly run: () => Promise<Rates>;
}

const CABLES = { ordinary: 'cable, ordinary frames', segments: 'cable, segments' };

/** Ordinary frames carry whole checksums, made and verified; segments carry none. */
function tcpPaths(lent: boolean): Path[] {
  const how = lent ? 'lent' : 'read';
  const paths: Path[] = [
    { name: `${CABLES.ordinary}, ${how}`, run: () => overTcp(() => cable(false), lent) },
    { name: `${CABLES.segments}, ${how}`, run: () => overTcp(() => cable(true), lent) },
  ];
  for (const fromGuest of [true, false]) {
    const way = fromGuest ? 'frontend to backend' : 'backend to frontend';
    for (const [what, offloads, beside] of [
      ['MTU 1500, a frame a segment', 'none', CABLES.ordinary],
      ['MTU 1500, offloads in software', 'software', CABLES.ordinary],
      ['GSO', 'segments', CABLES.segments],
    ] as const) {
      paths.push({
        name: `TCP, ${what}, ${way}, ${how}`,
        beside: `${beside}, ${how}`,
        run: () => overTcp(() => ring(offloads, fromGuest), lent),
      });
    }
  }
  return paths;
}

const paths = [...tcpPaths(true), ...tcpPaths(false)];
for (const fromGuest of [true, false]) {
  const way = fromGuest ? 'frontend to backend' : 'backend to frontend';
  paths.push({ name: `frames of 1514 bytes, ${way}`, run: () => bare(1514, fromGuest) });
  paths.push({ name: `frames of 64 KiB, ${way}`, run: () => bare(65_535, fromGuest) });
}

const rounds = new Map<string, Rates[]>(paths.map(({ name }) => [name, []]));
// The first round is for the compiler.
for (let round = -1; round < ROUNDS; round++) {
  for (const { name, run } of paths) {
    const rates = await run();
    if (round >= 0) rounds.get(name)!.push(rates);
  }
}

function median(values: readonly number[]): number {
  return [...values].sort((a, b) => a - b)[values.length >> 1]!;
}

console.table(
  paths.map(({ name, beside }) => {
    const own = rounds.get(name)!;
    const speeds = own.map(({ perSecond }) => perSecond);
    const other = beside === undefined ? null : rounds.get(beside)!;
    return {
      path: name,
      'Gbit/s': median(speeds).toFixed(2),
      [`range of ${ROUNDS}`]: `${Math.min(...speeds).toFixed(2)}–${Math.max(...speeds).toFixed(2)}`,
      'Gbit per CPU second': median(own.map(({ perCpuSecond }) => perCpuSecond)).toFixed(2),
      'to the cable':
        other === null
          ? ''
          : median(own.map(({ perCpuSecond }, i) => perCpuSecond / other[i]!.perCpuSecond)).toFixed(2),
    };
  }),
);
