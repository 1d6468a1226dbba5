/**
 * Runs an asynchronous task again and again, never twice at a time: once more
 * whenever something has changed since its last start. It is for state machines
 * that look at the whole state and do the next thing.
 */
export class Serial {
  readonly #step: () => Promise<void>;
  readonly #failed: (error: Error) => void;
  #isDue = false;
  #running: Promise<void> | null = null;
  #stopped = false;

  constructor(step: () => Promise<void>, failed: (error: Error) => void) {
    this.#step = step;
    this.#failed = failed;
  }

  /** Something has changed. */
  kick(): void {
    this.#isDue = true;
    this.#running ??= this.#run();
  }

  /** Resolves when no step is running. */
  async idle(): Promise<void> {
    await this.#running;
  }

  /** Starts no more steps; resolves when the one that is running is over. */
  async stop(): Promise<void> {
    this.#stopped = true;
    await this.#running;
  }

  async #run(): Promise<void> {
    try {
      while (this.#isDue && !this.#stopped) {
        this.#isDue = false;
        await this.#step();
      }
    } catch (error) {
      this.#stopped = true;
      this.#failed(error as Error);
    } finally {
      this.#running = null;
    }
  }
}
