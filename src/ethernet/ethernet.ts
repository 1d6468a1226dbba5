import { MacAddress } from '../address/index.ts';
import { copy } from '../bytes/index.ts';
import { type Frame, type Netif, Pieces } from '../netif/netif.ts';
import type { Clock } from '../time/index.ts';
import {
  DESTINATION,
  ETHERTYPE_FIRST,
  getEthertype,
  HEADER,
  isFromGroup,
  isToGroup,
  writeHeader,
} from './wire.ts';

export interface EthernetCounters {
  /** Shorter than a header. */
  runts: number;
  /** Longer than the MTU allows, and not several segments in one frame. */
  tooLong: number;
  /** From a group address. */
  badSource: number;
  /** For another station or a group that nobody joined. */
  notOurs: number;
  /** IEEE 802.3 lengths and ethertypes that nobody registered. */
  unknownType: number;
}

/** Who takes an ethertype. */
export interface EtherProtocol {
  readonly ethertype: number;
  /** `start` of the frame is past the Ethernet header; `toGroup` if it came by multicast or broadcast. */
  receive(frame: Frame, toGroup: boolean): void;
}

/** Who is shown every frame, for whomever it is: tools. */
export interface FrameObserver {
  /** `bytes[start..end)` is the frame, valid during the call; checksums that are left to a device may be unfinished in it. */
  observe(frame: Frame, start: number, end: number, isOutbound: boolean): void;
}

/** Ethernet II over a netif: filters by destination, demultiplexes by ethertype, and flushes what was committed. */
export class Ethernet {
  readonly netif: Netif;
  readonly counters: EthernetCounters = { runts: 0, tooLong: 0, badSource: 0, notOurs: 0, unknownType: 0 };
  /** Null as long as nobody looks. */
  observer: FrameObserver | null = null;
  readonly #clock: Clock;
  readonly #longest: number;
  readonly #protocols: EtherProtocol[] = [];
  readonly #groups: { readonly mac: MacAddress; members: number }[] = [];
  readonly #flushTask = (): void => {
    if (this.#unflushed) this.flush();
  };
  /** Of frames for a netif that gathers. */
  readonly #pieces: Pieces | null;
  #unflushed = false;
  #inBatch = false;

  constructor(netif: Netif, clock: Clock) {
    this.netif = netif;
    this.#clock = clock;
    this.#longest = netif.mtu + HEADER;
    this.#pieces = netif.gathers === true ? new Pieces() : null;
  }

  register(protocol: EtherProtocol): void {
    this.#protocols.push(protocol);
  }

  /** Accepts frames to the multicast address `mac`, until `leave` was called as often. */
  join(mac: MacAddress): void {
    const group = this.#groups.find((joined) => joined.mac.equals(mac));
    if (group) group.members++;
    else this.#groups.push({ mac, members: 1 });
  }

  leave(mac: MacAddress): void {
    const index = this.#groups.findIndex((joined) => joined.mac.equals(mac));
    if (index >= 0 && --this.#groups[index]!.members === 0) this.#groups.splice(index, 1);
  }

  receive(frame: Frame): void {
    this.#inBatch = true;
    const { bytes, start } = frame;
    const length = frame.end - start;
    if (this.observer !== null) this.observer.observe(frame, start, frame.end, false);
    if (length < HEADER) {
      this.counters.runts++;
      return;
    }
    if (length > this.#longest && frame.segmentSize === 0) {
      this.counters.tooLong++;
      return;
    }
    if (isFromGroup(bytes, start)) {
      this.counters.badSource++;
      return;
    }
    const toGroup = isToGroup(bytes, start);
    if (toGroup ? !this.#acceptsGroup(bytes, start) : !this.netif.mac.matches(bytes, start)) {
      this.counters.notOurs++;
      return;
    }
    const ethertype = getEthertype(bytes, start);
    if (ethertype >= ETHERTYPE_FIRST) {
      for (const protocol of this.#protocols) {
        if (protocol.ethertype === ethertype) {
          frame.start = start + HEADER;
          protocol.receive(frame, toGroup);
          return;
        }
      }
    }
    this.counters.unknownType++;
  }

  /** Space for `length` bytes of payload: `start` of the frame is past the Ethernet header. Null if the device is full. */
  reserve(length: number): Frame | null {
    const frame = this.netif.reserve(HEADER + length);
    if (frame === null) return null;
    frame.start += HEADER;
    // Who is shown our frames wants to see all of them.
    if (this.#pieces !== null && this.observer === null) {
      this.#pieces.clear();
      frame.pieces = this.#pieces;
    }
    return frame;
  }

  /** Sends the reserved frame, whose payload begins at `payload`. */
  commit(frame: Frame, payload: number, destination: MacAddress, ethertype: number): void {
    const header = payload - HEADER;
    writeHeader(frame.bytes, header, destination, this.netif.mac, ethertype);
    if (this.observer !== null) this.observer.observe(frame, header, frame.end, true);
    this.#send(frame);
  }

  /** Sends a whole frame as it is; false if the device is full. Throws `EMSGSIZE` where it takes none so long. */
  inject(bytes: Uint8Array): boolean {
    const frame = this.netif.reserve(bytes.length);
    if (frame === null) return false;
    copy(frame.bytes, frame.start, bytes, 0, bytes.length);
    this.#send(frame);
    return true;
  }

  #send(frame: Frame): void {
    this.netif.commit(frame);
    this.#pieces?.clear();
    if (!this.#unflushed) {
      this.#unflushed = true;
      // Inside a batch, its end flushes; outside (timers, application writes), the end of this turn does.
      if (!this.#inBatch) this.#clock.defer(this.#flushTask);
    }
  }

  /** The end of a batch, or of a turn: what was committed leaves. */
  flush(): void {
    this.#inBatch = false;
    this.#unflushed = false;
    this.netif.flush();
  }

  #acceptsGroup(bytes: Uint8Array, start: number): boolean {
    if (MacAddress.BROADCAST.matches(bytes, start + DESTINATION)) return true;
    for (const group of this.#groups) if (group.mac.matches(bytes, start + DESTINATION)) return true;
    return false;
  }
}
