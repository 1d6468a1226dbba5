import { Handle } from './handle.ts';
import type { TransportOwner } from './transport.ts';

/**
 * A handle that hands what it reads to an owner: for good, or lent (`onread` of
 * `net.connect`), without memory for each piece.
 */
export abstract class ReadingHandle extends Handle {
  owner: TransportOwner | null = null;
  lends = false;
  maxPiece = 0;
  bytesRead = 0;
  protected isReading = false;
  /** Of what was lent: behind the piece after which the owner wanted no more. */
  #rest: Uint8Array | null = null;
  /** Made once, not for each view. */
  readonly #giveTask = (view: Uint8Array): void => this.give(view);

  get reading(): boolean {
    return this.isReading;
  }

  protected get hasRest(): boolean {
    return this.#rest !== null;
  }

  /** What is left of a view, in a turn of the owner's; false if it does not want all of it. */
  protected giveRest(): boolean {
    const rest = this.#rest;
    this.#rest = null;
    if (rest !== null) this.give(rest);
    return this.isReading && this.#rest === null;
  }

  /** `give` from within the stack's work. What the owner throws is nothing that the stack did wrong. */
  protected giveLent(view: Uint8Array): void {
    try {
      this.inScope(this.#giveTask, view);
    } catch (error) {
      process.nextTick(() => {
        throw error;
      });
    }
  }

  /** Lends `view` to the owner, in pieces that fit; a copy of what it does not want yet stays here. */
  protected give(view: Uint8Array): void {
    let rest = view;
    this.#rest = rest;
    try {
      while (this.isReading && rest.length > 0) {
        const piece = rest.length > this.maxPiece ? rest.subarray(0, this.maxPiece) : rest;
        if (piece.length === 0) {
          this.owner?.failed('ENOBUFS');
          break;
        }
        if (piece === rest) {
          this.#rest = null;
          this.bytesRead += piece.length;
          this.owner?.lent(piece);
          return;
        }
        rest = rest.subarray(piece.length);
        this.#rest = rest;
        this.bytesRead += piece.length;
        this.owner?.lent(piece);
      }
    } finally {
      // The view is another's when this returns.
      if (this.#rest !== null) this.#rest = this.isClosed ? null : this.#rest.slice();
    }
  }
}
