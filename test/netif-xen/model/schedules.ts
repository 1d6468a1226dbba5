import type { Frame } from '../../../src/netif/index.ts';
import { type Random, randomBelow, SeededRandom } from '../../../src/time/index.ts';
import { Arena } from '../fuzz/arena.ts';
import { type BareNetif, type BarePair, connectPair, settle } from '../fuzz/ends.ts';
import { realLoad, realStore, withAtomics } from './atomics.ts';

/** Schedules after which the pair is made anew, so that counters and pages begin elsewhere. */
const PER_PAIR = 500;

export interface ScheduleResult {
  readonly schedules: number;
  readonly frames: number;
  /** How often an end was interrupted between two accesses to a counter. */
  readonly interrupts: number;
}

/**
 * Both netifs as they are, at work on one pair of rings in random turns, each
 * interrupted by the other at random accesses to the counters. After every
 * schedule the two are left alone until they sleep; then everything sent must
 * have arrived, once and in order, and every id, page and buffer be back.
 */
export function runSchedules(seed: number, schedules: number): ScheduleResult {
  const random = new SeededRandom(seed);
  const arena = new Arena();
  let frames = 0;
  let interrupts = 0;
  for (let done = 0; done < schedules; ) {
    arena.reset();
    const pair = connectPair(arena, randomBelow(random, 2) === 0);
    const ways = [new Way(pair.front, pair.back), new Way(pair.back, pair.front)] as const;
    let active: 'front' | 'back' = 'front';
    let depth = 0;
    /** One thing that an end may do at any time. */
    const act = (end: 'front' | 'back'): void => {
      const way = ways[end === 'front' ? 0 : 1];
      const before = active;
      active = end;
      switch (randomBelow(random, 6)) {
        case 0:
          arena.deliver(end, false);
          break;
        case 1:
          (end === 'front' ? pair.frontClock : pair.backClock).turn();
          break;
        case 2:
          way.from.flush();
          break;
        default:
          for (let n = 1 + randomBelow(random, way.burst); n > 0; n--) way.send(random);
      }
      active = before;
    };
    const interrupt = (): void => {
      if (depth > 0 || randomBelow(random, 2) !== 0) return;
      depth++;
      interrupts++;
      act(active === 'front' ? 'back' : 'front');
      depth--;
    };
    const hooks = {
      load: (words: Int32Array, index: number): number => {
        interrupt();
        return realLoad(words, index);
      },
      store: (words: Int32Array, index: number, value: number): number => {
        interrupt();
        return realStore(words, index, value);
      },
    };
    for (let n = 0; n < PER_PAIR && done < schedules; n++, done++) {
      for (const way of ways) way.burst = randomBelow(random, 8) === 0 ? 100 : 3;
      withAtomics(hooks, () => {
        for (let steps = 2 + randomBelow(random, 12); steps > 0; steps--) {
          act(randomBelow(random, 2) === 0 ? 'front' : 'back');
        }
      });
      finish(pair, arena, ways, done);
    }
    frames += ways[0].arrived + ways[1].arrived;
  }
  arena.checkGuards();
  return { schedules, frames, interrupts };
}

function finish(pair: BarePair, arena: Arena, ways: readonly Way[], schedule: number): void {
  pair.front.flush();
  pair.back.flush();
  settle(pair, arena);
  if (pair.front.error ?? pair.back.error) throw pair.front.error ?? pair.back.error;
  for (const [i, way] of ways.entries()) {
    if (way.arrived !== way.sent) {
      const end = i === 0 ? 'frontend' : 'backend';
      throw new Error(`schedule ${schedule}: ${way.arrived} of ${way.sent} frames of the ${end} arrived`);
    }
  }
  pair.front.look();
  if (pair.front.inFlight + pair.back.inFlight > 0) throw new Error(`schedule ${schedule}: frames are left`);
}

/** One direction: numbered frames. */
class Way {
  readonly from: BareNetif;
  /** Frames at once. */
  burst = 1;
  sent = 0;
  arrived = 0;

  constructor(from: BareNetif, to: BareNetif) {
    this.from = from;
    to.onFrame = (frame) => this.#receive(frame);
  }

  send(random: Random): void {
    const size = randomBelow(random, 10) === 0 ? 60 + randomBelow(random, 20_000) : 60;
    const frame = this.from.reserve(size);
    if (frame === null) return;
    const { bytes, start, end } = frame;
    // To everybody, so that no filter has an opinion.
    bytes.fill(0xff, start, start + 6);
    write(bytes, start + 6, ++this.sent);
    write(bytes, end - 4, this.sent);
    this.from.commit(frame);
  }

  #receive({ bytes, start, end }: Frame): void {
    this.arrived++;
    const [first, last] = [read(bytes, start + 6), read(bytes, end - 4)];
    if (first !== this.arrived || last !== this.arrived) {
      throw new Error(`frame ${this.arrived} is ${first} at its beginning and ${last} at its end`);
    }
  }
}

function write(bytes: Uint8Array, at: number, value: number): void {
  for (let i = 0; i < 4; i++) bytes[at + i] = value >>> (i * 8);
}

function read(bytes: Uint8Array, at: number): number {
  return bytes[at]! | (bytes[at + 1]! << 8) | (bytes[at + 2]! << 16) | (bytes[at + 3]! << 24);
}
