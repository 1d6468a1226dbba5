import type { Stack, UdpSocket } from '../stack.ts';
import type { Clock, Random } from '../time/index.ts';
import { Control, ExactReader } from './control.ts';
import { type CpuClock, type Interval, Measurement } from './measurement.ts';
import { Budget, within } from './pacing.ts';
import { encodeParameters, senders, streamId, type TestParameters } from './parameters.ts';
import * as protocol from './protocol.ts';
import { Iperf3Error } from './protocol.ts';
import type { TestListener, TestReport } from './report.ts';
import { decodeResults, encodeResults } from './results.ts';
import type { TestStream } from './stream.ts';
import { TcpStream } from './tcp-stream.ts';
import { UdpStream } from './udp-stream.ts';

export interface ClientOptions {
  readonly stack: Stack;
  readonly clock: Clock;
  readonly random: Random;
  readonly cpu: CpuClock;
  readonly host: string;
  readonly port: number;
  readonly test: TestParameters;
  readonly intervalSeconds: number;
  readonly connectTimeoutMs?: number;
  /** Told to the server. */
  readonly version: string;
  readonly listener: TestListener;
}

/** How often a UDP stream says hello, and how long it waits for the answer each time. */
const HELLOS = 10;
const HELLO_WAIT_MS = 1000;

/** Runs one test against an iperf3 server. Rejects with `Iperf3Error`, or the stack's `NetError`. */
export async function runClient(options: ClientOptions): Promise<TestReport> {
  const client = new Client(options);
  try {
    return await client.run();
  } finally {
    client.close();
  }
}

class Client {
  readonly #options: ClientOptions;
  readonly #cookie: Uint8Array;
  readonly #streams: TestStream[] = [];
  readonly #intervals: Interval[] = [];
  readonly #budget: Budget;
  #spent: () => void = () => {};
  readonly #whenSpent: Promise<void>;
  #control: Control | null = null;

