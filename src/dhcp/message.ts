import { IpAddress, MacAddress } from '../address/index.ts';
import { MESSAGE_TYPE, type Options, readOptions, writeOptions } from './options.ts';
import * as wire from './wire.ts';

/** RFC 2132 §9.6. */
export const DISCOVER = 1;
export const OFFER = 2;
export const REQUEST = 3;
export const DECLINE = 4;
export const ACK = 5;
export const NAK = 6;
export const RELEASE = 7;
export const INFORM = 8;

/** One DHCP message over Ethernet; few come and go, so an object each. */
export interface DhcpMessage {
  readonly op: number;
  readonly type: number;
  /** int32. */
  readonly xid: number;
  readonly secs: number;
  readonly broadcast: boolean;
  readonly ciaddr: IpAddress;
  readonly yiaddr: IpAddress;
  readonly giaddr: IpAddress;
  readonly mac: MacAddress;
  readonly options: Options;
}

/** Null for what is no DHCP message over Ethernet, or has no type that we know. */
export function parseMessage(bytes: Uint8Array): DhcpMessage | null {
  if (bytes.length <= wire.OPTIONS || !wire.hasCookie(bytes, 0) || !wire.isEthernet(bytes, 0)) return null;
  const options = readOptions(bytes);
  const type = options?.get(MESSAGE_TYPE);
  if (options === null || type?.length !== 1 || type[0]! < DISCOVER || type[0]! > INFORM) return null;
  return {
    op: wire.op(bytes, 0),
    type: type[0]!,
    xid: wire.xid(bytes, 0),
    secs: wire.secs(bytes, 0),
    broadcast: wire.isBroadcast(bytes, 0),
    ciaddr: new IpAddress().readIpv4(bytes, wire.CIADDR),
    yiaddr: new IpAddress().readIpv4(bytes, wire.YIADDR),
    giaddr: new IpAddress().readIpv4(bytes, wire.GIADDR),
    mac: MacAddress.read(bytes, wire.CHADDR),
    options,
  };
}

export interface DhcpFields {
  readonly op: number;
  readonly type: number;
  readonly xid: number;
  readonly mac: MacAddress;
  readonly secs?: number;
  readonly broadcast?: boolean;
  readonly ciaddr?: IpAddress;
  readonly yiaddr?: IpAddress;
  readonly giaddr?: IpAddress;
  /** Those besides the message type. */
  readonly options?: Options;
}

export function encodeMessage(fields: DhcpFields): Uint8Array {
  const { op, type, xid, mac, secs = 0, broadcast = false } = fields;
  const options = writeOptions(new Map([[MESSAGE_TYPE, Uint8Array.of(type)], ...(fields.options ?? [])]));
  const bytes = new Uint8Array(Math.max(wire.MIN_LENGTH, wire.OPTIONS + options.length));
  wire.setFixed(bytes, 0, op, xid, secs, broadcast);
  fields.ciaddr?.writeIpv4(bytes, wire.CIADDR);
  fields.yiaddr?.writeIpv4(bytes, wire.YIADDR);
  fields.giaddr?.writeIpv4(bytes, wire.GIADDR);
  mac.write(bytes, wire.CHADDR);
  bytes.set(options, wire.OPTIONS);
  return bytes;
}
