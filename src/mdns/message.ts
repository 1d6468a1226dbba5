/** Messages of multicast DNS (RFC 6762 §18): DNS messages with two bits of their own in the class. */
import packet from 'dns-packet';
import { get16, set16 } from '../bytes/index.ts';
import { type DnsData, type DnsType, dataOf, decodeMessage, endOfName } from '../dns/index.ts';

const HEADER = 12;
/** §5.4 and §10.2: "answer me alone", "forget what you knew". */
const TOP_BIT = 0x8000;
/** Questions that are read of one message. */
const MAX_QUESTIONS = 64;
/** §17: what fits an Ethernet without fragments, of either family. */
export const MAX_MESSAGE = 1440;

/** One record, its name in lower case where it is looked up. */
export type MdnsRecord = {
  [T in DnsType]: {
    readonly name: string;
    readonly type: T;
    readonly data: DnsData[T];
    /** Seconds. */
    readonly ttl: number;
    /** The set of this name and type is the sender's alone (cache-flush). */
    readonly unique: boolean;
  };
}[DnsType];

export interface MdnsQuestion {
  readonly name: string;
  readonly type: DnsType | 'ANY';
  /** An answer to the asker alone will do (QU). */
  readonly unicast: boolean;
}

export interface MdnsMessage {
  readonly id: number;
  readonly isResponse: boolean;
  /** More known answers follow (§7.2). */
  readonly truncated: boolean;
  readonly questions: readonly MdnsQuestion[];
  readonly answers: readonly MdnsRecord[];
  readonly authorities: readonly MdnsRecord[];
  readonly additionals: readonly MdnsRecord[];
}

export const TYPES: readonly DnsType[] = ['A', 'AAAA', 'CNAME', 'PTR', 'SRV', 'TXT'];

/** Null for what is no sound message of multicast DNS. */
export function decode(bytes: Uint8Array): MdnsMessage | null {
  const message = decodeMessage(bytes, MAX_QUESTIONS);
  // §18.3, §18.11: other opcodes and errors are ignored.
  if (message === null || (get16(bytes, 2) & 0x780f) !== 0) return null;
  const { questions = [], answers = [], authorities = [], additionals = [] } = message;
  const unicast = unicastBits(bytes, questions.length);
  return {
    id: message.id ?? 0,
    isResponse: message.type === 'response',
    truncated: message.flag_tc,
    questions: questions.flatMap(({ name, type }, i) => {
      // The declared types leave out what `dns-packet` decodes of a question for all there is.
      const wanted: string = type;
      if (wanted !== 'ANY' && !isKnown(wanted)) return [];
      return [{ name: name.toLowerCase(), type: wanted, unicast: unicast[i]! }];
    }),
    answers: answers.flatMap(recordOf),
    authorities: authorities.flatMap(recordOf),
    additionals: additionals.flatMap(recordOf),
  };
}

export interface MdnsDraft {
  readonly id?: number;
  readonly questions?: readonly MdnsQuestion[];
  readonly answers?: readonly MdnsRecord[];
  readonly authorities?: readonly MdnsRecord[];
  readonly additionals?: readonly MdnsRecord[];
  readonly truncated?: boolean;
  /** To one who knows nothing of multicast DNS (§6.7): no cache-flush bits, times of ten seconds at most. */
  readonly legacy?: boolean;
}

export function encodeQuery(draft: MdnsDraft): Uint8Array {
  const { id = 0, questions = [], answers = [], authorities = [], truncated = false } = draft;
  const bytes = packet.encode({
    type: 'query',
    id,
    flags: truncated ? packet.TRUNCATED_RESPONSE : 0,
    questions: questions.map(({ name, type }) => ({ name, type: type as packet.RecordType, class: 'IN' })),
    answers: answers.map((record) => encodable({ ...record, unique: false }, false)),
    // §8.2: the records that are probed for are shown as they will be.
    authorities: authorities.map((record) => encodable({ ...record, unique: false }, false)),
  });
  let at = HEADER;
  for (const { unicast } of questions) {
    at = endOfName(bytes, at) + 4;
    if (unicast) set16(bytes, at - 2, get16(bytes, at - 2) | TOP_BIT);
  }
  return bytes;
}

