import { MacAddress } from '../../src/address/index.ts';
import { set16 } from '../../src/bytes/index.ts';
import type { Frame, Netif, NetifHandler } from '../../src/netif/index.ts';

export const A = MacAddress.parse('02:00:00:00:00:0a');
export const B = MacAddress.parse('02:00:00:00:00:0b');
export const C = MacAddress.parse('02:00:00:00:00:0c');

/** A handler that notes what it is told. */
export class Recorder implements NetifHandler {
  /** Copies of the frames. */
  readonly frames: Uint8Array[] = [];
  /** Views of the frames that `keep` asked to retain. */
  readonly kept: Uint8Array[] = [];
  readonly log: string[] = [];
  /** Called with each frame. */
  onFrame: (frame: Frame) => void = () => {};
  onWritable: () => void = () => {};

  receive(frame: Frame): void {
    // Not `slice`: that of a Buffer is a view.
    this.frames.push(Uint8Array.from(frame.bytes.subarray(frame.start, frame.end)));
    this.log.push('frame');
    this.onFrame(frame);
  }

  flush(): void {
    this.log.push('flush');
  }

  writable(): void {
    this.log.push('writable');
    this.onWritable();
  }

  closed(error?: Error): void {
    this.log.push(error === undefined ? 'closed' : `closed: ${error.message}`);
  }

  keep(frame: Frame): void {
    frame.retain();
    this.kept.push(frame.bytes.subarray(frame.start, frame.end));
  }

  /** The number that {@link numbered} put into each frame. */
  get numbers(): number[] {
    return this.frames.map((frame) => numberOf(frame));
  }
}

export function listen(netif: Netif): Recorder {
  const recorder = new Recorder();
  netif.start(recorder);
  return recorder;
}

/** A frame with a number behind the Ethernet header, and filled with it. */
export function numbered(number: number, size = 60, source = A, destination = B): Uint8Array {
  const bytes = new Uint8Array(size).fill(number);
  destination.write(bytes, 0);
  source.write(bytes, 6);
  set16(bytes, 12, 0x88b5);
  set16(bytes, 14, number >>> 16);
  set16(bytes, 16, number & 0xffff);
  return bytes;
}

export function numberOf(bytes: Uint8Array): number {
  return new DataView(bytes.buffer, bytes.byteOffset).getUint32(14);
}

/** Sends a copy of `bytes`; false if the netif is full. */
export function send(netif: Netif, bytes: Uint8Array, change: (frame: Frame) => void = () => {}): boolean {
  const frame = netif.reserve(bytes.length);
  if (frame === null) return false;
  frame.bytes.set(bytes, frame.start);
  change(frame);
  // Layers move the start; the frame is sent whole.
  frame.start += 14;
  netif.commit(frame);
  return true;
}
