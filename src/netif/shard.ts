import type { MacAddress } from '../address/index.ts';
import { get16, get32 } from '../bytes/index.ts';
import { NetError } from '../errors.ts';
import { Frame, type Netif, type NetifCounters, type NetifHandler, type Offloads } from './netif.ts';

/*
 * One station over several queues of a device, each with a stack of its own on a
 * thread of its own: shards. A rule that the device obeys says which shard a
 * packet is for, so the shards share nothing on the data path.
 *
 *   - TCP and UDP to a port below 32,768: by remote and local port, so that the
 *     connections of a listener are spread;
 *   - to a port from there on: each shard owns a range, from which it takes the
 *     ports of what it opens itself;
 *   - all else (ARP, ICMP, fragments, …): shard 0, which shows the others what
 *     they have to know too: neighbours, and errors about packets of theirs.
 */

/** The first port that a shard owns in whole. */
export const FIRST_OWNED_PORT = 32_768;
const OWNED_PORTS = 65_536 - FIRST_OWNED_PORT;
/** The golden ratio's share of 2^32 (Knuth, vol. 3, §6.4): near ports give far hashes. */
export const SHARD_MULTIPLIER = 0x9e3779b1;

/** The shard that a TCP segment or UDP datagram belongs to; the device computes the same. */
export function shardOf(remotePort: number, localPort: number, shards: number): number {
  if (localPort >= FIRST_OWNED_PORT) return ((localPort - FIRST_OWNED_PORT) * shards) >>> 15;
  // The product's high bits are those that all bits of the ports went into.
  return ((Math.imul((remotePort << 16) | localPort, SHARD_MULTIPLIER) >>> 16) * shards) >>> 16;
}

/** First and last of the ports that `shard` owns: its ephemeral ports. */
export function shardPorts(shard: number, shards: number): readonly [first: number, last: number] {
  const first = (n: number): number => FIRST_OWNED_PORT + Math.ceil((n * OWNED_PORTS) / shards);
  return [first(shard), first(shard + 1) - 1];
}

export interface ShardOptions {
  /** 0 answers for the station: ARP, ICMP. */
  readonly shard: number;
  /** Of shard 0: a frame that the others have to see too; a copy, the callee's from then on. */
  readonly publish?: (frame: Uint8Array) => void;
}

export interface ShardNetif extends Netif {
  /** Of the other shards: a frame that shard 0 published. */
  deliver(frame: Uint8Array): void;
}

/** Wraps the queue of one shard. */
export function shard(netif: Netif, options: ShardOptions): ShardNetif {
  return options.shard === 0 ? new FirstShard(netif, options) : new FurtherShard(netif);
}

abstract class Shard implements ShardNetif {
  readonly name: string;
  readonly mac: MacAddress;
  readonly mtu: number;
  readonly transmit: Offloads;
  readonly receive: Offloads;
  readonly counters: NetifCounters;
  protected readonly netif: Netif;

  constructor(netif: Netif) {
    this.name = netif.name;
    this.mac = netif.mac;
    this.mtu = netif.mtu;
    this.transmit = netif.transmit;
    this.receive = netif.receive;
    this.counters = netif.counters;
    this.netif = netif;
  }

  abstract start(handler: NetifHandler): void;
  abstract reserve(size: number): Frame | null;
  abstract commit(frame: Frame): void;
  abstract deliver(frame: Uint8Array): void;

  flush(): void {
    this.netif.flush();
  }

  close(): Promise<void> {
    return this.netif.close();
  }
}

class FirstShard extends Shard {
  readonly #publish: (frame: Uint8Array) => void;

  constructor(netif: Netif, { publish = () => {} }: ShardOptions) {
    super(netif);
    this.#publish = publish;
  }

  start(handler: NetifHandler): void {
    const publish = this.#publish;
    this.netif.start({
      receive: (frame) => {
        if (concernsAll(frame.bytes, frame.start, frame.end)) {
          publish(Uint8Array.prototype.slice.call(frame.bytes, frame.start, frame.end));
        }
        handler.receive(frame);
      },
      flush: () => handler.flush(),
      writable: () => handler.writable(),
      closed: (error) => handler.closed(error),
    });
  }

