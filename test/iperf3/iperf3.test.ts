import { describe, expect, it } from 'vitest';
import { DirectStack } from '../../src/direct/index.ts';
import {
  Iperf3Server,
  jsonReport,
  parseUnit,
  runClient,
  type TestParameters,
  type TestReport,
  TextReport,
} from '../../src/iperf3/index.ts';
import { createCable } from '../../src/netif/index.ts';
import type { Flow } from '../../src/stack.ts';
import { runVirtual, SeededRandom, VirtualClock } from '../../src/time/index.ts';

const TCP: TestParameters = {
  protocol: 'tcp',
  direction: 'forward',
  parallel: 1,
  seconds: 2,
  omitSeconds: 0,
  bytes: 0,
  blocks: 0,
  blockBytes: 16 * 1024,
  rateBps: 8e6,
  noDelay: false,
  wideCounters: false,
  serverOutput: false,
};
const UDP: TestParameters = { ...TCP, protocol: 'udp', blockBytes: 1000 };

const noCpu = () => ({ userMs: 0, systemMs: 0 });

interface Network {
  readonly clock: VirtualClock;
  readonly client: DirectStack;
  readonly server: DirectStack;
  readonly serverReports: TestReport[];
  readonly errors: Error[];
  readonly iperf3: Iperf3Server;
  run(test: TestParameters): Promise<{ report: TestReport; text: string }>;
}

/** Two stacks on a cable on virtual time, an iperf3 server on one of them. */
async function withServer(use: (network: Network) => Promise<void>): Promise<void> {
  const clock = new VirtualClock();
  const [near, far] = createCable({ clock });
  const client = new DirectStack({ netif: near, ipv4: '10.0.0.1/24', clock });
  const server = new DirectStack({ netif: far, ipv4: '10.0.0.2/24', clock });
  const serverReports: TestReport[] = [];
  const errors: Error[] = [];
  const iperf3 = new Iperf3Server({
    stack: server,
    clock,
    cpu: noCpu,
    port: 5201,
    intervalSeconds: 1,
    listener: { started() {}, interval() {}, finished: (report) => serverReports.push(report) },
    onError: (error) => errors.push(error),
  });
  const run = async (test: TestParameters): Promise<{ report: TestReport; text: string }> => {
    let text = '';
    const listener = new TextReport((part) => {
      text += part;
    }, true);
    const report = await runClient({
      stack: client,
      clock,
      random: new SeededRandom(1),
      cpu: noCpu,
      host: '10.0.0.2',
      port: 5201,
      test,
      intervalSeconds: 1,
      version: 'test',
      listener,
    });
    return { report, text };
  };
  const all = async (): Promise<void> => {
    await Promise.all([client.ready(), server.ready()]);
    await iperf3.listen();
    await use({ clock, client, server, serverReports, errors, iperf3, run });
    await iperf3.close();
    await Promise.all([client.close(), server.close()]);
  };
  await runVirtual(clock, all(), 1e7);
}

