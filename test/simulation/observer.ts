import type { MacAddress } from '../../src/address/index.ts';
import {
  CHECKSUM_PARTIAL,
  CHECKSUM_VERIFIED,
  type Frame,
  type Netif,
  type NetifCounters,
  type NetifHandler,
  type Offloads,
} from '../../src/netif/netif.ts';
import type { Alarm, Clock } from '../../src/time/index.ts';
import type { Draw } from './draw.ts';
import type { Journal } from './journal.ts';
import { describe, type FrameFacts, Malformed, readFrame } from './packet.ts';
import { TcpAudit } from './tcp-audit.ts';

export interface ObserverOptions {
  readonly clock: Clock;
  readonly journal: Journal;
  /** Number of the host on this netif, from 0. */
  readonly host: number;
  /** IPv4 address of the host as int32, which its IPv6 address ends with. */
  readonly address: number;
  readonly mtu: number;
  readonly receiveBuffer: number;
  /** It may answer SYNs with cookies. */
  readonly cookies: boolean;
  /** Whether it has dropped packets that waited for a neighbour. */
  hasDropped(): boolean;
  /** Who has which address on this link: an ARP packet that says otherwise was damaged, which a frame check sequence would show. */
  readonly stations: ReadonlyMap<number, MacAddress>;
  /** Share of `reserve` calls that are answered with null, as by a device that is full. */
  readonly stalls: number;
  readonly draw: Draw;
}

/**
 * Stands between a stack and its line: reads every frame that the stack sends
 * and every one that it is shown, and holds the first against the second.
 * Also a device of limited MTU that is full now and then.
 */
export class Observer implements Netif {
  readonly name: string;
  readonly mac: MacAddress;
  readonly mtu: number;
  readonly transmit: Offloads;
  readonly receive: Offloads;
  readonly counters: NetifCounters;
  readonly #netif: Netif;
  readonly #options: ObserverOptions;
  readonly #audits = new Map<string, TcpAudit>();
  readonly #writable: Alarm;
  #handler: NetifHandler | null = null;
  #start = 0;
  #end = 0;

  constructor(netif: Netif, options: ObserverOptions) {
    this.name = netif.name;
    this.mac = netif.mac;
    this.mtu = options.mtu;
    this.transmit = netif.transmit;
    this.receive = netif.receive;
    this.counters = netif.counters;
    this.#netif = netif;
    this.#options = options;
    this.#writable = options.clock.alarm(() => this.#handler?.writable());
  }

  start(handler: NetifHandler): void {
    this.#handler = handler;
    this.#netif.start({
      receive: (frame) => {
        if (this.#arrives(frame)) handler.receive(frame);
      },
      flush: () => handler.flush(),
      writable: () => handler.writable(),
      closed: (error) => {
        this.#writable.clear();
        handler.closed(error);
      },
    });
  }

  reserve(size: number): Frame | null {
    const { stalls, draw, clock } = this.#options;
    if (stalls > 0 && draw.chance(stalls)) {
      this.#writable.set(clock.now() + draw.real(0, 5));
      return null;
    }
    const frame = this.#netif.reserve(size);
    if (frame !== null) {
      this.#start = frame.start;
      this.#end = frame.end;
    }
    return frame;
  }

  commit(frame: Frame): void {
    this.#leaves(frame);
    this.#netif.commit(frame);
  }

  flush(): void {
    this.#netif.flush();
  }

  close(): Promise<void> {
    return this.#netif.close();
  }

  #audit(remote: number, localPort: number, remotePort: number): TcpAudit {
    const key = `${remote}:${remotePort}:${localPort}`;
    let audit = this.#audits.get(key);
    if (audit === undefined) {
      audit = new TcpAudit(this.#options);
      this.#audits.set(key, audit);
    }
    return audit;
  }

  #leaves(frame: Frame): void {
    const { journal, host, address, mtu } = this.#options;
    const { bytes } = frame;
    const start = this.#start;
    const end = this.#end;
    journal.frame(host, bytes, start, end);
    try {
      const packet = readFrame(bytes, start, end, facts(frame));
      if (!hasMac(bytes, start + 6, this.mac)) throw new Malformed("a source address that is not the host's");
      if (packet.packetLength !== end - start - 14 && packet.kind !== 'arp') {
        throw new Malformed(`a packet of ${packet.packetLength} in a frame of ${end - start}`);
      }
      if (packet.kind !== 'tcp') {
        if (packet.packetLength > mtu) throw new Malformed(`a packet of ${packet.packetLength} > MTU ${mtu}`);
        return;
      }
      if (packet.source !== address) throw new Malformed("a source address that is not the host's");
      this.#audit(packet.destination, packet.sourcePort, packet.destinationPort).sent(packet, (problem) =>
        journal.violation(`host ${host + 1} sends ${problem} (${describe(packet)})`),
      );
    } catch (error) {
      if (!(error instanceof Malformed)) throw error;
      journal.violation(`host ${host + 1} sends ${error.message}`);
    }
  }

  /** False for what a device would not hand over. */
  #arrives(frame: Frame): boolean {
    const { address, mtu, stations } = this.#options;
    const { bytes, start, end } = frame;
    if (end - start < 14) return false;
    const type = bytes[start + 12]! * 256 + bytes[start + 13]!;
    if (type === 0x0806) return isTruthful(bytes, start, end, stations);
    if (frame.segmentSize === 0 && end - start > mtu + 14) return false;
    if ((type !== 0x0800 && type !== 0x86dd) || !hasMac(bytes, start, this.mac)) return true;
    try {
      const packet = readFrame(bytes, start, end, facts(frame));
      if (packet.kind === 'tcp' && packet.destination === address) {
        // The frame's memory is reused: what is kept is a copy of its header only.
        this.#audit(packet.source, packet.destinationPort, packet.sourcePort).delivered(packet);
      }
    } catch (error) {
      if (!(error instanceof Malformed)) throw error;
      // Damaged on its way: the stack must find out as well.
    }
    return true;
  }
}

function facts(frame: Frame): FrameFacts {
  return {
    partial: frame.checksum === CHECKSUM_PARTIAL,
    verified: frame.checksum === CHECKSUM_VERIFIED,
    segmentSize: frame.segmentSize,
  };
}

function hasMac(bytes: Uint8Array, at: number, mac: MacAddress): boolean {
  return (
    bytes[at]! * 256 + bytes[at + 1]! === mac.high &&
    ((bytes[at + 2]! << 24) | (bytes[at + 3]! << 16) | (bytes[at + 4]! << 8) | bytes[at + 5]!) ===
      (mac.low | 0)
  );
}

/** Whether an ARP packet tells of a sender as it is. */
function isTruthful(
  bytes: Uint8Array,
  start: number,
  end: number,
  stations: ReadonlyMap<number, MacAddress>,
): boolean {
  if (end - start < 14 + 28) return false;
  const at = start + 14;
  const sender = (bytes[at + 14]! << 24) | (bytes[at + 15]! << 16) | (bytes[at + 16]! << 8) | bytes[at + 17]!;
  const mac = stations.get(sender);
  return mac !== undefined && hasMac(bytes, at + 8, mac) && hasMac(bytes, start + 6, mac);
}
