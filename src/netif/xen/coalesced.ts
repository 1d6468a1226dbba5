import { EMPTY } from '../../bytes/index.ts';
import { Coalescer } from '../coalesce.ts';
import { Frame, type NetifCounters, type NetifHandler } from '../netif.ts';

/**
 * Received frames on their way up where the ring carries ordinary ones only:
 * segments of one connection go up as one frame. Frames lie behind each other
 * in one piece of memory; one that goes on with a run is put to where its
 * payload follows the run's (`overlay`), and `extend` looks whether it does.
 */
export class CoalescedFrames {
  readonly #run = new Coalescer();
  readonly #frame = new Frame(EMPTY);
  readonly #counters: NetifCounters;
  #handler!: NetifHandler;
  #isOpen!: () => boolean;
  #kept = 0;

  constructor(counters: NetifCounters) {
    this.#counters = counters;
  }

  /** A batch begins, for `handler` as long as `isOpen` says yes. */
  start(handler: NetifHandler, isOpen: () => boolean): void {
    this.#handler = handler;
    this.#isOpen = isOpen;
  }

  /** Whether a run is open. */
  get hasRun(): boolean {
    return this.#run.isOpen;
  }

  /** One past the run. */
  get end(): number {
    return this.#run.end;
  }

  /** Where the next frame is to be put; what it overwrites is kept aside. Only while a run is open. */
  overlay(): number {
    this.#run.aside();
    return this.#run.overlay;
  }

  /**
   * A frame was put at `overlay`, up to `end`. -1 if it went on with the run; else the run has gone up,
   * and the frame begins at the answer, with its length as it was.
   */
  extend(bytes: Uint8Array, end: number): number {
    const run = this.#run;
    const at = run.overlay;
    if (run.extend(end)) {
      run.restore();
      run.grow(end);
      if (run.isFull) this.handOver();
      return -1;
    }
    const behind = run.end;
    bytes.copyWithin(behind, at, end);
    run.restore();
    this.handOver();
    return behind;
  }

  /** A frame while no run is open: the beginning of one, or by itself. */
  add(frame: Frame): void {
    if (!this.#run.begin(frame.bytes, frame.start, frame.end)) this.#give(frame, frame.end);
    else if (this.#run.isFull) this.handOver();
  }

  /** The run, if there is one, goes up as one frame, without what is damaged of it. */
  handOver(): void {
    const run = this.#run;
    const { end } = run;
    if (run.handOver(this.#frame, this.#counters, this.#handler, this.#isOpen)) this.#kept = end;
  }

  /** One past the last byte that someone keeps since the last call; 0 for none. */
  takeKept(): number {
    const kept = this.#kept;
    this.#kept = 0;
    return kept;
  }

  #give(frame: Frame, end: number): void {
    if (!this.#isOpen()) return;
    this.#handler.receive(frame);
    if (frame.retained) this.#kept = end;
  }
}
