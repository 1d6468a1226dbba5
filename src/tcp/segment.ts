import type { Frame } from '../netif/netif.ts';
import { SegmentOptions } from './options.ts';
import * as wire from './wire.ts';
import { ACK, FIN, headerLength, RST, SYN } from './wire.ts';

/** A received segment: a cursor over its bytes, one per stack, reused. */
export class Segment {
  frame: Frame;
  /** First byte of the payload and one past its last in `frame.bytes`. */
  start = 0;
  end = 0;
  sequence = 0;
  acknowledgment = 0;
  flags = 0;
  /** The packet carried CE: the path is congested (RFC 3168 §5). */
  congestionMarked = false;
  /** As in the header: not yet scaled. */
  window = 0;
  readonly options = new SegmentOptions();

  constructor(frame: Frame) {
    this.frame = frame;
  }

  /** Reads the header at `frame.start`. False if the data offset is impossible. */
  parse(frame: Frame): boolean {
    const { bytes, start, end } = frame;
    const header = headerLength(bytes, start);
    if (header < wire.HEADER || start + header > end) return false;
    this.frame = frame;
    this.start = start + header;
    this.end = end;
    this.sequence = wire.sequence(bytes, start);
    this.acknowledgment = wire.acknowledgment(bytes, start);
    this.flags = wire.flags(bytes, start);
    this.window = wire.window(bytes, start);
    this.options.parse(bytes, start + wire.HEADER, start + header);
    return true;
  }

  get payloadLength(): number {
    return this.end - this.start;
  }

  /** SEG.LEN: sequence numbers that the segment takes, SYN and FIN included. */
  get length(): number {
    return this.end - this.start + (this.flags & SYN ? 1 : 0) + (this.flags & FIN ? 1 : 0);
  }

  get hasSyn(): boolean {
    return (this.flags & SYN) !== 0;
  }

  get hasAck(): boolean {
    return (this.flags & ACK) !== 0;
  }

  get hasRst(): boolean {
    return (this.flags & RST) !== 0;
  }

  get hasFin(): boolean {
    return (this.flags & FIN) !== 0;
  }
}
