/**
 * Web servers on a stack beside the same on the kernel's sockets: `wrk -c 100`
 * in one network namespace, over a TAP and over the loopback interface. Rounds
 * are interleaved. `SECS` is the length of one run.
 */
import { readFileSync } from 'node:fs';
import { cpus } from 'node:os';
import { Lab, missing, type Program } from '../test/compat/packages/support/lab.ts';

const SECONDS = Number(process.env.SECS ?? 3);
const ROUNDS = Number(process.env.ROUNDS ?? 3);
const PORT = 3000;
/** Requests before the first round: V8 compiles what it has seen often. */
const WARM_UP = '20000';
/** Of the kernel's clock in `/proc/PID/stat`. */
const TICK_US = 10_000;

interface Server {
  readonly name: string;
  /** What its figures are divided by. */
  readonly beside?: string;
  start(lab: Lab): Program;
}

const SERVERS: readonly Server[] = [
  { name: 'node:http, node:net', start: (lab) => lab.program('kernel', 'hello-server.mjs', () => [PORT]) },
  {
    name: 'node:http, register',
    beside: 'node:http, node:net',
    start: (lab) => lab.program('stack', 'hello-server.mjs', () => [PORT]),
  },
  {
    name: 'node:http, on flows',
    beside: 'node:http, node:net',
    start: (lab) => lab.application('flow-server.mjs', [PORT]),
  },
  { name: 'Express, node:net', start: (lab) => lab.program('kernel', 'express-hello.mjs', () => [PORT + 1]) },
  {
    name: 'Express, register',
    beside: 'Express, node:net',
    start: (lab) => lab.program('stack', 'express-hello.mjs', () => [PORT + 1]),
  },
];

interface Run {
  readonly perSecond: number;
  readonly p50: string;
  readonly p99: string;
  /** Of the server's process, kernel included. */
  readonly cpuUs: number;
}

function cpuUs({ process: { pid } }: Program): number {
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1]!.split(' ');
  return (Number(fields[11]) + Number(fields[12])) * TICK_US;
}

async function measure(lab: Lab, program: Program, url: string, pin: readonly string[]): Promise<Run> {
  const before = cpuUs(program);
  const [command, ...words] = [...pin, 'wrk', '-t', '1', '-c', '100', '-d', `${SECONDS}s`, '--latency', url];
  const report = await lab.run(command!, words);
  // An answer that took more than two seconds is a timeout to it, and in the percentiles all the same.
  if (/Socket errors: connect [1-9]|read [1-9]|write [1-9]|Non-2xx/.test(report)) {
    throw new Error(`${url}:\n${report}`);
  }
  const find = (pattern: RegExp): string => pattern.exec(report)![1]!;
  return {
    perSecond: Number(find(/Requests\/sec:\s+([\d.]+)/)),
    p50: find(/50%\s+(\S+)/),
    p99: find(/99%\s+(\S+)/),
    cpuUs: (cpuUs(program) - before) / Number(find(/(\d+) requests in/)),
  };
}

function median(runs: readonly Run[]): Run {
  return [...runs].sort((a, b) => a.perSecond - b.perSecond)[runs.length >> 1]!;
}

async function compare(): Promise<void> {
  const lab = new Lab();
  try {
    const running = new Map<Server, { program: Program; url: string; runs: Run[] }>();
    const several = cpus().length > 1;
    const pin = several ? ['taskset', '-c', '0'] : [];
    for (const server of SERVERS) {
      const program = server.start(lab);
      const { port } = (await program.next()) as { port: number };
      if (several) await lab.run('taskset', ['-cp', '1', String(program.process.pid)]);
      const host = server.beside === undefined ? '127.0.0.1' : program.ends.address;
      const url = `http://${host}:${port}/hello`;
      await lab.run('h2load', ['--h1', '-n', WARM_UP, '-c', '100', url]);
      running.set(server, { program, url, runs: [] });
    }
    for (let round = 0; round < ROUNDS; round++) {
      for (const { program, url, runs } of running.values()) runs.push(await measure(lab, program, url, pin));
    }
    const medians = new Map([...running].map(([{ name }, { runs }]) => [name, median(runs)]));
    console.table(
      SERVERS.map(({ name, beside }) => {
        const { perSecond, p50, p99, cpuUs } = medians.get(name)!;
        const share = beside === undefined ? '' : (perSecond / medians.get(beside)!.perSecond).toFixed(2);
        return {
          server: name,
          'requests/s': Math.round(perSecond),
          'of node:net': share,
          p50,
          p99,
          'CPU µs/request': cpuUs.toFixed(1),
        };
      }),
    );
  } finally {
    await lab.close();
  }
}

const reason = missing('wrk', 'h2load', 'taskset');
if (reason === null) await compare();
else console.log(`Left out: ${reason}`);
