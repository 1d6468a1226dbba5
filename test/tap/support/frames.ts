import { MacAddress } from '../../../src/address/index.ts';
import { CHECKSUM_PARTIAL, type Frame, type Netif, type NetifHandler } from '../../../src/netif/netif.ts';

/*
 * Frames made and read by hand, for tests of a netif alone: independent of the
 * stack's own layers.
 */

const ARP = 0x0806;
const IPV4 = 0x0800;
export const ICMP = 1;
export const TCP = 6;
export const UDP = 17;

/** The plainest RFC 1071 sum of big-endian words, folded, not inverted. */
export function plainSum(bytes: Uint8Array, initial = 0): number {
  let total = initial;
  for (let i = 0; i < bytes.length; i++) total += i % 2 === 0 ? bytes[i]! * 256 : bytes[i]!;
  while (total > 0xffff) total = (total % 0x10000) + Math.floor(total / 0x10000);
  return total;
}

export function ipv4Bytes(text: string): Buffer {
  return Buffer.from(text.split('.').map(Number));
}

/** The sum of the IPv4 pseudo-header. */
export function pseudoSum(source: string, destination: string, protocol: number, length: number): number {
  const words = Buffer.alloc(12);
  ipv4Bytes(source).copy(words, 0);
  ipv4Bytes(destination).copy(words, 4);
  words.writeUInt16BE(protocol, 8);
  words.writeUInt16BE(length, 10);
  return plainSum(words);
}

export interface Ipv4Fields {
  readonly from: MacAddress;
  readonly to: MacAddress;
  readonly source: string;
  readonly destination: string;
  readonly protocol: number;
  readonly payload: Uint8Array;
}

/** An Ethernet frame with an IPv4 packet without options. */
export function ipv4Frame(fields: Ipv4Fields): Buffer {
  const { from, to, source, destination, protocol, payload } = fields;
  const frame = Buffer.alloc(34 + payload.length);
  to.write(frame, 0);
  from.write(frame, 6);
  frame.writeUInt16BE(IPV4, 12);
  frame.writeUInt16BE(0x4500, 14);
  frame.writeUInt16BE(20 + payload.length, 16);
  frame.writeUInt16BE(0x4000, 20);
  frame.writeUInt8(64, 22);
  frame.writeUInt8(protocol, 23);
  ipv4Bytes(source).copy(frame, 26);
  ipv4Bytes(destination).copy(frame, 30);
  frame.writeUInt16BE(~plainSum(frame.subarray(14, 34)) & 0xffff, 24);
  frame.set(payload, 34);
  return frame;
}

/** A UDP datagram with the checksum field zero. */
export function udpDatagram(sourcePort: number, destinationPort: number, data: Uint8Array): Buffer {
  const datagram = Buffer.alloc(8 + data.length);
  datagram.writeUInt16BE(sourcePort, 0);
  datagram.writeUInt16BE(destinationPort, 2);
  datagram.writeUInt16BE(8 + data.length, 4);
  datagram.set(data, 8);
  return datagram;
}

/** A frame as it came, copied, with what the device said of it. */
export interface Seen {
  readonly bytes: Buffer;
  readonly checksum: Frame['checksum'];
  /** From the start of the frame. */
  readonly checksumStart: number;
  readonly checksumOffset: number;
  readonly segmentSize: number;
}

/** A station that answers ARP for one IPv4 address, and keeps every other frame. */
export class Station implements NetifHandler {
  readonly netif: Netif;
  readonly address: string;
  readonly seen: Seen[] = [];
  /** Frames between flushes. */
  readonly batches: number[] = [];
  /** One more look at each frame, while it is valid. */
  onFrame: (frame: Frame) => void = () => {};
  /** What to do when the device has room again. */
  writable: () => void = () => {};
  /** What `closed` was called with: `[]` or `[error]` per call. */
  readonly closings: (Error | undefined)[] = [];
  /** Learned from ARP and from senders: the kernel's end. */
  peer = MacAddress.BROADCAST;
  #batch = 0;

  constructor(netif: Netif, address: string) {
    this.netif = netif;
    this.address = address;
    netif.start(this);
  }

  receive(frame: Frame): void {
    this.#batch++;
    const bytes = Buffer.from(frame.bytes.slice(frame.start, frame.end));
    if (bytes.readUInt16BE(12) === ARP) {
      this.#answer(bytes);
      return;
    }
    this.peer = MacAddress.read(bytes, 6);
    this.onFrame(frame);
    this.seen.push({
      bytes,
      checksum: frame.checksum,
      checksumStart: frame.checksum === CHECKSUM_PARTIAL ? frame.checksumStart - frame.start : 0,
      checksumOffset: frame.checksumOffset,
      segmentSize: frame.segmentSize,
    });
  }

  flush(): void {
    this.batches.push(this.#batch);
    this.#batch = 0;
  }

  closed(error?: Error): void {
    this.closings.push(error);
  }

  /** Sends a whole frame; false if the device is full. */
  send(bytes: Uint8Array, offload: (frame: Frame) => void = () => {}): boolean {
    const frame = this.netif.reserve(bytes.length);
    if (frame === null) return false;
    frame.bytes.set(bytes, frame.start);
    offload(frame);
    this.netif.commit(frame);
    return true;
  }

  /** The frames of one IP protocol, in order. */
  of(protocol: number): Seen[] {
    return this.seen.filter(
      ({ bytes }) => bytes.readUInt16BE(12) === IPV4 && bytes.readUInt8(23) === protocol,
    );
  }

  #answer(request: Buffer): void {
    if (request.readUInt16BE(20) !== 1 || !request.subarray(38, 42).equals(ipv4Bytes(this.address))) return;
    this.peer = MacAddress.read(request, 6);
    const reply = Buffer.from(request.subarray(0, 42));
    this.peer.write(reply, 0);
    this.netif.mac.write(reply, 6);
    reply.writeUInt16BE(2, 20);
    this.netif.mac.write(reply, 22);
    ipv4Bytes(this.address).copy(reply, 28);
    request.copy(reply, 32, 22, 32);
    this.send(reply);
  }
}

/** Resolves when `condition` holds; rejects, naming `what`, after `timeoutMs`. */
export async function until(what: string, condition: () => boolean, timeoutMs = 5000): Promise<void> {
  const deadline = performance.now() + timeoutMs;
  while (!condition()) {
    if (performance.now() > deadline) throw new Error(`waited ${timeoutMs} ms for ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
}
