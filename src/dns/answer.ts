import type packet from 'dns-packet';
import { dataOf, type decode } from './message.ts';
import { isWithin } from './names.ts';
import type { DnsType, Outcome } from './types.ts';

/** Aliases in a row. */
export const MAX_CHAIN = 12;

type Message = NonNullable<ReturnType<typeof decode>>;
type StringAnswer = Extract<packet.Answer, { data: string }>;

/**
 * Reads the answer to a question for `name` (lower case). Only records whose
 * owner is that name, or one that it is an alias of, are looked at: whatever
 * else a server tells is none of its business (RFC 2181 §5.4.1).
 */
export function interpret<T extends DnsType>(message: Message, name: string, type: T): Outcome<T> {
  const { rcode, answers = [], authorities = [] } = message;
  if (rcode !== 'NOERROR' && rcode !== 'NXDOMAIN') return { kind: 'failure', rcode };
  const internet = answers.filter((record) => 'class' in record && record.class === 'IN');
  let owner = name;
  let ttl = Infinity;
  for (let length = 0; length < MAX_CHAIN; length++) {
    const own = internet.filter((record) => nameOf(record) === owner);
    const records = own.filter((record) => record.type === type);
    const data = records.map((record) => dataOf(record, type)).filter((value) => value !== null);
    if (data.length > 0) {
      return { kind: 'records', data, ttl: Math.min(ttl, ...records.map(ttlOf)) };
    }
    const alias = own.find((record): record is StringAnswer => record.type === 'CNAME');
    if (alias === undefined) break;
    ttl = Math.min(ttl, ttlOf(alias));
    owner = alias.data.toLowerCase();
  }
  const negative = negativeTtl(authorities, owner);
  const exists = rcode !== 'NXDOMAIN';
  if (!exists || negative !== null) {
    return { kind: 'absent', exists, ttl: Math.min(ttl, negative ?? 0) };
  }
  if (owner !== name) return { kind: 'alias', target: owner, ttl };
  // A referral: this server does not resolve for us.
  if (authorities.some((record) => record.type === 'NS')) return { kind: 'failure', rcode: 'REFERRAL' };
  return { kind: 'absent', exists, ttl: 0 };
}

/** RFC 2308 §5: the least of the SOA's own TTL and its last field; null without the SOA of a zone that `name` is in. */
function negativeTtl(authorities: readonly packet.Answer[], name: string): number | null {
  for (const record of authorities) {
    if (record.type === 'SOA' && isWithin(name, nameOf(record))) {
      return Math.min(ttlOf(record), record.data.minimum ?? 0);
    }
  }
  return null;
}

function nameOf(record: packet.Answer): string {
  return record.name.toLowerCase();
}

/** RFC 2181 §8: with the top bit set it is zero. */
function ttlOf(record: packet.Answer): number {
  const ttl = 'ttl' in record ? (record.ttl ?? 0) : 0;
  return ttl > 0x7fffffff ? 0 : ttl;
}
