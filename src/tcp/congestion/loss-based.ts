import type { Fields } from '../parking/record.ts';
import type { AckSample, Congestion } from './congestion.ts';
import { HyStart } from './hystart.ts';

/** What CUBIC and NewReno have in common: slow start, and what a loss, a timeout and idle time do to the window. */
export abstract class LossBased implements Congestion {
  abstract readonly name: string;
  // As numbers from the first: a field that was `undefined` before gets a new object for every fraction.
  window = 0;
  threshold = Number.POSITIVE_INFINITY;
  segment = 0;
  pipeAck = Number.POSITIVE_INFINITY;
  readonly rate = null;
  readonly controlsRecovery = false;
  readonly pacingRate = 0;
  readonly sendQuantum = Number.POSITIVE_INFINITY;
  #savedWindow = 0;
  #savedThreshold = Number.POSITIVE_INFINITY;
  #savedStart: HyStart | null = null;

  /** Until the first loss (RFC 9406 §4.2). */
  #start: HyStart | null = new HyStart();

  constructor(segment: number, initialWindow: number) {
    this.segment = segment;
    this.window = initialWindow;
  }

  onAck(sample: AckSample): void {
    let left = sample.bytes;
    if (this.window < this.threshold) {
      // Byte counting (RFC 3465), capped where congestion avoidance begins.
      const growth = this.#start === null ? left : this.#start.growth(left, sample);
      if (Number.isNaN(growth)) {
        this.threshold = this.window;
        this.#start = null;
      } else {
        const room = this.threshold - this.window;
        this.window += Math.min(growth, room);
        if (growth <= room) return;
        left -= room;
      }
    }
    this.avoid(left, sample);
  }

  /** Congestion avoidance: `bytes` were delivered. */
  protected abstract avoid(bytes: number, sample: AckSample): void;

  /** What stays of `used` bytes after a loss, or after a mark of the path. */
  protected abstract keep(used: number, isMark: boolean): number;

  /** What a reduction starts from where the window is borne out by its use. */
  protected abstract basis(inFlight: number): number;

  onLoss(inFlight: number): void {
    this.#reduce(inFlight, false);
  }

  onCongestionMark(inFlight: number): void {
    this.#reduce(inFlight, true);
    this.window = this.threshold;
  }

  #reduce(inFlight: number, isMark: boolean): void {
    // RFC 7661 §4.4.1: a window that was not used says nothing of what the path carries.
    const isValidated = this.pipeAck === Number.POSITIVE_INFINITY;
    const used = isValidated ? this.basis(inFlight) : Math.max(this.pipeAck, inFlight);
    this.threshold = Math.max(this.keep(used, isMark), 2 * this.segment);
    this.#start = null;
  }

  /** RFC 6582 §3.2 step 3: the window is ssthresh. */
  onRecoveryEnd(): void {
    this.window = Math.max(this.threshold, this.segment);
  }

  onTimeout(inFlight: number): void {
    this.onLoss(inFlight);
    this.window = this.segment;
  }

  save(): void {
    this.#savedWindow = this.window;
    this.#savedThreshold = this.threshold;
    this.#savedStart = this.#start;
  }

  undo(): void {
    this.window = Math.max(this.window, this.#savedWindow);
    this.threshold = Math.max(this.threshold, this.#savedThreshold);
    this.#start = this.#savedStart;
  }

  onIdle(initialWindow: number): void {
    this.window = Math.min(this.window, initialWindow);
  }

  onUnused(initialWindow: number): void {
    // RFC 7661 §4.4.3.
    this.threshold = Math.max(this.threshold, 0.75 * this.window);
    this.window = Math.min(this.window, Math.max(this.window / 2, initialWindow));
  }

  /** All of it can be put into a record. */
  get parkable(): this {
    return this;
  }

  carry(fields: Fields, una: number, segment: number): void {
    this.window = fields.real(this.window);
    this.threshold = fields.real(this.threshold, Number.POSITIVE_INFINITY);
    this.segment = fields.int(this.segment, segment);
    this.pipeAck = fields.real(this.pipeAck, Number.POSITIVE_INFINITY);
    this.#savedWindow = fields.real(this.#savedWindow);
    this.#savedThreshold = fields.real(this.#savedThreshold, Number.POSITIVE_INFINITY);
    this.#start = carryStart(this.#start, fields, una);
    // Mostly what was saved is what goes on.
    const isSame = fields.bit(this.#savedStart === this.#start);
    this.#savedStart = isSame ? this.#start : carryStart(this.#savedStart, fields, una);
  }
}

function carryStart(start: HyStart | null, fields: Fields, una: number): HyStart | null {
  if (!fields.bit(start !== null)) return null;
  const carried = start ?? new HyStart();
  carried.carry(fields, una);
  return carried;
}
