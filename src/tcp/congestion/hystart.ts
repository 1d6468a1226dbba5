import type { Fields } from '../parking/record.ts';
import type { AckSample } from './congestion.ts';

/** RFC 9406 §4.3. */
const MIN_THRESHOLD_MS = 4;
const MAX_THRESHOLD_MS = 16;
const DIVISOR = 8;
const SAMPLES = 8;
const CONSERVATIVE_DIVISOR = 4;
const CONSERVATIVE_ROUNDS = 5;

/**
 * HyStart++ (RFC 9406): leaves the initial slow start when the RTT grows, before
 * the queue overflows; through a stage of slower growth that tells noise from a
 * full path. Its limit L on growth per ACK is left infinite: bytes are counted,
 * and one ACK here stands for a whole batch.
 */
export class HyStart {
  #previousMinimum = Number.POSITIVE_INFINITY;
  #minimum = Number.POSITIVE_INFINITY;
  #samples = 0;
  #roundEnd = 0;
  #roundOpen = false;
  #baseline = Number.POSITIVE_INFINITY;
  #conservative = false;
  #conservativeRounds = 0;

  /** By how much the window grows for `bytes` acknowledged in slow start; NaN says that slow start is over. */
  growth(bytes: number, sample: AckSample): number {
    if (!this.#roundOpen || ((sample.una - this.#roundEnd) | 0) >= 0) {
      if (this.#roundOpen && this.#conservative && ++this.#conservativeRounds >= CONSERVATIVE_ROUNDS) {
        return Number.NaN;
      }
      this.#roundOpen = true;
      this.#roundEnd = sample.next;
      // A round that measured next to nothing (a recovery, a standstill) is no measure for the next.
      if (this.#samples >= SAMPLES) this.#previousMinimum = this.#minimum;
      this.#minimum = Number.POSITIVE_INFINITY;
      this.#samples = 0;
    }
    if (sample.rttMs > 0) {
      this.#minimum = Math.min(this.#minimum, sample.rttMs);
      this.#samples++;
      if (this.#samples >= SAMPLES) this.#judge();
    }
    return this.#conservative ? bytes / CONSERVATIVE_DIVISOR : bytes;
  }

  #judge(): void {
    if (this.#conservative) {
      // The RTT went down again: it was noise.
      if (this.#minimum < this.#baseline) {
        this.#conservative = false;
        this.#baseline = Number.POSITIVE_INFINITY;
      }
      return;
    }
    if (!Number.isFinite(this.#previousMinimum)) return;
    const threshold = Math.max(MIN_THRESHOLD_MS, Math.min(this.#previousMinimum / DIVISOR, MAX_THRESHOLD_MS));
    if (this.#minimum >= this.#previousMinimum + threshold) {
      this.#baseline = this.#previousMinimum + threshold;
      this.#conservative = true;
      this.#conservativeRounds = 0;
    }
  }

  /** Its state, for a record or from one; `una` is SND.UNA. */
  carry(fields: Fields, una: number): void {
    this.#previousMinimum = fields.real(this.#previousMinimum, Number.POSITIVE_INFINITY);
    this.#minimum = fields.real(this.#minimum, Number.POSITIVE_INFINITY);
    this.#samples = fields.count(this.#samples);
    this.#roundOpen = fields.bit(this.#roundOpen);
    this.#roundEnd = this.#roundOpen ? fields.int(this.#roundEnd, una) : una;
    this.#baseline = fields.real(this.#baseline, Number.POSITIVE_INFINITY);
    this.#conservative = fields.bit(this.#conservative);
    this.#conservativeRounds = fields.count(this.#conservativeRounds);
  }
}
