import type { Datagram, Flow, Listener, Stack, UdpSocket } from '../stack.ts';
import type { Clock } from '../time/index.ts';
import { Control, ExactReader } from './control.ts';
import { type CpuClock, type Interval, Measurement } from './measurement.ts';
import { Budget, within } from './pacing.ts';
import { decodeParameters, senders, streamId, type TestParameters } from './parameters.ts';
import * as protocol from './protocol.ts';
import { Iperf3Error } from './protocol.ts';
import type { TestListener, TestReport } from './report.ts';
import { decodeResults, encodeResults } from './results.ts';
import type { TestStream } from './stream.ts';
import { TcpStream } from './tcp-stream.ts';
import { TextReport } from './text-report.ts';
import { UdpStream } from './udp-stream.ts';

export interface ServerOptions {
  readonly stack: Stack;
  readonly clock: Clock;
  readonly cpu: CpuClock;
  readonly port: number;
  readonly host?: string;
  readonly intervalSeconds: number;
  readonly listener: TestListener;
  /** A test that failed; the server goes on. */
  onError(error: Error): void;
  /** A test is over, well or not. */
  onTest?(): void;
}

/** From a connection to its cookie, and from CREATE_STREAMS to the last stream. */
const SETUP_TIMEOUT_MS = 10_000;
/** A test that moves nothing for so long is given up, as in iperf3. */
const IDLE_TIMEOUT_MS = 120_000;
/** From the end of a stream to the client's word that the test is over. */
const LAST_WORD_MS = 1000;

/** An iperf3 server: one test at a time, others are told that it is busy. */
export class Iperf3Server {
  readonly #options: ServerOptions;
  #listener: Listener | null = null;
  #test: ServerTest | null = null;

  constructor(options: ServerOptions) {
    this.#options = options;
  }

  /** Rejects as `Tcp.listen` does. */
  async listen(): Promise<Listener> {
    const { stack, port, host } = this.#options;
    const where = { port, ...(host !== undefined && { host }) };
    this.#listener = await stack.tcp.listen(where, (flow) => {
      this.#accept(flow).catch((error: unknown) => {
        this.#options.onError(error instanceof Error ? error : new Error(String(error)));
      });
    });
    return this.#listener;
  }

  async close(): Promise<void> {
    this.#test?.terminate();
    await this.#listener?.close();
  }

  async #accept(flow: Flow): Promise<void> {
    const { clock } = this.#options;
    const reader = new ExactReader(flow);
    const cookie = await inTime(clock, [reader.read(protocol.COOKIE_BYTES)], 'the cookie').catch((error) => {
      flow.abort();
      throw error;
    });
    // A look at the port, as scanners and health checks take it.
    if (cookie === null) return flow.abort();
    if (this.#test !== null) {
      if (this.#test.takeStream(cookie, reader)) return;
      await flow.write(Uint8Array.of(protocol.ACCESS_DENIED));
      await flow.shutdown();
      await flow.close();
      return;
    }
    const test = new ServerTest(this.#options, cookie, new Control(reader));
    this.#test = test;
    this.#options.listener.accepted?.(flow.remote.address, flow.remote.port);
    try {
      await test.run();
    } finally {
      test.close();
      this.#test = null;
      this.#options.onTest?.();
    }
  }
}

class ServerTest {
  readonly #options: ServerOptions;
  readonly #cookie: Uint8Array;
  readonly #control: Control;
  readonly #streams: TestStream[] = [];
  readonly #intervals: Interval[] = [];
  #parameters: TestParameters | null = null;
  #wanted = 0;
  /** The client's next state: due when the test ends. */
  #next: Promise<number | null> = Promise.resolve(null);
  #complete: () => void = () => {};
  #udp: UdpSocket | null = null;
  #budget = new Budget(0, 0, 0);
  /** The report for a client that asked for it. */
  #output: { text: string; readonly report: TextReport } | null = null;

  constructor(options: ServerOptions, cookie: Uint8Array, control: Control) {
    this.#options = options;
    this.#cookie = cookie;
    this.#control = control;
  }

