/*
 * Whether a packet costs the same however many connections there are, and
 * however much is in flight: `npm run bench:scale`. CPU time of this process.
 */
import { allocate } from '../src/bytes/index.ts';
import { ACK } from '../src/tcp/wire.ts';
import { loneConnection, manyConnections } from './support.ts';

const SEGMENT = 1448;
const REQUEST = 20;
const REPEATS = 7;

/** ns of CPU per operation: the least of several runs of `count`, after one to be compiled. */
function cost(count: number, run: () => void): number {
  run();
  let least = Number.POSITIVE_INFINITY;
  for (let i = 0; i < REPEATS; i++) {
    const before = process.cpuUsage();
    run();
    const { user, system } = process.cpuUsage(before);
    least = Math.min(least, ((user + system) * 1000) / count);
  }
  return least;
}

const EXCHANGES = 100_000;
const peers = manyConnections(allocate(100));
const connections: Record<string, string>[] = [];
let opened = 0;
for (const count of [10, 1000, 100_000]) {
  await peers.open(count - opened);
  opened = count;
  const exchange = (among: number) => () => {
    for (let i = 0; i < EXCHANGES; i++) {
      // In an order that is no pattern for the caches.
      const index = Math.imul(i, 0x9e3779b1) >>> 0;
      peers.exchange(index % among, REQUEST);
    }
  };
  connections.push({
    connections: count.toLocaleString('en'),
    'ns per request and answer, 10 of them busy': cost(EXCHANGES, exchange(10)).toFixed(0),
    'all of them busy': cost(EXCHANGES, exchange(count)).toFixed(0),
  });
}
console.table(connections);

const inFlight: Record<string, string>[] = [];
for (const kibibytes of [64, 1024, 16 * 1024, 64 * 1024]) {
  const segments = Math.ceil((kibibytes * 1024) / SEGMENT / 2) * 2;
  const most = segments * SEGMENT;
  const lone = loneConnection({ pacing: false, sendBuffer: 2 * most, receiveBuffer: most });
  const { sender } = lone.connection;
  const block = allocate(SEGMENT * 2);
  const fill = (): void => {
    sender.congestion.window = most;
    while (sender.queue.length < most) lone.connection.send(block);
    lone.flush();
  };
  fill();
  const acks = 40_000;
  const each = cost(acks, () => {
    for (let i = 0; i < acks; i++) {
      lone.inject(ACK, 0, (sender.una + 2 * SEGMENT) | 0, 0);
      sender.congestion.window = most;
      lone.connection.send(block);
      if (i % 16 === 15) lone.flush();
    }
  });
  inFlight.push({
    'in flight, KiB': kibibytes.toLocaleString('en'),
    'ns per ACK and the two segments it lets go': each.toFixed(0),
  });
}
console.table(inFlight);
process.exit();
