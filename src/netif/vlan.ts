import type { MacAddress } from '../address/index.ts';
import { get16, get32, set16, set32 } from '../bytes/index.ts';
import { NetError } from '../errors.ts';
import {
  ETHERNET_HEADER,
  type Frame,
  type Netif,
  type NetifCounters,
  type NetifHandler,
  netifCounters,
  type Offloads,
} from './netif.ts';

export interface VlanOptions {
  /** 1 to 4094 (IEEE 802.1Q §9.6). */
  readonly id: number;
  /** Priority code point of what is sent, 0 (the default) to 7. */
  readonly priority?: number;
  /** `NAME.ID` unless given. */
  readonly name?: string;
  /** By default the trunk's: a tag is not counted in an MTU. Less where the trunk is too narrow for tagged frames. */
  readonly mtu?: number;
}

/** Bytes of a tag, between the source address and the ethertype (IEEE 802.1Q §9.5). */
const TAG = 4;
/** Bytes before it: both addresses. */
const ADDRESSES = 12;
const TAG_PROTOCOL = 0x8100;
const ID_MASK = 0xfff;
/** Tagged with a priority alone (IEEE 802.1Q §9.6): belongs to no VLAN. */
const NO_ID = 0;

const trunks = new WeakMap<Netif, Trunk>();

/**
 * One VLAN of a trunk (IEEE 802.1Q), as a netif of untagged frames. Called again
 * with the same trunk it gives another one: the frames that come are told apart by
 * their tag. The trunk is started with the first of its VLANs that is, and closed
 * with the last. Offloads are kept. Throws `EINVAL` for an identifier that is none
 * or is taken.
 */
export function vlan(trunk: Netif, options: VlanOptions): Netif {
  const { id, priority = 0, name = `${trunk.name}.${id}`, mtu = trunk.mtu } = options;
  if (!Number.isInteger(id) || id < 1 || id > 4094) {
    throw new NetError('EINVAL', { reason: `VLAN ${id} is not within 1..4094` });
  }
  if (!Number.isInteger(priority) || priority < 0 || priority > 7) {
    throw new NetError('EINVAL', { reason: `priority ${priority} is not within 0..7` });
  }
  return trunkOf(trunk).add(id, new TaggedNetif(trunk, { name, mtu, tag: (priority << 13) | id }));
}

/** What comes and goes on a trunk without a tag, or with a priority alone. Throws `EINVAL` if it is taken. */
export function untagged(trunk: Netif, options: { readonly name?: string } = {}): Netif {
  const { name = trunk.name } = options;
  return trunkOf(trunk).add(NO_ID, new TaggedNetif(trunk, { name, mtu: trunk.mtu, tag: null }));
}

function trunkOf(netif: Netif): Trunk {
  let trunk = trunks.get(netif);
  if (trunk === undefined) {
    trunk = new Trunk(netif);
    trunks.set(netif, trunk);
  }
  return trunk;
}

/** Tells the frames of a trunk apart. */
class Trunk implements NetifHandler {
  readonly #netif: Netif;
  readonly #members = new Map<number, TaggedNetif>();
  /** The same, to go through. */
  #all: TaggedNetif[] = [];
  #started = false;

  constructor(netif: Netif) {
    this.#netif = netif;
  }

