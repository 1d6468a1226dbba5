/** A whole program on a stack: the stack is opened and put in the place of the process's own network. */
import dns from 'node:dns';
import Module from 'node:module';
import type { LookupFunction } from 'node:net';
import { pathToFileURL } from 'node:url';
import { DirectStack } from '../direct/index.ts';
import {
  createDgram,
  createNet,
  type DgramOptions,
  installDgram,
  installNames,
  installNet,
} from '../net/index.ts';
import { findApplication } from './application.ts';
import type { RunOptions } from './arguments.ts';
import { openStack } from './open-stack.ts';
import type { Program } from './program-config.ts';

const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;

/**
 * Opens the stack and installs it. From then on, the process lives as long as
 * what the program has open; when it ends, its peers are told.
 */
export async function startProgram({ options, stack: given, ...program }: Program): Promise<void> {
  // Before anything is replaced: the host's own sockets may be what is below.
  const opened =
    options && (await openStack(options, EVENTS, { background: true, direct: program.settings }));
  const stack = given ?? opened!.stack;
  // On the host's own sockets there is nothing to replace.
  if (stack.kind === 'socket') return;
  const { usesHostNames, borrowWrites } = program;
  const { lookup } = dns;
  if (usesHostNames) {
    installNet(createNet(stack, { borrowWrites, lookup: lookup as LookupFunction }));
    installDgram(createDgram(stack, { lookup: lookup as unknown as NonNullable<DgramOptions['lookup']> }));
  } else {
    installNet(createNet(stack, { borrowWrites }));
    installDgram(createDgram(stack));
    installNames(stack);
  }
  endWithProcess(() => {
    if (stack instanceof DirectStack) stack.abandon();
    if (options?.stats) process.stderr.write(`${JSON.stringify(stack.statistics())}\n`);
    opened?.finishSync();
  });
}

/** `mirage-net run --register`: an ordinary program, as `node APP ARGUMENTS` would run it, on a stack. */
export async function runProgram(options: RunOptions): Promise<void> {
  const file = await findApplication(options.app);
  await startProgram({ options, stack: null, settings: {}, usesHostNames: false, borrowWrites: false });
  process.argv.splice(1, process.argv.length, file, ...options.args);
  if (/\.m?ts$/.test(file)) await import(pathToFileURL(file).href);
  // As the entry of the process: `require.main` is right.
  else Module.runMain();
}

const EVENTS = {
  onDown: (error: Error | undefined): void =>
    process.emitWarning(`the network interface is gone${error ? `: ${error.message}` : ''}`),
  onConflict: ({ address, mac }: { readonly address: string; readonly mac: string }): void =>
    process.emitWarning(`${address} is used by another station too: ${mac}`),
};

/** A kernel closes what a process leaves open, also where a signal ends it. */
function endWithProcess(end: () => void): void {
  let ended = false;
  const once = (): void => {
    if (!ended) end();
    ended = true;
  };
  process.once('exit', once);
  for (const signal of SIGNALS) {
    const onSignal = (): void => {
      // Where the program listens too, it decides.
      if (process.listenerCount(signal) > 1) return;
      once();
      process.off(signal, onSignal);
      process.kill(process.pid, signal);
    };
    process.on(signal, onSignal);
  }
}
