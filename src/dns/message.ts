import packet from 'dns-packet';
import { IpAddress } from '../address/index.ts';
import { isSound } from './sound.ts';
import type { DnsData, DnsType } from './types.ts';

/** DNS Flag Day 2020: what is not fragmented anywhere. */
export const EDNS_PAYLOAD = 1232;

export interface Query {
  readonly id: number;
  /** As it is to be spelt. */
  readonly name: string;
  readonly type: DnsType;
  /** Says that we take datagrams of {@link EDNS_PAYLOAD} bytes (RFC 6891). */
  readonly edns: boolean;
}

export function encodeQuery({ id, name, type, edns }: Query): Uint8Array {
  return packet.encode({
    type: 'query',
    id,
    flags: packet.RECURSION_DESIRED,
    questions: [{ type, name, class: 'IN' }],
    additionals: edns ? [opt()] : [],
  });
}

/** RFC 6891 §6.1.1. */
export function opt(): packet.OptAnswer {
  return {
    type: 'OPT',
    name: '.',
    udpPayloadSize: EDNS_PAYLOAD,
    extendedRcode: 0,
    ednsVersion: 0,
    flags: 0,
    flag_do: false,
    options: [],
  };
}

/** `dns-packet`'s view of a message that is sound; null for others. */
export function decode(
  bytes: Uint8Array,
  mostQuestions = 1,
): (packet.DecodedPacket & { rcode: string }) | null {
  if (!isSound(bytes, mostQuestions)) return null;
  try {
    const message = packet.decode(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength));
    // The declared types leave out what every decoded message has.
    return message as packet.DecodedPacket & { rcode: string };
  } catch {
    return null;
  }
}

/** A record's data in our form; null if it is not of `type`, or not what that type has. */
export function dataOf<T extends DnsType>(record: packet.Answer, type: T): DnsData[T] | null {
  if (record.type !== type) return null;
  return readers[type](record) as DnsData[T] | null;
}

const readers: { readonly [T in DnsType]: (record: packet.Answer) => DnsData[T] | null } = {
  A: address,
  AAAA: address,
  CNAME: text,
  PTR: text,
  SRV: (record) => {
    if (record.type !== 'SRV') return null;
    const { priority = 0, weight = 0, port, target } = record.data;
    return { priority, weight, port, target };
  },
  TXT: (record) => {
    if (record.type !== 'TXT') return null;
    const { data } = record;
    return (Array.isArray(data) ? data : [data]).map((part) => part.toString());
  },
};

function address(record: packet.Answer): string | null {
  const value = text(record);
  return (value === null ? null : IpAddress.tryParse(value)?.toString()) ?? null;
}

function text(record: packet.Answer): string | null {
  return 'data' in record && typeof record.data === 'string' ? record.data : null;
}
