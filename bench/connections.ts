/**
 * What it costs TCP to have a connection come and go, from SYN to last ACK, 32 at
 * a time, with nothing below it, and how much of that the garbage collector takes:
 * `npx tsx bench/connections.ts`.
 *
 * Connections that live for milliseconds should be garbage at once. Where something
 * old and dead still points at them, each is moved twice and kept until the next
 * full collection: a share of 30% and more.
 */
import { PerformanceObserver } from 'node:perf_hooks';
import { IpAddress } from '../src/address/index.ts';
import { allocate, set16, set32 } from '../src/bytes/index.ts';
import type { IpProtocol } from '../src/ip.ts';
import { CHECKSUM_VERIFIED, Frame } from '../src/netif/index.ts';
import { DirectTcp, TcpLayer } from '../src/tcp/index.ts';
import * as wire from '../src/tcp/wire.ts';
import { RealClock, SeededRandom, TimerWheel } from '../src/time/index.ts';
import { benchIp, benchPacket, benchPath } from './support.ts';

const AT_ONCE = 32;
const ROUNDS = 2000;
const REPEATS = 6;
const { SYN, ACK, FIN } = wire;

let collectedMs = 0;
new PerformanceObserver((list) => {
  for (const { duration } of list.getEntries()) collectedMs += duration;
}).observe({ entryTypes: ['gc'] });

const PORT = 80;
const FIRST_PEER = 10_000;
const LOCAL = IpAddress.parse('10.0.0.2');
const REMOTE = IpAddress.parse('10.0.0.1');

/** What each peer has to acknowledge next. */
const owed = new Int32Array(AT_ONCE);
const out = new Frame(allocate(2048));
const path = benchPath(LOCAL, REMOTE, out, 0, ({ bytes }) => {
  const takesNumber = (wire.flags(bytes, 0) & (SYN | FIN)) !== 0 ? 1 : 0;
  owed[wire.destinationPort(bytes, 0) - FIRST_PEER] = wire.sequence(bytes, 0) + takesNumber;
});
let protocol: IpProtocol | null = null;
const ip = benchIp(
  () => path,
  (registered) => {
    protocol = registered;
  },
);
const clock = new RealClock();
const layer = new TcpLayer({
  ip,
  clock,
  timers: new TimerWheel(clock),
  random: new SeededRandom(1),
  options: {},
});
await new DirectTcp(layer, clock, async () => []).listen({ port: PORT }, async (flow) => {
  await flow.onData(() => {});
  await flow.close();
});

const frame = new Frame(allocate(wire.HEADER));
const packet = benchPacket(frame, REMOTE, LOCAL);

function inject(peer: number, flags: number, sequence: number, acknowledgment: number): void {
  const { bytes } = frame.reset(frame.bytes, 0, wire.HEADER);
  frame.checksum = CHECKSUM_VERIFIED;
  set16(bytes, wire.SOURCE_PORT, FIRST_PEER + peer);
  set16(bytes, wire.DESTINATION_PORT, PORT);
  set32(bytes, wire.SEQUENCE, sequence);
  set32(bytes, wire.ACKNOWLEDGMENT, acknowledgment);
  bytes[wire.DATA_OFFSET] = (wire.HEADER >>> 2) << 4;
  bytes[wire.FLAGS] = flags;
  set16(bytes, wire.WINDOW, 0xffff);
  protocol!.receive(packet);
}

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

async function serve(rounds: number): Promise<void> {
  let sequence = 1;
  for (let round = 0; round < rounds; round++) {
    sequence = (sequence + 64_000) | 0;
    const all = (flags: number, behind: number): void => {
      for (let peer = 0; peer < AT_ONCE; peer++) inject(peer, flags, (sequence + behind) | 0, owed[peer]!);
    };
    all(SYN, 0);
    layer.flush();
    await turn();
    all(ACK, 1);
    all(ACK | FIN, 1);
    layer.flush();
    await turn();
    all(ACK, 2);
    layer.flush();
    await turn();
  }
}

const rows: Record<string, string>[] = [];
for (let repeat = 0; repeat < REPEATS; repeat++) {
  const collectedBefore = collectedMs;
  const begin = performance.now();
  await serve(ROUNDS);
  const elapsedMs = performance.now() - begin;
  // The observer hears of collections in turns of its own.
  await new Promise((resolve) => setTimeout(resolve, 20));
  rows.push({
    'µs per connection': ((elapsedMs * 1000) / (AT_ONCE * ROUNDS)).toFixed(2),
    'collecting garbage': `${((100 * (collectedMs - collectedBefore)) / elapsedMs).toFixed(1)}%`,
  });
}
console.table(rows);
const { flows } = layer.statistics();
if (flows !== 0) throw new Error(`${flows} connections are left`);
