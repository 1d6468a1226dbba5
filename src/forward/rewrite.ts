import { get16, set16, set32 } from '../bytes/index.ts';
import { complement, fold, sum, update16 } from '../checksum/index.ts';
import { PROTOCOL_ICMP, PROTOCOL_TCP, PROTOCOL_UDP } from '../ip.ts';
import { DESTINATION, getHeaderLength, IPV4_CHECKSUM, SOURCE } from '../ipv4/index.ts';
import { CHECKSUM_PARTIAL, type Frame } from '../netif/netif.ts';
import { decrementTtl } from './edits.ts';
import type { Edit } from './exit.ts';

const SOURCE_PORT = 0;
const DESTINATION_PORT = 2;
const IDENTIFIER = 4;
const ICMP_CHECKSUM = 2;
const TCP_CHECKSUM = 16;
const UDP_CHECKSUM = 6;
const NONE = -1;

/**
 * A packet's addresses and ports exchanged, and its checksums with them, by the
 * difference alone (RFC 1624) but for ICMP errors, which are short and are summed
 * anew. Reused for every packet.
 */
export class Rewrite implements Edit {
  #protocol = 0;
  #oldSource = 0;
  #newSource = 0;
  #oldDestination = 0;
  #newDestination = 0;
  #oldSourcePort = 0;
  #newSourcePort = 0;
  #oldDestinationPort = 0;
  #newDestinationPort = 0;
  /** Of an ICMP error: where the quoted packet is from the header on, and what changes in it. */
  #quoted = NONE;
  #quotedAddress = SOURCE;
  #quotedOld = 0;
  #quotedNew = 0;
  #quotedPort = NONE;
  #quotedProtocol = 0;
  #quotedOldPort = 0;
  #quotedNewPort = 0;

  /** Nothing is exchanged yet. */
  begin(protocol: number): this {
    this.#protocol = protocol;
    this.#oldSource = this.#newSource = 0;
    this.#oldDestination = this.#newDestination = 0;
    this.#oldSourcePort = this.#newSourcePort = 0;
    this.#oldDestinationPort = this.#newDestinationPort = 0;
    this.#quoted = NONE;
    this.#quotedPort = NONE;
    return this;
  }

  source(before: number, after: number): this {
    this.#oldSource = before;
    this.#newSource = after;
    return this;
  }

  destination(before: number, after: number): this {
    this.#oldDestination = before;
    this.#newDestination = after;
    return this;
  }

  /** For ICMP, the identifier. */
  sourcePort(before: number, after: number): this {
    this.#oldSourcePort = before;
    this.#newSourcePort = after;
    return this;
  }

  destinationPort(before: number, after: number): this {
    this.#oldDestinationPort = before;
    this.#newDestinationPort = after;
    return this;
  }

  /** `quoted` is where the quoted packet begins, from the header on. */
  quotedSource(quoted: number, before: number, after: number): this {
    return this.#quote(quoted, SOURCE, before, after);
  }

  quotedDestination(quoted: number, before: number, after: number): this {
    return this.#quote(quoted, DESTINATION, before, after);
  }

  /** `at` is where the port (or identifier) is, from the header on. */
  quotedPort(at: number, protocol: number, before: number, after: number): this {
    this.#quotedPort = at;
    this.#quotedProtocol = protocol;
    this.#quotedOldPort = before;
    this.#quotedNewPort = after;
    return this;
  }

