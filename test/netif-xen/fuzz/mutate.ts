import { type Random, randomBelow } from '../../../src/time/index.ts';
import type { BarePair } from './ends.ts';

const HEADER_WORDS = 16;
const SIZE = 256;
/** Counters, as words of the ring. */
const REQUEST_PRODUCER = 0;
const RESPONSE_PRODUCER = 2;

const INTERESTING = [0, 1, -1, 255, 256, 257, 4095, 4096, 4097, 0x7fff, 0x8000, 0xffff, 0x10000, 0x7fffffff];

function pick<T>(random: Random, list: readonly T[]): T {
  return list[randomBelow(random, list.length)]!;
}

/** Changes what one end reads of the other: a word here or there, or something that looks almost right. */
export function mutate(pair: BarePair, random: Random): void {
  const isTx = randomBelow(random, 2) === 0;
  const words = isTx ? pair.rings.tx : pair.rings.rx;
  const entryWords = isTx ? 3 : 2;
  const kind = randomBelow(random, 10);
  if (kind < 1) changeCounter(words, random);
  else if (kind < 3) changeEntries(words, entryWords, random);
  else if (kind < 7) forgeResponses(words, entryWords, isTx, random);
  else forgeRequests(words, entryWords, isTx, random);
}

function changeCounter(words: Int32Array, random: Random): void {
  const counter = randomBelow(random, 4);
  const deltas = [1, -1, 2, 17, 64, 255, 256, 257, -256, 0x7fffffff, random.next32()];
  words[counter] = words[counter]! + pick(random, deltas);
}

function changeEntries(words: Int32Array, entryWords: number, random: Random): void {
  for (let n = 1 + randomBelow(random, 8); n > 0; n--) {
    // Mostly where something is going on.
    const near = words[pick(random, [REQUEST_PRODUCER, RESPONSE_PRODUCER])]! - 8 + randomBelow(random, 16);
    const entry = randomBelow(random, 4) === 0 ? randomBelow(random, SIZE) : near & (SIZE - 1);
    const at = HEADER_WORDS + entry * entryWords + randomBelow(random, entryWords);
    const way = randomBelow(random, 3);
    if (way === 0) words[at] = words[at]! ^ (1 << randomBelow(random, 32));
    else if (way === 1) words[at] = pick(random, INTERESTING);
    else words[at] = random.next32();
  }
}

/** Once in a while: what ends a connection at once would hide everything that comes after it. */
function rarely(random: Random): boolean {
  return randomBelow(random, 60) === 0;
}

/** The two words of extra info, sound or not. */
function forgeExtra(words: Int32Array, at: number, random: Random): void {
  const size = rarely(random) ? 0 : pick(random, [1, 1460, 65_535]);
  const type = rarely(random) ? randomBelow(random, 256) : 1;
  words[at] = (size << 16) | (Number(rarely(random)) << 8) | type;
  words[at + 1] = rarely(random) ? random.next32() : 1 + randomBelow(random, 2);
}

/** Responses that the backend did not make: counters fit, each field is right or not. */
function forgeResponses(words: Int32Array, entryWords: number, isTx: boolean, random: Random): void {
  let producer = words[RESPONSE_PRODUCER]!;
  const outstanding = (words[REQUEST_PRODUCER]! - producer) | 0;
  const count = Math.min(1 + randomBelow(random, 6), rarely(random) ? 300 : Math.max(outstanding, 0));
  let isExtra = false;
  for (let left = count; left > 0; left--, producer++) {
    const place = producer & (SIZE - 1);
    const at = HEADER_WORDS + place * entryWords;
    if (isExtra) {
      forgeExtra(words, at, random);
      isExtra = false;
      continue;
    }
    if (isTx) {
      // The id of the request that stands there, mostly.
      const id = rarely(random) ? randomBelow(random, 0x10000) : words[at + 2]! & 0xffff;
      words[at] = (pick(random, [0, 0, 0, 0, -1, -2, 5, rarely(random) ? 1 : 0]) << 16) | id;
      continue;
    }
    const id = rarely(random) ? randomBelow(random, 0x10000) : place;
    const offset = rarely(random) ? pick(random, [1, 4095, 65_535]) : pick(random, [0, 2, 64]);
    const status = rarely(random)
      ? pick(random, [4096, 4097, 32_767])
      : pick(random, [13, 60, 1514, 0, -1, 4032]);
    let flags = pick(random, [0, 0, 1, 2, 3, 16, 0xfff0]);
    if (left > 1 || rarely(random)) flags |= pick(random, [0, 4, 4]);
    if (left > 2 && (flags & 4) !== 0 && randomBelow(random, 3) === 0) {
      flags |= 8;
      isExtra = true;
    }
    words[at] = (offset << 16) | id;
    words[at + 1] = (status << 16) | flags;
  }
  words[RESPONSE_PRODUCER] = producer;
}

/** Requests that the frontend did not make. */
function forgeRequests(words: Int32Array, entryWords: number, isTx: boolean, random: Random): void {
  let producer = words[REQUEST_PRODUCER]!;
  const free = SIZE - ((producer - words[RESPONSE_PRODUCER]!) | 0);
  const count = Math.min(1 + randomBelow(random, 24), rarely(random) ? 300 : Math.max(free, 0));
  let isExtra = false;
  let isFirst = true;
  for (let left = count; left > 0; left--, producer++) {
    const place = producer & (SIZE - 1);
    const at = HEADER_WORDS + place * entryWords;
    const reference = randomBelow(random, 3) === 0 ? random.next32() : 100 + randomBelow(random, 514);
    if (!isTx) {
      words[at] = place;
      words[at + 1] = reference;
      continue;
    }
    if (isExtra) {
      forgeExtra(words, at, random);
      words[at + 2] = random.next32();
      isExtra = false;
      continue;
    }
    const offset = rarely(random) ? pick(random, [4095, 4096, 65_535]) : pick(random, [0, 64]);
    let flags = pick(random, [0, 1, 2, 3, 0xfff0]);
    const goesOn = left > 1 && randomBelow(random, 3) > 0;
    if (goesOn || rarely(random)) flags |= 4;
    if (isFirst && left > 2 && goesOn && randomBelow(random, 3) === 0) {
      flags |= 8;
      isExtra = true;
    }
    // The parts are less than what the first one says there is.
    let size = isFirst ? pick(random, goesOn && !rarely(random) ? [1514, 2400] : [0, 13, 60, 1514]) : 50;
    if (rarely(random)) size = pick(random, [4096, 8192, 65_535]);
    words[at] = reference;
    words[at + 1] = (flags << 16) | offset;
    words[at + 2] = (size << 16) | randomBelow(random, 0x10000);
    isFirst = !goesOn;
  }
  words[REQUEST_PRODUCER] = producer;
}
