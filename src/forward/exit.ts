import { copy } from '../bytes/index.ts';
import { HeldPacket, type Outbox } from '../internet/index.ts';
import { CHECKSUM_PARTIAL, ETHERNET_HEADER, Frame } from '../netif/netif.ts';
import type { Hop } from './hop.ts';
import { leaveChecksum } from './segments.ts';

/** What a router changes in a packet that it passes on. */
export interface Edit {
  /** The packet's IP header is at `frame.bytes[header]`. */
  apply(frame: Frame, header: number): void;
}

/** The way out of a device for packets that are not ours: into its own memory, or into ours where they must wait. */
export class Exit {
  readonly outbox: Outbox;
  readonly #ethertype: number;
  /** Where the reserved packet begins. */
  at = 0;
  #isHeld = false;

  constructor(outbox: Outbox, ethertype: number) {
    this.outbox = outbox;
    this.#ethertype = ethertype;
  }

  /** Whether the device takes a packet of several segments and `total` bytes as it is. */
  cuts(total: number): boolean {
    return total + ETHERNET_HEADER <= this.outbox.ethernet.netif.transmit.segmentation;
  }

  /**
   * Copies `packet.bytes[header..end)` out, edited. Of several segments, `tcp` tells where
   * their TCP header is, from the IP header on: the device makes their checksums. False if
   * there is no room.
   */
  pass(packet: Frame, header: number, end: number, hop: Hop, edit: Edit, tcp = -1): boolean {
    const frame = this.reserve(end - header, hop);
    if (frame === null) return false;
    copyPacket(frame, this.at, packet, header, end);
    edit.apply(frame, this.at);
    if (tcp >= 0 && frame.checksum !== CHECKSUM_PARTIAL) leaveChecksum(frame, this.at, tcp);
    this.commit(frame, hop);
    return true;
  }

  /** Space for a packet of `total` bytes, which begins at {@link at}; null if there is none. */
  reserve(total: number, hop: Hop): Frame | null {
    const { outbox } = this;
    if (hop.mac !== null && outbox.isEmpty) {
      const frame = outbox.ethernet.reserve(total);
      if (frame !== null) {
        this.at = frame.start;
        this.#isHeld = false;
        return frame;
      }
    }
    const frame = outbox.reserve(total);
    this.at = 0;
    this.#isHeld = true;
    return frame;
  }

  /** Sends the reserved packet. */
  commit(frame: Frame, hop: Hop): void {
    const { neighbour } = hop;
    const { mac } = neighbour;
    if (mac === null) {
      neighbour.enqueue(new HeldPacket(frame, hop));
      return;
    }
    neighbour.use();
    if (this.#isHeld) {
      this.outbox.send(frame, hop);
      return;
    }
    if (frame.checksum === CHECKSUM_PARTIAL) this.outbox.finish(frame);
    this.outbox.ethernet.commit(frame, this.at, mac, this.#ethertype);
  }
}

/** Packets that have to be cut are put together here first. */
export class Workbench {
  readonly frame = new Frame(new Uint8Array(0));
  #bytes = new Uint8Array(0);

  /** An edited copy of `packet.bytes[header..end)`, at 0; overwritten by the next. */
  prepare(packet: Frame, header: number, end: number, edit: Edit): Frame {
    if (this.#bytes.length === 0) this.#bytes = new Uint8Array(0x1_0000 + 64);
    const frame = this.frame.reset(this.#bytes, 0, end - header);
    copyPacket(frame, 0, packet, header, end);
    edit.apply(frame, 0);
    return frame;
  }
}

function copyPacket(frame: Frame, at: number, packet: Frame, header: number, end: number): void {
  copy(frame.bytes, at, packet.bytes, header, end);
  frame.segmentSize = packet.segmentSize;
  if (packet.checksum !== CHECKSUM_PARTIAL) return;
  frame.checksum = CHECKSUM_PARTIAL;
  frame.checksumStart = at + packet.checksumStart - header;
  frame.checksumOffset = packet.checksumOffset;
}
