import { IpAddress, MacAddress } from '../address/index.ts';
import { ARRIVED_LOOPBACK, type IpPacket } from '../ip.ts';
import { ETHERNET_HEADER, Frame } from '../netif/netif.ts';
import type { Link } from './link.ts';
import { isLinkLocal } from './scope.ts';
import { DESTINATION, getHopLimit, getTrafficClass, SOURCE } from './wire.ts';

/** Of an Ethernet header. */
const LINK_SOURCE = 6;

/** The cursor of received packets: one, overwritten by the next. */
export class Ipv6Packet implements IpPacket {
  frame = new Frame(new Uint8Array(0));
  readonly source = new IpAddress();
  readonly destination = new IpAddress();
  /** What the last extension header names; -1 while they have not been walked. */
  protocol = -1;
  trafficClass = 0;
  hopLimit = 0;
  isGroup = false;
  /** Came by link-layer multicast. */
  toLinkGroup = false;
  /** Where it came from; null of a packet that never left this host. */
  link: Link | null = null;
  /** Came in fragments. */
  fragmented = false;
  /** Where the IPv6 header begins in `frame.bytes`. */
  header = 0;
  /** Where the transport header begins, behind all extension headers. */
  transport = 0;
  /** One past the packet's last byte. */
  end = 0;

  /** Reads the header at `frame.start`. */
  read(frame: Frame, toLinkGroup: boolean, link: Link | null): this {
    const { bytes, start } = frame;
    this.frame = frame;
    this.source.readIpv6(bytes, start + SOURCE);
    this.destination.readIpv6(bytes, start + DESTINATION);
    this.protocol = -1;
    this.trafficClass = getTrafficClass(bytes, start);
    this.hopLimit = getHopLimit(bytes, start);
    this.isGroup = this.destination.isMulticast;
    this.header = start;
    this.transport = start;
    this.end = frame.end;
    this.toLinkGroup = toLinkGroup;
    this.link = link;
    if (link !== null && link.index !== 0) this.setZone(link.index);
    this.fragmented = false;
    return this;
  }

  /** Says which link its link-local addresses belong to (RFC 4007 §9). */
  setZone(zone: number): void {
    if (isLinkLocal(this.source)) this.source.scope = zone;
    if (isLinkLocal(this.destination)) this.destination.scope = zone;
  }

  get arrival(): number {
    return this.link === null ? ARRIVED_LOOPBACK : this.link.index;
  }

  /** Who put it on the link: of a packet that came from there, and in one piece. */
  get linkSource(): MacAddress {
    return MacAddress.read(this.frame.bytes, this.header - ETHERNET_HEADER + LINK_SOURCE);
  }
}