  add(id: number, member: TaggedNetif): Netif {
    if (this.#members.has(id)) {
      const what = id === NO_ID ? 'the untagged side' : `VLAN ${id}`;
      throw new NetError('EINVAL', { reason: `${what} of ${this.#netif.name} is in use` });
    }
    member.trunk = { start: () => this.#start(), leave: () => this.#leave(id) };
    this.#members.set(id, member);
    this.#all = [...this.#members.values()];
    return member;
  }

  receive(frame: Frame): void {
    const { bytes, start, end } = frame;
    if (end - start < ETHERNET_HEADER + TAG || get16(bytes, start + ADDRESSES) !== TAG_PROTOCOL) {
      this.#members.get(NO_ID)?.take(frame);
      return;
    }
    const id = get16(bytes, start + ADDRESSES + 2) & ID_MASK;
    // A tag with nothing but a priority is taken off for the untagged side too.
    this.#members.get(id)?.takeTagged(frame);
  }

  flush(): void {
    for (let i = 0; i < this.#all.length; i++) this.#all[i]!.handler?.flush();
  }

  writable(): void {
    for (let i = 0; i < this.#all.length; i++) this.#all[i]!.handler?.writable();
  }

  closed(error?: Error): void {
    for (const member of this.#all) member.gone(error);
  }

  #start(): void {
    if (this.#started) return;
    this.#started = true;
    this.#netif.start(this);
  }

  async #leave(id: number): Promise<void> {
    this.#members.delete(id);
    this.#all = [...this.#members.values()];
    if (this.#all.length > 0) return;
    trunks.delete(this.#netif);
    await this.#netif.close();
  }
}

interface TrunkSide {
  start(): void;
  leave(): Promise<void>;
}

interface TaggedOptions {
  readonly name: string;
  readonly mtu: number;
  /** Tag control information of what is sent; null sends without a tag. */
  readonly tag: number | null;
}

class TaggedNetif implements Netif {
  readonly name: string;
  readonly mac: MacAddress;
  readonly mtu: number;
  readonly transmit: Offloads;
  readonly receive: Offloads;
  readonly counters: NetifCounters = netifCounters();
  trunk!: TrunkSide;
  handler: NetifHandler | null = null;
  readonly #netif: Netif;
  readonly #tag: number | null;
  /** Bytes of tag. */
  readonly #extra: number;
  /** Where the reserved frame's untagged form is; its cursor may move, this does not. */
  #start = 0;
  #end = 0;
  #closed = false;

  constructor(netif: Netif, { name, mtu, tag }: TaggedOptions) {
    this.name = name;
    this.mac = netif.mac;
    this.mtu = mtu;
    this.#netif = netif;
    this.#tag = tag;
    this.#extra = tag === null ? 0 : TAG;
    this.transmit = less(netif.transmit, this.#extra);
    this.receive = less(netif.receive, this.#extra);
  }

  start(handler: NetifHandler): void {
    if (this.handler !== null) {
      throw new NetError('EINVAL', { syscall: 'start', reason: `${this.name} has been started` });
    }
    if (this.#closed) throw new NetError('ENETDOWN', { syscall: 'start', reason: `${this.name} is closed` });
    this.handler = handler;
    this.trunk.start();
  }

  reserve(size: number): Frame | null {
    const frame = this.#closed ? null : this.#netif.reserve(size + this.#extra);
    if (frame === null) {
      this.counters.txStalls++;
      return null;
    }
    frame.start += this.#extra;
    this.#start = frame.start;
    this.#end = frame.end;
    return frame;
  }

  commit(frame: Frame): void {
    const { counters } = this;
    if (this.#closed) {
      counters.txDropped++;
      return;
    }
    counters.txFrames++;
    counters.txBytes += this.#end - this.#start;
    if (this.#tag !== null) {
      const { bytes } = frame;
      const tagged = this.#start - TAG;
      bytes.copyWithin(tagged, this.#start, this.#start + ADDRESSES);
      set16(bytes, tagged + ADDRESSES, TAG_PROTOCOL);
      set16(bytes, tagged + ADDRESSES + 2, this.#tag);
    }
    this.#netif.commit(frame);
  }

  flush(): void {
    this.#netif.flush();
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    await this.trunk.leave();
    const { handler } = this;
    this.handler = null;
    handler?.closed();
  }

  // ---- for the trunk

  take(frame: Frame): void {
    const { handler, counters } = this;
    if (handler === null) {
      counters.rxDropped++;
      return;
    }
    counters.rxFrames++;
    counters.rxBytes += frame.end - frame.start;
    handler.receive(frame);
  }

  /**
   * Hands over what is behind the tag. An untagged header needs the addresses next to
   * the ethertype, so they stand in the tag's place during the call; what was there is
   * put back, since others may be shown the same bytes after us.
   */
  takeTagged(frame: Frame): void {
    const { bytes, start } = frame;
    const tag = get32(bytes, start + ADDRESSES);
    bytes.copyWithin(start + TAG, start, start + ADDRESSES);
    frame.start = start + TAG;
    this.take(frame);
    bytes.copyWithin(start, start + TAG, start + TAG + ADDRESSES);
    set32(bytes, start + ADDRESSES, tag);
  }

  gone(error?: Error): void {
    if (this.#closed) return;
    this.#closed = true;
    this.handler?.closed(error);
  }
}

/** What is left of a device's offloads for frames that get `extra` bytes. */
function less({ checksum, segmentation }: Offloads, extra: number): Offloads {
  return { checksum, segmentation: segmentation === 0 ? 0 : segmentation - extra };
}
