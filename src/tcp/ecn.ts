import type { TcpConfig } from './config.ts';
import type { Fields } from './parking/record.ts';
import type { Segment } from './segment.ts';
import { atOrBefore } from './sequence.ts';
import { ACK, CWR, ECE, SYN } from './wire.ts';

const BOTH = ECE | CWR;

/** Explicit congestion notification of one connection (RFC 3168 §6.1). */
export class EcnState {
  /** Agreed on in the SYNs. */
  agreed = false;
  /** The peer's packets were marked, and it has not answered that yet: every ACK says so. */
  #echo = false;
  /** We have reduced because of a mark, and the next new data says so. */
  #reducedPending = false;
  /** Marks in ACKs up to here, and at it, belong to the reduction that was made. */
  #reducedUntil = 0;

  begin(initial: number): void {
    this.#reducedUntil = initial;
  }

  /** Whether a SYN asks for it, or agrees to it (RFC 3168 §6.1.1: both flags ask, one agrees). */
  static asks(flags: number): boolean {
    return (flags & BOTH) === BOTH;
  }

  takeSyn(flags: number, config: TcpConfig): void {
    if ((flags & ACK) !== 0) this.agreed = config.ecn === true && (flags & BOTH) === ECE;
    else this.agreed = config.ecn !== false && EcnState.asks(flags);
  }

  /** Flags of our SYN or SYN-ACK. A SYN that got lost twice may have been dropped for them (RFC 3168 §6.1.1.1). */
  synFlags(answering: boolean, config: TcpConfig, retries: number): number {
    if (answering) return SYN | ACK | (this.agreed ? ECE : 0);
    return config.ecn === true && retries < 2 ? SYN | BOTH : SYN;
  }

  /** What a segment that goes out says of marks. `isNew`: it carries data for the first time. */
  flags(isNew: boolean): number {
    if (!this.agreed) return 0;
    let flags = this.#echo ? ECE : 0;
    if (isNew && this.#reducedPending) {
      flags |= CWR;
      this.#reducedPending = false;
    }
    return flags;
  }

  /** Takes the mark of a received packet; true if the peer should hear of it at once (RFC 3168 §6.1.3). */
  receive(segment: Segment): boolean {
    if (!this.agreed) return false;
    if ((segment.flags & CWR) !== 0) this.#echo = false;
    if (!segment.congestionMarked || this.#echo) return false;
    this.#echo = true;
    return true;
  }

  /** Whether an ACK is the first to tell of a mark in this window of data: reduce (RFC 3168 §6.1.2). */
  mustReduce(segment: Segment, sendNext: number): boolean {
    if (!this.agreed || (segment.flags & ECE) === 0 || segment.hasSyn) return false;
    // An ACK of all that was in flight then comes before the peer can have seen our CWR. (After 2^31 bytes
    // the point would lie ahead again.)
    const isWithin = atOrBefore(segment.acknowledgment, this.#reducedUntil);
    if (isWithin && atOrBefore(this.#reducedUntil, sendNext)) return false;
    this.#reducedUntil = sendNext;
    this.#reducedPending = true;
    return true;
  }

  /** Its state, for a record or from one; `una` is SND.UNA. */
  carry(fields: Fields, una: number): void {
    this.agreed = fields.bit(this.agreed);
    this.#echo = fields.bit(this.#echo);
    this.#reducedPending = fields.bit(this.#reducedPending);
    // Without an agreement nobody asks for it.
    this.#reducedUntil = this.agreed ? fields.int(this.#reducedUntil, una) : una;
  }
}
