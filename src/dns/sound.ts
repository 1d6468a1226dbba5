/**
 * Whether a message may be handed to `dns-packet`, and whether it answers a
 * query. `dns-packet` believes lengths of records, follows any chain of
 * pointers, and joins labels with dots even if they hold dots themselves (with
 * which one name is passed off as another: Jeitner and Shulman, USENIX 2021).
 */
import { get16 } from '../bytes/index.ts';
import * as wire from './wire.ts';

/** Pointers within one name; compressors need one. */
const MAX_JUMPS = 32;
/** RFC 1035 §2.3.4: octets of a name, its lengths included. */
const MAX_NAME = 255;
/** Records of one message; what a stub resolver asks for has some dozens at most. */
const MAX_RECORDS = 512;
const DOT = 0x2e;
const SPACE = 0x20;

/** `case`: all is right but the letters' case in the question. */
export type Match = 'yes' | 'no' | 'case';

/** Whether `answer` is a response to `query`: id, opcode, and its one question, byte by byte (RFC 5452 §9.1). */
export function matches(answer: Uint8Array, query: Uint8Array): Match {
  if (answer.length < wire.HEADER || wire.id(answer) !== wire.id(query)) return 'no';
  if (!wire.isResponse(answer) || !wire.isStandard(answer) || wire.questionCount(answer) !== 1) return 'no';
  const end = endOfName(query, wire.HEADER) + 4;
  if (answer.length < end) return 'no';
  let match: Match = 'yes';
  for (let i = wire.HEADER; i < end; i++) {
    if (answer[i] === query[i]) continue;
    // Only letters differ in this bit alone within a question that we have made.
    if (i >= end - 4 || (answer[i]! ^ query[i]!) !== SPACE) return 'no';
    match = 'case';
  }
  return match;
}

/** Whether every name and record stays within the message and is what its type says. Multicast DNS has several questions in a message. */
export function isSound(bytes: Uint8Array, mostQuestions = 1): boolean {
  if (bytes.length < wire.HEADER || wire.recordCount(bytes) > MAX_RECORDS) return false;
  const questions = wire.questionCount(bytes);
  if (questions > mostQuestions) return false;
  let at = wire.HEADER;
  for (let left = questions; left > 0; left--) {
    const end = endOfName(bytes, at);
    if (end < 0 || end + 4 > bytes.length) return false;
    at = end + 4;
  }
  for (let left = wire.recordCount(bytes); left > 0; left--) {
    at = endOfRecord(bytes, at);
    if (at < 0) return false;
  }
  return true;
}

/** -1 if the record is not sound. */
function endOfRecord(bytes: Uint8Array, start: number): number {
  const fixed = endOfName(bytes, start);
  if (fixed < 0 || fixed + 10 > bytes.length) return -1;
  const data = fixed + 10;
  const length = get16(bytes, fixed + 8);
  const end = data + length;
  if (end > bytes.length) return -1;
  return holdsData(bytes, get16(bytes, fixed), data, end) ? end : -1;
}

function holdsData(bytes: Uint8Array, type: number, data: number, end: number): boolean {
  switch (type) {
    case wire.TYPE_A:
      return end - data === 4;
    case wire.TYPE_AAAA:
      return end - data === 16;
    case wire.TYPE_NS:
    case wire.TYPE_CNAME:
    case wire.TYPE_PTR:
      return endOfName(bytes, data) === end;
    case wire.TYPE_MX:
      return end - data > 2 && endOfName(bytes, data + 2) === end;
    case wire.TYPE_SRV:
      return end - data > 6 && endOfName(bytes, data + 6) === end;
    case wire.TYPE_SOA: {
      const owner = endOfName(bytes, data);
      return owner >= 0 && endOfName(bytes, owner) + 20 === end;
    }
    default:
      return true;
  }
}

/** One past the name at `start`, pointers not followed in that count; -1 if it is not sound. */
export function endOfName(bytes: Uint8Array, start: number): number {
  let end = -1;
  let length = 1;
  let jumps = 0;
  let lowest = start;
  for (let at = start; at < bytes.length; ) {
    const head = bytes[at]!;
    if (head === 0) return end < 0 ? at + 1 : end;
    if ((head & 0xc0) === 0xc0) {
      if (at + 1 >= bytes.length || ++jumps > MAX_JUMPS) return -1;
      if (end < 0) end = at + 2;
      // RFC 1035 §4.1.4: to a prior occurrence. Always further back, so it ends.
      const target = get16(bytes, at) & 0x3fff;
      if (target >= lowest || target < wire.HEADER) return -1;
      lowest = target;
      at = target;
      continue;
    }
    length += head + 1;
    if (head > 63 || length > MAX_NAME || at + 1 + head > bytes.length) return -1;
    for (let i = at + 1; i <= at + head; i++) {
      if (bytes[i] === DOT || bytes[i]! < SPACE) return -1;
    }
    at += 1 + head;
  }
  return -1;
}