describe('iperf3, both ends ours, on virtual time', () => {
  it.each([
    ['tcp', 'forward'],
    ['tcp', 'reverse'],
    ['tcp', 'bidirectional'],
    ['udp', 'forward'],
    ['udp', 'reverse'],
    ['udp', 'bidirectional'],
  ] as const)('%s %s at 8 Mbit/s for two seconds, both ends count the same', (protocol, direction) =>
    withServer(async ({ run, serverReports, errors }) => {
      const { report } = await run({ ...(protocol === 'tcp' ? TCP : UDP), direction, parallel: 2 });
      expect(errors).toEqual([]);
      const ids = direction === 'bidirectional' ? [1, 3, 4, 5] : [1, 3];
      expect(report.own.streams.map(({ id }) => id)).toEqual(ids);
      expect(report.own.seconds).toBeCloseTo(2, 3);
      for (const { id, sends, counts } of report.own.streams) {
        const far = report.peer.streams.find((stream) => stream.id === id)!;
        // 8 Mbit/s are 2 MB in 2 s, to a block.
        expect(Math.abs(counts.bytes - 2e6)).toBeLessThanOrEqual(2 * 16 * 1024);
        expect(Math.abs(far.counts.bytes - counts.bytes)).toBeLessThanOrEqual(2 * 16 * 1024);
        if (protocol === 'udp') expect(sends ? far.counts.lost : counts.lost).toBe(0);
      }
      expect(serverReports).toHaveLength(1);
      expect(serverReports[0]!.peer.streams.map(({ id }) => id)).toEqual(ids);
    }),
  );

  it('ends after the bytes that were asked for, in either direction', () =>
    withServer(async ({ run }) => {
      for (const direction of ['forward', 'reverse'] as const) {
        const test = { ...TCP, direction, seconds: 0, bytes: 1024 * 1024, rateBps: 0 };
        const { report } = await run(test);
        const { bytes } = report.own.streams[0]!.counts;
        expect(bytes).toBeGreaterThanOrEqual(1024 * 1024);
        expect(bytes).toBeLessThan(1024 * 1024 + 256 * 1024);
      }
    }));

  it("ends the server's streams with the test, for a client that waits for a whole block", () =>
    withServer(async ({ client, errors }) => {
      const cookie = new Uint8Array(37).fill(97);
      const connect = async (): Promise<Flow> => {
        const flow = await client.tcp.connect({ host: '10.0.0.2', port: 5201 });
        await flow.write(cookie);
        return flow;
      };
      const control = await connect();
      await readExactly(control, 1);
      await sendJson(control, { tcp: true, time: 1, parallel: 1, reverse: true, len: 1024, bandwidth: 1e6 });
      expect([...(await readExactly(control, 1))]).toEqual([10]);
      const stream = await connect();
      await readExactly(control, 2);
      await readExactly(stream, 1024);
      await control.write(Uint8Array.of(4));
      while ((await stream.read()) !== null);
      await stream.close();
      control.abort();
      expect(errors).toEqual([]);
    }));

  it('ends after the blocks that were asked for', () =>
    withServer(async ({ run }) => {
      const { report } = await run({ ...UDP, seconds: 0, blocks: 50 });
      expect(report.own.streams[0]!.counts).toMatchObject({ packets: 50, bytes: 50_000 });
    }));

  it('leaves out the start that is omitted', () =>
    withServer(async ({ run }) => {
      const { report } = await run({ ...TCP, omitSeconds: 1 });
      expect(report.intervals.map(({ omitted }) => omitted)).toEqual([true, false, false]);
      expect(report.own.seconds).toBeCloseTo(2, 3);
      expect(Math.abs(report.own.streams[0]!.counts.bytes - 2e6)).toBeLessThanOrEqual(16 * 1024);
    }));

  it('counts datagrams that the network lost or reordered', () =>
    withServer(async ({ run, server }) => {
      const bind = server.udp.bind.bind(server.udp);
      let seen = 0;
      // Every tenth datagram behind the hello does not arrive; two swap places.
      server.udp.bind = async (options) => {
        const socket = await bind(options);
        const receive = socket[Symbol.asyncIterator].bind(socket);
        socket[Symbol.asyncIterator] = async function* () {
          let held = null;
          for await (const datagram of { [Symbol.asyncIterator]: receive }) {
            const number = seen++;
            if (number > 0 && number % 10 === 0) continue;
            const copy = { ...datagram, data: datagram.data.slice() };
            if (number === 21) held = copy;
            else yield copy;
            if (number === 22) yield held!;
          }
        };
        return socket;
      };
      const { report, text } = await run({ ...UDP, wideCounters: true });
      const sent = report.own.streams[0]!.counts.packets;
      const received = report.peer.streams[0]!.counts;
      expect(received.lost).toBeGreaterThanOrEqual(Math.floor(sent / 10) - 1);
      expect(received.lost).toBeLessThanOrEqual(Math.ceil(sent / 10));
      expect(text).toMatch(/\d+\/\d+ \(\d+(\.\d+)?%\) {2}receiver/);
    }));

  it("gives the server's report where it is asked for", () =>
    withServer(async ({ run }) => {
      const { text } = await run({ ...TCP, serverOutput: true });
      expect(text).toMatch(/Server output:\n\[ {2}1\] local 10\.0\.0\.2 port 5201 connected to 10\.0\.0\.1/);
    }));

  it('reports in the shape of iperf3 -J', () =>
    withServer(async ({ run }) => {
      const { report } = await run(TCP);
      const json = jsonReport(report, {
        version: 'v',
        system: 's',
        host: '10.0.0.2',
        port: 5201,
        date: new Date(0),
      });
      expect(json).toMatchObject({
        start: {
          connecting_to: { host: '10.0.0.2', port: 5201 },
          test_start: { protocol: 'TCP', duration: 2 },
        },
        intervals: [{ streams: [{ sender: true }] }, {}],
        end: {
          streams: [{ sender: { sender: true }, receiver: { sender: false } }],
          sum_sent: { retransmits: 0 },
        },
      });
    }));

  it('tells a second client that it is busy, and serves the next test', () =>
    withServer(async ({ run, errors }) => {
      const first = run({ ...TCP, seconds: 3 });
      const second = run(TCP);
      await expect(second).rejects.toThrow('the server is busy running a test');
      await first;
      await run(TCP);
      expect(errors).toEqual([]);
    }));

  it.each([
    ['parallel', { tcp: true, parallel: 1000 }],
    ['len', { tcp: true, len: -1 }],
    ['time', { tcp: true, time: 'long' }],
    ['SCTP', { sctp: true }],
  ])('refuses parameters that it does not serve: %s', (word, parameters) =>
    withServer(async ({ client, errors, run }) => {
      const flow = await client.tcp.connect({ host: '10.0.0.2', port: 5201 });
      await flow.write(new Uint8Array(37).fill(97));
      await readExactly(flow, 1);
      await sendJson(flow, parameters);
      expect([...(await readExactly(flow, 9))]).toEqual([254, 0, 0, 0, 115, 0, 0, 0, 0]);
      await flow.close();
      expect(String(errors[0])).toContain(word);
      await run(TCP);
    }),
  );

  it.each([
    ['no JSON', Uint8Array.of(0, 0, 0, 2, 0x7b, 0x7b)],
    ['an array', Uint8Array.of(0, 0, 0, 2, 0x5b, 0x5d)],
    ['a length beyond all bounds', Uint8Array.of(255, 255, 255, 255)],
  ])('survives a client that sends %s', (_, bytes) =>
    withServer(async ({ client, errors, run }) => {
      const flow = await client.tcp.connect({ host: '10.0.0.2', port: 5201 });
      await flow.write(new Uint8Array(37).fill(97));
      await flow.write(bytes);
      while ((await flow.read()) !== null);
      await flow.close();
      expect(errors).toHaveLength(1);
      await run(TCP);
    }),
  );

  it('gives up on a client that connects and says nothing', () =>
    withServer(async ({ client, errors, run, clock }) => {
      const flow = await client.tcp.connect({ host: '10.0.0.2', port: 5201 });
      await flow.write(new Uint8Array(37).fill(97));
      await new Promise<void>((resolve) => clock.alarm(resolve).set(clock.now() + 11_000));
      expect(String(errors[0])).toContain('its parameters');
      flow.abort();
      await run(TCP);
    }));
});

describe('units', () => {
  it.each([
    ['10', 1024, 10],
    ['64K', 1024, 65_536],
    ['1.5m', 1000, 1_500_000],
    ['2G', 1000, 2e9],
    ['x', 1000, Number.NaN],
    ['-1', 1000, Number.NaN],
  ] as const)('%s in steps of %i', (text, step, value) => {
    expect(parseUnit(text, step)).toBe(value);
  });
});

async function readExactly(flow: Flow, length: number): Promise<Uint8Array> {
  let bytes = new Uint8Array(0);
  while (bytes.length < length) {
    const chunk = await flow.read();
    if (chunk === null) break;
    bytes = Uint8Array.of(...bytes, ...chunk);
  }
  return bytes;
}

async function sendJson(flow: Flow, value: unknown): Promise<void> {
  const text = new TextEncoder().encode(JSON.stringify(value));
  await flow.write(Uint8Array.of(0, 0, text.length >> 8, text.length & 255, ...text));
}
