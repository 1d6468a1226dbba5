import { IpAddress } from '../address/index.ts';
import { NetError, type NetErrorCode } from '../errors.ts';
import { accepts, EVERYBODY, type GroupSubscription, type SourceFilter } from '../internet/index.ts';
import type { GroupLayer } from '../ip.ts';
import type { MembershipOptions } from '../stack.ts';

/** Every host is in these, so what is sent to them is for every socket of the port. */
const ALL_HOSTS = IpAddress.parse('224.0.0.1');
const ALL_NODES = IpAddress.parse('ff02::1');

interface Membership {
  readonly group: IpAddress;
  readonly subscription: GroupSubscription;
}

/** The multicast groups of one socket, each with a filter of senders (RFC 3678). */
export class SocketGroups {
  readonly #ip: GroupLayer;
  readonly #memberships: Membership[] = [];

  constructor(ip: GroupLayer) {
    this.#ip = ip;
  }

  add(group: string, options: MembershipOptions = {}): void {
    const address = groupAddress(group, 'addMembership');
    const known = this.#find(address);
    if (options.source === undefined) {
      if (known !== null) throw failure('EADDRINUSE', 'addMembership', group, 'joined already');
      this.#join(address, options.interface);
      return;
    }
    const source = sourceAddress(options.source, address, 'addSourceSpecificMembership');
    if (known === null) {
      this.#join(address, options.interface).filter = { mode: 'include', sources: [source] };
      return;
    }
    const { filter } = known.subscription;
    // RFC 3678 §4.1.3: a socket takes all, or those that it names.
    if (filter.mode === 'exclude') {
      throw failure('EINVAL', 'addSourceSpecificMembership', group, 'joined for all sources already');
    }
    if (filter.sources.some((each) => each.equals(source))) {
      throw failure('EADDRNOTAVAIL', 'addSourceSpecificMembership', group, `${source} is taken already`);
    }
    known.subscription.filter = { mode: 'include', sources: [...filter.sources, source] };
  }

  drop(group: string, options: MembershipOptions = {}): void {
    const address = groupAddress(group, 'dropMembership');
    const known = this.#find(address);
    if (known === null) throw failure('EADDRNOTAVAIL', 'dropMembership', group, 'not joined');
    if (options.source === undefined) {
      this.#leave(known);
      return;
    }
    const source = sourceAddress(options.source, address, 'dropSourceSpecificMembership');
    const { filter } = known.subscription;
    const sources = filter.sources.filter((each) => !each.equals(source));
    if (filter.mode === 'exclude') {
      throw failure('EINVAL', 'dropSourceSpecificMembership', group, 'joined for all sources');
    }
    if (sources.length === filter.sources.length) {
      throw failure('EADDRNOTAVAIL', 'dropSourceSpecificMembership', group, `${source} is not taken`);
    }
    if (sources.length === 0) this.#leave(known);
    else known.subscription.filter = { mode: 'include', sources };
  }

  /** RFC 3678 §5.1.3: the whole filter at once; a group that is not joined is. */
  setFilter(group: string, mode: SourceFilter['mode'], sources: readonly string[]): void {
    const address = groupAddress(group, 'setSourceFilter');
    const filter = {
      mode,
      sources: sources.map((source) => sourceAddress(source, address, 'setSourceFilter')),
    };
    const subscription = this.#find(address)?.subscription ?? this.#join(address, undefined);
    subscription.filter = filter;
  }

  /** Whether a datagram from `source` to `group` is for this socket. */
  hears(group: IpAddress, source: IpAddress): boolean {
    const membership = this.#find(group);
    if (membership !== null) return accepts(membership.subscription.filter, source);
    return group.equals(ALL_HOSTS) || group.equals(ALL_NODES);
  }

  close(): void {
    for (const { subscription } of this.#memberships.splice(0)) subscription.close();
  }

  #find(group: IpAddress): Membership | null {
    for (let i = 0; i < this.#memberships.length; i++) {
      if (this.#memberships[i]!.group.equals(group)) return this.#memberships[i]!;
    }
    return null;
  }

  #join(group: IpAddress, on: string | undefined): GroupSubscription {
    const subscription = this.#ip.subscribe(group, on);
    subscription.filter = EVERYBODY;
    this.#memberships.push({ group, subscription });
    return subscription;
  }

  #leave(membership: Membership): void {
    this.#memberships.splice(this.#memberships.indexOf(membership), 1);
    membership.subscription.close();
  }
}

function groupAddress(text: string, syscall: string): IpAddress {
  const address = IpAddress.tryParse(text);
  // The interface is an option, not a zone.
  if (address?.isMulticast && address.scope === 0) return address;
  throw failure('EINVAL', syscall, text, 'not a multicast address');
}

function sourceAddress(text: string, group: IpAddress, syscall: string): IpAddress {
  const address = IpAddress.tryParse(text);
  const isHost = address !== null && !address.isMulticast && !address.isUnspecified;
  if (isHost && address.isIpv4 === group.isIpv4) return address;
  throw failure('EINVAL', syscall, text, `no sender to ${group}`);
}

function failure(code: NetErrorCode, syscall: string, address: string, reason: string): NetError {
  return new NetError(code, { syscall, address, reason });
}
