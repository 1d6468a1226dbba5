import { PeerError } from '../../../src/netif/xen/peer-error.ts';
import { randomBelow, SeededRandom } from '../../../src/time/index.ts';
import { Arena } from './arena.ts';
import { type BarePair, connectPair, sendSomething, settle } from './ends.ts';
import { mutate } from './mutate.ts';

export interface FuzzResult {
  /** Ring states that were changed and then looked at. */
  readonly states: number;
  readonly connections: number;
  /** Connections that an end gave up, by the reason without its numbers. */
  readonly reasons: ReadonlyMap<string, number>;
  /** Frames that were handed up in spite of all. */
  readonly frames: number;
}

/** Mutations that a connection may survive before a new one is made. */
const MOST_PER_CONNECTION = 50;

/**
 * Two ends at work, and a third hand that changes their rings. Everything that
 * a netif throws, and every trespass, comes out of here.
 */
export async function fuzz(seed: number, states: number): Promise<FuzzResult> {
  const random = new SeededRandom(seed);
  const { stackTraceLimit } = Error;
  // Every other connection ends with an error; nobody reads where from.
  Error.stackTraceLimit = 0;
  const arena = new Arena();
  const reasons = new Map<string, number>();
  let connections = 0;
  let frames = 0;
  for (let done = 0; done < states; ) {
    arena.reset();
    connections++;
    const pair = connectPair(arena, randomBelow(random, 2) === 0, randomBelow(random, 3) === 0);
    for (let n = 0; n < MOST_PER_CONNECTION && done < states && isAlive(pair); n++) {
      for (let sends = randomBelow(random, 4); sends > 0; sends--) {
        sendSomething(randomBelow(random, 2) === 0 ? pair.front : pair.back, random);
      }
      // At any point: with frames committed, published, or dealt with.
      if (randomBelow(random, 2) === 0) pair.front.flush();
      if (randomBelow(random, 2) === 0) pair.back.flush();
      if (randomBelow(random, 2) === 0) pair.frontClock.turn();
      if (randomBelow(random, 2) === 0) pair.backClock.turn();
      mutate(pair, random);
      done++;
      arena.deliver('front', true);
      arena.deliver('back', true);
      settle(pair, arena);
      if (randomBelow(random, 2) === 0) pair.front.look();
    }
    frames += pair.front.frames + pair.back.frames;
    for (const { error } of [pair.front, pair.back]) {
      if (error === null) continue;
      if (!(error instanceof PeerError)) throw error;
      const reason = error.message.replace(/-?\d+/g, 'N');
      reasons.set(reason, (reasons.get(reason) ?? 0) + 1);
    }
    if (connections % 1000 === 0) arena.checkGuards();
    // Promises that were settled hold on to their connection until somebody lets them run.
    if (connections % 50 === 0) await undefined;
  }
  arena.checkGuards();
  Error.stackTraceLimit = stackTraceLimit;
  return { states, connections, reasons, frames };
}

function isAlive(pair: BarePair): boolean {
  return pair.front.error === null && pair.back.error === null;
}
