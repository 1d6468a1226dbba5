import { IpAddress, Prefix } from '../address/index.ts';
import type { Udp, UdpSocket } from '../stack.ts';
import type { Clock } from '../time/index.ts';
import {
  ACK,
  DECLINE,
  type DhcpMessage,
  DISCOVER,
  encodeMessage,
  INFORM,
  NAK,
  OFFER,
  parseMessage,
  RELEASE,
  REQUEST,
} from './message.ts';
import * as option from './options.ts';
import { AddressPool } from './pool.ts';
import {
  addressBytes,
  type DhcpRoute,
  maskOf,
  readAddress,
  routeBytes,
  searchBytes,
  u16,
  u32,
} from './values.ts';
import { BOOTREPLY, BOOTREQUEST, CLIENT_PORT, SERVER_PORT } from './wire.ts';

export interface DhcpServerOptions {
  /** Of a stack that has `address`. */
  readonly udp: Udp;
  readonly clock: Clock;
  /** The server's own address and the prefix of the link: `10.0.0.1/24`. */
  readonly address: string;
  /** First and last address to give away. */
  readonly range: readonly [first: string, last: string];
  /** Fixed addresses by client MAC address, outside the range or in it. */
  readonly reservations?: Readonly<Record<string, string>>;
  /** 3600 by default. */
  readonly leaseSeconds?: number;
  readonly renewSeconds?: number;
  readonly rebindSeconds?: number;
  readonly router?: string;
  readonly routes?: readonly DhcpRoute[];
  readonly dns?: readonly string[];
  readonly domain?: string;
  readonly search?: readonly string[];
  readonly mtu?: number;
}

export interface DhcpServerCounters {
  discovers: number;
  requests: number;
  declines: number;
  releases: number;
  informs: number;
  acks: number;
  naks: number;
  /** Datagrams that are no request of a client. */
  inErrors: number;
}

/** An address that was offered is kept for the client this long. */
const OFFER_MS = 60_000;
const EVERYBODY = '255.255.255.255';

/**
 * A DHCP server for the links of a test network (RFC 2131 §4.3): no relays, no
 * storage. Answers to clients without an address are broadcast, which needs no
 * ARP entry made by hand (§4.1 allows it).
 */
export class DhcpServer {
  readonly counters: DhcpServerCounters = {
    discovers: 0,
    requests: 0,
    declines: 0,
    releases: 0,
    informs: 0,
    acks: 0,
    naks: 0,
    inErrors: 0,
  };
  readonly pool: AddressPool;
  /** False lets requests fall silent: a server that is away. */
  answering = true;
  readonly #options: DhcpServerOptions;
  readonly #prefix: Prefix;
  readonly #identifier: Uint8Array;
  #socket: UdpSocket | null = null;

  /** Throws for addresses that are none. */
  constructor(options: DhcpServerOptions) {
    this.#options = options;
    this.#prefix = Prefix.parse(options.address);
    this.#identifier = addressBytes(this.#prefix.address);
    const reserved = Object.entries(options.reservations ?? {}).map(([mac, address]): [string, string] => [
      mac.toLowerCase(),
      address,
    ]);
    this.pool = new AddressPool(...options.range, new Map(reserved));
  }

  /** Binds the server's port and serves until {@link close}. */
  async start(): Promise<void> {
    const socket = await this.#options.udp.bind({ port: SERVER_PORT, broadcast: true });
    this.#socket = socket;
    void this.#serve(socket);
  }

  async close(): Promise<void> {
    await this.#socket?.close();
  }

