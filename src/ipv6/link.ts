import { type IpAddress, Prefix } from '../address/index.ts';
import type { AddressConflict } from '../arp/index.ts';
import { set32 } from '../bytes/index.ts';
import { NetError } from '../errors.ts';
import { ETHERTYPE_IPV6, type Ethernet, type EtherProtocol } from '../ethernet/index.ts';
import { Outbox } from '../internet/index.ts';
import type { Frame } from '../netif/netif.ts';
import { type Clock, type Random, randomFraction, type TimerWheel } from '../time/index.ts';
import { AddressTable, type AddressTableHost, INITIAL_DELAY_MS } from './addresses.ts';
import { Autoconf, type AutoconfHost } from './autoconf.ts';
import { ControlOutput } from './control.ts';
import { Groups } from './groups.ts';
import { InterfaceIds } from './interface-id.ts';
import { Ndp } from './ndp.ts';
import type { OwnAddress } from './own-address.ts';
import { RouterSide } from './router-side.ts';
import { RoutingTable } from './routes.ts';
import { ALL_NODES, isLinkLocal } from './scope.ts';
import { HEADER, MIN_MTU } from './wire.ts';

const LINK_LOCAL = Prefix.parse('fe80::/64');
/** RFC 7217 §7. */
const LINK_LOCAL_RETRIES = 3;

export interface Ipv6Configuration {
  /** An address of ours with the prefix on the link; null for a link-local address only. */
  readonly address: Prefix | null;
  /** Asks for routers, and takes the addresses, routes and servers that they advertise. */
  readonly autoconfigure: boolean;
  /** The default route's next hop, besides those that are advertised. */
  readonly gateway: IpAddress | null;
  /** Asks one to two seconds for every address whether it is free (RFC 4862 §5.4). Default true. */
  readonly detect?: boolean;
  /** From which interface identifiers are made (RFC 7217); one that is kept makes the addresses the same at every start. Random by default. */
  readonly secret?: Uint8Array;
}

/** Who takes what a link received. */
export interface LinkReceiver {
  receiveFrom(link: Link, frame: Frame, toLinkGroup: boolean): void;
}

export interface LinkOptions {
  /** Of the interface; the zone of its link-local addresses (RFC 4007 §6). */
  readonly index: number;
  /** Of its routes, unless they have their own. */
  readonly metric: number;
  readonly hopLimit: number;
  readonly receiver: LinkReceiver;
  readonly ethernet: Ethernet;
  readonly clock: Clock;
  readonly timers: TimerWheel;
  readonly random: Random;
  readonly configuration: Ipv6Configuration;
  /** Addresses or routes changed. */
  readonly onChange: () => void;
  readonly onConflict: (conflict: AddressConflict, by: Link) => void;
}

/** All that IPv6 knows of one Ethernet: our addresses, groups, neighbours, routers and routes. */
export class Link implements EtherProtocol, AddressTableHost, AutoconfHost {
  readonly ethertype = ETHERTYPE_IPV6;
  readonly index: number;
  readonly metric: number;
  readonly ethernet: Ethernet;
  readonly outbox: Outbox;
  /** The device's, or less if a router says so (RFC 4861 §6.3.4). */
  mtu: number;
  /** As configured, or a router's word. */
  hopLimit: number;
  readonly timers: TimerWheel;
  readonly random: Random;
  readonly detects: boolean;
  readonly output: ControlOutput;
  readonly ndp: Ndp;
  readonly groups: Groups;
  readonly addresses: AddressTable;
  readonly routes: RoutingTable;
  /** Null if routers are not listened to. */
  readonly autoconf: Autoconf | null;
  /** Null on a host that forwards nothing. */
  router: RouterSide | null = null;
  readonly #options: LinkOptions;
  readonly #ids: InterfaceIds;
  #linkLocal: OwnAddress | null = null;
  #starting: { resolve(): void; reject(error: NetError): void } | null = null;

  /** Throws `EINVAL` if the link carries no 1280 bytes. */
  constructor(options: LinkOptions) {
    const { ethernet, clock, timers, random, configuration } = options;
    if (ethernet.netif.mtu < MIN_MTU) {
      throw new NetError('EINVAL', {
        reason: `IPv6 needs an MTU of ${MIN_MTU} bytes, ${ethernet.netif.name} has ${ethernet.netif.mtu}`,
      });
    }
    this.#options = options;
    this.index = options.index;
    this.metric = options.metric;
    this.hopLimit = options.hopLimit;
    this.ethernet = ethernet;
    this.mtu = Math.min(ethernet.netif.mtu, 65_535);
    this.outbox = new Outbox(ethernet, ETHERTYPE_IPV6, HEADER);
    this.timers = timers;
    this.random = random;
    this.detects = configuration.detect ?? true;
    this.output = new ControlOutput(ethernet);
    this.ndp = new Ndp({
      zone: options.index,
      output: this.output,
      clock,
      timers,
      random,
      onNoRouter: (address) => {
        if (this.routes.forget(address)) this.changed();
      },
    });
    this.routes = new RoutingTable((gateway) => this.ndp.rank(gateway));
    this.groups = new Groups(ethernet, this.output, clock, timers, random, () => this.linkLocal());
    this.addresses = new AddressTable(this);
    this.ndp.serve(this.addresses);
    this.#ids = new InterfaceIds(configuration.secret ?? randomSecret(random), ethernet.netif.mac);
    this.autoconf = configuration.autoconfigure
      ? new Autoconf({
          host: this,
          output: this.output,
          clock,
          timers,
          random,
          addresses: this.addresses,
          routes: this.routes,
          ndp: this.ndp,
          ids: this.#ids,
        })
      : null;
    ethernet.register(this);
  }

