import { IpAddress, type MacAddress } from '../address/index.ts';
import { FAILED, INCOMPLETE, type Neighbour, NeighbourCache, type NeighbourHost } from '../arp/index.ts';
import { get16, get32, set16, set32 } from '../bytes/index.ts';
import { TokenBucket } from '../ethernet/index.ts';
import { type Clock, type Random, randomFraction, type TimerWheel } from '../time/index.ts';
import { AddressMap } from './address-map.ts';
import type { AddressTable } from './addresses.ts';
import type { ControlOutput } from './control.ts';
import {
  areOptionsSound,
  CODE,
  FLAG_OVERRIDE,
  FLAG_ROUTER,
  FLAG_SOLICITED,
  FLAGS,
  findOption,
  MAC_OPTION,
  NEIGHBOUR_ADVERTISEMENT,
  NEIGHBOUR_MESSAGE,
  NEIGHBOUR_SOLICITATION,
  OPTION_NONCE,
  OPTION_SOURCE_MAC,
  OPTION_TARGET_MAC,
  readMac,
  TARGET,
  TYPE,
  writeMac,
} from './ndp-wire.ts';
import type { OwnAddress } from './own-address.ts';
import type { Ipv6Packet } from './packet.ts';
import { GATEWAY_ANSWERS, GATEWAY_SILENT, GATEWAY_UNKNOWN } from './routes.ts';
import {
  ALL_NODES,
  isLinkLocal,
  isNeverOnWire,
  isSolicitedNodeOf,
  multicastMac,
  solicitedNode,
} from './scope.ts';
import { selectSource } from './select.ts';

/** RFC 4861 §7.1: what a router has forwarded has less. */
export const LINK_HOP_LIMIT = 255;
/** RFC 4861 §10. */
const REACHABLE_MS = 30_000;
const RETRANSMIT_MS = 1000;
/** What all neighbours together can make us ask and answer (RFC 6583 §7). */
const SOLICITATIONS_PER_SECOND = 500;
const ADVERTISEMENTS_PER_SECOND = 1000;
const BURST = 200;

export interface NdpCounters {
  inSolicits: number;
  inAdvertisements: number;
  /** Malformed, from behind a router, or from an address that no neighbour can have. */
  inErrors: number;
  outSolicits: number;
  outAdvertisements: number;
  /** Solicitations and advertisements not sent: too many per second. */
  outLimited: number;
  /** Packets dropped that waited for a neighbour. */
  queueDrops: number;
}

export interface NdpOptions {
  /** Of link-local addresses on this link. */
  readonly zone: number;
  readonly output: ControlOutput;
  readonly clock: Clock;
  readonly timers: TimerWheel;
  readonly random: Random;
  /** A neighbour says that it is no router (RFC 4861 §7.2.5). */
  readonly onNoRouter: (address: IpAddress) => void;
}

/** Neighbour discovery (RFC 4861 §7): who has an address, and whether it still answers. */
export class Ndp implements NeighbourHost<IpAddress> {
  readonly timers: TimerWheel;
  readonly random: Random;
  readonly cache: NeighbourCache<IpAddress>;
  readonly counters: NdpCounters = {
    inSolicits: 0,
    inAdvertisements: 0,
    inErrors: 0,
    outSolicits: 0,
    outAdvertisements: 0,
    outLimited: 0,
    queueDrops: 0,
  };
  /** As advertised by a router, or RFC 4861 §10's. */
  retransmitMs = RETRANSMIT_MS;
  reachableBaseMs = REACHABLE_MS;
  /** We forward packets, and say so (RFC 4861 §4.4). */
  isRouter = false;
  readonly #zone: number;
  readonly #output: ControlOutput;
  readonly #clock: Clock;
  readonly #onNoRouter: (address: IpAddress) => void;
  readonly #solicitations = new TokenBucket(SOLICITATIONS_PER_SECOND, BURST);
  readonly #advertisements = new TokenBucket(ADVERTISEMENTS_PER_SECOND, BURST);
  #addresses: AddressTable | null = null;
  #uses = 0;
  readonly #target = new IpAddress();

  constructor({ zone, output, clock, timers, random, onNoRouter }: NdpOptions) {
    this.#zone = zone;
    this.#output = output;
    this.#clock = clock;
    this.timers = timers;
    this.random = random;
    this.#onNoRouter = onNoRouter;
    this.cache = new NeighbourCache(this, new AddressMap<Neighbour<IpAddress>>(random));
  }

  /** Speaks for these addresses. */
  serve(addresses: AddressTable): void {
    this.#addresses = addresses;
  }

  now(): number {
    return this.#clock.now();
  }

  defer(task: () => void): void {
    this.#clock.defer(task);
  }

