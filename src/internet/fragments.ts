import type { IpAddress } from '../address/index.ts';
import { copy } from '../bytes/index.ts';
import { CHECKSUM_PARTIAL, type Frame } from '../netif/netif.ts';
import { type Clock, Timer, type TimerWheel } from '../time/index.ts';

/** A datagram that was given up is remembered this long, so that its stragglers do not begin it anew. */
const REFUSE_MS = 2000;
/** Unfinished datagrams, and their bytes; the oldest make room. */
const DATAGRAMS = 256;
const TOTAL_BYTES = 4 << 20;
/** A 64 KiB datagram takes 119 fragments at an MTU of 576. */
const FRAGMENTS = 128;

export interface FragmentCounters {
  /** Fragments that came. */
  requests: number;
  /** Datagrams made whole. */
  completed: number;
  /** Datagrams given up: time, overlap, limits. */
  failed: number;
  /** Fragments that no honest sender or router makes. */
  bad: number;
}

interface Piece {
  readonly bytes: Uint8Array;
  /** The payload in `bytes`. */
  readonly from: number;
  /** Where it belongs in the datagram's payload: `[start, end)`. */
  readonly start: number;
  readonly end: number;
}

/** Which datagram a fragment belongs to. */
export interface FragmentKey {
  readonly source: IpAddress;
  readonly destination: IpAddress;
  /** 0 where the family does not tell datagrams apart by it. */
  readonly protocol: number;
  readonly identification: number;
}

/** The fragment at offset 0: its header speaks for the datagram. */
export interface FirstFragment {
  readonly bytes: Uint8Array;
  /** Where the IP header begins, and one past the fragment's last byte. */
  readonly header: number;
  readonly end: number;
  /** Where its payload begins. */
  readonly payload: number;
  /** Of an unfinished transport checksum: its start within the payload and the field's distance from there; -1 for none. */
  readonly partialStart: number;
  readonly partialOffset: number;
}

/** A datagram in pieces. */
export class FragmentedDatagram implements FragmentKey {
  readonly source: IpAddress;
  readonly destination: IpAddress;
  readonly protocol: number;
  readonly identification: number;
  deadline: number;
  /** Sorted by `start`, without overlap. */
  pieces: Piece[] = [];
  received = 0;
  /** Payload length once the last fragment is here, else -1. */
  total = -1;
  first: FirstFragment | null = null;
  refused = false;

  constructor(key: FragmentKey, deadline: number) {
    this.source = key.source.copy();
    this.destination = key.destination.copy();
    this.protocol = key.protocol;
    this.identification = key.identification;
    this.deadline = deadline;
  }

  /** Copies the payload to `target` at `offset`. */
  copyTo(target: Uint8Array, offset: number): void {
    for (const piece of this.pieces) {
      copy(target, offset + piece.start, piece.bytes, piece.from, piece.from + piece.end - piece.start);
    }
  }
}

/**
 * Fragments of datagrams, of either family, within fixed limits (RFC 8900
 * §3.7). They are kept as views of the frames they came in, and copied once,
 * when the datagram is whole. One that overlaps another ends the datagram: no
 * fragmenting sender or router makes such (RFC 5722 for IPv6, and the same
 * attacks on IPv4: RFC 1858); an exact repetition is ignored.
 */
export class FragmentStore {
  readonly counters: FragmentCounters = { requests: 0, completed: 0, failed: 0, bad: 0 };
  readonly #clock: Clock;
  readonly #timer: Timer;
  readonly #timeoutMs: number;
  readonly #onTimeout: (first: FirstFragment) => void;
  /** Oldest first. Few enough to search. */
  #datagrams: FragmentedDatagram[] = [];
  #bytes = 0;

  /** `onTimeout` gets the first fragment of a datagram that timed out, if it came. */
  constructor(
    clock: Clock,
    timers: TimerWheel,
    timeoutMs: number,
    onTimeout: (first: FirstFragment) => void,
  ) {
    this.#clock = clock;
    this.#timer = new Timer(timers, this);
    this.#timeoutMs = timeoutMs;
    this.#onTimeout = onTimeout;
  }

  /** Bytes that are kept. */
  get bytes(): number {
    return this.#bytes;
  }

  get size(): number {
    return this.#datagrams.length;
  }

