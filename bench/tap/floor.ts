/**
 * The floor: what Node can move over a TAP with no protocol behind it. Answers
 * ARP and SYN, acknowledges what comes on 5001 without looking at it, sends on
 * 5002 whatever the window takes, returns on 5003 what it got. It loses nothing
 * only because a TAP loses nothing; no stack in Node can be faster on this path.
 *
 *   node --import tsx bench/tap/floor.ts plain|offloads [uring]      with the TAP as descriptor 3
 *
 * With `uring`, frames are read and written in batches, one system call for each.
 *
 * It acknowledges every 32nd frame of a connection and what a turn leaves over
 * (with offloads each frame of up to 64 KiB), in a window of 1 MiB (4 MiB), and
 * sends 32 frames for a look at what has come. Fewer acknowledgements and longer
 * bursts would make it faster: each choice is one that a TCP may make too.
 */
import { get16, get32, set16, set32 } from '../../src/bytes/index.ts';
import { complement, fold } from '../../src/checksum/arithmetic.ts';
import { sumShort } from '../../src/checksum/portable.ts';
import { allocateNative, Descriptor } from '../../src/native/index.ts';
import { Batch } from './uring.ts';

const offloads = process.argv[2] === 'offloads';
const batched = process.argv[3] === 'uring';
/** Data frames for each acknowledgement. */
const ACK_EVERY = offloads ? 1 : 32;
const WINDOW_SCALE = offloads ? 6 : 4;
const BATCH = 64;
/** Frames sent in a row before what came is looked at. */
const BURST = 32;
const SEGMENT = 1460;
const LARGEST = offloads ? 42 * SEGMENT : SEGMENT;

const VNET = offloads ? 10 : 0;
const IP = VNET + 14;
const TCP = IP + 20;
const DATA = TCP + 20;
const OUR_MAC = Uint8Array.of(2, 0, 0, 0, 0, 2);
const FIN = 1;
const SYN = 2;
const RST = 4;
const ACK = 16;
const DISCARD = 5001;
const GENERATE = 5002;
const ECHO = 5003;

const tap = new Descriptor(3);
tap.setNonBlocking();
if (offloads && tap.tryIoctlValue(0x400454d0, 1 | 2 | 4) < 0) throw new Error('this TAP has no offloads');

const FRAME = 70_000;
const reads = batched ? new Batch(tap, BATCH, offloads ? FRAME : 2048, 'read') : null;
const writes = batched ? new Batch(tap, BATCH, offloads ? FRAME : 2048, 'write') : null;
const input = allocateNative(FRAME);
const output = allocateNative(FRAME);
let from = input.bytes;
let to = output.bytes;
/** Frames that wait in `writes`. */
let waiting = 0;
/** What is sent: copied into each frame, as anyone has to. */
const payload = new Uint8Array(LARGEST).fill(7);
/** The sum of a full segment of it: always the same, so the floor pays no checksum. */
const segmentSum = sumShort(payload, 0, SEGMENT, 0);

interface Connection {
  /** Ethernet, IP and TCP header, addresses and ports filled in. */
  readonly template: Uint8Array;
  readonly port: number;
  readonly scale: number;
  rcvNxt: number;
  una: number;
  nxt: number;
  window: number;
  /** Data frames that have come. */
  frames: number;
}

const connections = new Map<number, Connection>();
const generating = new Set<Connection>();
const owing = new Set<Connection>();

