import type { MacAddress } from '../address/index.ts';
import { copy, EMPTY } from '../bytes/index.ts';

/** What a device does for the stack, in one direction. */
export interface Offloads {
  /**
   * `partial`: outbound, the device completes a TCP or UDP checksum whose field
   * holds the folded (not inverted) pseudo-header sum; inbound, the device may
   * vouch for a checksum. `none`: the stack makes and verifies every checksum.
   */
  readonly checksum: 'none' | 'partial';
  /**
   * Most bytes of a frame (Ethernet header included) that carries several TCP
   * segments at once with `Frame.segmentSize` set; 0 where frames carry one.
   */
  readonly segmentation: number;
}

export const NO_OFFLOADS: Offloads = { checksum: 'none', segmentation: 0 };

/** `Frame.checksum`: nothing is known; the transport sums. */
export const CHECKSUM_NONE = 0;
/** The field at `checksumStart + checksumOffset` holds the pseudo-header sum only; data from a local sender, not damaged by a wire. */
export const CHECKSUM_PARTIAL = 1;
/** The device has verified the checksum. */
export const CHECKSUM_VERIFIED = 2;

/**
 * One Ethernet frame in someone's memory: a cursor that its owner reuses for
 * every frame, so nothing is allocated per packet. Each layer reads or writes
 * its header in place and moves `start`.
 */
export class Frame {
  bytes: Uint8Array;
  /** First byte of the layer being worked on. */
  start = 0;
  /** One past the last byte. */
  end = 0;
  checksum: typeof CHECKSUM_NONE | typeof CHECKSUM_PARTIAL | typeof CHECKSUM_VERIFIED = CHECKSUM_NONE;
  /** With `CHECKSUM_PARTIAL`: index in `bytes` where the sum starts (the transport header). */
  checksumStart = 0;
  /** With `CHECKSUM_PARTIAL`: distance from `checksumStart` to the 16-bit field (TCP 16, UDP 6). */
  checksumOffset = 0;
  /** Payload bytes per segment where the frame carries several (TSO, GRO); 0 for an ordinary frame. */
  segmentSize = 0;
  /** Of a frame to be sent by a netif that `gathers`: what is not in `bytes`. Null for every other frame. */
  pieces: Pieces | null = null;
  /** Set by {@link retain}; the owner clears it before it hands the frame out. */
  retained = false;

  constructor(bytes: Uint8Array) {
    this.bytes = bytes;
  }

  /**
   * Says that a view of these bytes is kept past the call: the owner then never
   * writes to them again. Without it they are overwritten by the next frame.
   */
  retain(): void {
    this.retained = true;
  }

  /** Points the cursor at `bytes[start..end)` with no offload state. */
  reset(bytes: Uint8Array, start: number, end: number): this {
    this.bytes = bytes;
    this.start = start;
    this.end = end;
    this.checksum = CHECKSUM_NONE;
    this.checksumStart = 0;
    this.checksumOffset = 0;
    this.segmentSize = 0;
    this.pieces = null;
    this.retained = false;
    return this;
  }
}

/** Pieces that a frame's payload may have. */
export const MOST_PIECES = 8;

/** Shorter pieces are copied: telling the device of one costs as much. */
const LEAST_PIECE = 2048;

/**
 * The payload of a frame to be sent, where the application has it: the device
 * takes it from there, so it is not copied first. In the frame's own memory its
 * place stays empty.
 *
 * Valid until the frame is committed. One is reused for every frame.
 */
export class Pieces {
  /** Index in `Frame.bytes` where the payload would be: what is before it is sent first. */
  at = 0;
  count = 0;
  readonly chunks: Uint8Array[] = new Array<Uint8Array>(MOST_PIECES).fill(EMPTY);
  /** Piece `i` is `chunks[i][starts[i]..ends[i])`. */
  readonly starts = new Uint32Array(MOST_PIECES);
  readonly ends = new Uint32Array(MOST_PIECES);

