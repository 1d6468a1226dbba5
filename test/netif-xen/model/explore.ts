import { BackRing, FrontRing } from '../../../src/netif/xen/ring.ts';
import { type Random, randomBelow } from '../../../src/time/index.ts';
import { Backend, type Bits, DONE, Frontend, Violation, type Work } from './ends.ts';
import { Processor } from './processor.ts';

export interface ModelOptions extends Work {
  /** Entries of the ring. */
  readonly size: number;
  /** Where all counters begin, to see them wrap; 0 unless given. */
  readonly first?: number;
  /** Stores do not reach memory at once. */
  readonly buffered?: boolean;
  readonly Front?: typeof FrontRing;
  readonly Back?: typeof BackRing;
}

const ENTRY_WORDS = 2;
const HEADER_WORDS = 16;

/** A ring with both ends at work on it. */
class Model {
  readonly words: Int32Array;
  readonly bits: Bits = { front: false, back: false };
  readonly front: Processor;
  readonly back: Processor;
  readonly #frontend: Frontend;

  constructor(options: ModelOptions) {
    const { size, first = 0, buffered = false, Front = FrontRing, Back = BackRing } = options;
    this.words = new Int32Array(HEADER_WORDS + size * ENTRY_WORDS);
    const bytes = new Uint8Array(this.words.buffer);
    const front = new Front(bytes, ENTRY_WORDS);
    if (front.size !== size) throw new RangeError(`a ring of ${front.size}, not ${size}`);
    front.requestProducer = first;
    front.published = first;
    front.responseConsumer = first;
    this.words.set([first, first + 1, first, first + 1]);
    const back = new Back(bytes, ENTRY_WORDS);
    this.#frontend = new Frontend(front, this.bits, options);
    this.front = new Processor(this.#frontend, buffered);
    this.back = new Processor(new Backend(back, this.bits), buffered);
  }

  get steps(): number {
    return this.front.steps + this.back.steps;
  }

  /** All answered; the backend has nothing more to do. */
  get isDone(): boolean {
    return this.#frontend.pc === DONE;
  }

  step(index: number): void {
    const { steps } = this.front;
    if (index < steps) this.front.step(index, this.words);
    else this.back.step(index - steps, this.words);
  }

  save(): number[][] {
    return [
      [...this.words, Number(this.bits.front), Number(this.bits.back)],
      this.front.save(),
      this.back.save(),
    ];
  }

  restore(state: readonly number[][]): void {
    const shared = state[0]!;
    const length = this.words.length;
    this.words.set(shared.slice(0, length));
    this.bits.front = shared[length] === 1;
    this.bits.back = shared[length + 1] === 1;
    this.front.restore(state[1]!);
    this.back.restore(state[2]!);
  }
}

/** What was found: null if nothing was wrong in any of the states. */
export interface Finding {
  readonly states: number;
  readonly violation: string | null;
}

const LOST = 'both ends sleep, and not everything is answered';

/** Goes through every state that any interleaving of the two ends leads to. */
export function exploreAll(options: ModelOptions): Finding {
  const model = new Model(options);
  const seen = new Set<string>();
  const stack = [model.save()];
  seen.add(keyOf(stack[0]!));
  while (stack.length > 0) {
    const state = stack.pop()!;
    model.restore(state);
    const { steps } = model;
    if (steps === 0 && !model.isDone) return { states: seen.size, violation: LOST };
    for (let step = 0; step < steps; step++) {
      model.restore(state);
      try {
        model.step(step);
      } catch (error) {
        if (!(error instanceof Violation)) throw error;
        return { states: seen.size, violation: error.message };
      }
      const next = model.save();
      const key = keyOf(next);
      if (seen.has(key)) continue;
      seen.add(key);
      stack.push(next);
    }
  }
  return { states: seen.size, violation: null };
}

/** Takes one interleaving at random, to its end; the steps it took. `bias` in 0…1 favours the frontend. */
export function exploreOne(options: ModelOptions, random: Random, bias: number): Finding {
  const model = new Model(options);
  let states = 0;
  try {
    for (;;) {
      const front = model.front.steps;
      const back = model.back.steps;
      if (front + back === 0) return { states, violation: model.isDone ? null : LOST };
      const toFront = back === 0 || (front > 0 && randomBelow(random, 1 << 16) < bias * 65_536);
      model.step(toFront ? randomBelow(random, front) : front + randomBelow(random, back));
      states++;
    }
  } catch (error) {
    if (!(error instanceof Violation)) throw error;
    return { states, violation: error.message };
  }
}

function keyOf(state: readonly number[][]): string {
  return state.map((part) => String.fromCharCode(...part.map((value) => value & 0xffff))).join('|');
}
