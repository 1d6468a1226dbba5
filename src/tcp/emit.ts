import { set16, set32 } from '../bytes/index.ts';
import { complement, fold, pseudoHeaderSum, sum } from '../checksum/index.ts';
import type { CommitOptions, IpPath } from '../ip.ts';
import { PROTOCOL_TCP } from '../ip.ts';
import { CHECKSUM_PARTIAL, type Frame } from '../netif/netif.ts';
import {
  TIMESTAMPS_LENGTH,
  writeMss,
  writeSackPermitted,
  writeTimestamps,
  writeWindowScale,
} from './options.ts';
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
  set16(bytes, start + wire.SOURCE_PORT, sourcePort);
  set16(bytes, start + wire.DESTINATION_PORT, destinationPort);
  set32(bytes, start + wire.SEQUENCE, sequence);
  set32(bytes, start + wire.ACKNOWLEDGMENT, acknowledgment);
  bytes[start + wire.DATA_OFFSET] = (headerLength >>> 2) << 4;
  bytes[start + wire.FLAGS] = flags;
  set16(bytes, start + wire.WINDOW, window);
  set32(bytes, start + wire.CHECKSUM, 0);
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
): boolean {
  const { mss, sackPermitted, timestamps, windowScale } = options;
  const length =
    wire.HEADER +
    4 +
    (sackPermitted ? 4 : 0) +
    (timestamps ? TIMESTAMPS_LENGTH : 0) +
    (windowScale < 0 ? 0 : 4);
  const frame = path.reserve(PROTOCOL_TCP, length);
  if (frame === null) return false;
  writeHeader(frame, sourcePort, destinationPort, sequence, acknowledgment, length, flags, window);
  const { bytes } = frame;
  let at = writeMss(bytes, frame.start + wire.HEADER, mss);
  if (sackPermitted) at = writeSackPermitted(bytes, at);
  if (timestamps) at = writeTimestamps(bytes, at, options.timestampValue, options.timestampEcho);
  if (windowScale >= 0) writeWindowScale(bytes, at, windowScale);
  finish(path, frame);
  return true;
}

/** A RST, or an ACK that no connection stands behind. False if the device is full. */
export function emitBare(
  path: IpPath,
  sourcePort: number,
  destinationPort: number,
  sequence: number,
  acknowledgment: number,
  flags: number,
): boolean {
  const frame = path.reserve(PROTOCOL_TCP, wire.HEADER);
  if (frame === null) return false;
  writeHeader(frame, sourcePort, destinationPort, sequence, acknowledgment, wire.HEADER, flags, 0);
  finish(path, frame);
  return true;
}

/** The same with timestamps, without which a peer that agreed on them believes no ACK (RFC 7323 §3.2). */
export function emitBareTimestamped(
  path: IpPath,
  sourcePort: number,
  destinationPort: number,
  sequence: number,
  acknowledgment: number,
  flags: number,
  timestampValue: number,
  timestampEcho: number,
): boolean {
  const length = wire.HEADER + TIMESTAMPS_LENGTH;
  const frame = path.reserve(PROTOCOL_TCP, length);
  if (frame === null) return false;
  writeHeader(frame, sourcePort, destinationPort, sequence, acknowledgment, length, flags, 0);
  writeTimestamps(frame.bytes, frame.start + wire.HEADER, timestampValue, timestampEcho);
  finish(path, frame);
  return true;
}
