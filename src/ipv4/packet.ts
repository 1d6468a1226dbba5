import { IpAddress } from '../address/index.ts';
import { ARRIVED_LOOPBACK, type IpPacket } from '../ip.ts';
import { Frame } from '../netif/netif.ts';
import type { Link } from './link.ts';
import { DESTINATION, getHeaderLength, getProtocol, getTrafficClass, getTtl, SOURCE } from './wire.ts';

/** The cursor of received packets: one, overwritten by the next. */
export class Ipv4Packet implements IpPacket {
  frame = new Frame(new Uint8Array(0));
  readonly source = new IpAddress();
  readonly destination = new IpAddress();
  protocol = 0;
  trafficClass = 0;
  hopLimit = 0;
  isGroup = false;
  /** Came by link-layer multicast or broadcast. */
  toLinkGroup = false;
  /** Where it came from; null of a packet that never left this host. */
  link: Link | null = null;
  /** Where the header begins in `frame.bytes`, and how long it is with options. */
  header = 0;
  headerLength = 0;
  /** One past the packet's last byte. */
  end = 0;

  get arrival(): number {
    return this.link === null ? ARRIVED_LOOPBACK : this.link.index;
  }

  /** Reads the header at `frame.start`. */
  read(frame: Frame, toLinkGroup: boolean, link: Link | null): this {
    const { bytes, start } = frame;
    this.frame = frame;
    this.source.readIpv4(bytes, start + SOURCE);
    this.destination.readIpv4(bytes, start + DESTINATION);
    this.protocol = getProtocol(bytes, start);
    this.trafficClass = getTrafficClass(bytes, start);
    this.hopLimit = getTtl(bytes, start);
    this.header = start;
    this.headerLength = getHeaderLength(bytes, start);
    this.end = frame.end;
    this.toLinkGroup = toLinkGroup;
    this.link = link;
    return this;
  }
}
