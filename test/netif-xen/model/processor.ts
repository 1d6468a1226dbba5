import { realLoad, realStore, withAtomics } from './atomics.ts';

/** Thrown at the access that is not to be made yet. */
const SUSPENDED = Symbol('suspended');

/**
 * One end's program: the operation at `pc` is called, and answers the next one.
 * An operation either makes accesses to counters (through the ring under test),
 * or touches entries, not both: it is run again from its start for each access.
 */
export interface Program {
  pc: number;
  /** The operation at `pc`; `choice` where it may go several ways. */
  run(pc: number, choice: number): number;
  /** How many ways the operation at `pc` may go; 0 if it cannot go on now. */
  choices(pc: number): number;
  /** All private state, to come back to. */
  save(): number[];
  restore(state: readonly number[]): void;
}

/** A store on its way to memory. */
interface Pending {
  readonly index: number;
  readonly value: number;
}

/**
 * Executes the two ends' programs access by access. Code that cannot be stopped
 * in the middle is run again up to where it was, with the values that it had
 * loaded: the accesses after that are new. So every interleaving of the
 * accesses of the code as it is shipped can be taken.
 *
 * With `buffered`, stores wait in a queue that the processor drains when it
 * likes (the memory model of x86 without fences): what `Atomics.store`
 * prevents.
 */
export class Processor {
  readonly program: Program;
  readonly #buffered: boolean;
  /** Results of the accesses that the operation at `pc` has made. */
  #log: number[] = [];
  /** Private state at the start of that operation, and the way it goes. */
  #start: number[];
  #choice = 0;
  #pending: Pending[] = [];

  constructor(program: Program, buffered: boolean) {
    this.program = program;
    this.#buffered = buffered;
    this.#start = program.save();
  }

  get words(): number {
    return this.#pending.length;
  }

  /** How many different steps are possible: the program's ways, and one more if a store may reach memory. */
  get steps(): number {
    const own = this.#log.length > 0 ? 1 : this.program.choices(this.program.pc);
    return own + (this.#pending.length > 0 ? 1 : 0);
  }

  /** Takes step number `index` of {@link steps}. */
  step(index: number, words: Int32Array): void {
    const own = this.#log.length > 0 ? 1 : this.program.choices(this.program.pc);
    if (index >= own) {
      const { index: at, value } = this.#pending.shift()!;
      realStore(words, at, value);
      return;
    }
    const { program } = this;
    if (this.#log.length === 0) this.#choice = index;
    program.restore(this.#start);
    let cursor = 0;
    let budget = 1;
    const access = (perform: () => number): number => {
      if (cursor < this.#log.length) return this.#log[cursor++]!;
      if (budget-- === 0) throw SUSPENDED;
      const value = perform();
      this.#log.push(value);
      cursor++;
      return value;
    };
    const hooks = {
      load: (memory: Int32Array, at: number): number =>
        access(() => this.#pending.findLast((each) => each.index === at)?.value ?? realLoad(memory, at)),
      store: (memory: Int32Array, at: number, value: number): number =>
        access(() => {
          if (!this.#buffered) return realStore(memory, at, value);
          this.#pending.push({ index: at, value });
          return value;
        }),
    };
    try {
      program.pc = withAtomics(hooks, () => program.run(program.pc, this.#choice));
    } catch (error) {
      if (error !== SUSPENDED) throw error;
      return;
    }
    this.#log = [];
    this.#start = program.save();
  }

  save(): number[] {
    const pending = this.#pending.flatMap(({ index, value }) => [index, value]);
    return [
      this.program.pc,
      this.#choice,
      this.#start.length,
      ...this.#start,
      this.#log.length,
      ...this.#log,
      ...pending,
    ];
  }

  restore(state: readonly number[]): void {
    const [pc, choice, length] = state as [number, number, number];
    this.program.pc = pc;
    this.#choice = choice;
    let at = 3;
    this.#start = state.slice(at, at + length);
    at += length;
    const logged = state[at++]!;
    this.#log = state.slice(at, at + logged);
    at += logged;
    this.#pending = [];
    for (; at < state.length; at += 2) this.#pending.push({ index: state[at]!, value: state[at + 1]! });
    this.program.restore(this.#start);
  }
}