  async run(): Promise<void> {
    const control = this.#control;
    await control.sendState(protocol.PARAM_EXCHANGE);
    let test: TestParameters;
    try {
      test = decodeParameters(await inTime(this.#options.clock, [control.readJson()], 'its parameters'));
    } catch (error) {
      await refuse(control);
      throw error;
    }
    this.#parameters = test;
    if (test.serverOutput) this.#output = captureReport(this.#options.stack.kind === 'direct');
    // What ends the test is the client's to say; the server sends until then.
    this.#budget = new Budget(0, 0, test.blockBytes);
    await this.#createStreams(test);
    await control.sendState(protocol.TEST_START);
    await control.sendState(protocol.TEST_RUNNING);
    const own = await this.#measure(test);
    await control.sendState(protocol.EXCHANGE_RESULTS);
    const peer = decodeResults(await control.readJson());
    const { stack, listener } = this.#options;
    const knowsRetransmits = stack.kind === 'direct';
    const results = { ...own, knowsRetransmits, congestionControl: null, output: this.#output?.text ?? null };
    await control.sendJson(encodeResults(results, senders(test).server > 0));
    await control.sendState(protocol.DISPLAY_RESULTS);
    const report: TestReport = {
      role: 'server',
      cookie: String.fromCharCode(...this.#cookie.subarray(0, -1)),
      test,
      streams: this.#streams,
      intervals: this.#intervals,
      own,
      peer,
    };
    listener.finished(report);
    await inTime(this.#options.clock, [control.readState()], 'the end');
  }

  /** Tells the client that the server goes away. */
  terminate(): void {
    this.#control.sendState(protocol.SERVER_TERMINATE).catch(() => {});
    this.close();
  }

  close(): void {
    for (const stream of this.#streams) stream.close();
    void this.#udp?.close();
    this.#control.flow.close().catch(() => {});
  }

  /** A further connection with a cookie: true if it is a stream of this test. */
  takeStream(cookie: Uint8Array, reader: ExactReader): boolean {
    const test = this.#parameters;
    if (test?.protocol !== 'tcp' || this.#streams.length >= this.#wanted) return false;
    if (!protocol.sameCookie(cookie, this.#cookie)) return false;
    const { clock } = this.#options;
    const { flow } = reader;
    flow.setNoDelay(test.noDelay);
    this.#add(
      new TcpStream({
        id: streamId(this.#streams.length),
        clock,
        flow,
        budget: this.#budget,
        received: reader.takeRest().length,
        sends: this.#nextSends(test)
          ? { block: new Uint8Array(test.blockBytes), rateBps: test.rateBps }
          : null,
      }),
    );
    return true;
  }

  /** The streams that the client sends come first. */
  #nextSends(test: TestParameters): boolean {
    return this.#streams.length >= senders(test).client;
  }

  #add(stream: TestStream): void {
    this.#streams.push(stream);
    if (this.#streams.length === this.#wanted) this.#complete();
  }

  async #createStreams(test: TestParameters): Promise<void> {
    const { clock, listener } = this.#options;
    const counts = senders(test);
    this.#wanted = counts.client + counts.server;
    const complete = new Promise<void>((resolve) => {
      this.#complete = resolve;
    });
    if (test.protocol === 'udp') await this.#bind(test);
    await this.#control.sendState(protocol.CREATE_STREAMS);
    this.#next = this.#control.readState();
    const left = this.#next.then((state) => {
      throw clientLeft(state);
    });
    await inTime(clock, [complete, left], 'its streams');
    listener.started(test, this.#streams);
    this.#output?.report.started(test, this.#streams);
  }

  async #bind(test: TestParameters): Promise<void> {
    const { stack, port, host } = this.#options;
    const socket = await stack.udp.bind({ port, ...(host !== undefined && { host }) });
    this.#udp = socket;
    const known = new Map<string, UdpStream>();
    const take = ({ data, remote }: Datagram): void => {
      const key = `${remote.address} ${remote.port}`;
      let stream = known.get(key);
      if (stream === undefined && known.size < this.#wanted && data.length === protocol.UDP_HELLO.length) {
        stream = this.#udpStream(test, socket, remote);
        known.set(key, stream);
        this.#add(stream);
      }
      // Said again where the answer was lost.
      if (data.length === protocol.UDP_HELLO.length) {
        if (stream !== undefined) {
          const to = { host: remote.address, port: remote.port };
          socket.send(protocol.UDP_HELLO_REPLY, to).catch((error: Error) => this.#options.onError(error));
        }
      } else {
        stream?.take(data);
      }
    };
    void (async () => {
      // What a peer that is gone answers is no error of this socket.
      for (;;) {
        try {
          for await (const datagram of socket) take(datagram);
          return;
        } catch (error) {
          if ((error as { code?: unknown }).code !== 'ECONNREFUSED') throw error;
        }
      }
    })().catch((error: Error) => this.#options.onError(error));
  }

  #udpStream(test: TestParameters, socket: UdpSocket, remote: Datagram['remote']): UdpStream {
    const to = { host: remote.address, port: remote.port };
    return new UdpStream({
      id: streamId(this.#streams.length),
      clock: this.#options.clock,
      local: socket.local,
      remote,
      wideCounters: test.wideCounters,
      budget: this.#budget,
      sends: this.#nextSends(test)
        ? { blockBytes: test.blockBytes, rateBps: test.rateBps, send: (data) => socket.send(data, to) }
        : null,
      close: () => {},
    });
  }

  async #measure(test: TestParameters) {
    const { clock, cpu, intervalSeconds, listener } = this.#options;
    const measurement = new Measurement({
      clock,
      cpu,
      streams: this.#streams,
      intervalSeconds,
      omitSeconds: test.omitSeconds,
      onInterval: (interval) => {
        this.#intervals.push(interval);
        listener.interval(interval);
        this.#output?.report.interval(interval);
      },
    });
    measurement.begin();
    const ended = this.#next.then((state) => {
      if (state !== protocol.TEST_END) throw clientLeft(state);
    });
    // A stream may go away just before the client's word that the test is over.
    const running = Promise.all(this.#streams.map((stream) => stream.run())).then(
      () => ended,
      (error: unknown) =>
        within(clock, LAST_WORD_MS, [ended], () => {
          throw error;
        }),
    );
    try {
      let before = -1;
      for (let over = false; !over; ) {
        const moved = this.#streams.reduce((total, { counts }) => total + counts.bytes, 0);
        if (moved === before) throw new Iperf3Error(`nothing was moved for ${IDLE_TIMEOUT_MS / 1000} s`);
        before = moved;
        const done = [ended, running].map((promise) => promise.then(() => true));
        over = await within(clock, IDLE_TIMEOUT_MS, done, () => false);
      }
    } finally {
      for (const stream of this.#streams) stream.stop();
    }
    const measured = measurement.finish();
    for (const stream of this.#streams) stream.end();
    return measured;
  }
}

function captureReport(knowsRetransmits: boolean): { text: string; readonly report: TextReport } {
  const output = { text: '', report: new TextReport((text) => (output.text += text), knowsRetransmits) };
  return output;
}

function clientLeft(state: number | null): Iperf3Error {
  if (state === null) return new Iperf3Error('the client has closed the control connection');
  if (state === protocol.CLIENT_TERMINATE) return new Iperf3Error('the client has terminated the test');
  return new Iperf3Error(`the client went to state ${state} in the middle of the test`);
}

/** SERVER_ERROR with iperf's error for parameters that cannot be served (IERECVPARAMS 115). */
async function refuse(control: Control): Promise<void> {
  const message = new Uint8Array(9);
  message[0] = protocol.SERVER_ERROR;
  new DataView(message.buffer).setInt32(1, 115);
  await control.flow.write(message);
}

/** What the client is due to do in time. */
function inTime<T>(clock: Clock, promises: readonly Promise<T>[], what: string): Promise<T> {
  return within(clock, SETUP_TIMEOUT_MS, promises, () => {
    throw new Iperf3Error(`the client took more than ${SETUP_TIMEOUT_MS / 1000} s for ${what}`);
  });
}
