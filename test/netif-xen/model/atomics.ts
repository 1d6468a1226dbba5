/** What `Atomics.load` and `Atomics.store` do while {@link withAtomics} runs. */
export interface AtomicsHooks {
  load(words: Int32Array, index: number): number;
  store(words: Int32Array, index: number, value: number): number;
}

type Mutable = { -readonly [K in 'load' | 'store']: unknown };

const { load, store } = Atomics;

export const realLoad = (words: Int32Array, index: number): number => load(words, index);
export const realStore = (words: Int32Array, index: number, value: number): number =>
  store(words, index, value);

/**
 * Runs `task` with the two operations replaced, so that a test stands at every
 * access to a counter that code under test makes: `src/` is not changed for it.
 */
export function withAtomics<T>(hooks: AtomicsHooks, task: () => T): T {
  const atomics = Atomics as unknown as Mutable;
  atomics.load = hooks.load;
  atomics.store = hooks.store;
  try {
    return task();
  } finally {
    atomics.load = load;
    atomics.store = store;
  }
}
