/**
 * `mirage-net-direct/cli`: the command line as a library, for those who wrap it
 * or start it from tests.
 */
import { loadApplication } from './application.ts';
import { type Command, parseCommand } from './arguments.ts';
import { failure, UsageError } from './errors.ts';
import { helpText } from './help.ts';
import type { CommandIo } from './io.ts';
import { runProgram } from './program.ts';
import { runOn } from './run.ts';
import { packageVersion } from './version.ts';

export { loadApplication } from './application.ts';
export {
  type Command,
  type DirectStackOptions,
  type NetifSpec,
  parseCommand,
  type RunOptions,
  type SocketStackOptions,
  type StackOptions,
} from './arguments.ts';
export { CommandError, UsageError } from './errors.ts';
export { type ImpairSpec, parseImpairment } from './impairment.ts';
export type { CommandIo, HostProcess } from './io.ts';
export {
  type OpenOptions,
  type OpenStack,
  openStack,
  type StackEvents,
  type StackSettings,
} from './open-stack.ts';
export { runProgram, startProgram } from './program.ts';
export {
  type Program,
  type ProgramConfig,
  type ProgramConfigExport,
  type ProgramContext,
  programOf,
} from './program-config.ts';

/**
 * Runs the command line `mirage-net ...argv` and gives its exit code: 0 done,
 * 1 failed, 2 wrong usage; null for a program (`run --register`) that goes on
 * in this process. What went wrong is said on `io.stderr`.
 */
export async function runCommand(argv: readonly string[], io: CommandIo): Promise<number | null> {
  try {
    return await execute(parseCommand(argv), io);
  } catch (error) {
    if (error instanceof UsageError) {
      io.stderr.write(`mirage-net: ${error.message}\nTry: mirage-net help\n`);
      return 2;
    }
    io.stderr.write(`mirage-net: ${failure(error)}\n`);
    return 1;
  }
}

async function execute(command: Command, io: CommandIo): Promise<number | null> {
  switch (command.kind) {
    case 'help':
      io.stdout.write(helpText(command.topic));
      return 0;
    case 'version':
      io.stdout.write(`${await packageVersion()}\n`);
      return 0;
    case 'build': {
      const { build } = await import('./build/index.ts');
      await build(command.options, io);
      return 0;
    }
    case 'ping': {
      const { ping } = await import('./ping.ts');
      return runOn(command.stack, 'ping', ping(command.ping, io), io);
    }
    case 'router':
      // Until a signal comes.
      return runOn(command.stack, 'router', () => new Promise(() => {}), io);
    case 'control': {
      const { askStack } = await import('./control.ts');
      await askStack(command.options, io);
      return 0;
    }
    case 'xen': {
      const { xenCommand } = await import('./xen.ts');
      await xenCommand(command.options, io);
      return 0;
    }
    case 'demo': {
      const { demo } = await import('./demo.ts');
      await demo(command, io);
      return 0;
    }
    case 'iperf3': {
      const { iperf3 } = await import('./iperf3.ts');
      return runOn(command.stack, 'iperf3', await iperf3(command.test, io), io);
    }
    case 'run-workers': {
      const { runWorkers } = await import('./workers.ts');
      return runWorkers(command.options, command.workers, io);
    }
    case 'run': {
      const { app, args, register } = command.options;
      if (register) {
        await runProgram(command.options);
        return null;
      }
      const application = await loadApplication(app);
      return runOn(command.options, app, (stack) => application(stack, args), io);
    }
  }
}
