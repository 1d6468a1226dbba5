import type { Fields } from '../parking/record.ts';
import { LossBased } from './loss-based.ts';

/** RFC 8511 §3.1: the share that is kept when a packet is marked. */
const BETA_ECN = 0.8;

/** RFC 5681 with byte counting (RFC 3465); recovery by RFC 6582 is in `recovery/`. */
export class NewReno extends LossBased {
  readonly name = 'newreno';
  /** Bytes acknowledged in congestion avoidance since the window last grew. */
  #acknowledged = 0;

  /** One segment per window of data (RFC 5681 §3.1, by bytes). */
  protected avoid(bytes: number): void {
    this.#acknowledged += bytes;
    while (this.#acknowledged >= this.window) {
      this.#acknowledged -= this.window;
      this.window += this.segment;
    }
  }

  /** RFC 5681 equation 4. */
  protected keep(used: number, isMark: boolean): number {
    this.#acknowledged = 0;
    return isMark ? used * BETA_ECN : used / 2;
  }

  protected basis(inFlight: number): number {
    return inFlight;
  }

  override carry(fields: Fields, una: number, segment: number): void {
    super.carry(fields, una, segment);
    this.#acknowledged = fields.real(this.#acknowledged);
  }
}