  apply(frame: Frame, header: number): void {
    const { bytes } = frame;
    decrementTtl(bytes, header);
    const transport = header + getHeaderLength(bytes, header);
    let checksum = get16(bytes, header + IPV4_CHECKSUM);
    checksum = update32(checksum, this.#oldSource, this.#newSource);
    checksum = update32(checksum, this.#oldDestination, this.#newDestination);
    set16(bytes, header + IPV4_CHECKSUM, checksum);
    if (this.#oldSource !== this.#newSource) set32(bytes, header + SOURCE, this.#newSource);
    if (this.#oldDestination !== this.#newDestination) {
      set32(bytes, header + DESTINATION, this.#newDestination);
    }
    if (this.#quoted >= 0) this.#rewriteQuoted(frame, header, transport);
    else if (this.#protocol === PROTOCOL_ICMP) this.#rewriteQuery(bytes, transport);
    else this.#rewritePorts(frame, transport);
  }

  #quote(quoted: number, address: number, before: number, after: number): this {
    this.#quoted = quoted;
    this.#quotedAddress = address;
    this.#quotedOld = before;
    this.#quotedNew = after;
    return this;
  }

  #rewritePorts(frame: Frame, transport: number): void {
    const { bytes } = frame;
    if (this.#oldSourcePort !== this.#newSourcePort)
      set16(bytes, transport + SOURCE_PORT, this.#newSourcePort);
    if (this.#oldDestinationPort !== this.#newDestinationPort) {
      set16(bytes, transport + DESTINATION_PORT, this.#newDestinationPort);
    }
    const isUdp = this.#protocol === PROTOCOL_UDP;
    const field = transport + (isUdp ? UDP_CHECKSUM : TCP_CHECKSUM);
    if (frame.checksum === CHECKSUM_PARTIAL) {
      // The pseudo-header's sum, not inverted; the device sums the ports.
      let partial = complement(get16(bytes, field));
      partial = update32(partial, this.#oldSource, this.#newSource);
      partial = update32(partial, this.#oldDestination, this.#newDestination);
      set16(bytes, field, complement(partial));
      return;
    }
    const before = get16(bytes, field);
    // RFC 768: none was made.
    if (isUdp && before === 0) return;
    let checksum = update32(before, this.#oldSource, this.#newSource);
    checksum = update32(checksum, this.#oldDestination, this.#newDestination);
    checksum = update16(checksum, this.#oldSourcePort, this.#newSourcePort);
    checksum = update16(checksum, this.#oldDestinationPort, this.#newDestinationPort);
    set16(bytes, field, isUdp && checksum === 0 ? 0xffff : checksum);
  }

  #rewriteQuery(bytes: Uint8Array, transport: number): void {
    set16(bytes, transport + IDENTIFIER, this.#newSourcePort);
    const checksum = get16(bytes, transport + ICMP_CHECKSUM);
    set16(bytes, transport + ICMP_CHECKSUM, update16(checksum, this.#oldSourcePort, this.#newSourcePort));
  }

  /** RFC 5508 §4.2: the quoted packet becomes the one that its sender sent, as far as it is there. */
  #rewriteQuoted(frame: Frame, header: number, transport: number): void {
    const { bytes, end } = frame;
    const quoted = header + this.#quoted;
    set32(bytes, quoted + this.#quotedAddress, this.#quotedNew);
    const checksum = get16(bytes, quoted + IPV4_CHECKSUM);
    set16(bytes, quoted + IPV4_CHECKSUM, update32(checksum, this.#quotedOld, this.#quotedNew));
    set16(bytes, header + this.#quotedPort, this.#quotedNewPort);
    this.#rewriteQuotedChecksum(bytes, quoted + getHeaderLength(bytes, quoted), end);
    set16(bytes, transport + ICMP_CHECKSUM, 0);
    set16(bytes, transport + ICMP_CHECKSUM, complement(sum(bytes, transport, end)));
  }

  #rewriteQuotedChecksum(bytes: Uint8Array, transport: number, end: number): void {
    const offset = checksumOffset(this.#quotedProtocol);
    const field = transport + offset;
    if (offset < 0 || field + 2 > end) return;
    const before = get16(bytes, field);
    if (this.#quotedProtocol === PROTOCOL_UDP && before === 0) return;
    let checksum = update16(before, this.#quotedOldPort, this.#quotedNewPort);
    if (this.#quotedProtocol !== PROTOCOL_ICMP) {
      checksum = update32(checksum, this.#quotedOld, this.#quotedNew);
    }
    set16(bytes, field, checksum);
  }
}

function checksumOffset(protocol: number): number {
  if (protocol === PROTOCOL_TCP) return TCP_CHECKSUM;
  if (protocol === PROTOCOL_UDP) return UDP_CHECKSUM;
  return protocol === PROTOCOL_ICMP ? ICMP_CHECKSUM : NONE;
}

/** RFC 1624 eqn. 3, for 32 bits at once. */
function update32(checksum: number, before: number, after: number): number {
  if (before === after) return checksum;
  const total =
    (~checksum & 0xffff) +
    (~(before >>> 16) & 0xffff) +
    (~before & 0xffff) +
    (after >>> 16) +
    (after & 0xffff);
  return complement(fold(total));
}
