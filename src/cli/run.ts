import type { Stack } from '../stack.ts';
import type { StackOptions } from './arguments.ts';
import { CommandError } from './errors.ts';
import type { CommandIo, HostProcess } from './io.ts';
import { openStack, type ShardPeers, type StackEvents } from './open-stack.ts';
import { untilUnused } from './unused.ts';

/** The stack has its own bound for closing; this one is for a stack that does not keep it. */
const CLOSE_TIMEOUT_MS = 10_000;

const SIGNALS = { SIGINT: 2, SIGTERM: 15 } as const;
type StopSignal = keyof typeof SIGNALS;

type Ending =
  | { readonly reason: 'done' }
  | { readonly reason: 'signal'; readonly signal: StopSignal }
  | { readonly reason: 'error' };

/**
 * Runs an application, `name` for people, on the stack that `options` describe
 * until it has nothing left to do, a signal comes or it fails; gives the exit code.
 */
export async function runOn(
  options: StackOptions,
  name: string,
  application: (stack: Stack) => void | Promise<void>,
  io: CommandIo,
  peers?: ShardPeers,
): Promise<number> {
  const say = (text: string): void => {
    io.stderr.write(`mirage-net: ${text}\n`);
  };
  let end: (ending: Ending) => void = () => {};
  const ended = new Promise<Ending>((resolve) => {
    end = resolve;
  });
  const events: StackEvents = {
    onDown: (error) => {
      say(`the network interface is gone${error === undefined ? '' : `: ${error.message}`}`);
      end({ reason: 'error' });
    },
    onConflict: ({ address, mac }) => say(`${address} is used by another station too: ${mac}`),
  };
  const { stack, description, finish, finishSync } = await openStack(options, events, { peers });
  const printStatistics = (): void => {
    io.stderr.write(`${JSON.stringify(stack.statistics())}\n`);
  };

  let stopping = false;
  const stop = (signal: StopSignal): void => {
    if (stopping) {
      finishSync();
      io.process.exit(128 + SIGNALS[signal]);
      return;
    }
    stopping = true;
    say(`${signal}: closing connections; once more to end at once.`);
    end({ reason: 'signal', signal });
  };
  const fail = (error: unknown): void => {
    say(errorText(error));
    end({ reason: 'error' });
  };
  const removeListeners = listen(io.process, {
    SIGINT: () => stop('SIGINT'),
    SIGTERM: () => stop('SIGTERM'),
    SIGUSR2: printStatistics,
    uncaughtException: fail,
    unhandledRejection: fail,
    exit: finishSync,
  });

  say(`${name} runs on ${description}`);
  try {
    const use = async (): Promise<void> => {
      await application(stack);
      await untilUnused(stack);
    };
    use().then(() => end({ reason: 'done' }), fail);
    const ending = await ended;
    stopping = true;
    const closedInTime = await closeWithin(stack, CLOSE_TIMEOUT_MS);
    if (options.stats) printStatistics();
    const missing = await finish();
    if (missing !== null) say(missing);
    if (!closedInTime) say('some connections did not close in time.');
    if (ending.reason === 'error') return 1;
    if (closedInTime) return 0;
    return ending.reason === 'signal' ? 128 + SIGNALS[ending.signal] : 1;
  } finally {
    removeListeners();
  }
}

async function closeWithin(stack: Stack, timeoutMs: number): Promise<boolean> {
  let timer: NodeJS.Timeout | undefined;
  const timeout = new Promise<boolean>((resolve) => {
    timer = setTimeout(() => resolve(false), timeoutMs);
  });
  try {
    return await Promise.race([stack.close().then(() => true), timeout]);
  } finally {
    clearTimeout(timer);
  }
}

function listen(host: HostProcess, listeners: Record<string, (argument: unknown) => void>): () => void {
  const entries = Object.entries(listeners);
  for (const [event, listener] of entries) host.on(event, listener);
  return () => {
    for (const [event, listener] of entries) host.off(event, listener);
  };
}

function errorText(error: unknown): string {
  if (error instanceof CommandError) return error.message;
  return error instanceof Error ? (error.stack ?? error.message) : String(error);
}
