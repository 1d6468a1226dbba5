/**
 * The maximum of a stream over a window of time, by Kathleen Nichols' method: the
 * best three samples of the window are kept, in order of time, so that a worthy
 * successor is at hand when the best grows too old. Time in any unit that grows.
 */
export class WindowedMax {
  #best = 0;
  #bestAt = 0;
  #second = 0;
  #secondAt = 0;
  #third = 0;
  #thirdAt = 0;

  get best(): number {
    return this.#best;
  }

  /** Takes a sample; answers the maximum of those not older than `window`. */
  update(value: number, at: number, window: number): number {
    if (value >= this.#best || at - this.#thirdAt > window) {
      this.#best = value;
      this.#bestAt = at;
      this.#setSecond(value, at);
      return value;
    }
    if (value >= this.#second) this.#setSecond(value, at);
    else if (value >= this.#third) this.#setThird(value, at);
    this.#age(value, at, window);
    return this.#best;
  }

  #setSecond(value: number, at: number): void {
    this.#second = value;
    this.#secondAt = at;
    this.#setThird(value, at);
  }

  #setThird(value: number, at: number): void {
    this.#third = value;
    this.#thirdAt = at;
  }

  /** Successors move up when the best is too old, and are taken from each half and quarter of the window. */
  #age(value: number, at: number, window: number): void {
    if (at - this.#bestAt > window) {
      this.#promote(value, at);
      if (at - this.#bestAt > window) this.#promote(value, at);
    } else if (this.#secondAt === this.#bestAt && at - this.#bestAt > window / 4) {
      this.#setSecond(value, at);
    } else if (this.#thirdAt === this.#secondAt && at - this.#bestAt > window / 2) {
      this.#setThird(value, at);
    }
  }

  #promote(value: number, at: number): void {
    this.#best = this.#second;
    this.#bestAt = this.#secondAt;
    this.#second = this.#third;
    this.#secondAt = this.#thirdAt;
    this.#setThird(value, at);
  }
}

/** BBR.max_bw_filter (draft-ietf-ccwg-bbr §5.5.4, §5.5.6): the maximum over the present and the previous ProbeBW cycle. */
export class TwoCycleMax {
  #previous = 0;
  #current = 0;

  get best(): number {
    return Math.max(this.#previous, this.#current);
  }

  update(value: number): void {
    if (value > this.#current) this.#current = value;
  }

  /** AdvanceMaxBwFilter: a cycle without any sample does not count as one. */
  advance(): void {
    if (this.#current === 0) return;
    this.#previous = this.#current;
    this.#current = 0;
  }
}
