/** Turns without a look that follow looks in vain: one, two, four, up to this many. */
const MOST_SKIPPED = 64;

/** Looks in succession that may keep alive a process which the device itself does not. */
const MOST_UNREFERENCED = 16;

/**
 * Looks at a device that has just had frames once more before the event loop
 * sleeps, for some microseconds: where the other end answers at once, sleeping
 * and waking cost more than all that the protocols do, in latency and in
 * processor time.
 *
 * A look begins in the event loop's check phase, so what the application does
 * about a frame (ticks, promises) is done by then, and other descriptors and
 * timers have their turn between two looks. After a look in vain, one turn is
 * left out, then two, four, up to 64: where answers take longer than a look, or
 * the other end shares this processor, looks cost next to nothing.
 */
export class BusyPoll {
  readonly #limitMs: number;
  readonly #read: () => boolean;
  #waits = false;
  #vain = 1;
  #skip = 0;
  #stopped = false;
  #referenced = true;
  /** Looks in succession, all but the last of which found something. */
  #looks = 0;

  /**
   * @param limitUs how long a look may take
   * @param read handles what is there, and calls {@link later} for another look; true if there was something
   */
  constructor(limitUs: number, read: () => boolean) {
    this.#limitMs = limitUs / 1000;
    this.#read = read;
  }

  /** Looks do not keep the process alive for good. */
  unref(): void {
    this.#referenced = false;
  }

  stop(): void {
    this.#stopped = true;
  }

  /** Frames have come and are handled: looks for more when this turn's work is done. */
  later(): void {
    if (this.#waits || this.#stopped) return;
    if (this.#skip > 0) {
      this.#skip--;
      return;
    }
    if (!this.#referenced && this.#looks >= MOST_UNREFERENCED) {
      // The event that tells of the next frame lets the process end if nothing else holds it.
      this.#looks = 0;
      return;
    }
    this.#waits = true;
    setImmediate(this.#look);
  }

  readonly #look = (): void => {
    this.#waits = false;
    this.#looks++;
    const end = performance.now() + this.#limitMs;
    while (!this.#stopped) {
      if (this.#read()) {
        this.#vain = Math.max(1, this.#vain >>> 1);
        return;
      }
      if (performance.now() >= end) break;
    }
    this.#looks = 0;
    this.#skip = this.#vain;
    this.#vain = Math.min(2 * this.#vain, MOST_SKIPPED);
  };
}
