import { arch, release, type } from 'node:os';
import { NetError } from '../errors.ts';
import {
  type CpuClock,
  Iperf3Error,
  Iperf3Server,
  type JsonContext,
  jsonReport,
  runClient,
  type TestListener,
  TextReport,
} from '../iperf3/index.ts';
import type { Stack } from '../stack.ts';
import { CryptoRandom, RealClock } from '../time/index.ts';
import { CommandError } from './errors.ts';
import type { CommandIo } from './io.ts';
import type { Iperf3Options } from './iperf3-arguments.ts';
import { packageVersion } from './version.ts';

const cpu: CpuClock = () => {
  const { user, system } = process.cpuUsage();
  return { userMs: user / 1000, systemMs: system / 1000 };
};

/** iperf3 as an application. */
export async function iperf3(
  options: Iperf3Options,
  io: CommandIo,
): Promise<(stack: Stack) => Promise<void>> {
  const version = `mirage-net ${await packageVersion()}`;
  return (stack) => {
    const report = new CommandReport(options, io, stack, version);
    return options.role === 'server' ? serve(options, stack, report) : test(options, stack, report, version);
  };
}

async function serve(
  options: Iperf3Options & { role: 'server' },
  stack: Stack,
  report: CommandReport,
): Promise<void> {
  const { port, host, intervalSeconds, oneOff } = options;
  const server = new Iperf3Server({
    stack,
    clock: new RealClock(),
    cpu,
    port,
    intervalSeconds,
    listener: report,
    ...(host !== undefined && { host }),
    onError: (error) => report.failed(error),
    ...(oneOff && { onTest: () => void server.close() }),
  });
  await server.listen();
  report.listening(port);
}

async function test(
  options: Iperf3Options & { role: 'client' },
  stack: Stack,
  report: CommandReport,
  version: string,
): Promise<void> {
  const { host, port, intervalSeconds, connectTimeoutMs } = options;
  try {
    await runClient({
      stack,
      clock: new RealClock(),
      random: new CryptoRandom(),
      cpu,
      host,
      port,
      test: options.test,
      intervalSeconds,
      version,
      listener: report,
      ...(connectTimeoutMs !== undefined && { connectTimeoutMs }),
    });
  } catch (error) {
    if (!(error instanceof Iperf3Error || error instanceof NetError)) throw error;
    report.failed(error);
    throw new CommandError(`iperf3: ${error.message}`, { cause: error });
  }
}

/** Text as the test goes on, or one JSON object at its end. */
class CommandReport implements TestListener {
  readonly #options: Iperf3Options;
  readonly #io: CommandIo;
  readonly #text: TextReport | null;
  readonly #context: Omit<JsonContext, 'date'>;
  #date = new Date();

  constructor(options: Iperf3Options, io: CommandIo, stack: Stack, version: string) {
    this.#options = options;
    this.#io = io;
    this.#text = options.json
      ? null
      : new TextReport((text) => io.stdout.write(text), stack.kind === 'direct');
    this.#context = {
      version,
      system: `${type()} ${release()} ${arch()}, Node ${process.version}, ${stack.kind} stack`,
      host: options.host ?? '',
      port: options.port,
    };
  }

  listening(port: number): void {
    if (this.#text !== null) this.#io.stdout.write(`Server listening on ${port}\n`);
  }

  connecting(host: string, port: number): void {
    this.#text?.connecting(host, port);
  }

  accepted(address: string, port: number): void {
    this.#text?.accepted(address, port);
  }

  started(...args: Parameters<TestListener['started']>): void {
    this.#date = new Date();
    this.#text?.started(...args);
  }

  interval(...args: Parameters<TestListener['interval']>): void {
    this.#text?.interval(...args);
  }

  finished(report: Parameters<TestListener['finished']>[0]): void {
    this.#text?.finished(report);
    if (this.#text === null) this.#json(jsonReport(report, { ...this.#context, date: this.#date }));
  }

  failed(error: Error): void {
    if (this.#text === null) this.#json({ error: error.message });
    else if (this.#options.role === 'server') this.#io.stderr.write(`iperf3: ${error.message}\n`);
  }

  #json(value: unknown): void {
    this.#io.stdout.write(`${JSON.stringify(value, null, 2)}\n`);
  }
}
