import { IpAddress } from '../address/index.ts';

/** How well a socket fits a datagram; the highest takes it. */
export const NO_MATCH = 0;
export const MATCH_WILDCARD = 1;
export const MATCH_ADDRESS = 2;
export const MATCH_CONNECTED = 3;

export interface BindingOptions {
  /** Others may have the same, if they say so too. */
  readonly reuse?: boolean;
  /** Index of the only interface whose datagrams it takes. */
  readonly device?: number | null;
  /** `::` is for IPv6 alone. */
  readonly ipv6Only?: boolean;
}

/** Whose datagrams a socket takes: its local address and port, and its peer if it has one. */
export class Binding {
  readonly port: number;
  /** As bound; unspecified for all addresses. */
  readonly bound: IpAddress;
  /** A wildcard that takes both families: no address at all, or `::` (RFC 3493 §5.3). */
  readonly #anyFamily: boolean;
  /** Index of the only interface whose datagrams it takes; null for all. */
  readonly device: number | null;
  /** As bound, or where a connection fixed it. */
  local: IpAddress;
  #peer: IpAddress | null = null;
  #peerPort = 0;

  /** Others may have the same, if they say so too. */
  readonly reuse: boolean;

  /** `host` null is every address. */
  constructor(
    host: IpAddress | null,
    port: number,
    { reuse = false, device = null, ipv6Only = false }: BindingOptions = {},
  ) {
    this.reuse = reuse;
    this.bound = (host ?? IpAddress.ANY_IPV4).copy();
    this.#anyFamily = host === null || (host.isUnspecified && !host.isIpv4 && !ipv6Only);
    this.local = this.bound;
    this.port = port;
    this.device = device;
  }

  connect(local: IpAddress, peer: IpAddress, peerPort: number): void {
    this.local = local.copy();
    this.#peer = peer.copy();
    this.#peerPort = peerPort;
  }

  disconnect(): void {
    this.local = this.bound;
    this.#peer = null;
    this.#peerPort = 0;
  }

  /** How well this fits a datagram from `remote` to `destination` that came by the interface `arrival`; null where that is not known. */
  match(destination: IpAddress, remote: IpAddress, remotePort: number, arrival: number | null): number {
    if (this.device !== null && arrival !== null && this.device !== arrival) return NO_MATCH;
    if (this.#peer !== null) {
      const fits =
        remotePort === this.#peerPort && this.#peer.equals(remote) && this.local.equals(destination);
      return fits ? MATCH_CONNECTED : NO_MATCH;
    }
    if (!this.#covers(destination)) return NO_MATCH;
    return this.local.isUnspecified ? MATCH_WILDCARD : MATCH_ADDRESS;
  }

  /** Whether both could be meant by one destination, so that only one may be bound (as Linux judges without `SO_REUSEADDR`). */
  overlaps(other: Binding): boolean {
    if (this.reuse && other.reuse) return false;
    if (this.device !== null && other.device !== null && this.device !== other.device) return false;
    return this.#covers(other.local) || other.#covers(this.local);
  }

  /** Whether a socket bound to this may send to `destination`'s family. */
  speaks(destination: IpAddress): boolean {
    return this.#anyFamily || this.bound.isIpv4 === destination.isIpv4;
  }

  #covers(address: IpAddress): boolean {
    if (!this.local.isUnspecified) return this.local.equals(address);
    return this.#anyFamily || this.local.isIpv4 === address.isIpv4;
  }
}
