/*
 * What an idle connection costs: `npm run bench:idle [COUNT]`.
 * A server with one listener takes COUNT connections (100,000), each of which
 * sends a request and gets an answer, and is then left alone.
 */
import { allocate } from '../src/bytes/index.ts';
import { manyConnections } from './support.ts';

const count = Number(process.argv[2] ?? 100_000);
const collect = (globalThis as { gc?: () => void }).gc;
if (collect === undefined) throw new Error('run this with node --expose-gc');

function used(): number {
  for (let i = 0; i < 3; i++) collect!();
  const { heapUsed, external } = process.memoryUsage();
  return heapUsed + external;
}

const peers = manyConnections(allocate(100));
// What the stack makes once is not the connections'.
await peers.open(100);
await peers.allParked();
const before = used();
await peers.open(count);
await peers.allParked();
const after = used();
const timers = peers.pendingTimers;
console.log(
  `${count} idle connections: ${((after - before) / count).toFixed(0)} bytes each, heap and external; ` +
    `${timers} timers armed`,
);
process.exit();
