/**
 * Proportional rate reduction (RFC 6937, with the conservative bound and the
 * slow-start exception of its successor): how much may be sent for each ACK of
 * a recovery so that the window lands on ssthresh when it is over.
 */
export class ProportionalRate {
  /** Bytes delivered and sent since recovery began. */
  #delivered = 0;
  #sent = 0;
  /** RecoverFS: bytes in flight when it began. */
  #flight = 1;

  begin(flight: number): void {
    this.#delivered = 0;
    this.#sent = 0;
    this.#flight = Math.max(flight, 1);
  }

  onSent(bytes: number): void {
    this.#sent += bytes;
  }

  /**
   * The window after an ACK that delivered `delivered` bytes, with `pipe` bytes
   * in flight. `safe`: the ACK moved SND.UNA and found no new loss.
   */
  windowAfter(delivered: number, pipe: number, threshold: number, segment: number, safe: boolean): number {
    this.#delivered += delivered;
    let allowance: number;
    if (pipe > threshold) {
      allowance = Math.ceil((this.#delivered * threshold) / this.#flight) - this.#sent;
    } else {
      const bound = Math.max(this.#delivered - this.#sent, delivered) + (safe ? segment : 0);
      allowance = Math.min(threshold - pipe, bound);
    }
    // The fast retransmit itself is never held back.
    return pipe + Math.max(allowance, this.#sent === 0 ? segment : 0);
  }
}
