/**
 * Frontend and backend, both ours, on a machine simulated in this process: one
 * connection through two stacks, and bare frames from netif to netif.
 */
import { MacAddress } from '../src/address/index.ts';
import { DirectStack } from '../src/direct/index.ts';
import type { Frame, Netif } from '../src/netif/index.ts';
import { attachVif, openNetback, openNetfront, SimulatedMachine } from '../src/netif/xen/index.ts';
import type { Flow } from '../src/stack.ts';

const SECONDS = Number(process.env.SECS ?? 0.5);
const ROUNDS = 3;
const BLOCK = new Uint8Array(256 * 1024);

interface Result {
  readonly gigabits: number;
  /** Events sent per 1000 frames. */
  readonly eventsPerThousand: number;
}

async function withPair<T>(
  segmentation: boolean,
  use: (front: Netif, back: Netif, events: () => number) => Promise<T>,
): Promise<T> {
  const machine = new SimulatedMachine();
  const dom0 = machine.domain(0);
  const guest = machine.domain(1);
  const mac = MacAddress.parse('00:16:3e:00:00:02');
  await attachVif(dom0.store, { frontend: 1, backend: 0, index: 0, mac });
  const offloads = { checksum: true, segmentation };
  const [front, back] = await Promise.all([
    openNetfront({ hypervisor: guest, offloads }),
    openNetback({ hypervisor: dom0, frontend: 1, offloads }),
  ]);
  try {
    return await use(front, back, () => machine.events);
  } finally {
    await Promise.all([front.close(), back.close()]);
    await Promise.all([dom0.close(), guest.close()]);
  }
}

/** One TCP connection for a while. */
function overTcp(segmentation: boolean, fromGuest: boolean): Promise<Result> {
  return withPair(segmentation, async (front, back, events) => {
    const [near, far] = fromGuest ? [front, back] : [back, front];
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
    const frames = (): number => near.counters.txFrames + far.counters.txFrames;
    const [framesBefore, eventsBefore] = [frames(), events()];
    const begin = performance.now();
    let received = 0;
    while (performance.now() - begin < SECONDS * 1000) {
      const chunk = await end.read();
      if (chunk === null) throw new Error('the connection ended');
      received += chunk.length;
    }
    const elapsedMs = performance.now() - begin;
    const result = {
      gigabits: (received * 8) / (elapsedMs * 1e6),
      eventsPerThousand: ((events() - eventsBefore) * 1000) / (frames() - framesBefore),
    };
    flow.abort();
    await sending;
    await Promise.all([sender.close(), receiver.close()]);
    return result;
  });
}

/** Frames from one netif to the other, without a stack; a copy into each, as a stack makes it. */
function bare(size: number, fromGuest: boolean): Promise<Result> {
  return withPair(size > 1514, async (front, back, events) => {
    const [near, far] = fromGuest ? [front, back] : [back, front];
    let received = 0;
    far.start({
      receive: (frame: Frame) => {
        received += frame.end - frame.start;
      },
      flush() {},
      writable() {},
      closed() {},
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
    near.start({ receive() {}, flush() {}, writable: fill, closed() {} });
    const begin = performance.now();
    const eventsBefore = events();
    fill();
    await new Promise((resolve) => setTimeout(resolve, SECONDS * 1000));
    const elapsedMs = performance.now() - begin;
    return {
      gigabits: (received * 8) / (elapsedMs * 1e6),
      eventsPerThousand: ((events() - eventsBefore) * 1000) / near.counters.txFrames,
    };
  });
}

const paths: [string, () => Promise<Result>][] = [];
for (const fromGuest of [true, false]) {
  const way = fromGuest ? 'frontend to backend' : 'backend to frontend';
  paths.push([`TCP, MTU 1500, ${way}`, () => overTcp(false, fromGuest)]);
  paths.push([`TCP, GSO, ${way}`, () => overTcp(true, fromGuest)]);
  paths.push([`frames of 1514 bytes, ${way}`, () => bare(1514, fromGuest)]);
  paths.push([`frames of 64 KiB, ${way}`, () => bare(65_535, fromGuest)]);
}

const rows = [];
for (const [path, measure] of paths) {
  const results: Result[] = [];
  for (let round = 0; round < ROUNDS; round++) results.push(await measure());
  results.sort((a, b) => a.gigabits - b.gigabits);
  const median = results[ROUNDS >> 1]!;
  rows.push({
    path,
    'Gbit/s': median.gigabits.toFixed(2),
    [`range of ${ROUNDS}`]: `${results[0]!.gigabits.toFixed(2)}–${results[ROUNDS - 1]!.gigabits.toFixed(2)}`,
    'events per 1000 frames': median.eventsPerThousand.toFixed(1),
  });
}
console.table(rows);