  /** Appends a piece; false if it is too short, or there are too many, and the payload is to be copied. */
  add(chunk: Uint8Array, start: number, end: number): boolean {
    const { count } = this;
    if (count === MOST_PIECES || end - start < LEAST_PIECE || end > chunk.length) return false;
    this.chunks[count] = chunk;
    this.starts[count] = start;
    this.ends[count] = end;
    this.count = count + 1;
    return true;
  }

  /** Copies them to where they would be in `bytes`. */
  copyTo(bytes: Uint8Array): void {
    let to = this.at;
    for (let i = 0; i < this.count; i++) {
      const start = this.starts[i]!;
      const end = this.ends[i]!;
      copy(bytes, to, this.chunks[i]!, start, end);
      to += end - start;
    }
  }

  /** Lets go of the application's memory. */
  clear(): void {
    for (let i = 0; i < this.count; i++) this.chunks[i] = EMPTY;
    this.count = 0;
  }
}

/** Who receives a netif's frames: the stack, or a netif that wraps this one. */
export interface NetifHandler {
  /**
   * One frame; valid during the call unless retained. Must not throw, and never writes into
   * the frame: other receivers may be shown the same bytes.
   */
  receive(frame: Frame): void;
  /** A batch of received frames is over: the time to send ACKs and data. */
  flush(): void;
  /** `reserve` answered null earlier and has room again. */
  writable(): void;
  /** The device is gone; with an error unless it was closed by `close()`. Called once. */
  closed(error?: Error): void;
}

/** Plain counters, in the words of `ip -s link`. */
export interface NetifCounters {
  rxFrames: number;
  rxBytes: number;
  /** Frames that came and could not be handed over (too long, no room). */
  rxDropped: number;
  rxErrors: number;
  txFrames: number;
  txBytes: number;
  txDropped: number;
  txErrors: number;
  /** How often `reserve` answered null: the device was full. */
  txStalls: number;
}

export function netifCounters(): NetifCounters {
  return {
    rxFrames: 0,
    rxBytes: 0,
    rxDropped: 0,
    rxErrors: 0,
    txFrames: 0,
    txBytes: 0,
    txDropped: 0,
    txErrors: 0,
    txStalls: 0,
  };
}

/**
 * A network interface: whole Ethernet II frames (no FCS) in and out.
 *
 * Sending is `reserve`, write, `commit`, all in one turn; at most one frame is
 * reserved at a time. A frame that was reserved is either committed or
 * forgotten (the next `reserve` takes its place). Committed frames are on their
 * way at the latest at `flush`.
 */
export interface Netif {
  /** For people: `tap0`, `cable`, `port 3`. */
  readonly name: string;
  /** The address that the stack on this end uses. */
  readonly mac: MacAddress;
  /** Largest network-layer packet in bytes (Ethernet header excluded). */
  readonly mtu: number;
  readonly transmit: Offloads;
  /** What received frames may carry. */
  readonly receive: Offloads;
  readonly counters: NetifCounters;
  /**
   * `commit` takes frames of several segments whose payload is in {@link Frame.pieces}.
   * Not so by default: a netif that wraps another need not know of them.
   */
  readonly gathers?: boolean;
  /** Begins handing frames over. Once per netif; frames that came before wait or are dropped by the device's own queue. */
  start(handler: NetifHandler): void;
  /**
   * Space for one frame of `size` bytes (Ethernet header included) in the
   * device's memory, as a cursor over exactly those bytes, contents undefined;
   * null if the device is full (`writable` will be called), or closed.
   */
  reserve(size: number): Frame | null;
  /** Sends the reserved frame. The cursor's `start` may have moved: the frame is all `size` bytes that were reserved. */
  commit(frame: Frame): void;
  flush(): void;
  /** Where an open device keeps the process: from now on, it does not. */
  unref?(): void;
  /** Sends what is committed, stops handing frames over, releases the device. Idempotent. */
  close(): Promise<void>;
}

/** Ethernet header bytes. */
export const ETHERNET_HEADER = 14;