function send(
  c: Connection,
  flags: number,
  length: number,
  options: Uint8Array | null,
  echoFrom: number,
): boolean {
  nextFrame();
  const optionBytes = options?.length ?? 0;
  to.set(c.template, VNET);
  const total = 40 + optionBytes + length;
  set16(to, IP + 2, total);
  set16(to, IP + 10, 0);
  set16(to, IP + 10, complement(sumShort(to, IP, TCP, 0)));
  set32(to, TCP + 4, c.nxt);
  set32(to, TCP + 8, c.rcvNxt);
  to[TCP + 12] = (20 + optionBytes) << 2;
  to[TCP + 13] = flags;
  set16(to, TCP + 14, 0xffff);
  set32(to, TCP + 16, 0);
  if (options !== null) to.set(options, DATA);
  if (echoFrom > 0) to.set(from.subarray(echoFrom, echoFrom + length), DATA);
  else if (length > 0) to.set(length === LARGEST ? payload : payload.subarray(0, length), DATA);
  const pseudo = sumShort(to, IP + 12, IP + 20, 6 + 20 + optionBytes + length);
  if (offloads) {
    to.fill(0, 0, VNET);
    if (length > 0) {
      // virtio_net_hdr: the checksum is to be completed, and TCPv4 to be cut.
      to[0] = 1;
      to[1] = length > SEGMENT ? 1 : 0;
      to[2] = 54;
      to[4] = length > SEGMENT ? SEGMENT & 255 : 0;
      to[5] = length > SEGMENT ? SEGMENT >> 8 : 0;
      to[6] = 34;
      to[8] = 16;
      set16(to, TCP + 16, pseudo);
    } else {
      set16(to, TCP + 16, complement(sumShort(to, TCP, DATA + optionBytes, pseudo)));
    }
  } else if (length === SEGMENT && echoFrom === 0) {
    set16(to, TCP + 16, complement(fold(sumShort(to, TCP, DATA, pseudo) + segmentSum)));
  } else {
    set16(to, TCP + 16, complement(sumShort(to, TCP, DATA + optionBytes + length, pseudo)));
  }
  return transmit(VNET + 14 + total);
}

/** The next frame is built where `to` is. */
function nextFrame(): void {
  if (writes === null) return;
  const at = ((writes.position + waiting) % BATCH) * writes.size;
  to = writes.memory.bytes.subarray(at, at + writes.size);
}

function transmit(length: number): boolean {
  if (writes === null) return tap.write(output, 0, length) > 0;
  writes.setLength((writes.position + waiting) % BATCH, length);
  if (++waiting === BATCH) writeWaiting();
  return true;
}

function writeWaiting(): void {
  if (writes === null || waiting === 0) return;
  if (writes.submit(waiting) !== waiting) throw new Error('a batch was not taken');
  while (writes.completed > 0) if (writes.take() <= 0) throw new Error('a frame was not written');
  waiting = 0;
}

function answerArp(): void {
  if (get16(from, VNET + 20) !== 1) return;
  nextFrame();
  to.fill(0, 0, VNET);
  to.set(from.subarray(VNET + 6, VNET + 12), VNET);
  to.set(OUR_MAC, VNET + 6);
  to.set(from.subarray(VNET + 12, VNET + 20), VNET + 12);
  set16(to, VNET + 20, 2);
  to.set(OUR_MAC, VNET + 22);
  to.set(from.subarray(VNET + 38, VNET + 42), VNET + 28);
  to.set(from.subarray(VNET + 22, VNET + 32), VNET + 32);
  transmit(VNET + 42);
}

function accept(key: number, sequence: number): void {
  const template = new Uint8Array(54);
  template.set(from.subarray(VNET + 6, VNET + 12), 0);
  template.set(OUR_MAC, 6);
  set16(template, 12, 0x0800);
  set16(template, 14, 0x4500);
  set32(template, 18, 0x4000);
  set16(template, 22, 0x4006);
  template.set(from.subarray(IP + 16, IP + 20), 26);
  template.set(from.subarray(IP + 12, IP + 16), 30);
  template.set(from.subarray(TCP + 2, TCP + 4), 34);
  template.set(from.subarray(TCP, TCP + 2), 36);
  let scale = 0;
  const end = TCP + (from[TCP + 12]! >> 4) * 4;
  for (let at = DATA; at < end && from[at] !== 0; at += from[at] === 1 ? 1 : from[at + 1]!) {
    if (from[at] === 3) scale = from[at + 2]!;
  }
  const c: Connection = {
    template,
    port: get16(from, TCP + 2),
    scale,
    rcvNxt: (sequence + 1) | 0,
    una: 1001,
    nxt: 1000,
    window: 0,
    frames: 0,
  };
  connections.set(key, c);
  send(c, SYN | ACK, 0, Uint8Array.of(2, 4, SEGMENT >> 8, SEGMENT & 255, 3, 3, WINDOW_SCALE, 1), 0);
  c.nxt = 1001;
}

