import type { Clock } from '../../time/index.ts';

/** Waits for conditions that others bring about, for as long as is decent. */
export class Patience {
  readonly #clock: Clock;
  readonly #limitMs: number;
  #wake: () => void = () => {};

  constructor(clock: Clock, limitMs: number) {
    this.#clock = clock;
    this.#limitMs = limitMs;
  }

  /** Something has changed: whoever waits looks again. */
  changed(): void {
    this.#wake();
  }

  /** Until `holds` answers true, asked at first and after every change; or until it has taken too long. */
  async until(holds: () => Promise<boolean>): Promise<void> {
    let isLate = false;
    const alarm = this.#clock.alarm(() => {
      isLate = true;
      this.#wake();
    });
    alarm.set(this.#clock.now() + this.#limitMs);
    try {
      while (!isLate) {
        const change = new Promise<void>((resolve) => {
          this.#wake = resolve;
        });
        if (await holds()) return;
        await change;
      }
    } finally {
      alarm.clear();
      this.#wake = () => {};
    }
  }
}
