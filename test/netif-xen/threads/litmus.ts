/**
 * One of two threads of the store-buffer test: each writes its own word and
 * then reads the other's. Both reading zero means that a load has overtaken a
 * store. The memory is mapped by address in each thread, so that to V8 it is an
 * ordinary ArrayBuffer of that thread, as the pages of another domain are.
 */
import { parentPort, workerData } from 'node:worker_threads';
import { libc } from '../../../src/native/index.ts';

interface Task {
  readonly address: number;
  readonly bytes: number;
  readonly rounds: number;
  readonly self: 0 | 1;
  readonly atomic: boolean;
  /** Where the two wait for each other, and leave what they have read. */
  readonly shared: SharedArrayBuffer;
}

const { address, bytes, rounds, self, atomic, shared } = workerData as Task;
const words = new Int32Array(libc().view(address, bytes));
const meeting = new Int32Array(shared, 0, 4);
const seen = new Int8Array(shared, 64 + self * rounds, rounds);

/** Far from each other, so that each is in a cache line of its own. */
const MINE = self * 32;
const THEIRS = (1 - self) * 32;

function meet(round: number): void {
  Atomics.store(meeting, self, round);
  while (Atomics.load(meeting, 1 - self) < round);
}

function plain(round: number): number {
  words[MINE] = round;
  return words[THEIRS]!;
}

function ordered(round: number): number {
  Atomics.store(words, MINE, round);
  return Atomics.load(words, THEIRS);
}

const access = atomic ? ordered : plain;
for (let round = 1; round <= rounds; round++) {
  meet(round);
  seen[round - 1] = Number(access(round) === round);
}
parentPort!.postMessage('done');
