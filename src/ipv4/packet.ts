import { IpAddress } from '../address/index.ts';
import type { IpPacket } from '../ip.ts';
import { Frame } from '../netif/netif.ts';
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
  /** Never left this host. */
  looped = false;
  /** Where the header begins in `frame.bytes`, and how long it is with options. */
  header = 0;
  headerLength = 0;
  /** One past the packet's last byte. */
  end = 0;

  /** Reads the header at `frame.start`. */
  read(frame: Frame, toLinkGroup: boolean, looped: boolean): this {
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
    this.looped = looped;
    return this;
  }
}
