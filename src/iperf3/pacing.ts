import type { Alarm, Clock } from '../time/index.ts';

/** Resolves at `atMs` of the clock, or in a turn of its own where that is past. */
export function sleepUntil(clock: Clock, atMs: number): Promise<void> {
  return new Promise((resolve) => clock.alarm(resolve).set(atMs));
}

/** The first of `promises` to settle, unless `ms` pass before: then what `late` gives or throws. */
export async function within<T>(
  clock: Clock,
  ms: number,
  promises: readonly Promise<T>[],
  late: () => T,
): Promise<T> {
  let alarm: Alarm | undefined;
  const timeout = new Promise<T>((resolve, reject) => {
    alarm = clock.alarm(() => {
      try {
        resolve(late());
      } catch (error) {
        reject(error);
      }
    });
    alarm.set(clock.now() + ms);
  });
  try {
    return await Promise.race([...promises, timeout]);
  } finally {
    alarm?.clear();
  }
}

/** When the next block of a stream of a fixed rate is due. */
export class Pace {
  readonly #rateBps: number;
  #dueMs: number;

  constructor(rateBps: number, startMs: number) {
    this.#rateBps = rateBps;
    this.#dueMs = startMs;
  }

  get dueMs(): number {
    return this.#dueMs;
  }

  sent(bytes: number): void {
    this.#dueMs += (bytes * 8000) / this.#rateBps;
  }
}

/**
 * What a test may still move over all its streams: by bytes, by blocks, or
 * without end. Senders take from it, receivers tell it.
 */
export class Budget {
  readonly #blockBytes: number;
  #bytes: number;
  readonly #onSpent: () => void;

  /** @param bytes with `blocks`, the end; 0 for none. @param onSpent called once by a receiver that has had it all */
  constructor(bytes: number, blocks: number, blockBytes: number, onSpent: () => void = () => {}) {
    this.#blockBytes = blockBytes;
    this.#bytes = Math.min(
      bytes || Number.POSITIVE_INFINITY,
      blocks * blockBytes || Number.POSITIVE_INFINITY,
    );
    this.#onSpent = onSpent;
  }

  /** Takes a block to send; false where nothing is left. */
  take(): boolean {
    if (this.#bytes <= 0) return false;
    this.#bytes -= this.#blockBytes;
    return true;
  }

  received(bytes: number): void {
    const before = this.#bytes;
    this.#bytes -= bytes;
    if (before > 0 && this.#bytes <= 0) this.#onSpent();
  }
}
