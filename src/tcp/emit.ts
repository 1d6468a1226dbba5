import { set16, wordsOf } from '../bytes/index.ts';
import { complement, fold, pseudoHeaderSum, sum } from '../checksum/index.ts';
import type { CommitOptions, IpPath } from '../ip.ts';
import { PROTOCOL_TCP } from '../ip.ts';
import { CHECKSUM_PARTIAL, type Frame } from '../netif/netif.ts';
import {
  fastOpenLength,
  TIMESTAMPS_LENGTH,
  writeFastOpen,
  writeMss,
  writeSackPermitted,
  writeTimestamps,
  writeWindowScale,
} from './options.ts';
import type { SendQueue } from './send-queue.ts';
import * as wire from './wire.ts';

/** Writes the fixed header at `frame.start`; the checksum field is left 0. */
export function writeHeader(
  frame: Frame,
  sourcePort: number,
  destinationPort: number,
  sequence: number,
  acknowledgment: number,
  headerLength: number,
  flags: number,
  window: number,
): void {
  const { bytes, start } = frame;
  const words = wordsOf(bytes);
  words.setInt32(start + wire.SOURCE_PORT, (sourcePort << 16) | destinationPort);
  words.setInt32(start + wire.SEQUENCE, sequence);
  words.setInt32(start + wire.ACKNOWLEDGMENT, acknowledgment);
  words.setInt32(start + wire.DATA_OFFSET, (headerLength << 26) | (flags << 16) | window);
  words.setInt32(start + wire.CHECKSUM, 0);
}

/** Fills the checksum field, or leaves that to the device, and sends the frame. */
export function finish(path: IpPath, frame: Frame, options?: CommitOptions): void {
  const { bytes, start, end } = frame;
  const pseudo = pseudoHeaderSum(path.source, path.destination, PROTOCOL_TCP, end - start);
  if (path.transmit.checksum === 'partial') {
    set16(bytes, start + wire.CHECKSUM, fold(pseudo));
    frame.checksum = CHECKSUM_PARTIAL;
    frame.checksumStart = start;
    frame.checksumOffset = wire.CHECKSUM;
  } else {
    set16(bytes, start + wire.CHECKSUM, complement(sum(bytes, start, end, pseudo)));
  }
  path.commit(frame, options);
}

/** What a SYN or SYN-ACK says beside its header. */
export interface SynOptions {
  readonly mss: number;
  readonly sackPermitted: boolean;
  readonly timestamps: boolean;
  readonly timestampValue: number;
  readonly timestampEcho: number;
  /** -1: not offered. */
  readonly windowScale: number;
  /** Fast Open: empty asks for a cookie; null for no option. */
  readonly fastOpenCookie: Uint8Array | null;
}

/** The first `length` bytes of a queue go with the SYN (RFC 7413). */
export interface SynData {
  readonly queue: SendQueue;
  readonly length: number;
}

/** Bytes of header of a SYN with these options. */
export function synLength(options: SynOptions): number {
  const { sackPermitted, timestamps, windowScale, fastOpenCookie } = options;
  return (
    wire.HEADER +
    4 +
    (sackPermitted ? 4 : 0) +
    (timestamps ? TIMESTAMPS_LENGTH : 0) +
    (windowScale < 0 ? 0 : 4) +
    fastOpenLength(fastOpenCookie)
  );
}

/** A SYN or SYN-ACK; false if the device is full. */
export function emitSyn(
  path: IpPath,
  sourcePort: number,
  destinationPort: number,
  sequence: number,
  acknowledgment: number,
  flags: number,
  window: number,
  options: SynOptions,
  data: SynData | null = null,
): boolean {
  const { mss, sackPermitted, timestamps, windowScale, fastOpenCookie } = options;
  const length = synLength(options);
  const frame = path.reserve(PROTOCOL_TCP, length + (data === null ? 0 : data.length));
  if (frame === null) return false;
  writeHeader(frame, sourcePort, destinationPort, sequence, acknowledgment, length, flags, window);
  const { bytes } = frame;
  let at = writeMss(bytes, frame.start + wire.HEADER, mss);
  if (sackPermitted) at = writeSackPermitted(bytes, at);
  if (timestamps) at = writeTimestamps(bytes, at, options.timestampValue, options.timestampEcho);
  if (windowScale >= 0) at = writeWindowScale(bytes, at, windowScale);
  if (fastOpenCookie !== null) at = writeFastOpen(bytes, at, fastOpenCookie);
  if (data !== null) data.queue.copyTo(bytes, at, 0, data.length);
  finish(path, frame);
  return true;
}

/** A segment of nothing but its header: a RST, or an ACK without options. False if the device is full. */
export function emitBare(
  path: IpPath,
  sourcePort: number,
  destinationPort: number,
  sequence: number,
  acknowledgment: number,
  flags: number,
  window = 0,
): boolean {
  const frame = path.reserve(PROTOCOL_TCP, wire.HEADER);
  if (frame === null) return false;
  writeHeader(frame, sourcePort, destinationPort, sequence, acknowledgment, wire.HEADER, flags, window);
  finish(path, frame);
  return true;
}

/** An ACK or RST of a connection with timestamps, without which its peer believes neither (RFC 7323 §3.2). */
export function emitTimestamped(
  path: IpPath,
  sourcePort: number,
  destinationPort: number,
  sequence: number,
  acknowledgment: number,
  flags: number,
  window: number,
  timestampValue: number,
  timestampEcho: number,
): boolean {
  const length = wire.HEADER + TIMESTAMPS_LENGTH;
  const frame = path.reserve(PROTOCOL_TCP, length);
  if (frame === null) return false;
  writeHeader(frame, sourcePort, destinationPort, sequence, acknowledgment, length, flags, window);
  writeTimestamps(frame.bytes, frame.start + wire.HEADER, timestampValue, timestampEcho);
  finish(path, frame);
  return true;
}
