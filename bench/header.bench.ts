/*
 * Whether a template of a connection's headers would pay: `npx tsx bench/header.bench.ts`.
 * All 66 bytes of Ethernet, IPv4 and TCP with timestamps are written from the
 * integers that path and connection keep, word by word, as the stack does, and
 * copied from a template in which what changes from segment to segment is then put
 * right. The TCP checksum is made of the header alone, as for a bare ACK (`alone`), or
 * left to whoever sums the payload, header and payload being summed in one go, or to
 * the device.
 */
import { Bench } from 'tinybench';
import { IpAddress, MacAddress } from '../src/address/index.ts';
import { allocate, copy, set16, set32 } from '../src/bytes/index.ts';
import { complement, fold, pseudoHeaderSum, sum } from '../src/checksum/index.ts';
import { writeHeader as writeEthernet } from '../src/ethernet/wire.ts';
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

/** Ours and the peer's. */
const near = new MacAddress(0x0242, 1);
const far = new MacAddress(0x0242, 2);

type Write = (
  at: number,
  length: number,
  sequence: number,
  acknowledgment: number,
  time: number,
  alone: boolean,
) => void;

const byField: Write = (at, length, sequence, acknowledgment, time, alone) => {
  writeEthernet(frames, at, far, near, 0x0800);
  writeIpv4(frames, at + IP, source.w3, destination.w3, ipSum, 0, 52 + length, 0, 0x4000, 64, 6);
  frame.reset(frames, at + TCP, at + HEADERS);
  writeTcp(frame, 80, 40_000, sequence, acknowledgment, 32, 0x10, 1024);
  writeTimestamps(frames, at + TCP + 20, time, time - 1);
  const pseudo = pseudoHeaderSum(source, destination, 6, 32 + length);
  set16(frames, at + TCP + 16, alone ? complement(sum(frames, at + TCP, at + HEADERS, pseudo)) : pseudo);
};

/** What does not change: everything but lengths, sequence numbers, timestamps, checksums. */
byField(0, 0, 0, 0, 0, true);
set32(frames, TCP + 24, 0);
set32(frames, TCP + 28, 0);
copy(template, 0, frames, 0, HEADERS);
for (let i = 0; i < words.length; i++) words[i] = view.getInt32(i * 4);
const halfWord = view.getInt16(HEADERS - 2);
set16(template, TCP + 16, 0);
const tcpSum = sum(template, TCP, HEADERS, pseudoHeaderSum(source, destination, 6, 32));

const pseudo = pseudoHeaderSum(source, destination, 6, 32);

const patch: Write = (at, length, sequence, acknowledgment, time, alone) => {
  const total = 52 + length;
  set16(frames, at + IP + 2, total);
  set16(frames, at + IP + 10, complement(fold(ipSum + total + 0x4000 + (64 << 8) + 6)));
  set32(frames, at + TCP + 4, sequence);
  set32(frames, at + TCP + 8, acknowledgment);
  set32(frames, at + TCP + 24, time);
  set32(frames, at + TCP + 28, time - 1);
  if (!alone) {
    set16(frames, at + TCP + 16, fold(pseudo + length));
    return;
  }
  let words16 = tcpSum + length + (sequence >>> 16) + (sequence & 0xffff);
  words16 += (acknowledgment >>> 16) + (acknowledgment & 0xffff) + (time >>> 16) + (time & 0xffff);
  words16 += ((time - 1) >>> 16) + ((time - 1) & 0xffff);
  set16(frames, at + TCP + 16, complement(fold(words16)));
};

const byTemplate: Write = (at, length, sequence, acknowledgment, time, alone) => {
  copy(frames, at, template, 0, HEADERS);
  patch(at, length, sequence, acknowledgment, time, alone);
};

const byWords: Write = (at, length, sequence, acknowledgment, time, alone) => {
  for (let i = 0; i < words.length; i++) view.setInt32(at + i * 4, words[i]!);
  view.setInt16(at + HEADERS - 2, halfWord);
  patch(at, length, sequence, acknowledgment, time, alone);
};

// All write the same bytes.
for (const alone of [false, true]) {
  const written = [byField, byTemplate, byWords].map((write) => {
    write(0, 1448, 0x89abcdef, 0xfedcba98, 0x12345678, alone);
    return Uint8Array.from(frames.subarray(0, HEADERS)).toString();
  });
  if (new Set(written).size !== 1) throw new Error(`three ways, different headers:\n${written.join('\n')}`);
}

const bench = new Bench({ time: 500, warmupTime: 200 });
for (const [name, write] of [
  ['word by word, as the stack does', byField],
  ['template, copied with set()', byTemplate],
  ['template, copied by words', byWords],
] as const) {
  for (const alone of [false, true]) {
    bench.add(`${name}${alone ? ', TCP header summed alone' : ''}`, () => {
      for (let i = 0; i < ROUND; i++) write((i & 63) << 7, 1448, (i * 1448) | 0, i, i, alone);
    });
  }
}
await bench.run();
console.table(
  bench.tasks.map(({ name, result }) => ({
    'headers of a segment': name,
    ns: result.state === 'completed' ? ((result.latency.p50 * 1e6) / ROUND).toFixed(1) : 'failed',
  })),
);
