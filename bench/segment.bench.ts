/*
 * What one segment costs, and how much garbage it makes: `npx tsx bench/segment.bench.ts`.
 */
import { Bench } from 'tinybench';
import { allocate, get16, get32 } from '../src/bytes/index.ts';
import { DirectStack } from '../src/direct/index.ts';
import { createCable } from '../src/netif/index.ts';
import * as wire from '../src/tcp/wire.ts';
import { runVirtual, VirtualClock } from '../src/time/index.ts';
import { loneConnection } from './support.ts';

const ACK = wire.ACK;
const SEGMENT = 1448;
const COUNT = 1000;
let sink = 0;

// ---------------------------------------------------------------- reading headers

const header = allocate(60).map((_, i) => i * 31);
const headers = new Bench({ time: 200, warmupTime: 50 });
const READS = 10_000;
headers.add('16-bit field', () => {
  for (let i = 0; i < READS; i++) sink ^= get16(header, i & 31);
});
headers.add('32-bit field', () => {
  for (let i = 0; i < READS; i++) sink ^= get32(header, i & 31);
});
headers.add('a TCP header: ports, numbers, flags, window', () => {
  for (let i = 0; i < READS; i++) {
    const at = i & 15;
    sink ^= wire.sourcePort(header, at) ^ wire.destinationPort(header, at) ^ wire.sequence(header, at);
    sink ^= wire.acknowledgment(header, at) ^ wire.flags(header, at) ^ wire.window(header, at);
  }
});
await headers.run();
console.table(
  headers.tasks.map(({ name, result }) => ({
    name,
    ns: result.state === 'completed' ? ((result.latency.p50 * 1e6) / READS).toFixed(2) : 'failed',
  })),
);

// ---------------------------------------------------------------- TCP alone

/** Runs `round` often enough to be compiled, then times it and counts what it leaves on the heap. */
function measure(name: string, prepare: () => void, round: () => void): Record<string, string> {
  for (let i = 0; i < 60; i++) {
    prepare();
    round();
  }
  const times: number[] = [];
  const bytes: number[] = [];
  for (let i = 0; i < 60; i++) {
    prepare();
    const heap = process.memoryUsage().heapUsed;
    const begin = performance.now();
    round();
    times.push(performance.now() - begin);
    const grown = process.memoryUsage().heapUsed - heap;
    // A collection in the middle would count backwards.
    if (grown >= 0) bytes.push(grown);
  }
  const median = (values: number[]): number =>
    values.sort((a, b) => a - b)[values.length >>> 1] ?? Number.NaN;
  return {
    [`${COUNT} of`]: name,
    'ns each': ((median(times) * 1e6) / COUNT).toFixed(0),
    'heap bytes each': (median(bytes) / COUNT).toFixed(1),
  };
}

const rows: Record<string, string>[] = [];
{
  const { connection, inject, flush } = loneConnection();
  const { sender } = connection;
  const data = allocate(2 * SEGMENT * COUNT);
  rows.push(
    measure(
      'pure ACKs, each for two segments in flight',
      () => {
        sender.congestion.window = 2 * data.length;
        connection.send(data);
        flush();
      },
      () => {
        for (let i = 0; i < COUNT; i++) inject(ACK, 0, (sender.una + 2 * SEGMENT) | 0, 0);
        flush();
      },
    ),
  );
  // What is in flight would be sent again for minutes.
  connection.abort();
}
{
  const { connection, inject, flush } = loneConnection();
  const { receiver, sender } = connection;
  rows.push(
    measure(
      'segments in order, taken at once, one ACK for 32',
      () => {},
      () => {
        for (let i = 0; i < COUNT; i++) {
          inject(ACK, receiver.next, sender.next, SEGMENT);
          sink ^= connection.take()!.length;
          if (i % 32 === 31) flush();
        }
        flush();
      },
    ),
  );
  // What is in flight would be sent again for minutes.
  connection.abort();
}
{
  const { connection, inject, flush } = loneConnection();
  const { receiver, sender } = connection;
  connection.borrower = {
    lend: (view) => {
      sink ^= view.length;
    },
  };
  rows.push(
    measure(
      'segments in order, lent to a listener, one ACK for 32',
      () => {},
      () => {
        for (let i = 0; i < COUNT; i++) {
          inject(ACK, receiver.next, sender.next, SEGMENT);
          if (i % 32 === 31) flush();
        }
        flush();
      },
    ),
  );
  // What is in flight would be sent again for minutes.
  connection.abort();
}
{
  const { connection, inject, flush } = loneConnection();
  const { sender } = connection;
  const data = allocate(SEGMENT * COUNT);
  rows.push(
    measure(
      'segments sent',
      () => {
        sender.congestion.window = 2 * data.length;
        inject(ACK, 0, sender.next, 0);
        flush();
        connection.send(data);
      },
      () => flush(),
    ),
  );
  // What is in flight would be sent again for minutes.
  connection.abort();
}
console.table(rows);

// ---------------------------------------------------------------- through the whole stack

{
  const clock = new VirtualClock();
  const [near, far] = createCable({ clock });
  const client = new DirectStack({ netif: near, ipv4: '10.0.0.1/24', clock });
  const server = new DirectStack({ netif: far, ipv4: '10.0.0.2/24', clock });
  const perRound = 4000;
  const transfer = async (): Promise<number> => {
    await Promise.all([client.ready(), server.ready()]);
    await server.tcp.listen({ port: 80 }, async (flow) => {
      while ((await flow.read()) !== null);
      await flow.close();
    });
    const flow = await client.tcp.connect({ host: '10.0.0.2', port: 80 });
    const block = allocate(SEGMENT * 40);
    let best = Number.POSITIVE_INFINITY;
    for (let round = 0; round < 12; round++) {
      const before = flow.stats.bytesAcked;
      const begin = performance.now();
      while (flow.stats.bytesAcked - before < perRound * SEGMENT) await flow.write(block);
      best = Math.min(best, (performance.now() - begin) / ((flow.stats.bytesAcked - before) / SEGMENT));
    }
    await flow.shutdown();
    await flow.close();
    return best;
  };
  const each = await runVirtual(clock, transfer(), 1e9);
  await runVirtual(clock, Promise.all([client.close(), server.close()]), 60_000);
  console.log(
    `One segment from application to application, two stacks on a cable, checksums made and verified: ${(each * 1e6).toFixed(0)} ns\n`,
  );
}

if (sink === 1) console.log(sink);