  reserve(size: number): Frame | null {
    return this.netif.reserve(size);
  }

  commit(frame: Frame): void {
    this.netif.commit(frame);
  }

  deliver(): void {
    throw new NetError('EINVAL', { syscall: 'deliver', reason: 'shard 0 publishes, it is not published to' });
  }
}

class FurtherShard extends Shard {
  readonly #delivered = new Frame(new Uint8Array(0));
  #handler: NetifHandler | null = null;
  /** Where the reserved frame starts; its cursor may move. */
  #start = 0;
  #end = 0;

  start(handler: NetifHandler): void {
    this.#handler = handler;
    this.netif.start(handler);
  }

  reserve(size: number): Frame | null {
    const frame = this.netif.reserve(size);
    if (frame !== null) {
      this.#start = frame.start;
      this.#end = frame.end;
    }
    return frame;
  }

  /** What shard 0 says for the station is not said twice: such a frame is forgotten. */
  commit(frame: Frame): void {
    if (!speaksForStation(frame.bytes, this.#start, this.#end)) this.netif.commit(frame);
  }

  deliver(frame: Uint8Array): void {
    if (this.#handler === null) return;
    this.#handler.receive(this.#delivered.reset(frame, 0, frame.length));
    this.#handler.flush();
  }
}

const ETHERTYPE_IPV4 = 0x0800;
const ETHERTYPE_ARP = 0x0806;
const ETHERTYPE_IPV6 = 0x86dd;
const IP = 14;
const IPV6_HEADER = 40;
const ICMP = 1;
const ICMPV6 = 58;
const ROUTER_SOLICITATION = 133;
const NEIGHBOR_SOLICITATION = 135;
const NEIGHBOR_ADVERTISEMENT = 136;
const NDP_LAST = 137;

/** ARP, neighbour discovery, and ICMP errors, which may be about any shard's packets. */
function concernsAll(bytes: Uint8Array, start: number, end: number): boolean {
  if (end - start < IP + 20) return false;
  switch (get16(bytes, start + 12)) {
    case ETHERTYPE_ARP:
      return true;
    case ETHERTYPE_IPV4: {
      const header = start + IP;
      const message = header + (bytes[header]! & 15) * 4;
      if (bytes[header + 9] !== ICMP || message >= end) return false;
      const type = bytes[message]!;
      return type === 3 || type === 11 || type === 12;
    }
    case ETHERTYPE_IPV6: {
      const type = icmpv6Type(bytes, start, end);
      return type >= 0 && (type < 128 || (type >= ROUTER_SOLICITATION && type <= NDP_LAST));
    }
    default:
      return false;
  }
}

/** ARP replies and announcements; router solicitations, duplicate address detection, neighbour advertisements. */
function speaksForStation(bytes: Uint8Array, start: number, end: number): boolean {
  switch (get16(bytes, start + 12)) {
    case ETHERTYPE_ARP: {
      const isReply = get16(bytes, start + IP + 6) === 2;
      const sender = get32(bytes, start + IP + 14);
      return isReply || sender === 0 || sender === get32(bytes, start + IP + 24);
    }
    case ETHERTYPE_IPV6: {
      const type = icmpv6Type(bytes, start, end);
      if (type === NEIGHBOR_SOLICITATION) return isUnspecified(bytes, start + IP + 8);
      return type === NEIGHBOR_ADVERTISEMENT || type === ROUTER_SOLICITATION;
    }
    default:
      return false;
  }
}

/** -1 for other packets. Neighbour discovery has no extension headers that matter here. */
function icmpv6Type(bytes: Uint8Array, start: number, end: number): number {
  const message = start + IP + IPV6_HEADER;
  return message < end && bytes[start + IP + 6] === ICMPV6 ? bytes[message]! : -1;
}

function isUnspecified(bytes: Uint8Array, address: number): boolean {
  for (let i = 0; i < 16; i += 4) if (get32(bytes, address + i) !== 0) return false;
  return true;
}