  async #serve(socket: UdpSocket): Promise<void> {
    for await (const { data } of socket) {
      const message = parseMessage(data);
      if (message?.op !== BOOTREQUEST) this.counters.inErrors++;
      else if (this.answering) this.#answer(message, socket);
    }
  }

  #answer(message: DhcpMessage, socket: UdpSocket): void {
    const client = `${message.mac}`;
    const now = this.#options.clock.now();
    switch (message.type) {
      case DISCOVER:
        this.counters.discovers++;
        this.#offer(message, client, now, socket);
        break;
      case REQUEST:
        this.counters.requests++;
        this.#request(message, client, now, socket);
        break;
      case DECLINE: {
        this.counters.declines++;
        const address = readAddress(message.options.get(option.REQUESTED_ADDRESS));
        if (address !== null) this.pool.decline(client, `${address}`, now);
        break;
      }
      case RELEASE:
        this.counters.releases++;
        if (this.pool.leaseOf(client, now)?.address === `${message.ciaddr}`) this.pool.release(client);
        break;
      case INFORM:
        // RFC 2131 §4.3.5: options without a lease, to the address that the client has.
        this.counters.informs++;
        this.#send(ACK, message, IpAddress.ANY_IPV4, this.#parameters(), socket);
        break;
      default:
        this.counters.inErrors++;
    }
  }

  #offer(message: DhcpMessage, client: string, now: number, socket: UdpSocket): void {
    const wanted = readAddress(message.options.get(option.REQUESTED_ADDRESS));
    const address = this.pool.choose(client, wanted === null ? null : `${wanted}`, now);
    if (address === null) return;
    if (this.pool.leaseOf(client, now) === null) this.pool.grant(client, address, now + OFFER_MS);
    this.#send(OFFER, message, IpAddress.parse(address), this.#lease(), socket);
  }

  /** RFC 2131 §4.3.2: which of the four kinds a REQUEST is, by what it carries. */
  #request(message: DhcpMessage, client: string, now: number, socket: UdpSocket): void {
    const server = readAddress(message.options.get(option.SERVER_ID));
    const requested = readAddress(message.options.get(option.REQUESTED_ADDRESS));
    if (server !== null && !server.equals(this.#prefix.address)) {
      // Another server's offer was taken.
      this.pool.release(client);
      return;
    }
    const address = message.ciaddr.isUnspecified ? requested : message.ciaddr;
    if (address === null) {
      this.counters.inErrors++;
      return;
    }
    const known = this.pool.leaseOf(client, now);
    // INIT-REBOOT, §4.3.2: of a client that we know nothing about we stay silent, unless its network is wrong.
    const isReboot = server === null && message.ciaddr.isUnspecified;
    const isElsewhere = !this.#prefix.contains(address);
    if (isReboot && known === null && !isElsewhere && !this.pool.mayHave(client, `${address}`, now)) return;
    if (isElsewhere || !this.pool.mayHave(client, `${address}`, now)) {
      this.counters.naks++;
      this.#send(NAK, message, IpAddress.ANY_IPV4, new Map([[option.SERVER_ID, this.#identifier]]), socket);
      return;
    }
    this.counters.acks++;
    const { leaseSeconds = 3600 } = this.#options;
    this.pool.grant(client, `${address}`, now + leaseSeconds * 1000);
    this.#send(ACK, message, address, this.#lease(), socket);
  }

  #lease(): Map<number, Uint8Array> {
    const { leaseSeconds = 3600, renewSeconds, rebindSeconds } = this.#options;
    const options = this.#parameters();
    options.set(option.LEASE_TIME, u32(leaseSeconds === Infinity ? -1 : leaseSeconds));
    if (renewSeconds !== undefined) options.set(option.RENEWAL_TIME, u32(renewSeconds));
    if (rebindSeconds !== undefined) options.set(option.REBINDING_TIME, u32(rebindSeconds));
    return options;
  }

  #parameters(): Map<number, Uint8Array> {
    const { router, routes, dns = [], domain, search, mtu } = this.#options;
    const options = new Map([
      [option.SERVER_ID, this.#identifier],
      [option.SUBNET_MASK, addressBytes(IpAddress.ipv4(maskOf(this.#prefix.length)))],
    ]);
    if (routes !== undefined) options.set(option.CLASSLESS_ROUTES, routeBytes(routes));
    if (router !== undefined) options.set(option.ROUTER, addressBytes(IpAddress.parse(router)));
    if (dns.length > 0) options.set(option.DNS_SERVER, addressBytes(...dns.map(IpAddress.parse)));
    if (domain !== undefined) options.set(option.DOMAIN_NAME, new TextEncoder().encode(domain));
    if (search !== undefined) options.set(option.DOMAIN_SEARCH, searchBytes(search));
    if (mtu !== undefined) options.set(option.INTERFACE_MTU, u16(mtu));
    return options;
  }

  #send(type: number, to: DhcpMessage, yiaddr: IpAddress, options: option.Options, socket: UdpSocket): void {
    const { xid, mac, ciaddr, broadcast } = to;
    const message = encodeMessage({ op: BOOTREPLY, type, xid, mac, ciaddr, yiaddr, broadcast, options });
    // RFC 2131 §4.1: to who has an address there; a NAK, and all else, to everybody.
    const host = type === NAK || ciaddr.isUnspecified ? EVERYBODY : `${ciaddr}`;
    // What cannot be sent is asked for again.
    socket.send(message, { host, port: CLIENT_PORT }).catch(() => {});
  }
}
