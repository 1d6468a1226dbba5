import type { MacAddress } from '../address/index.ts';
import { allocate, copy, set16, set32 } from '../bytes/index.ts';
import type { Alarm, Clock } from '../time/index.ts';
import { partialChecksum } from './complete.ts';
import {
  CHECKSUM_PARTIAL,
  type Frame,
  type Netif,
  type NetifCounters,
  type NetifHandler,
  type Offloads,
} from './netif.ts';

/** Where a capture goes. A sink never blocks and never throws: what it cannot take, it drops and counts. */
export interface CaptureSink {
  /** Whole records (the first chunk begins with the file header). The chunk is the sink's from then on. */
  write(chunk: Uint8Array): void;
  /** No more comes. Resolves when all is stored; may be called again. */
  end(): Promise<void>;
  /**
   * Told once, by each capture that writes here, how to make it hand over what
   * it still collects: for sinks that must be complete at once, as when the
   * process ends.
   */
  attach?(handOver: () => void): void;
}

export interface CaptureOptions {
  readonly clock: Clock;
  /** Unix time in ms at the clock's zero: for the host's clock `Date.now() - clock.now()`. 0 unless given. */
  readonly epochMs?: number;
  /** Most bytes kept of each frame; 262,144 (all) unless given. */
  readonly snapLength?: number;
  /** How long records are collected at most before the sink gets them; 100 ms unless given. */
  readonly collectMs?: number;
}

const CHUNK_BYTES = 128 * 1024;
const FILE_HEADER = 24;
const RECORD_HEADER = 16;
/** Most bytes that `libpcap` reads per record. */
const MOST_SNAP_LENGTH = 262_144;
const LINKTYPE_ETHERNET = 1;

/**
 * Wraps a netif and writes the frames of both directions to `sink`, in the
 * classic pcap format (microseconds, Ethernet), as they look on a wire: a
 * checksum left to the device is complete in the capture. Closing the netif ends
 * the sink.
 */
export function capture(netif: Netif, sink: CaptureSink, options: CaptureOptions): Netif {
  return new Captured(netif, new PcapWriter(sink, options));
}

/** Collects records and hands them over in large chunks. */
class PcapWriter {
  readonly #sink: CaptureSink;
  readonly #clock: Clock;
  readonly #alarm: Alarm;
  readonly #epochMs: number;
  readonly #snapLength: number;
  readonly #collectMs: number;
  #bytes = allocate(CHUNK_BYTES);
  /** `#bytes[#start..#end)` is collected and not handed over. */
  #start = 0;
  #end = 0;
  #ended = false;

  constructor(sink: CaptureSink, options: CaptureOptions) {
    const { clock, epochMs = 0, snapLength = MOST_SNAP_LENGTH, collectMs = 100 } = options;
    if (!(Number.isInteger(snapLength) && snapLength > 0 && snapLength <= MOST_SNAP_LENGTH)) {
      throw new RangeError(`snapLength ${snapLength} is not within 1..${MOST_SNAP_LENGTH}`);
    }
    this.#sink = sink;
    this.#clock = clock;
    this.#epochMs = epochMs;
    this.#snapLength = snapLength;
    this.#collectMs = collectMs;
    this.#alarm = clock.alarm(() => this.handOver());
    sink.attach?.(() => this.handOver());
    this.#writeFileHeader();
  }

  /** Copies `frame.bytes[start..end)`. */
  record(frame: Frame, start: number, end: number): void {
    if (this.#ended) return;
    const length = end - start;
    const kept = Math.min(length, this.#snapLength);
    this.#makeRoom(RECORD_HEADER + kept);
    const bytes = this.#bytes;
    const at = this.#end;
    const micros = Math.round((this.#epochMs + this.#clock.now()) * 1000);
    const seconds = Math.floor(micros / 1_000_000);
    set32(bytes, at, seconds);
    set32(bytes, at + 4, micros - seconds * 1_000_000);
    set32(bytes, at + 8, kept);
    set32(bytes, at + 12, length);
    copy(bytes, at + RECORD_HEADER, frame.bytes, start, start + kept);
    if (frame.checksum === CHECKSUM_PARTIAL) {
      const field = frame.checksumStart - start + frame.checksumOffset;
      if (field + 2 <= kept) {
        set16(
          bytes,
          at + RECORD_HEADER + field,
          partialChecksum(frame.bytes, frame.checksumStart, frame.checksumOffset, end),
        );
      }
    }
    if (this.#start === this.#end) this.#alarm.set(this.#clock.now() + this.#collectMs);
    this.#end = at + RECORD_HEADER + kept;
  }

  /** Gives the sink what is collected; the rest of the chunk's memory is used on. */
  handOver(): void {
    this.#alarm.clear();
    if (this.#start === this.#end) return;
    const chunk = this.#bytes.subarray(this.#start, this.#end);
    this.#start = this.#end;
    this.#sink.write(chunk);
  }

  end(): Promise<void> {
    this.handOver();
    this.#ended = true;
    return this.#sink.end();
  }

  #makeRoom(size: number): void {
    if (this.#end + size <= this.#bytes.length) return;
    this.handOver();
    this.#bytes = allocate(Math.max(CHUNK_BYTES, size));
    this.#start = 0;
    this.#end = 0;
  }

  /** Big-endian; readers tell by the magic number. Handed over at once, so a capture of nothing is a valid file. */
  #writeFileHeader(): void {
    const bytes = this.#bytes;
    set32(bytes, 0, 0xa1b2c3d4);
    set16(bytes, 4, 2);
    set16(bytes, 6, 4);
    set32(bytes, 8, 0);
    set32(bytes, 12, 0);
    set32(bytes, 16, this.#snapLength);
    set32(bytes, 20, LINKTYPE_ETHERNET);
    this.#end = FILE_HEADER;
    this.handOver();
  }
}

class Captured implements Netif {
  readonly name: string;
  readonly mac: MacAddress;
  readonly mtu: number;
  readonly transmit: Offloads;
  readonly receive: Offloads;
  readonly counters: NetifCounters;
  readonly #netif: Netif;
  readonly #writer: PcapWriter;
  /** Where the reserved frame is; its cursor may move, this does not. */
  #start = 0;
  #end = 0;

  constructor(netif: Netif, writer: PcapWriter) {
    this.name = netif.name;
    this.mac = netif.mac;
    this.mtu = netif.mtu;
    this.transmit = netif.transmit;
    this.receive = netif.receive;
    this.counters = netif.counters;
    this.#netif = netif;
    this.#writer = writer;
  }

  start(handler: NetifHandler): void {
    const writer = this.#writer;
    this.#netif.start({
      receive: (frame) => {
        writer.record(frame, frame.start, frame.end);
        handler.receive(frame);
      },
      flush: () => handler.flush(),
      writable: () => handler.writable(),
      closed: (error) => {
        writer.handOver();
        handler.closed(error);
      },
    });
  }

  reserve(size: number): Frame | null {
    const frame = this.#netif.reserve(size);
    if (frame !== null) {
      this.#start = frame.start;
      this.#end = frame.end;
    }
    return frame;
  }

  commit(frame: Frame): void {
    this.#writer.record(frame, this.#start, this.#end);
    this.#netif.commit(frame);
  }

  flush(): void {
    this.#netif.flush();
  }

  async close(): Promise<void> {
    await this.#netif.close();
    await this.#writer.end();
  }
}
