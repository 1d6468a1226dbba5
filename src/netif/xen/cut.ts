import { ViewCache } from '../../bytes/index.ts';
import { allocateSummable, releaseSummable } from '../../checksum/index.ts';
import { completeChecksum } from '../complete.ts';
import { Frame } from '../netif.ts';
import { Segmenter } from '../segmenter.ts';

/** Of the TCP header, where the upper half byte is its length (RFC 9293 §3.1). */
const DATA_OFFSET = 12;

/** Sends one ordinary frame, which is to be copied; false if there is no room for it now. */
export type SendFrame = (bytes: Uint8Array) => boolean;

/**
 * Outgoing frames of many segments for a ring that carries ordinary ones only:
 * each is built in memory of ours and cut into the ring as far as there is room;
 * the rest of it waits.
 */
export class CutFrames {
  /** The cursor that `reserve` sets. */
  readonly frame: Frame;
  readonly #area: Uint8Array;
  readonly #segmenter = new Segmenter();
  /** One large frame is cut where the one before was. */
  readonly #views = new ViewCache(7);
  readonly #send: SendFrame;
  /** The ordinary frame that there was no room for; empty for none. */
  #start = 0;
  #end = 0;
  /** Ordinary frames that are left to send. */
  #left = 0;

  constructor(longest: number, send: SendFrame) {
    this.#area = allocateSummable(longest);
    this.frame = new Frame(this.#area);
    this.#send = send;
  }

  /** Whether something waits for room. */
  get waits(): boolean {
    return this.#end > this.#start;
  }

  reserve(size: number): Frame {
    return this.frame.reset(this.#area, 0, size);
  }

  /** Sends the frame of `size` bytes that was reserved. */
  commit(frame: Frame, size: number): void {
    const { bytes, checksumStart, segmentSize } = frame;
    if (segmentSize > 0) {
      const headers = checksumStart + (bytes[checksumStart + DATA_OFFSET]! >>> 4) * 4;
      this.#left = Math.ceil((size - headers) / segmentSize);
      this.#segmenter.begin(frame, 0, size);
      this.#cut();
      return;
    }
    completeChecksum(frame, size);
    this.#left = 1;
    this.#put(0, size);
  }

  /** Goes on with what waits, as far as there is room. */
  resume(): void {
    if (this.waits && this.#put(this.#start, this.#end)) this.#cut();
  }

  /** Forgets what is left; how many ordinary frames it is. */
  drop(): number {
    const left = this.#left;
    this.#left = 0;
    this.#start = 0;
    this.#end = 0;
    return left;
  }

  /** No call follows. */
  release(): void {
    releaseSummable(this.#area);
  }

  #cut(): void {
    const segmenter = this.#segmenter;
    while (this.#left > 0) {
      segmenter.next();
      if (!this.#put(segmenter.start, segmenter.end)) return;
    }
  }

  #put(start: number, end: number): boolean {
    const isSent = this.#send(this.#views.view(this.#area, start, end));
    if (isSent) this.#left--;
    this.#start = start;
    this.#end = isSent ? start : end;
    return isSent;
  }
}
