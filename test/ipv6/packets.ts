/** IPv6 packets byte by byte, without the code under test; for `packet().raw(0x86dd, …)`. */
import { expect } from 'vitest';
import { internetChecksum, packet } from '../support/packets.ts';

export const ETHERTYPE = 0x86dd;

export function ip6Bytes(text: string): number[] {
  const [head = '', tail] = text.split('::');
  const groups = (part: string): number[] =>
    part === '' ? [] : part.split(':').map((g) => Number.parseInt(g, 16));
  const front = groups(head);
  const back = tail === undefined ? [] : groups(tail);
  const all = [...front, ...new Array<number>(8 - front.length - back.length).fill(0), ...back];
  return all.flatMap((group) => [group >>> 8, group & 255]);
}

export function ip6Text(bytes: ArrayLike<number>): string {
  const groups = Array.from({ length: 8 }, (_, i) => ((bytes[2 * i]! << 8) | bytes[2 * i + 1]!).toString(16));
  return groups.join(':');
}

export function u16(value: number): number[] {
  return [(value >>> 8) & 255, value & 255];
}

export function u32(value: number): number[] {
  return [...u16(value >>> 16), ...u16(value & 0xffff)];
}

export interface Ip6Fields {
  readonly source: string;
  readonly destination: string;
  readonly hopLimit?: number;
  /** Next header of the IPv6 header itself. */
  readonly next: number;
  readonly payloadLength?: number;
  readonly version?: number;
}

export function ip6(fields: Ip6Fields, payload: ArrayLike<number>): number[] {
  const { source, destination, hopLimit = 64, next, payloadLength = payload.length, version = 6 } = fields;
  return [
    ...[version << 4, 0, 0, 0],
    ...u16(payloadLength),
    ...[next, hopLimit],
    ...ip6Bytes(source),
    ...ip6Bytes(destination),
    ...Array.from(payload),
  ];
}

/** `payload` with the checksum field at `at` made for the pseudo-header. */
export function summed(
  source: string,
  destination: string,
  protocol: number,
  payload: readonly number[],
  at: number,
): number[] {
  const bytes = [...payload];
  const pseudo = [
    ...ip6Bytes(source),
    ...ip6Bytes(destination),
    ...u32(bytes.length),
    ...[0, 0, 0, protocol],
  ];
  const [high, low] = u16(internetChecksum([...pseudo, ...bytes]));
  bytes[at] = high!;
  bytes[at + 1] = low!;
  return bytes;
}

export interface Icmp6Fields extends Omit<Ip6Fields, 'next'> {
  readonly type: number;
  readonly code?: number;
  readonly sourceMac?: string;
  readonly destinationMac?: string;
}

/** A frame with an ICMPv6 message; `body` is what follows the checksum. */
export function icmp6Frame(fields: Icmp6Fields, body: readonly number[]): Uint8Array {
  const { source, destination, type, code = 0 } = fields;
  const message = summed(source, destination, 58, [type, code, 0, 0, ...body], 2);
  return frame6(ip6({ ...fields, next: 58 }, message), fields);
}

export function frame6(
  bytes: ArrayLike<number>,
  { sourceMac, destinationMac }: { readonly sourceMac?: string; readonly destinationMac?: string } = {},
): Uint8Array {
  return packet({
    ...(sourceMac === undefined ? {} : { source: sourceMac }),
    ...(destinationMac === undefined ? {} : { destination: destinationMac }),
  }).raw(ETHERTYPE, bytes);
}

export function macOption(type: number, mac: string): number[] {
  return [type, 1, ...mac.split(':').map((octet) => Number.parseInt(octet, 16))];
}

export interface Seen {
  readonly source: string;
  readonly destination: string;
  readonly hopLimit: number;
  readonly next: number;
  readonly macTo: string;
  readonly payload: number[];
}

/** What a sent frame says; null if it is not IPv6. Checks its length and, of plain ICMPv6, the checksum. */
export function read6(bytes: Uint8Array): Seen | null {
  if (((bytes[12]! << 8) | bytes[13]!) !== ETHERTYPE) return null;
  const ip = bytes.subarray(14);
  expect(ip[0]! >>> 4).toBe(6);
  const payload = [...ip.subarray(40)];
  expect((ip[4]! << 8) | ip[5]!, 'payload length').toBe(payload.length);
  if (ip[6] === 58) {
    const pseudo = [...ip.subarray(8, 40), ...u32(payload.length), 0, 0, 0, 58];
    expect(internetChecksum([...pseudo, ...payload]), 'ICMPv6 checksum').toBe(0);
  }
  return {
    source: ip6Text(ip.subarray(8, 24)),
    destination: ip6Text(ip.subarray(24, 40)),
    hopLimit: ip[7]!,
    next: ip[6]!,
    macTo: [...bytes.subarray(0, 6)].map((octet) => octet.toString(16).padStart(2, '0')).join(':'),
    payload,
  };
}

/** An address as {@link read6} shows it. */
export function long(text: string): string {
  return ip6Text(ip6Bytes(text));
}