export function encodeResponse(draft: MdnsDraft): Uint8Array {
  const { id = 0, questions = [], answers = [], additionals = [], legacy = false } = draft;
  return packet.encode({
    type: 'response',
    id,
    flags: packet.AUTHORITATIVE_ANSWER,
    // §6: no questions, but to who is not of ours.
    questions: questions.map(({ name, type }) => ({ name, type: type as packet.RecordType, class: 'IN' })),
    answers: answers.map((record) => encodable(record, legacy)),
    additionals: additionals.map((record) => encodable(record, legacy)),
  });
}

const LEGACY_TTL_S = 10;

function encodable({ name, type, data, ttl, unique }: MdnsRecord, legacy: boolean): packet.Answer {
  const record = {
    name,
    type,
    data,
    ttl: legacy ? Math.min(ttl, LEGACY_TTL_S) : ttl,
    class: 'IN',
    flush: unique && !legacy,
  };
  // What the type says of the data, the union of all types cannot.
  return record as packet.Answer;
}

function recordOf(record: packet.Answer): MdnsRecord[] {
  const { name, type } = record;
  if (!isKnown(type) || !('class' in record) || record.class !== 'IN') return [];
  const data = dataOf(record, type);
  if (data === null) return [];
  const { ttl = 0, flush = false } = record as { ttl?: number; flush?: boolean };
  return [{ name: name.toLowerCase(), type, data, ttl, unique: flush } as MdnsRecord];
}

function isKnown(type: string): type is DnsType {
  return (TYPES as readonly string[]).includes(type);
}

/** Which questions have the top bit of their class set, which `dns-packet` takes away. */
function unicastBits(bytes: Uint8Array, count: number): boolean[] {
  const bits: boolean[] = [];
  let at = HEADER;
  for (let i = 0; i < count; i++) {
    at = endOfName(bytes, at) + 4;
    bits.push((get16(bytes, at - 2) & TOP_BIT) !== 0);
  }
  return bits;
}

/** Whether two records say the same; times and who owns them left aside. */
export function isSameRecord(a: MdnsRecord, b: MdnsRecord): boolean {
  return isSameSet(a, b) && dataKey(a) === dataKey(b);
}

/** Whether two records are of one name and type. */
export function isSameSet(a: MdnsRecord, b: MdnsRecord): boolean {
  return a.type === b.type && a.name.toLowerCase() === b.name.toLowerCase();
}

/** The data as text that is equal for equal data: names are compared without case. */
export function dataKey({ type, data }: MdnsRecord): string {
  switch (type) {
    case 'A':
    case 'AAAA':
    case 'CNAME':
    case 'PTR':
      return data.toLowerCase();
    case 'SRV':
      return `${data.priority} ${data.weight} ${data.port} ${data.target.toLowerCase()}`;
    case 'TXT':
      return JSON.stringify(data);
  }
}

const TYPE_NUMBERS: Readonly<Record<DnsType, number>> = {
  A: 1,
  CNAME: 5,
  PTR: 12,
  TXT: 16,
  AAAA: 28,
  SRV: 33,
};

/** §8.2: negative where `a` comes before `b`, by type and then by data as it stands on the wire. */
export function compareRecords(a: MdnsRecord, b: MdnsRecord): number {
  const byType = TYPE_NUMBERS[a.type] - TYPE_NUMBERS[b.type];
  if (byType !== 0) return byType;
  const [left, right] = [wireData(a), wireData(b)];
  for (let i = 0; i < Math.min(left.length, right.length); i++) {
    if (left[i] !== right[i]) return left[i]! - right[i]!;
  }
  return left.length - right.length;
}

function wireData(record: MdnsRecord): Uint8Array {
  const answers = [encodable({ ...record, name: '.' }, false)];
  // Behind the header: the root's name, type, class, TTL and length.
  return packet.encode({ type: 'response', id: 0, answers }).subarray(HEADER + 1 + 10);
}