  get retransmitMs(): number {
    return this.ndp.retransmitMs;
  }

  /**
   * Takes the addresses. Resolves when the link-local and the configured one may
   * be used, and those that a router advertised meanwhile; rejects with
   * `EADDRNOTAVAIL` if another station has one.
   */
  start(): Promise<void> {
    const { address, gateway } = this.#options.configuration;
    const delayMs = this.detects ? randomFraction(this.random) * INITIAL_DELAY_MS : 0;
    this.groups.join(ALL_NODES);
    this.groups.start(delayMs);
    this.routes.add(LINK_LOCAL, null);
    if (address !== null) this.routes.add(new Prefix(address.network, address.length), null);
    if (gateway !== null) this.routes.add(RoutingTable.DEFAULT, this.zoned(gateway));
    const started = new Promise<void>((resolve, reject) => {
      this.#starting = { resolve, reject };
    });
    this.#addLinkLocal(0, delayMs);
    if (address !== null) {
      const { address: own, length } = address;
      this.addresses.add(
        { address: this.zoned(own), prefixLength: length, origin: 'configured' },
        this.detects,
        delayMs,
      );
    }
    this.autoconf?.start(delayMs);
    this.router?.start();
    this.#checkStarted();
    return started;
  }

  /** Forwards packets from now on, and tells hosts so; with `advertises`, also who has not asked. */
  becomeRouter(advertises: boolean): void {
    const { clock, timers, random } = this.#options;
    this.ndp.isRouter = true;
    this.router = new RouterSide(this, clock, timers, random, advertises);
  }

  close(): void {
    this.router?.close();
    this.#starting?.reject(new NetError('ENETDOWN', { syscall: 'bind', reason: 'closed' }));
    this.#starting = null;
    this.autoconf?.close();
    this.addresses.clear();
    this.groups.close();
    this.routes.clear();
    this.ndp.cache.clear();
  }

  now(): number {
    return this.#options.clock.now();
  }

  /** Our link-local address, if it may be used. */
  linkLocal(): IpAddress | null {
    return this.#linkLocal?.isAssigned === true ? this.#linkLocal.address : null;
  }

  join(group: IpAddress): void {
    this.groups.join(group);
  }

  leave(group: IpAddress): void {
    this.groups.leave(group);
  }

  probe(address: OwnAddress): void {
    this.ndp.probe(address);
  }

  announce(address: IpAddress): void {
    this.ndp.announce(address);
  }

  changed(): void {
    this.#options.onChange();
  }

  assigned(own: OwnAddress): void {
    if (own.origin === 'link-local') this.groups.repeat();
    this.#checkStarted();
  }

  duplicate(own: OwnAddress): void {
    if (own.origin === 'advertised') {
      this.autoconf?.duplicate(own);
      this.#checkStarted();
    } else if (own.origin === 'link-local' && own.attempt < LINK_LOCAL_RETRIES) {
      this.#addLinkLocal(own.attempt + 1, 0);
    } else {
      this.#starting?.reject(
        new NetError('EADDRNOTAVAIL', {
          syscall: 'bind',
          address: `${own.address}`,
          reason: 'another station has this address',
        }),
      );
      this.#starting = null;
    }
  }

  conflict(conflict: AddressConflict): void {
    this.#options.onConflict(conflict, this);
  }

  /** Takes a router's MTU, if it is one that this link can have. */
  limitMtu(mtu: number): void {
    if (mtu < MIN_MTU || mtu > this.ethernet.netif.mtu || mtu === this.mtu) return;
    this.mtu = mtu;
    this.changed();
  }

  /** Takes a router's word on how far packets may go (RFC 4861 §6.3.4). */
  limitHops(hopLimit: number): void {
    if (hopLimit === this.hopLimit) return;
    this.hopLimit = hopLimit;
    this.changed();
  }

  receive(frame: Frame, toGroup: boolean): void {
    this.#options.receiver.receiveFrom(this, frame, toGroup);
  }

  /** `address` as it is known on this link: with its zone, if it is link-local. */
  zoned(address: IpAddress): IpAddress {
    if (this.index === 0 || !isLinkLocal(address)) return address;
    const zoned = address.copy();
    zoned.scope = this.index;
    return zoned;
  }

  #addLinkLocal(attempt: number, delayMs: number): void {
    const address = this.zoned(this.#ids.address(LINK_LOCAL, attempt));
    const options = { address, prefixLength: LINK_LOCAL.length, origin: 'link-local', attempt } as const;
    this.#linkLocal = this.addresses.add(options, this.detects, delayMs);
  }

  #checkStarted(): void {
    if (this.linkLocal() === null || !this.addresses.isSettled) return;
    this.#starting?.resolve();
    this.#starting = null;
  }
}

/** 128 bits (RFC 7217 §5). */
function randomSecret(random: Random): Uint8Array {
  const secret = new Uint8Array(16);
  for (let at = 0; at < 16; at += 4) set32(secret, at, random.next32());
  return secret;
}
