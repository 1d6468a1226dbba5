import { chmodSync, rmSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import type { DirectStack, NeighbourEntry, RouteEntry } from '../direct/index.ts';
import type { ControlOptions, ControlQuestion } from './control-arguments.ts';
import { CommandError } from './errors.ts';
import type { CommandIo } from './io.ts';

/** A question is a word and a line end; the answer is JSON. */
const MAX_QUESTION = 64;
const QUESTIONS: readonly ControlQuestion[] = ['arp', 'routes', 'stats'];

/**
 * Answers questions about a stack on a UNIX socket, which only the owner may open.
 * What is called ends it.
 */
export async function answerQuestions(stack: DirectStack, path: string): Promise<() => void> {
  const server = createServer((socket) => {
    let text = '';
    socket.setEncoding('utf8');
    socket.setTimeout(10_000, () => socket.destroy());
    socket.on('error', () => socket.destroy());
    socket.on('data', (chunk) => {
      text += chunk;
      const end = text.indexOf('\n');
      if (end >= 0) socket.end(`${JSON.stringify(answer(stack, text.slice(0, end)))}\n`);
      else if (text.length > MAX_QUESTION) socket.destroy();
    });
  });
  await new Promise<void>((resolve, reject) => {
    server.once('error', (error) => reject(new CommandError(`--control ${path}: ${error.message}`)));
    server.listen(path, resolve);
  });
  chmodSync(path, 0o600);
  // It must not keep a process that has nothing else to do.
  server.unref();
  return () => {
    server.close();
    rmSync(path, { force: true });
  };
}

function answer(stack: DirectStack, question: string): unknown {
  switch (question) {
    case 'arp':
      return stack.network.neighbours();
    case 'routes':
      return stack.network.routes();
    case 'stats':
      return stack.statistics();
    default:
      return { error: `no such question; it is one of ${QUESTIONS.join(', ')}` };
  }
}

/** `mirage-net arp|routes|stats`: asks a stack that runs with `--control`. */
export async function askStack({ question, path, json }: ControlOptions, io: CommandIo): Promise<void> {
  const text = await ask(path, question);
  let answered: unknown;
  try {
    answered = JSON.parse(text);
  } catch (cause) {
    throw new CommandError(`${path} does not answer as a stack does.`, { cause });
  }
  if (json) io.stdout.write(`${JSON.stringify(answered)}\n`);
  else if (question === 'arp') io.stdout.write(neighbourTable(answered as NeighbourEntry[]));
  else if (question === 'routes') io.stdout.write(routeTable(answered as RouteEntry[]));
  else io.stdout.write(`${JSON.stringify(answered, null, 2)}\n`);
}

function ask(path: string, question: string): Promise<string> {
  return new Promise((resolve, reject) => {
    let text = '';
    const socket = connect(path, () => socket.write(`${question}\n`));
    socket.setEncoding('utf8');
    socket.setTimeout(10_000, () => socket.destroy(new Error('no answer')));
    socket.on('data', (chunk) => {
      text += chunk;
    });
    socket.on('end', () => resolve(text));
    socket.on('error', (error) => reject(new CommandError(`--control ${path}: ${error.message}`)));
  });
}

function neighbourTable(entries: readonly NeighbourEntry[]): string {
  const rows = entries.map(({ address, mac, interface: name, state }) => [address, mac ?? '-', name, state]);
  return table(['ADDRESS', 'MAC', 'INTERFACE', 'STATE'], rows);
}

function routeTable(entries: readonly RouteEntry[]): string {
  const rows = entries.map(({ prefix, gateway, interface: name, metric, expiresInSeconds }) => [
    prefix,
    gateway ?? '-',
    name,
    `${metric}`,
    expiresInSeconds === null ? '-' : `${expiresInSeconds} s`,
  ]);
  return table(['PREFIX', 'GATEWAY', 'INTERFACE', 'METRIC', 'EXPIRES'], rows);
}

function table(header: readonly string[], rows: readonly (readonly string[])[]): string {
  const widths = header.map((word, column) =>
    Math.max(word.length, ...rows.map((row) => row[column]!.length)),
  );
  const line = (row: readonly string[]): string =>
    row
      .map((cell, column) => cell.padEnd(widths[column]!))
      .join('  ')
      .trimEnd();
  return `${[header, ...rows].map(line).join('\n')}\n`;
}