function receive(): void {
  const type = get16(from, VNET + 12);
  if (type === 0x0806) answerArp();
  if (type !== 0x0800 || from[IP + 9] !== 6) return;
  const flags = from[TCP + 13]!;
  const sequence = get32(from, TCP + 4);
  const key = get16(from, TCP) * 65_536 + get16(from, TCP + 2);
  if ((flags & SYN) !== 0) {
    accept(key, sequence);
    return;
  }
  const c = connections.get(key);
  if (c === undefined) return;
  if ((flags & RST) !== 0) {
    connections.delete(key);
    generating.delete(c);
    return;
  }
  const acknowledged = get32(from, TCP + 8);
  if (((acknowledged - c.una) | 0) > 0) c.una = acknowledged;
  c.window = get16(from, TCP + 14) << c.scale;
  if (c.port === GENERATE) generating.add(c);
  const headers = (from[TCP + 12]! >> 4) * 4;
  const length = get16(from, IP + 2) - 20 - headers;
  if (length > 0 && sequence === c.rcvNxt) {
    c.rcvNxt = (c.rcvNxt + length) | 0;
    if (c.port === ECHO) {
      send(c, ACK | 8, length, null, TCP + headers);
      c.nxt = (c.nxt + length) | 0;
    } else if (++c.frames % ACK_EVERY === 0) {
      send(c, ACK, 0, null, 0);
    } else {
      owing.add(c);
    }
  }
  if ((flags & FIN) !== 0) {
    c.rcvNxt = (c.rcvNxt + 1) | 0;
    generating.delete(c);
    send(c, FIN | ACK, 0, null, 0);
    c.nxt = (c.nxt + 1) | 0;
    // Unless the client has begun anew from the same port.
    setTimeout(() => {
      if (connections.get(key) === c) connections.delete(key);
    }, 50);
  }
}

function generate(c: Connection): void {
  for (let i = 0; i < BURST; i++) {
    const length = Math.min(LARGEST, c.window - ((c.nxt - c.una) | 0));
    if (length < SEGMENT || (!offloads && length !== SEGMENT)) return;
    if (!send(c, ACK, length, null, 0)) return;
    c.nxt = (c.nxt + length) | 0;
  }
}

/** As many as came last time, and as many again, so that few are asked for in vain. */
let expected = 1;

function readBatch(batch: Batch): void {
  const first = batch.position;
  const count = Math.min(BATCH, expected * 2);
  batch.submit(count);
  let frames = 0;
  for (let i = 0; i < count; i++) {
    if (batch.take() <= 0) continue;
    frames++;
    const at = ((first + i) % BATCH) * batch.size;
    from = batch.memory.bytes.subarray(at, at + batch.size);
    receive();
  }
  expected = Math.max(1, frames);
}

const watch = tap.watch({
  readable() {
    if (reads === null) {
      for (let i = 0; i < BATCH; i++) {
        if (tap.read(input, 0, FRAME) <= 0) break;
        receive();
      }
    } else {
      readBatch(reads);
    }
    for (const c of owing) {
      if (c.frames % ACK_EVERY > 0) send(c, ACK, 0, null, 0);
    }
    owing.clear();
    for (const c of generating) generate(c);
    writeWaiting();
  },
  writable() {},
  failed() {
    process.exit(0);
  },
});
process.on('SIGTERM', () => {
  watch.close();
  process.exit(0);
});
console.log(
  `the floor, ${offloads ? 'with offloads' : 'one frame a call'}, on ports ${DISCARD}, ${GENERATE}, ${ECHO}`,
);