  constructor(options: ClientOptions) {
    const { random, test } = options;
    this.#options = options;
    this.#cookie = protocol.makeCookie(() => random.next32());
    this.#whenSpent = new Promise((resolve) => {
      this.#spent = resolve;
    });
    // At once: what comes behind the last byte that was asked for does not count.
    this.#budget = new Budget(test.bytes, test.blocks, test.blockBytes, () => {
      this.#stopStreams();
      this.#spent();
    });
  }

  close(): void {
    for (const stream of this.#streams) stream.close();
    this.#control?.flow.close().catch(() => {});
  }

  async run(): Promise<TestReport> {
    const { stack, host, port, test, version, listener } = this.#options;
    listener.connecting?.(host, port);
    const control = new Control(new ExactReader(await this.#connect()));
    this.#control = control;
    await this.#expect(control, protocol.PARAM_EXCHANGE);
    await control.sendJson(encodeParameters(test, version));
    await this.#expect(control, protocol.CREATE_STREAMS);
    await this.#createStreams();
    await this.#expect(control, protocol.TEST_START);
    await this.#expect(control, protocol.TEST_RUNNING);
    const own = await this.#measure(control);
    const knowsRetransmits = stack.kind === 'direct';
    const results = { ...own, knowsRetransmits, congestionControl: null, output: null };
    await control.sendJson(encodeResults(results, senders(test).client > 0));
    const peer = decodeResults(await control.readJson());
    await this.#expect(control, protocol.DISPLAY_RESULTS);
    await control.sendState(protocol.IPERF_DONE);
    const report: TestReport = {
      role: 'client',
      cookie: String.fromCharCode(...this.#cookie.subarray(0, -1)),
      test,
      streams: this.#streams,
      intervals: this.#intervals,
      own,
      peer,
    };
    listener.finished(report);
    return report;
  }

  /** A connection to the server that has shown the cookie. */
  async #connect() {
    const { stack, host, port, test, connectTimeoutMs } = this.#options;
    const flow = await stack.tcp.connect({
      host,
      port,
      ...(connectTimeoutMs !== undefined && { timeoutMs: connectTimeoutMs }),
    });
    flow.setNoDelay(test.noDelay);
    await flow.write(this.#cookie);
    return flow;
  }

  async #expect(control: Control, wanted: number): Promise<void> {
    this.#check(await control.readState(), wanted);
  }

  #check(state: number | null, wanted: number): void {
    if (state === wanted) return;
    if (state === protocol.ACCESS_DENIED) throw new Iperf3Error('the server is busy running a test');
    if (state === protocol.SERVER_TERMINATE) throw new Iperf3Error('the server has terminated the test');
    throw new Iperf3Error(
      state === null
        ? 'the server closed the control connection'
        : `the server went to state ${state} where ${wanted} was due`,
    );
  }

  async #createStreams(): Promise<void> {
    const { test, listener } = this.#options;
    const counts = senders(test);
    for (let index = 0; index < counts.client + counts.server; index++) {
      const id = streamId(index);
      const sends = index < counts.client;
      this.#streams.push(
        test.protocol === 'tcp' ? await this.#tcpStream(id, sends) : await this.#udpStream(id, sends),
      );
    }
    listener.started(test, this.#streams);
  }

  async #tcpStream(id: number, sends: boolean): Promise<TestStream> {
    const { clock, test } = this.#options;
    return new TcpStream({
      id,
      clock,
      flow: await this.#connect(),
      budget: this.#budget,
      sends: sends ? { block: new Uint8Array(test.blockBytes), rateBps: test.rateBps } : null,
    });
  }

  async #udpStream(id: number, sends: boolean): Promise<TestStream> {
    const { stack, clock, host, port, test } = this.#options;
    const socket = await stack.udp.bind();
    try {
      await socket.connect({ host, port });
      await greet(socket, clock);
    } catch (error) {
      await socket.close();
      throw error;
    }
    const stream = new UdpStream({
      id,
      clock,
      local: socket.local,
      remote: { address: host, port, family: socket.local.family },
      wideCounters: test.wideCounters,
      budget: this.#budget,
      sends: sends
        ? { blockBytes: test.blockBytes, rateBps: test.rateBps, send: (data) => socket.send(data) }
        : null,
      close: () => void socket.close(),
    });
    void pump(socket, stream);
    return stream;
  }

  #stopStreams(): void {
    for (const stream of this.#streams) stream.stop();
  }

  async #measure(control: Control) {
    const { clock, cpu, test, intervalSeconds, listener } = this.#options;
    const { omitSeconds, seconds } = test;
    const measurement = new Measurement({
      clock,
      cpu,
      streams: this.#streams,
      intervalSeconds,
      omitSeconds,
      onInterval: (interval) => {
        this.#intervals.push(interval);
        listener.interval(interval);
      },
    });
    measurement.begin();
    // While the test runs, the server speaks only to say that it cannot go on.
    const next = control.readState();
    const runs = (sends: boolean): Promise<unknown> =>
      Promise.all(this.#streams.filter((stream) => stream.sends === sends).map((stream) => stream.run()));
    const receiving = runs(false);
    const over: Promise<unknown>[] = [
      this.#whenSpent,
      next.then((state) => this.#check(state, protocol.EXCHANGE_RESULTS)),
      // Receivers can only fail before they are stopped.
      senders(test).client > 0 ? Promise.race([runs(true), failure(receiving)]) : failure(receiving),
    ];
    const longestMs = seconds > 0 ? (omitSeconds + seconds) * 1000 : Number.POSITIVE_INFINITY;
    try {
      await within(clock, longestMs, over, () => undefined);
    } finally {
      this.#stopStreams();
    }
    const measured = measurement.finish();
    await control.sendState(protocol.TEST_END);
    this.#check(await next, protocol.EXCHANGE_RESULTS);
    return measured;
  }
}

/** Rejects as `promise` does, and never resolves. */
function failure(promise: Promise<unknown>): Promise<never> {
  return promise.then(() => new Promise<never>(() => {}));
}

/** Says hello until the server answers. */
async function greet(socket: UdpSocket, clock: Clock): Promise<void> {
  const answer = socket.receive().then((datagram) => datagram !== null);
  for (let attempt = 0; attempt < HELLOS; attempt++) {
    await socket.send(protocol.UDP_HELLO);
    if (await within(clock, HELLO_WAIT_MS, [answer], () => false)) return;
  }
  throw new Iperf3Error(`the server does not answer over UDP (${HELLOS} attempts)`);
}

async function pump(socket: UdpSocket, stream: UdpStream): Promise<void> {
  try {
    for await (const { data } of socket) stream.take(data);
  } catch {
    // The server has closed its end; the test itself tells whether too early.
  }
}
