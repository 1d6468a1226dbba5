/*
 * Whether a packet costs the same however many connections there are, and
 * however much is in flight: `npm run bench:scale`. CPU time of this process.
 *
 * Where all of very many connections are busy, what a packet needs is in no
 * cache any more. How much of the cost that is tells the last column: the same
 * visits to as many chains of plain objects, one object for each that belongs to
 * a connection, each known only from the one before.
 */
import { allocate } from '../src/bytes/index.ts';
import { ACK } from '../src/tcp/wire.ts';
import { loneConnection, manyConnections } from './support.ts';

const SEGMENT = 1448;
const REQUEST = 20;
const REPEATS = 7;

/** ns of CPU per operation of a run of `count`. */
function costOnce(count: number, run: () => void): number {
  const before = process.cpuUsage();
  run();
  const { user, system } = process.cpuUsage(before);
  return ((user + system) * 1000) / count;
}

/** The least of several runs, after one to be compiled. */
function cost(count: number, run: () => void): number {
  run();
  let least = Number.POSITIVE_INFINITY;
  for (let i = 0; i < REPEATS; i++) least = Math.min(least, costOnce(count, run));
  return least;
}

const EXCHANGES = 100_000;

/** An object of one cache line that leads to the next. */
class Link {
  a = 0;
  b = 0;
  c = 0;
  d = 0;
  readonly next: Link | null;

  constructor(next: Link | null) {
    this.next = next;
  }
}

/** Connection, working state, its two halves, what these have of their own, and who reads. */
const OBJECTS = 25;

/** ns to read and write one object of a chain, by the number of chains; they lie as connections' objects do. */
function missCost(count: number): number {
  const chains: Link[] = Array.from({ length: count }, () => {
    let first: Link | null = null;
    for (let i = 0; i < OBJECTS; i++) first = new Link(first);
    return first!;
  });
  return (
    cost(EXCHANGES, () => {
      for (let i = 0; i < EXCHANGES; i++) {
        let link: Link | null = chains[(Math.imul(i, 0x9e3779b1) >>> 0) % count]!;
        for (; link !== null; link = link.next) link.a++;
      }
    }) / OBJECTS
  );
}

const misses = new Map([10, 1000, 100_000].map((count) => [count, missCost(count)]));
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
    [`reading ${OBJECTS} objects of each`]: (OBJECTS * misses.get(count)!).toFixed(0),
  });
}
console.table(connections);

// All of them fall quiet, are parked after two seconds, and are woken, in two ways.
for (const [name, together] of [
  ['all of them at once', opened],
  ['256 at a time', 256],
] as const) {
  for (let i = 0; i < opened; i++) peers.acknowledge(i);
  await peers.allParked();
  const each = costOnce(together, () => {
    for (let i = 0; i < together; i++) peers.exchange((Math.imul(i, 0x9e3779b1) >>> 0) % opened, REQUEST);
  });
  console.log(`ns per request and answer of connections that were parked, ${name}: ${each.toFixed(0)}`);
}

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