  /**
   * Takes a plausible fragment, IP header at `frame.start`, whose payload at
   * `payload` belongs at `start` of the datagram's. Answers the datagram if this
   * was the last piece of it.
   */
  accept(
    key: FragmentKey,
    frame: Frame,
    payload: number,
    start: number,
    more: boolean,
  ): FragmentedDatagram | null {
    const length = frame.end - payload;
    const end = start + length;
    const datagram = this.#find(key);
    if (datagram.refused) return null;
    const beyond = datagram.total >= 0 && (end > datagram.total || (!more && end !== datagram.total));
    const last = datagram.pieces.at(-1);
    if (beyond || (!more && last !== undefined && last.end > end)) {
      this.#refuse(datagram);
      return null;
    }
    const index = place(datagram.pieces, start, end);
    if (index === DUPLICATE) return null;
    if (index === OVERLAP || datagram.pieces.length >= FRAGMENTS) {
      this.#refuse(datagram);
      return null;
    }
    this.#makeRoom(length, datagram);
    frame.retain();
    const { bytes } = frame;
    datagram.pieces.splice(index, 0, { bytes, from: payload, start, end });
    datagram.received += length;
    this.#bytes += length;
    if (!more) datagram.total = end;
    if (start === 0) {
      const partial = frame.checksum === CHECKSUM_PARTIAL;
      datagram.first = {
        bytes,
        header: frame.start,
        end: frame.end,
        payload,
        partialStart: partial ? frame.checksumStart - payload : -1,
        partialOffset: frame.checksumOffset,
      };
    }
    // Without overlaps, as many bytes as the length are all of them.
    if (datagram.received !== datagram.total) return null;
    this.#forget(datagram);
    this.counters.completed++;
    return datagram;
  }

  clear(): void {
    this.#timer.cancel();
    this.#datagrams = [];
    this.#bytes = 0;
  }

  onTimer(): void {
    const now = this.#clock.now();
    const due = this.#datagrams.filter((datagram) => datagram.deadline <= now);
    for (const datagram of due) {
      this.#forget(datagram);
      if (datagram.refused) continue;
      this.counters.failed++;
      // RFC 792, RFC 1122 §3.3.2, RFC 8200 §4.5: time exceeded, if fragment zero came.
      if (datagram.first !== null) this.#onTimeout(datagram.first);
    }
    this.#armForNext();
  }

  #armForNext(): void {
    let next = Number.POSITIVE_INFINITY;
    for (const { deadline } of this.#datagrams) next = Math.min(next, deadline);
    this.#timer.arm(next);
  }

  #find(key: FragmentKey): FragmentedDatagram {
    for (const datagram of this.#datagrams) {
      if (
        datagram.identification === key.identification &&
        datagram.protocol === key.protocol &&
        datagram.source.equals(key.source) &&
        datagram.destination.equals(key.destination)
      ) {
        return datagram;
      }
    }
    if (this.#datagrams.length >= DATAGRAMS) this.#discard(this.#datagrams[0]!);
    const datagram = new FragmentedDatagram(key, this.#clock.now() + this.#timeoutMs);
    this.#datagrams.push(datagram);
    if (!this.#timer.armed) this.#timer.arm(datagram.deadline);
    return datagram;
  }

  #makeRoom(length: number, keep: FragmentedDatagram): void {
    while (this.#bytes + length > TOTAL_BYTES) {
      const oldest = this.#datagrams.find((datagram) => datagram !== keep && datagram.received > 0);
      if (oldest === undefined) return;
      this.#discard(oldest);
    }
  }

  #discard(datagram: FragmentedDatagram): void {
    if (!datagram.refused) this.counters.failed++;
    this.#forget(datagram);
  }

  /** Gives a datagram up, and ignores what still comes of it for a while. */
  #refuse(datagram: FragmentedDatagram): void {
    this.counters.failed++;
    this.#bytes -= datagram.received;
    datagram.pieces = [];
    datagram.received = 0;
    datagram.first = null;
    datagram.refused = true;
    datagram.deadline = Math.min(datagram.deadline, this.#clock.now() + REFUSE_MS);
    this.#armForNext();
  }

  #forget(datagram: FragmentedDatagram): void {
    this.#bytes -= datagram.received;
    this.#datagrams.splice(this.#datagrams.indexOf(datagram), 1);
  }
}

const DUPLICATE = -1;
const OVERLAP = -2;

/** Where a piece goes among the others; from the end, since most come in order. */
function place(pieces: readonly Piece[], start: number, end: number): number {
  let index = pieces.length;
  while (index > 0 && pieces[index - 1]!.start >= start) index--;
  const next = pieces[index];
  if (next !== undefined && next.start === start && next.end === end) return DUPLICATE;
  if (next !== undefined && next.start < end) return OVERLAP;
  if (index > 0 && pieces[index - 1]!.end > start) return OVERLAP;
  return index;
}
