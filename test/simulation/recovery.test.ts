import { expect, it } from 'vitest';
import { DirectStack } from '../../src/direct/index.ts';
import { impair, Switch } from '../../src/netif/index.ts';
import type { TcpOptions } from '../../src/tcp/index.ts';
import { runVirtual, SeededRandom, VirtualClock } from '../../src/time/index.ts';
import { echo } from '../fuzz/corpus.ts';

const BYTES = 600_000;
/** Opens the window, so that the storm finds much in flight. */
const BEFORE = 400_000;
const RTT_MS = 40;

/** Sends over a line that loses half of a flight, then everything for half a second, then nothing; how long it takes, and what RTT is believed. */
async function sendThroughStorm(seed: number, tcp: TcpOptions): Promise<{ tookMs: number; rttMs: number }> {
  const clock = new VirtualClock();
  const bridge = new Switch({ clock, queueFrames: 4096 });
  const delay = { delayMs: RTT_MS / 2 };
  const line = impair(bridge.port(), {
    clock,
    random: new SeededRandom(seed),
    transmit: delay,
    receive: delay,
  });
  const options = { clock, tcp: { autoTuning: false, slowStartAfterIdle: false, ...tcp } };
  const a = new DirectStack({
    ...options,
    netif: line,
    ipv4: '10.0.0.1/24',
    random: new SeededRandom(seed + 1),
  });
  const b = new DirectStack({
    ...options,
    netif: bridge.port(),
    ipv4: '10.0.0.2/24',
    random: new SeededRandom(seed + 2),
  });
  const run = async (): Promise<{ tookMs: number; rttMs: number }> => {
    await Promise.all([a.ready(), b.ready()]);
    await b.tcp.listen({ port: 7 }, (flow) => void echo(flow));
    const flow = await a.tcp.connect({ host: '10.0.0.2', port: 7 });
    const reading = (async () => {
      let read = 0;
      for await (const chunk of flow) read += chunk.length;
      return read;
    })();
    await flow.write(new Uint8Array(BEFORE));
    await clock.sleep(1000);
    const from = clock.now();
    line.set({ transmit: { ...delay, loss: 0.5 } });
    // Not awaited: it is done when the storm is over.
    const writing = flow.write(new Uint8Array(BYTES));
    await clock.sleep(45);
    // What is sent again is lost as well: a timeout is to come.
    line.set({ transmit: { ...delay, loss: 1 } });
    await clock.sleep(500);
    line.set({ transmit: delay });
    await writing;
    await flow.shutdown();
    expect(await reading).toBe(BYTES + BEFORE);
    const { rttMs } = flow.stats;
    await flow.close();
    const tookMs = clock.now() - from;
    await Promise.all([a.close(), b.close()]);
    return { tookMs, rttMs };
  };
  return runVirtual(clock, run(), 3_600_000);
}

it.each([
  ['with SACK', {}],
  ['without SACK', { sack: false }],
  ['without SACK and timestamps', { sack: false, timestamps: false }],
  ['without SACK and F-RTO', { sack: false, frto: false }],
] as const)('a storm of losses is over soon after the storm, %s', async (_, tcp) => {
  for (let seed = 0; seed < 15; seed++) {
    const { tookMs, rttMs } = await sendThroughStorm(seed, tcp);
    // The storm takes 545 ms and the timeout it ends with about as long; then it is a few round trips.
    expect(tookMs, `seed ${seed}`).toBeLessThan(1600);
    expect(rttMs, `seed ${seed}`).toBeLessThan(1.5 * RTT_MS);
  }
});
