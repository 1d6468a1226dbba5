import type { MacAddress } from '../../src/address/index.ts';
import {
  Frame,
  type Netif,
  type NetifCounters,
  type NetifHandler,
  type Offloads,
} from '../../src/netif/netif.ts';
import type { Target } from './mutate.ts';
import { ETHERNET, get16, get32, TCP } from './packets.ts';

const ROOM = 2048;

/**
 * The victim's netif: passes everything on, lets frames be slipped in, and
 * reads from what the victim sends where its connections stand.
 */
export class Injector implements Netif {
  readonly name: string;
  readonly mac: MacAddress;
  readonly mtu: number;
  readonly transmit: Offloads;
  readonly receive: Offloads;
  readonly counters: NetifCounters;
  /** By the victim's port and the peer's: `port << 16 | peerPort`. */
  readonly targets = new Map<number, Target>();
  sent = 0;
  readonly #netif: Netif;
  readonly #frame = new Frame(new Uint8Array(ROOM));
  #handler: NetifHandler | null = null;
  #start = 0;
  #end = 0;

  constructor(netif: Netif) {
    this.name = netif.name;
    this.mac = netif.mac;
    this.mtu = netif.mtu;
    this.transmit = netif.transmit;
    this.receive = netif.receive;
    this.counters = netif.counters;
    this.#netif = netif;
  }

  start(handler: NetifHandler): void {
    this.#handler = handler;
    this.#netif.start(handler);
  }

  /** Shows the victim `bytes[0..length)`; a copy, of which it may keep what it likes. */
  inject(bytes: Uint8Array, length: number): void {
    const frame = this.#frame;
    // What was retained is never written to again.
    if (frame.retained) frame.bytes = new Uint8Array(ROOM);
    const room = frame.bytes;
    for (let i = 0; i < length; i++) room[i] = bytes[i]!;
    this.#handler!.receive(frame.reset(room, 0, length));
  }

  /** The batch of injected frames is over. */
  injected(): void {
    this.#handler!.flush();
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
    this.sent++;
    this.#observe(frame.bytes, this.#start, this.#end);
    this.#netif.commit(frame);
  }

  flush(): void {
    this.#netif.flush();
  }

  close(): Promise<void> {
    return this.#netif.close();
  }

  #observe(bytes: Uint8Array, start: number, end: number): void {
    const ip = start + ETHERNET;
    const at = ip + 20;
    if (end < at + 20 || get16(bytes, start + 12) !== 0x0800 || bytes[ip + 9] !== TCP) return;
    const target = this.targets.get((get16(bytes, at) << 16) | get16(bytes, at + 2));
    const flags = bytes[at + 13]!;
    if (target === undefined || (flags & 0x14) !== 0x10) return;
    const payload = end - at - (bytes[at + 12]! >> 4) * 4;
    target.next = (get32(bytes, at + 4) + payload + (flags & 1) + ((flags >> 1) & 1)) | 0;
    target.expected = get32(bytes, at + 8);
  }
}
