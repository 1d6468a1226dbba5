import { NetError } from '../errors.ts';
import { CHECKSUM_PARTIAL, ETHERNET_HEADER, Frame, type Offloads } from './netif.ts';
import { type Slab, SlabArena } from './slab.ts';

/** An 802.1Q tag is not counted in the MTU. */
const VLAN_TAG = 4;

/** The longest frame that an interface of this MTU and these offloads takes, Ethernet header included. */
export function longestFrame(mtu: number, offloads: Offloads): number {
  return Math.max(mtu + ETHERNET_HEADER + VLAN_TAG, offloads.segmentation);
}

/** Whether all that `transmit` sends may be received under `receive`. */
export function offloadsFit(transmit: Offloads, receive: Offloads): boolean {
  return (
    (transmit.checksum === 'none' || receive.checksum === 'partial') &&
    transmit.segmentation <= receive.segmentation
  );
}

/**
 * The sending half of a netif in memory: reserves frames in an arena of its own
 * and checks what is committed against what was promised.
 */
export class FrameBuilder {
  readonly arena = new SlabArena();
  /** Where the reserved frame is; its cursor may move, this does not. */
  slab: Slab | null = null;
  start = 0;
  end = 0;
  readonly #name: string;
  readonly #longest: number;
  readonly #offloads: Offloads;
  readonly #frame: Frame;

  constructor(name: string, mtu: number, offloads: Offloads) {
    this.#name = name;
    this.#longest = longestFrame(mtu, offloads);
    this.#offloads = offloads;
    this.#frame = new Frame(this.arena.room(0).bytes);
  }

  /** Throws `EMSGSIZE` for more than the interface takes. */
  reserve(size: number): Frame {
    if (size > this.#longest) {
      throw new NetError('EMSGSIZE', {
        syscall: 'reserve',
        reason: `${this.#name} takes frames of up to ${this.#longest} bytes, not ${size}`,
      });
    }
    const slab = this.arena.room(size);
    this.slab = slab;
    this.start = slab.position;
    this.end = slab.position + size;
    return this.#frame.reset(slab.bytes, this.start, this.end);
  }

  /**
   * Takes the reserved frame for sending, and answers its slab; throws `EINVAL`
   * if none is reserved, or `frame` asks for offloads that were not offered.
   */
  take(frame: Frame, receivers: number): Slab {
    const slab = this.slab;
    if (slab === null || frame !== this.#frame) throw this.#invalid('nothing was reserved');
    if (frame.checksum === CHECKSUM_PARTIAL && this.#offloads.checksum === 'none') {
      throw this.#invalid('it does not complete checksums');
    }
    if (frame.segmentSize > 0 && this.#offloads.segmentation === 0) {
      throw this.#invalid('it does not cut frames into segments');
    }
    this.slab = null;
    this.arena.take(slab, this.end, receivers);
    return slab;
  }

  #invalid(reason: string): NetError {
    return new NetError('EINVAL', { syscall: 'commit', reason: `${this.#name}: ${reason}` });
  }
}
