import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { DirectStack } from '../../../src/direct/index.ts';
import { Iperf3Server, runClient, type TestParameters } from '../../../src/iperf3/index.ts';
import { CryptoRandom, RealClock } from '../../../src/time/index.ts';
import { canTap, KernelHost } from '../support/kernel-host.ts';

const reason = canTap();
const clock = new RealClock();
const cpu = () => ({ userMs: 0, systemMs: 0 });
const MIB = 1024 * 1024;

const TEST: TestParameters = {
  protocol: 'tcp',
  direction: 'forward',
  parallel: 2,
  seconds: 0,
  omitSeconds: 0,
  bytes: 64 * MIB,
  blocks: 0,
  blockBytes: 128 * 1024,
  rateBps: 0,
  noDelay: false,
  wideCounters: true,
  serverOutput: false,
};

/** What `iperf3 -J` says, as far as it is looked at. */
interface Json {
  readonly error?: string;
  readonly end: {
    readonly sum_sent: { readonly bytes: number };
    readonly sum_received: { readonly bytes: number };
    readonly sum?: { readonly packets: number; readonly lost_packets: number };
  };
}

describe.skipIf(reason !== null)(`iperf3 of Debian over TAP${reason === null ? '' : ` (${reason})`}`, () => {
  const errors: Error[] = [];
  let host: KernelHost;
  let stack: DirectStack;
  let server: Iperf3Server;

  beforeAll(async () => {
    host = new KernelHost();
    stack = new DirectStack({ netif: host.tap, ipv4: '10.77.0.2/24' });
    await stack.ready();
    server = new Iperf3Server({
      stack,
      clock,
      cpu,
      port: 5201,
      intervalSeconds: 1,
      listener: { started() {}, interval() {}, finished() {} },
      onError: (error) => errors.push(error),
    });
    await server.listen();
  });

  afterAll(async () => {
    await server.close();
    await stack.close();
    await host.close();
  });

  it.each([
    ['', 0],
    ['-R', 0],
    ['--bidir', 0],
    ['-P 4', 0],
    ['-O 1', 0],
    ['-u -b 10M', 1],
    ['-u -b 10M -R --udp-counters-64bit', 1],
    ['-u -b 10M --bidir', 1],
  ])('is served: iperf3 -t 1 %s', async (options, udp) => {
    const words = ['-c', '10.77.0.2', '-t', '1', '-J', ...options.split(' ').filter(Boolean)];
    const { stdout } = await host.exec('iperf3', words, { timeout: 15_000 });
    const json = JSON.parse(stdout) as Json;
    expect(json.error).toBeUndefined();
    expect(errors).toEqual([]);
    if (options.includes('bidir')) return;
    if (udp === 1) {
      expect(json.end.sum!.packets).toBeGreaterThan(300);
      expect(json.end.sum!.lost_packets).toBeLessThan(json.end.sum!.packets / 2);
    } else {
      const { sum_sent, sum_received } = json.end;
      expect(sum_received.bytes).toBeGreaterThan(10 * MIB);
      // What is on its way at the end is not received: no more than the windows hold.
      expect(sum_sent.bytes - sum_received.bytes).toBeLessThan(64 * MIB);
    }
  });

  it.each<[string, Partial<TestParameters>]>([
    ['TCP', {}],
    ['TCP, reverse', { direction: 'reverse' }],
    ['TCP, both ways', { direction: 'bidirectional', bytes: 0, seconds: 1 }],
    ['UDP at 50 Mbit/s', { protocol: 'udp', blockBytes: 1448, rateBps: 25e6, bytes: 4 * MIB }],
    [
      'UDP, reverse',
      { protocol: 'udp', blockBytes: 1448, rateBps: 25e6, bytes: 0, seconds: 1, direction: 'reverse' },
    ],
  ])('serves us: %s', async (_, change) => {
    const peer = host.spawn('iperf3', ['-s', '-1', '--forceflush']);
    await new Promise<void>((resolve) => peer.stdout!.once('data', () => resolve()));
    const test = { ...TEST, ...change };
    const report = await runClient({
      stack,
      clock,
      random: new CryptoRandom(),
      cpu,
      host: host.address,
      port: 5201,
      test,
      intervalSeconds: 1,
      version: 'test',
      listener: { started() {}, interval() {}, finished() {} },
    });
    const counted = report.own.streams.reduce((total, { counts }) => total + counts.bytes, 0);
    const theirs = report.peer.streams.reduce((total, { counts }) => total + counts.bytes, 0);
    expect(counted).toBeGreaterThanOrEqual(test.bytes || MIB);
    expect(theirs).toBeGreaterThan(counted / 2);
  });
});
