/*
 * Whether a template of a connection's headers would pay: `npx tsx bench/header.bench.ts`.
 * All 66 bytes of Ethernet, IPv4 and TCP with timestamps, checksums of both
 * headers made, are written field by field from the integers that path and
 * connection keep, as the stack does, and copied from a template in which what
 * changes from segment to segment is then put right.
 */
import { Bench } from 'tinybench';
import { IpAddress } from '../src/address/index.ts';
import { allocate, copy, set16, set32 } from '../src/bytes/index.ts';
import { complement, fold, pseudoHeaderSum, sum } from '../src/checksum/index.ts';
import { fixedSum, writeHeader as writeIpv4 } from '../src/ipv4/wire.ts';
import { Frame } from '../src/netif/netif.ts';
import { writeHeader as writeTcp } from '../src/tcp/emit.ts';
import { writeTimestamps } from '../src/tcp/options.ts';

const IP = 14;
const TCP = IP + 20;
const HEADERS = TCP + 32;
const ROUND = 10_000;

const source = IpAddress.parse('10.0.0.1');
const destination = IpAddress.parse('10.0.0.2');
const ipSum = fixedSum(source.w3, destination.w3);
const frames = allocate(64 * 128);
const frame = new Frame(frames);

/** The words of `template` at `at`; the last two bytes are a half word. */
const view = new DataView(frames.buffer, frames.byteOffset, frames.length);
const template = allocate(HEADERS);
const words = new Int32Array(HEADERS >>> 2);

function byField(at: number, length: number, sequence: number, acknowledgment: number, time: number): void {
  set32(frames, at, 0x02420000);
  set16(frames, at + 4, 1);
  set32(frames, at + 6, 0x02420000);
  set16(frames, at + 10, 2);
  set16(frames, at + 12, 0x0800);
  writeIpv4(frames, at + IP, source.w3, destination.w3, ipSum, 0, 52 + length, 0, 0x4000, 64, 6);
  frame.reset(frames, at + TCP, at + HEADERS);
  writeTcp(frame, 80, 40_000, sequence, acknowledgment, 32, 0x10, 1024);
  writeTimestamps(frames, at + TCP + 20, time, time - 1);
  const pseudo = pseudoHeaderSum(source, destination, 6, 32 + length);
  set16(frames, at + TCP + 16, complement(sum(frames, at + TCP, at + HEADERS, pseudo)));
}

/** What does not change: everything but lengths, sequence numbers, timestamps, checksums. */
byField(0, 0, 0, 0, 0);
set32(frames, TCP + 24, 0);
set32(frames, TCP + 28, 0);
copy(template, 0, frames, 0, HEADERS);
for (let i = 0; i < words.length; i++) words[i] = view.getInt32(i * 4);
const halfWord = view.getInt16(HEADERS - 2);
set16(template, TCP + 16, 0);
const tcpSum = sum(template, TCP, HEADERS, pseudoHeaderSum(source, destination, 6, 32));

function patch(at: number, length: number, sequence: number, acknowledgment: number, time: number): void {
  const total = 52 + length;
  set16(frames, at + IP + 2, total);
  set16(frames, at + IP + 10, complement(fold(ipSum + total + 0x4000 + (64 << 8) + 6)));
  set32(frames, at + TCP + 4, sequence);
  set32(frames, at + TCP + 8, acknowledgment);
  set32(frames, at + TCP + 24, time);
  set32(frames, at + TCP + 28, time - 1);
  let words16 = tcpSum + length + (sequence >>> 16) + (sequence & 0xffff);
  words16 += (acknowledgment >>> 16) + (acknowledgment & 0xffff) + (time >>> 16) + (time & 0xffff);
  words16 += ((time - 1) >>> 16) + ((time - 1) & 0xffff);
  set16(frames, at + TCP + 16, complement(fold(words16)));
}

function byTemplate(
  at: number,
  length: number,
  sequence: number,
  acknowledgment: number,
  time: number,
): void {
  copy(frames, at, template, 0, HEADERS);
  patch(at, length, sequence, acknowledgment, time);
}

function byWords(at: number, length: number, sequence: number, acknowledgment: number, time: number): void {
  for (let i = 0; i < words.length; i++) view.setInt32(at + i * 4, words[i]!);
  view.setInt16(at + HEADERS - 2, halfWord);
  patch(at, length, sequence, acknowledgment, time);
}

// All write the same bytes.
const written = [byField, byTemplate, byWords].map((write) => {
  write(0, 1448, 0x89abcdef, 0xfedcba98, 0x12345678);
  return frames.slice(0, HEADERS).toString();
});
if (new Set(written).size !== 1) throw new Error(`three ways, different headers:\n${written.join('\n')}`);

const bench = new Bench({ time: 500, warmupTime: 200 });
for (const [name, write] of [
  ['field by field', byField],
  ['template, copied with set()', byTemplate],
  ['template, copied by words', byWords],
] as const) {
  bench.add(name, () => {
    for (let i = 0; i < ROUND; i++) write((i & 63) << 7, 1448, i * 1448, i, i);
  });
}
await bench.run();
console.table(
  bench.tasks.map(({ name, result }) => ({
    'headers of a segment': name,
    ns: result.state === 'completed' ? ((result.latency.p50 * 1e6) / ROUND).toFixed(1) : 'failed',
  })),
);