  nextUse(): number {
    return ++this.#uses;
  }

  reachableMs(): number {
    return this.reachableBaseMs * (0.5 + randomFraction(this.random));
  }

  dropped(packets: number): void {
    this.counters.queueDrops += packets;
  }

  /** How far `gateway` is known to answer. */
  rank(gateway: IpAddress): number {
    const state = this.cache.get(gateway)?.state ?? INCOMPLETE;
    if (state === INCOMPLETE) return GATEWAY_UNKNOWN;
    return state === FAILED ? GATEWAY_SILENT : GATEWAY_ANSWERS;
  }

  /** RFC 4861 §7.2.2, §7.3.3: to the solicited-node group, or to the address that is doubted. */
  request(address: IpAddress, to: MacAddress | null): boolean {
    const source = selectSource(this.#addresses!.all, address);
    // Without an address nobody could answer us.
    if (source === null) return true;
    if (!this.#solicitations.take(this.now())) {
      this.counters.outLimited++;
      return true;
    }
    const group = solicitedNode(address);
    const destination = to === null ? group : address;
    return this.#solicit(source.address, destination, to ?? multicastMac(group), address, null);
  }

  /** RFC 4862 §5.4.2: asks whether somebody has `own`. */
  probe(own: OwnAddress): void {
    const group = solicitedNode(own.address);
    this.#solicit(IpAddress.ANY_IPV6, group, multicastMac(group), own.address, own);
  }

  /** RFC 4861 §7.2.6: tells all nodes. */
  announce(address: IpAddress): void {
    this.#advertise(address, ALL_NODES, multicastMac(ALL_NODES), FLAG_OVERRIDE);
  }

  /** A neighbour solicitation; its checksum is good. */
  receiveSolicitation(packet: Ipv6Packet): void {
    this.counters.inSolicits++;
    const target = this.#readMessage(packet);
    const { source, destination } = packet;
    const { bytes, start, end } = packet.frame;
    const options = start + NEIGHBOUR_MESSAGE;
    const toGroup = destination.isMulticast;
    // RFC 4861 §7.1.1: a probe goes to the solicited-node group, and tells no link-layer address.
    const wrong =
      target === null ||
      (source.isUnspecified &&
        (!isSolicitedNodeOf(destination, target) || findOption(bytes, options, end, OPTION_SOURCE_MAC) >= 0));
    if (wrong) {
      this.counters.inErrors++;
      return;
    }
    const own = this.#addresses!.find(target);
    if (own === null || own.state === 'duplicate') return;
    if (own.state === 'tentative') {
      // RFC 4862 §5.4.3: somebody else probes for it too, unless a bridge has sent our own back (RFC 7527).
      if (source.isUnspecified && !hasNonce(bytes, options, end, own)) this.#contest(own, packet);
      return;
    }
    if (source.isUnspecified) {
      // RFC 4861 §7.2.4: whoever probes hears it by the group.
      if (this.#mayAdvertise()) this.announce(own.address);
      return;
    }
    const mac = readMac(bytes, options, end, OPTION_SOURCE_MAC);
    if (mac !== null) this.#neighbour(source)?.heard(mac, false);
    // Whoever asks a group must say where it is.
    else if (toGroup) return;
    if (this.#mayAdvertise()) this.#answer(own.address, source, mac);
  }

  /** A neighbour advertisement; its checksum is good. */
  receiveAdvertisement(packet: Ipv6Packet): void {
    this.counters.inAdvertisements++;
    const target = this.#readMessage(packet);
    const { bytes, start, end } = packet.frame;
    const flags = bytes[start + FLAGS]!;
    const solicited = (flags & FLAG_SOLICITED) !== 0;
    // RFC 4861 §7.1.2.
    if (target === null || packet.source.isUnspecified || (packet.destination.isMulticast && solicited)) {
      this.counters.inErrors++;
      return;
    }
    const mac = readMac(bytes, start + NEIGHBOUR_MESSAGE, end, OPTION_TARGET_MAC);
    const own = this.#addresses!.find(target);
    if (own !== null) {
      this.#contest(own, packet);
      return;
    }
    const neighbour = this.cache.get(target);
    // RFC 4861 §7.2.5: only of those that we asked about.
    if (neighbour === undefined) return;
    this.#update(neighbour, mac, solicited, (flags & FLAG_OVERRIDE) !== 0);
    if ((flags & FLAG_ROUTER) === 0) this.#onNoRouter(target);
  }

  /**
   * RFC 4861 §7.2.5, with one caution: the new address of a neighbour that
   * answers at its old one is verified before it is believed, as ARP does here.
   */
  #update(
    neighbour: Neighbour<IpAddress>,
    mac: MacAddress | null,
    solicited: boolean,
    override: boolean,
  ): void {
    const known = neighbour.mac;
    if (known === null) {
      if (mac !== null) neighbour.heard(mac, solicited);
    } else if (mac === null || mac.equals(known)) {
      neighbour.heard(known, solicited);
    } else if (override) {
      neighbour.heard(mac, solicited);
    }
    // Without the override flag (a proxy, an anycast address) the first that answered stays.
  }

  #contest(own: OwnAddress, packet: Ipv6Packet): void {
    const mac = packet.linkSource;
    // Our own packets, sent back by a bridge, say nothing.
    if (!mac.equals(this.#output.mac)) this.#addresses!.contest(own, mac);
  }

  /** Checks what solicitations and advertisements have in common; the target (a cursor), or null. */
  #readMessage(packet: Ipv6Packet): IpAddress | null {
    const { bytes, start, end } = packet.frame;
    if (packet.hopLimit !== LINK_HOP_LIMIT || end - start < NEIGHBOUR_MESSAGE) return null;
    if (bytes[start + CODE] !== 0 || !areOptionsSound(bytes, start + NEIGHBOUR_MESSAGE, end)) return null;
    const target = this.#target.readIpv6(bytes, start + TARGET);
    if (isLinkLocal(target)) target.scope = this.#zone;
    return target.isMulticast || target.isUnspecified || isNeverOnWire(target) ? null : target;
  }

  /** The entry of who speaks to us, if there is room for one. */
  #neighbour(address: IpAddress): Neighbour<IpAddress> | null {
    return this.cache.get(address) ?? this.cache.admit(address.copy());
  }

  /** A router told its link-layer address, if it did (RFC 4861 §6.3.4). */
  heardRouter(address: IpAddress, mac: MacAddress | null): void {
    if (mac !== null) this.#neighbour(address)?.heard(mac, false);
  }

  #mayAdvertise(): boolean {
    const may = this.#advertisements.take(this.now());
    if (!may) this.counters.outLimited++;
    return may;
  }

