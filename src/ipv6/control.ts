import type { IpAddress, MacAddress } from '../address/index.ts';
import { set16 } from '../bytes/index.ts';
import { complement, pseudoHeaderSum, sum } from '../checksum/index.ts';
import { ETHERTYPE_IPV6, type Ethernet } from '../ethernet/index.ts';
import type { Frame } from '../netif/netif.ts';
import { HEADER, NEXT_HOP_BY_HOP, PROTOCOL_ICMPV6, writeHeader } from './wire.ts';

/** RFC 3810 §5: a hop-by-hop header with a router alert (RFC 2711) and padding. */
const ROUTER_ALERT = [PROTOCOL_ICMPV6, 0, 5, 2, 0, 0, 1, 0];

/** ICMPv6 messages of the link itself, which need no path: neighbour discovery and multicast listener reports. */
export class ControlOutput {
  /** Messages for which the device had no room. */
  stalled = 0;
  readonly #ethernet: Ethernet;

  constructor(ethernet: Ethernet) {
    this.#ethernet = ethernet;
  }

  get mac(): MacAddress {
    return this.#ethernet.netif.mac;
  }

  /** Space for an ICMPv6 message, `start` at its first byte; zeroed. Null if the device is full. */
  reserve(length: number, alert = false): Frame | null {
    const headers = HEADER + (alert ? ROUTER_ALERT.length : 0);
    const frame = this.#ethernet.reserve(headers + length);
    if (frame === null) {
      // What is asked is asked again, what is told is told again: no queue of its own.
      this.stalled++;
      return null;
    }
    frame.start += headers;
    frame.bytes.fill(0, frame.start, frame.end);
    return frame;
  }

  /** Sends the reserved message; its checksum is made here. `alert` as for {@link reserve}. */
  commit(
    frame: Frame,
    source: IpAddress,
    destination: IpAddress,
    mac: MacAddress,
    hopLimit: number,
    alert = false,
  ): void {
    const { bytes, start, end } = frame;
    const pseudo = pseudoHeaderSum(source, destination, PROTOCOL_ICMPV6, end - start);
    set16(bytes, start + 2, complement(sum(bytes, start, end, pseudo)));
    const extension = alert ? ROUTER_ALERT.length : 0;
    const header = start - extension - HEADER;
    const next = alert ? NEXT_HOP_BY_HOP : PROTOCOL_ICMPV6;
    writeHeader(bytes, header, source, destination, 0, 0, end - header - HEADER, next, hopLimit);
    if (alert) bytes.set(ROUTER_ALERT, start - extension);
    this.#ethernet.commit(frame, header, mac, ETHERTYPE_IPV6);
  }
}
