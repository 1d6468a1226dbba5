import { IpAddress, type MacAddress } from '../address/index.ts';
import { DECLINE, DISCOVER, encodeMessage, RELEASE, REQUEST } from './message.ts';
import * as option from './options.ts';
import { addressBytes, u16 } from './values.ts';
import { BOOTREQUEST } from './wire.ts';

/** RFC 3442: classless routes are asked for before the router. */
const WANTED = Uint8Array.of(
  option.SUBNET_MASK,
  option.CLASSLESS_ROUTES,
  option.ROUTER,
  option.DNS_SERVER,
  option.DOMAIN_NAME,
  option.DOMAIN_SEARCH,
  option.INTERFACE_MTU,
  option.LEASE_TIME,
  option.RENEWAL_TIME,
  option.REBINDING_TIME,
);
/** RFC 2132 §9.10; what fits an Ethernet frame. */
const MAX_MESSAGE = 1472;
const HARDWARE_ETHERNET = 1;

export interface Identity {
  readonly mac: MacAddress;
  /** Sent as option 12, so that the server can name us. */
  readonly hostname?: string;
  /** RFC 2132 §9.14: type and value; the Ethernet address by default. */
  readonly clientId?: Uint8Array;
}

interface Transaction {
  readonly xid: number;
  readonly secs: number;
}

/** The messages of a client, with the fields that RFC 2131 §4.3.2 and §4.4, table 5 want in each. */
export class Requests {
  readonly #identity: Identity;
  readonly #clientId: Uint8Array;

  constructor(identity: Identity) {
    const mac = new Uint8Array(6);
    identity.mac.write(mac, 0);
    this.#identity = identity;
    this.#clientId = identity.clientId ?? Uint8Array.of(HARDWARE_ETHERNET, ...mac);
  }

  discover(transaction: Transaction): Uint8Array {
    return this.#encode(DISCOVER, transaction, true, null, this.#wishes());
  }

  /** For an address that a server offered (`server`), or that we had once (null: INIT-REBOOT). */
  request(transaction: Transaction, address: IpAddress, server: IpAddress | null): Uint8Array {
    const options = this.#wishes();
    options.set(option.REQUESTED_ADDRESS, addressBytes(address));
    if (server !== null) options.set(option.SERVER_ID, addressBytes(server));
    return this.#encode(REQUEST, transaction, true, null, options);
  }

  /** For more of the address that we have: neither server nor requested address are given. */
  renew(transaction: Transaction, address: IpAddress): Uint8Array {
    return this.#encode(REQUEST, transaction, false, address, this.#wishes());
  }

  decline(xid: number, address: IpAddress, server: IpAddress): Uint8Array {
    const options = new Map([
      [option.REQUESTED_ADDRESS, addressBytes(address)],
      [option.SERVER_ID, addressBytes(server)],
    ]);
    return this.#encode(DECLINE, { xid, secs: 0 }, false, null, options);
  }

  release(xid: number, address: IpAddress, server: IpAddress): Uint8Array {
    const options = new Map([[option.SERVER_ID, addressBytes(server)]]);
    return this.#encode(RELEASE, { xid, secs: 0 }, false, address, options);
  }

  #wishes(): Map<number, Uint8Array> {
    const { hostname } = this.#identity;
    const options = new Map([
      [option.PARAMETER_REQUEST, WANTED],
      [option.MAX_MESSAGE_SIZE, u16(MAX_MESSAGE)],
    ]);
    if (hostname !== undefined) options.set(option.HOST_NAME, new TextEncoder().encode(hostname));
    return options;
  }

  /** `broadcast`: we have no address yet and cannot be sent packets to it (RFC 2131 §4.1). */
  #encode(
    type: number,
    { xid, secs }: Transaction,
    broadcast: boolean,
    ciaddr: IpAddress | null,
    options: Map<number, Uint8Array>,
  ): Uint8Array {
    // RFC 2131 §2, §4.2: the same identifier in every message.
    options.set(option.CLIENT_ID, this.#clientId);
    const { mac } = this.#identity;
    return encodeMessage({
      op: BOOTREQUEST,
      type,
      xid,
      mac,
      secs: Math.min(secs, 0xffff),
      broadcast,
      ciaddr: ciaddr ?? IpAddress.ANY_IPV4,
      options,
    });
  }
}