  #answer(own: IpAddress, asker: IpAddress, mac: MacAddress | null): void {
    const known = mac ?? this.cache.get(asker)?.mac ?? null;
    if (known !== null) {
      this.#advertise(own, asker, known, FLAG_SOLICITED | FLAG_OVERRIDE);
      return;
    }
    const to = asker.copy();
    this.#neighbour(to)?.enqueue({
      size: NEIGHBOUR_MESSAGE + MAC_OPTION,
      transmit: () => this.#answer(own, to, null),
      unreachable: () => {},
    });
  }

  #solicit(
    source: IpAddress,
    destination: IpAddress,
    mac: MacAddress,
    target: IpAddress,
    probe: OwnAddress | null,
  ): boolean {
    const frame = this.#output.reserve(NEIGHBOUR_MESSAGE + MAC_OPTION);
    if (frame === null) return false;
    const { bytes, start } = frame;
    bytes[start + TYPE] = NEIGHBOUR_SOLICITATION;
    target.writeIpv6(bytes, start + TARGET);
    const option = start + NEIGHBOUR_MESSAGE;
    if (probe === null) {
      writeMac(bytes, option, OPTION_SOURCE_MAC, this.#output.mac);
    } else {
      bytes[option] = OPTION_NONCE;
      bytes[option + 1] = 1;
      set16(bytes, option + 2, probe.nonceHigh);
      set32(bytes, option + 4, probe.nonceLow);
    }
    this.#output.commit(frame, source, destination, mac, LINK_HOP_LIMIT);
    this.counters.outSolicits++;
    return true;
  }

  #advertise(target: IpAddress, destination: IpAddress, mac: MacAddress, flags: number): void {
    const frame = this.#output.reserve(NEIGHBOUR_MESSAGE + MAC_OPTION);
    if (frame === null) return;
    const { bytes, start } = frame;
    bytes[start + TYPE] = NEIGHBOUR_ADVERTISEMENT;
    bytes[start + FLAGS] = this.isRouter ? flags | FLAG_ROUTER : flags;
    target.writeIpv6(bytes, start + TARGET);
    writeMac(bytes, start + NEIGHBOUR_MESSAGE, OPTION_TARGET_MAC, this.#output.mac);
    this.#output.commit(frame, target, destination, mac, LINK_HOP_LIMIT);
    this.counters.outAdvertisements++;
  }
}

function hasNonce(bytes: Uint8Array, options: number, end: number, own: OwnAddress): boolean {
  const at = findOption(bytes, options, end, OPTION_NONCE);
  return at >= 0 && get16(bytes, at + 2) === own.nonceHigh && get32(bytes, at + 4) === own.nonceLow;
}
